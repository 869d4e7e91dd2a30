//! What is measured: services that run already, or a `farmera up` of bench's own.
//!
//! It is a process of its own, so that its CPU time and memory can be told from the clients'. It ends with its standard
//! input, so that it cannot be left behind.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::addresses::{Addresses, Endpoints, Target};
use crate::bench::processes::Process;
use crate::failure::Failure;
use crate::up;

const START_LIMIT: Duration = Duration::from_secs(90);
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Services that answer.
pub(super) struct Running {
    pub(super) endpoints: Endpoints,
    /// What is known about them; nothing when only URLs were given.
    pub(super) addresses: Option<Addresses>,
    child: Option<OurOwn>,
}

struct OurOwn {
    child: Child,
    /// Kept open: what it prints has to go somewhere.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// What `target` says, or a `farmera up` of our own.
    pub(super) async fn start(target: &Target) -> Result<Self, Failure> {
        if target.is_given() {
            let endpoints = target.endpoints()?;
            let addresses = target.running_up().filter(|up| up.endpoints == endpoints);
            return Ok(Self { endpoints, addresses, child: None });
        }
        let started = timeout(START_LIMIT, start_our_own()).await;
        started.unwrap_or_else(|_| Err(Failure::Failed("`farmera up` did not start in time".to_owned())))
    }

    /// Whose CPU and memory are looked at.
    pub(super) fn processes(&self) -> Vec<Process> {
        let mut processes = Vec::new();
        if let Some(addresses) = &self.addresses {
            processes.push(Process { name: "farmera", pid: addresses.pid, family: false });
            let postgres = addresses.postgres.pid.map(|pid| Process { name: "postgres", pid, family: true });
            let nats = addresses.nats.pid.map(|pid| Process { name: "nats-server", pid, family: false });
            processes.extend(postgres.into_iter().chain(nats));
        }
        processes.push(Process { name: "bench (clients)", pid: std::process::id(), family: false });
        processes
    }

    /// Ends our own `farmera up`.
    pub(super) async fn stop(self) {
        let Some(OurOwn { mut child, .. }) = self.child else { return };
        drop(child.stdin.take());
        if timeout(STOP_LIMIT, child.wait()).await.is_err() {
            drop(child.kill().await);
        }
    }
}

async fn start_our_own() -> Result<Running, Failure> {
    let failed = |error: std::io::Error| Failure::Failed(format!("cannot start `farmera up`: {error}"));
    let state = farmera_local::project_root().join(format!(".farmera/bench-{}", std::process::id()));
    let program = std::env::current_exe().map_err(failed)?;
    let mut child = Command::new(program)
        .args(["up", "--fresh", "--free-ports", "--temporary", "--until-stdin-closes", "--state"])
        .arg(&state)
        .env("FARMERA_LOG", std::env::var("FARMERA_LOG").unwrap_or_else(|_| "error".to_owned()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let stdout = child.stdout.take().ok_or_else(|| Failure::Failed("`farmera up` has no output".to_owned()))?;
    let mut output = BufReader::new(stdout).lines();
    while let Some(line) = output.next_line().await.map_err(failed)? {
        if line.starts_with(up::READY) {
            let addresses =
                Addresses::load(&state).ok_or_else(|| Failure::Failed("`farmera up` wrote no addresses".to_owned()))?;
            let endpoints = addresses.endpoints.clone();
            let child = Some(OurOwn { child, _output: output });
            return Ok(Running { endpoints, addresses: Some(addresses), child });
        }
    }
    Err(Failure::Setup("`farmera up` did not start; what it said stands above".to_owned()))
}
