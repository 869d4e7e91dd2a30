//! One private Postgres cluster: made, started, watched until it answers.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::account::{Account, fallback_folder};
use crate::errors::LaunchError;
use crate::folder::{self, Folder};
use crate::guard::{Guard, Role};
use crate::process::{self, POLL_PAUSE, READY_MAX, Signal, log_since};
use crate::secrets::Secrets;
use crate::toolbox::PostgresTools;

/// The superuser of a cluster.
pub(crate) const SUPERUSER: &str = "postgres";
/// For a developer's machine; durability stays as Postgres ships it.
const SETTINGS: [(&str, &str); 7] = [
    ("listen_addresses", "127.0.0.1"),
    ("shared_buffers", "128MB"),
    ("max_connections", "400"),
    ("max_wal_size", "2GB"),
    ("idle_in_transaction_session_timeout", "5s"),
    ("logging_collector", "off"),
    ("log_line_prefix", "%m [%p] %u@%d "),
];

/// The longest path that every system takes for a socket (macOS: 104 bytes with the final zero).
const SOCKET_PATH_MAX: usize = 103;

/// How to run the cluster of one state folder.
#[derive(Debug)]
pub(crate) struct Postgres {
    tools: PostgresTools,
    account: Account,
    /// Belongs to the account; holds the data folder and notes about it.
    home: PathBuf,
    log: PathBuf,
    settings: Vec<(String, String)>,
}

impl Postgres {
    /// Decides as whom and where the cluster runs; touches nothing.
    pub(crate) fn plan(tools: PostgresTools, folder: &Folder, settings: Vec<(String, String)>) -> io::Result<Self> {
        let account = Account::for_postgres()?;
        let home = if account.reaches(folder.root()) {
            folder.path("postgres")
        } else {
            let fallback = fallback_folder(folder.root());
            tracing::info!(state = %folder.root().display(), data = %fallback.display(),
                "Postgres's user cannot enter the state folder, its data is kept elsewhere");
            fallback
        };
        Ok(Self { tools, account, home, log: folder.path("postgres.log"), settings })
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// The folder of the server's socket, which only its account and root can enter. `None` where its path is longer
    /// than a socket's may be, or would have to be quoted in settings and URLs: then there is TCP alone.
    pub(crate) fn socket_folder(&self, port: u16) -> Option<&str> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
        let folder = self.home.to_str()?;
        let length = folder.len() + format!("/.s.PGSQL.{port}").len();
        (folder.bytes().all(plain) && length <= SOCKET_PATH_MAX).then_some(folder)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.tools.bin_dir.join(name)
    }

    /// The log file; Postgres appends to it.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Can the account run the programs? Not when they lie below a closed folder.
    pub(crate) fn unreachable_programs(&self) -> Option<(&str, &Path)> {
        match &self.account {
            Account::Other { name, .. } if !self.account.reaches(&self.tools.bin_dir) => {
                Some((name, &self.tools.bin_dir))
            }
            Account::Other { .. } | Account::Ourselves => None,
        }
    }

    /// Ends a server (or a single-user run) that an earlier owner left behind.
    pub(crate) fn stop_stale(&self) {
        let lines = read_pid_file(&self.data());
        // Negative: single-user mode.
        let pid = lines.first().and_then(|line| line.parse::<i64>().ok()).map(i64::unsigned_abs);
        if let Some(Ok(pid)) = pid.map(u32::try_from) {
            process::stop_stranger(pid, "postgres", Signal::Interrupt);
        }
    }

    /// The major version of the existing data, when it is not the server's.
    pub(crate) fn other_major(&self) -> Option<String> {
        let data = fs::read_to_string(self.data().join("PG_VERSION")).ok()?.trim().to_owned();
        (data != self.tools.version.major.to_string()).then_some(data)
    }

    /// Makes the cluster unless it is there: beside its place, then moved, so that an interrupted
    /// attempt leaves none. Returns what `initdb` printed when it failed.
    pub(crate) fn ensure_cluster(&self, secrets: &Secrets, sync: bool) -> io::Result<Result<(), String>> {
        self.account.own_folder(&self.home)?;
        if self.data().join("PG_VERSION").exists() {
            return Ok(Ok(()));
        }
        let new = self.home.join("data.new");
        folder::remove(&new)?;
        let password = self.home.join("password");
        folder::write_private(&password, secrets.superuser.as_bytes())?;
        self.account.own_file(&password)?;
        let output = self.initdb(&new, &password, sync).output();
        folder::remove(&password)?;
        let output = output?;
        if !output.status.success() {
            return Ok(Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        fs::rename(&new, self.data())?;
        Ok(Ok(()))
    }

    fn initdb(&self, data: &Path, password: &Path, sync: bool) -> Command {
        let locale = if cfg!(target_os = "linux") { "C.UTF-8" } else { "C" };
        let mut command = Command::new(self.program("initdb"));
        command.arg("-D").arg(data).arg("--pwfile").arg(password).args(["-U", SUPERUSER]);
        command.args(["--auth=scram-sha-256", "--data-checksums", "--encoding=UTF8", "--lc-messages=C"]);
        command.arg(format!("--locale={locale}"));
        if !sync {
            command.arg("--no-sync");
        }
        command.stdin(Stdio::null());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        self.account.apply(&mut command);
        command
    }

    /// Starts the server and waits until it accepts connections.
    pub(crate) fn launch(&self, guard: &Guard, port: u16) -> Result<Child, LaunchError> {
        let deadline = Instant::now() + READY_MAX;
        loop {
            match self.launch_once(guard, port, deadline) {
                // The last processes of a killed server still hold its memory; they end by themselves.
                Err(LaunchError::Ended { output })
                    if output.contains("is still in use") && Instant::now() < deadline =>
                {
                    std::thread::sleep(POLL_PAUSE);
                }
                other => return other,
            }
        }
    }

    fn launch_once(&self, guard: &Guard, port: u16, deadline: Instant) -> Result<Child, LaunchError> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log).map_err(LaunchError::Spawn)?;
        let log_before = log.metadata().map_or(0, |metadata| metadata.len());
        let mut child = self.spawn(guard, port, log).map_err(LaunchError::Spawn)?;
        let limit = deadline.saturating_duration_since(Instant::now());
        let mut ended = false;
        let answered = process::poll(limit, || {
            ended = process::exited(&mut child).is_some();
            ended || self.is_ready(child.id(), port)
        });
        if answered && !ended {
            return Ok(child);
        }
        process::kill_child(&mut child);
        let output = log_since(&self.log, log_before);
        Err(if ended { LaunchError::Ended { output } } else { LaunchError::Silent { output } })
    }

    fn spawn(&self, guard: &Guard, port: u16, log: File) -> io::Result<Child> {
        let mut arguments = vec!["-D".into(), self.data().into_os_string()];
        let ours = SETTINGS.iter().map(|(name, value)| format!("{name}={value}"));
        let theirs = self.settings.iter().map(|(name, value)| format!("{name}={value}"));
        let sockets = self.socket_folder(port).unwrap_or_default();
        let here = [format!("port={port}"), format!("unix_socket_directories={sockets}")];
        for setting in ours.chain(here).chain(theirs) {
            arguments.extend(["-c".into(), setting.into()]);
        }
        guard.spawn(Role::Postgres, &self.program("postgres"), arguments, &self.account, log)
    }

    /// The server writes `ready` into line 8 of its pid file; the connection proves the rest.
    fn is_ready(&self, pid: u32, port: u16) -> bool {
        let lines = read_pid_file(&self.data());
        lines.first().is_some_and(|line| *line == pid.to_string())
            && lines.get(7).is_some_and(|line| line == "ready")
            && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    }
}

fn read_pid_file(data: &Path) -> Vec<String> {
    let text = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    text.lines().map(|line| line.trim().to_owned()).collect()
}
