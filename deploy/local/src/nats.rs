//! One private nats-server with JetStream.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use crate::account::Account;
use crate::errors::LaunchError;
use crate::folder::Folder;
use crate::guard::{Guard, Role};
use crate::ports::Ports;
use crate::process::{self, READY_MAX, Signal, log_since};
use crate::toolbox::NatsTools;

const GREETING_MAX: Duration = Duration::from_secs(1);

/// How to run the nats-server of one state folder.
#[derive(Debug)]
pub(crate) struct Nats {
    tools: NatsTools,
    store: PathBuf,
    config: PathBuf,
    pid_file: PathBuf,
    log: PathBuf,
    /// Random, so that a greeting tells our server from a stranger on the same port.
    server_name: String,
    settings: Vec<String>,
    jetstream_settings: Vec<String>,
    monitoring: bool,
}

impl Nats {
    /// Names the files; touches nothing.
    pub(crate) fn plan(
        tools: NatsTools,
        folder: &Folder,
        random: &str,
        settings: (Vec<String>, Vec<String>),
        monitoring: bool,
    ) -> Self {
        Self {
            tools,
            store: folder.path("nats"),
            config: folder.path("nats.conf"),
            pid_file: folder.path("nats.pid"),
            log: folder.path("nats.log"),
            server_name: format!("farmera-{}", random.get(..12).unwrap_or(random)),
            settings: settings.0,
            jetstream_settings: settings.1,
            monitoring,
        }
    }

    pub(crate) fn binary(&self) -> &Path {
        &self.tools.binary
    }

    /// The log file; nats-server appends to it.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    pub(crate) fn monitoring(&self) -> bool {
        self.monitoring
    }

    /// Ends a server that an earlier owner left behind.
    pub(crate) fn stop_stale(&self) {
        let pid = fs::read_to_string(&self.pid_file).ok().and_then(|pid| pid.trim().parse().ok());
        if let Some(pid) = pid {
            process::stop_stranger(pid, &process::process_name(&self.tools.binary), Signal::Terminate);
        }
    }

    /// Where all streams and consumers are.
    pub(crate) fn store(&self) -> &Path {
        &self.store
    }

    /// Starts the server and waits for its greeting.
    pub(crate) fn launch(&self, guard: &Guard, ports: Ports) -> Result<Child, LaunchError> {
        fs::write(&self.config, self.config_text(ports)).map_err(LaunchError::Spawn)?;
        let log = OpenOptions::new().create(true).append(true).open(&self.log).map_err(LaunchError::Spawn)?;
        let log_before = log.metadata().map_or(0, |metadata| metadata.len());
        let arguments = [Path::new("-c"), &self.config];
        let spawned = guard.spawn(Role::Nats, &self.tools.binary, arguments, &Account::Ourselves, log);
        let mut child = spawned.map_err(LaunchError::Spawn)?;
        let mut ended = false;
        let answered = process::poll(READY_MAX, || {
            ended = process::exited(&mut child).is_some();
            ended || self.greets(ports.nats)
        });
        if answered && !ended {
            return Ok(child);
        }
        process::kill_child(&mut child);
        let output = log_since(&self.log, log_before);
        Err(if ended { LaunchError::Ended { output } } else { LaunchError::Silent { output } })
    }

    fn config_text(&self, ports: Ports) -> String {
        let quoted = |path: &Path| serde_json::Value::from(path.to_string_lossy()).to_string();
        let mut lines = vec![
            format!("listen: 127.0.0.1:{}", ports.nats),
            format!("server_name: {}", self.server_name),
            format!("pid_file: {}", quoted(&self.pid_file)),
            "jetstream {".to_owned(),
            format!("  store_dir: {}", quoted(&self.store)),
        ];
        lines.extend(self.jetstream_settings.iter().map(|line| format!("  {line}")));
        lines.push("}".to_owned());
        if self.monitoring {
            lines.push(format!("http: 127.0.0.1:{}", ports.nats_monitor));
        }
        lines.extend(self.settings.iter().cloned());
        lines.join("\n") + "\n"
    }

    fn greets(&self, port: u16) -> bool {
        read_greeting(port).is_ok_and(|greeting| greeting.starts_with("INFO ") && greeting.contains(&self.server_name))
    }
}

/// What a nats-server sends first: one line.
fn read_greeting(port: u16) -> io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, GREETING_MAX)?;
    stream.set_read_timeout(Some(GREETING_MAX))?;
    let (mut greeting, mut part) = (Vec::new(), [0_u8; 4096]);
    while !greeting.contains(&b'\n') {
        match stream.read(&mut part)? {
            0 => break,
            length => greeting.extend_from_slice(part.get(..length).unwrap_or_default()),
        }
    }
    Ok(String::from_utf8_lossy(&greeting).into_owned())
}
