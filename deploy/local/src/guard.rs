//! The guard process, which outlives its owner for as long as it takes to stop the servers.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::account::Account;
use crate::process::{self, STOP_MAX};

const SCRIPT: &str = include_str!("guard.sh");
/// Tells the guard its process id, then becomes the server: there is no moment without a watch.
/// Its standard output is the guard's pipe, which the server itself must not keep.
const REGISTER: &str = r#"server=$1; shift; echo "$server $$"; exec "$@" 1>&2"#;

/// Which server a process id belongs to; the guard's words for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Postgres,
    Nats,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Nats => "nats",
        }
    }
}

/// A running guard. Dropping it ends it, and with it whatever is still registered.
#[derive(Debug)]
pub(crate) struct Guard {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// Starts the guard; it inherits `lock` and so holds it until it is done. At its end it
    /// removes the folders `to_remove`.
    pub(crate) fn start(lock: File, nats_binary: &Path, to_remove: &[PathBuf]) -> io::Result<Self> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "farmera-guard"])
            .arg(process::process_name(nats_binary))
            .args(to_remove)
            .stdin(Stdio::piped())
            .stdout(lock)
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .spawn()?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }

    /// Starts a server under the guard's watch, in a process group of its own, output to `log`.
    pub(crate) fn spawn<Argument: AsRef<OsStr>>(
        &self,
        role: Role,
        program: &Path,
        arguments: impl IntoIterator<Item = Argument>,
        account: &Account,
        log: File,
    ) -> io::Result<Child> {
        let pipe = self.pipe.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", REGISTER, "farmera-server", role.word()])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(std::os::fd::AsFd::as_fd(pipe).try_clone_to_owned()?)
            .stderr(log)
            .process_group(0);
        account.apply(&mut command);
        command.spawn()
    }

    /// This server has ended and its exit status is taken.
    pub(crate) fn forget(&mut self, role: Role) {
        let told = self.pipe.as_mut().map(|pipe| writeln!(pipe, "{} 0", role.word()));
        if let Some(Err(error)) = told {
            tracing::warn!(%error, "the guard process is gone");
        }
    }

    /// Ends the guard and waits for it: bounded by what it may need for two servers.
    pub(crate) fn finish(&mut self) {
        if self.pipe.take().is_none() {
            return;
        }
        if !process::poll(STOP_MAX * 3, || process::exited(&mut self.child).is_some()) {
            tracing::warn!(pid = self.child.id(), "the guard process did not end");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.finish();
    }
}
