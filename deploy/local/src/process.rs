//! Processes: signals, liveness, waiting with a deadline.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// Pause between two looks at something that another process will change.
pub(crate) const POLL_PAUSE: Duration = Duration::from_millis(20);
/// How long a server may take to stop before it is killed.
pub(crate) const STOP_MAX: Duration = Duration::from_secs(10);
/// How much of a log goes into an error.
const LOG_SHOWN_MAX: u64 = 4096;
/// How long a server may take to answer.
pub(crate) const READY_MAX: Duration = Duration::from_secs(15);

/// The signals used here.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signal {
    Interrupt,
    Terminate,
    Kill,
}

/// True when we run as root.
#[expect(unsafe_code, reason = "no safe call for it; geteuid has no preconditions and cannot fail")]
pub(crate) fn is_root() -> bool {
    unsafe { libc::geteuid() == 0 }
}

/// Sends a signal. A process that is gone already is what was wanted.
#[expect(unsafe_code, reason = "std cannot send signals; kill takes numbers and touches no memory")]
pub(crate) fn send(pid: u32, signal: Signal) {
    let number = match signal {
        Signal::Interrupt => libc::SIGINT,
        Signal::Terminate => libc::SIGTERM,
        Signal::Kill => libc::SIGKILL,
    };
    // 0 and negative numbers would mean groups of processes.
    if let Ok(pid @ 1..) = libc::pid_t::try_from(pid) {
        unsafe { libc::kill(pid, number) };
    }
}

/// Is this process there, no zombie, and running a program of this name? Ids are used again.
pub(crate) fn runs(pid: u32, name: &str) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => matches_stat(&stat, name),
        Err(_) if Path::new("/proc/self").exists() => false,
        Err(_) => runs_by_ps(pid, name),
    }
}

fn matches_stat(stat: &str, name: &str) -> bool {
    let Some((before, after)) = stat.rsplit_once(')') else { return false };
    let Some((_, program)) = before.split_once('(') else { return false };
    program == name && !after.trim_start().starts_with(['Z', 'X'])
}

fn runs_by_ps(pid: u32, name: &str) -> bool {
    let output = std::process::Command::new("ps").args(["-o", "stat=,comm=", "-p", &pid.to_string()]).output();
    output.is_ok_and(|output| {
        let line = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        !line.starts_with('Z') && line.rsplit(['/', ' ']).next() == Some(name)
    })
}

/// The name under which the system lists a program: its file name, at most 15 bytes on Linux.
pub(crate) fn process_name(program: &Path) -> String {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let kept = if cfg!(target_os = "linux") { 15 } else { usize::MAX };
    String::from_utf8_lossy(name.as_bytes().get(..kept).unwrap_or(name.as_bytes())).into_owned()
}

/// Looks until `done` says yes; false when `limit` has passed first.
pub(crate) fn poll(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(POLL_PAUSE);
    }
}

/// Stops a process of an earlier owner: asks, waits, kills.
pub(crate) fn stop_stranger(pid: u32, name: &str, signal: Signal) {
    if !runs(pid, name) {
        return;
    }
    tracing::info!(pid, name, "stopping a server left by an earlier run");
    send(pid, signal);
    if !poll(STOP_MAX, || !runs(pid, name)) {
        send(pid, Signal::Kill);
        poll(STOP_MAX, || !runs(pid, name));
    }
}

/// Stops a child of ours and takes its exit status: asks, waits, kills.
pub(crate) fn stop_child(child: &mut Child, signal: Signal) {
    send_to_child(child, signal);
    if !poll(STOP_MAX, || exited(child).is_some()) {
        tracing::warn!(pid = child.id(), "server did not stop in time, killing it");
        kill_child(child);
    }
}

/// Kills a child of ours and takes its exit status.
pub(crate) fn kill_child(child: &mut Child) {
    send_to_child(child, Signal::Kill);
    if let Err(error) = child.wait() {
        tracing::warn!(pid = child.id(), %error, "killed server could not be awaited");
    }
}

fn send_to_child(child: &mut Child, signal: Signal) {
    // Once reaped its id may belong to another process.
    if exited(child).is_none() {
        send(child.id(), signal);
    }
}

/// The exit status when the child has ended.
pub(crate) fn exited(child: &mut Child) -> Option<ExitStatus> {
    child.try_wait().ok().flatten()
}

/// What was added to a log file since it was `before` bytes long; its end when that is much.
pub(crate) fn log_since(log: &Path, before: u64) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let shown_from = file.metadata()?.len().saturating_sub(LOG_SHOWN_MAX).max(before);
        file.seek(SeekFrom::Start(shown_from))?;
        let mut text = Vec::new();
        file.take(LOG_SHOWN_MAX).read_to_end(&mut text)?;
        Ok(text)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{matches_stat, process_name, runs};
    use std::path::Path;

    #[test]
    fn a_zombie_and_a_reused_id_do_not_count_as_running() {
        assert!(matches_stat("12 (postgres) S 1 12 12", "postgres"));
        assert!(!matches_stat("12 (postgres) Z 1 12 12", "postgres"));
        assert!(!matches_stat("12 (cc1 (x)) R 1 12 12", "postgres"));
    }

    #[test]
    fn our_own_process_runs_under_the_name_of_its_program() {
        // Cargo may call a test program's main thread otherwise, so ask the system.
        if let Ok(name) = std::fs::read_to_string("/proc/self/comm") {
            assert!(runs(std::process::id(), name.trim_end()));
        }
    }

    #[test]
    fn a_long_program_name_is_cut_as_the_system_cuts_it() {
        if cfg!(target_os = "linux") {
            assert_eq!(process_name(Path::new("/x/nats-server-2.15.1")), "nats-server-2.1");
        }
    }
}
