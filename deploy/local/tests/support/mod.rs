//! What the tests look at the servers with: psql, and a few lines of the NATS protocol.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use farmera_local::{DatabaseSpec, Servers, ServersOptions, Toolbox, project_root};

/// A state folder that an unprivileged Postgres can reach.
pub fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

pub fn options(root: &Path) -> ServersOptions {
    let mut options = ServersOptions::new(root);
    options.databases = vec![
        DatabaseSpec::new("orders", "orders_owner", "orders_service"),
        DatabaseSpec::new("payment", "payment_owner", "payment_service"),
    ];
    options
}

/// Runs one statement; what it printed, or the complaint.
pub fn sql(url: &str, statement: &str) -> Result<String, String> {
    let bin_dir = Toolbox::find(&project_root()).unwrap().postgres.bin_dir;
    let own = bin_dir.join("psql");
    let psql = if own.exists() { own } else { PathBuf::from("psql") };
    let output = Command::new(psql)
        .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", statement])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

/// Sends one JetStream API request; the JSON answer as text.
pub fn jetstream(servers: &Servers, subject: &str, body: &str) -> String {
    publish(servers, &format!("$JS.API.{subject}"), body)
}

/// Publishes one message; what the server answers.
pub fn publish(servers: &Servers, subject: &str, body: &str) -> String {
    let url = servers.nats_url();
    let mut stream = TcpStream::connect(url.strip_prefix("nats://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write!(
        stream,
        "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB {subject} answer {}\r\n{body}\r\n",
        body.len()
    )
    .unwrap();
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "nats-server closed the connection");
        if let Some(head) = line.strip_prefix("MSG ") {
            let mut answer = vec![0; head.split_whitespace().last().unwrap().parse().unwrap()];
            reader.read_exact(&mut answer).unwrap();
            return String::from_utf8(answer).unwrap();
        }
    }
}

pub fn create_stream(servers: &Servers) -> String {
    jetstream(servers, "STREAM.CREATE.kept", r#"{"name":"kept","subjects":["kept.>"]}"#)
}

pub fn has_stream(servers: &Servers) -> bool {
    let names = jetstream(servers, "STREAM.NAMES", "");
    assert!(names.contains("stream_names_response"), "{names}");
    names.contains("\"kept\"")
}

/// Runs (a zombie does not count)?
pub fn is_alive(pid: u32) -> bool {
    let output = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap();
    let state = String::from_utf8(output.stdout).unwrap();
    !state.trim().is_empty() && !state.starts_with('Z')
}

/// Looks until it holds, at most 20 s.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "not so after 20 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout.trim_ascii() == b"0"
}

/// Kills with SIGKILL.
pub fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
}

/// The guard process of an owner.
pub fn guard_of(owner: u32) -> u32 {
    let output = Command::new("ps").args(["-e", "-o", "pid=,ppid=,args="]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let fields = |line: &str| {
        let mut numbers = line.split_whitespace().map(|word| word.parse::<u32>().ok());
        (numbers.next().flatten(), numbers.next().flatten())
    };
    // The script in the arguments spans many lines; its first one holds both numbers.
    let guards: Vec<u32> = text
        .lines()
        .filter(|line| line.contains("/bin/sh -c # Stops the servers"))
        .map(fields)
        .filter_map(|(pid, parent)| pid.filter(|_| parent == Some(owner)))
        .collect();
    assert_eq!(guards.len(), 1, "{text}");
    guards.first().copied().unwrap()
}
