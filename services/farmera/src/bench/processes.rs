//! What each process took: CPU time and memory, from `/proc`. Other systems show nothing.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use chassis::shutdown::{Shutdown, Trigger};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::sleep;

const SAMPLE_INTERVAL: Duration = Duration::from_millis(250);
/// `USER_HZ`: what `/proc` counts CPU time in, on every Linux there is.
const TICKS_PER_SECOND: f64 = 100.0;
const MEBIBYTE: f64 = 1024.0;

/// A process to look at.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) name: &'static str,
    pub(super) pid: u32,
    /// With its descendants.
    pub(super) family: bool,
}

impl Process {
    fn members(&self) -> Vec<u32> {
        if self.family { family(self.pid) } else { vec![self.pid] }
    }
}

/// What a process took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Usage {
    pub(super) process: &'static str,
    pub(super) cpu_seconds: f64,
    pub(super) cores: f64,
    /// Memory of their own, and what they share counted once.
    pub(super) memory_peak_mib: f64,
}

/// Looks at processes until told to stop.
pub(super) struct Watch {
    processes: Vec<Process>,
    ticks: Vec<u64>,
    trigger: Trigger,
    sampling: JoinSet<Vec<u64>>,
}

impl Watch {
    pub(super) fn start(processes: &[Process]) -> Self {
        let (trigger, shutdown) = Shutdown::new();
        let mut sampling = JoinSet::new();
        sampling.spawn(sample(processes.to_vec(), shutdown));
        let ticks = processes.iter().map(ticks).collect();
        Self { processes: processes.to_vec(), ticks, trigger, sampling }
    }

    pub(super) async fn finish(mut self, elapsed: Duration) -> Vec<Usage> {
        let after: Vec<u64> = self.processes.iter().map(ticks).collect();
        self.trigger.trigger();
        let peaks = self.sampling.join_next().await.and_then(Result::ok).unwrap_or_default();
        let rows = self.processes.iter().zip(self.ticks.iter().zip(after)).zip(peaks);
        let usage =
            rows.map(|((process, (before, after)), peak)| usage(process, after.saturating_sub(*before), peak, elapsed));
        usage.filter(|usage| usage.memory_peak_mib > 0.0).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "ticks of minutes and kibibytes of gibibytes fit a float")]
fn usage(process: &Process, ticks: u64, peak_kib: u64, elapsed: Duration) -> Usage {
    let cpu_seconds = ticks as f64 / TICKS_PER_SECOND;
    let cores = cpu_seconds / elapsed.as_secs_f64().max(0.001);
    Usage { process: process.name, cpu_seconds, cores, memory_peak_mib: peak_kib as f64 / MEBIBYTE }
}

/// Kibibytes at most, per process.
async fn sample(processes: Vec<Process>, mut shutdown: Shutdown) -> Vec<u64> {
    let mut peaks = vec![0; processes.len()];
    loop {
        for (peak, process) in peaks.iter_mut().zip(&processes) {
            *peak = memory_kib(process).max(*peak);
        }
        tokio::select! {
            () = shutdown.triggered() => return peaks,
            () = sleep(SAMPLE_INTERVAL) => {}
        }
    }
}

/// CPU time so far; of a family, that of members that have ended, too.
fn ticks(process: &Process) -> u64 {
    let stats = process.members().into_iter().filter_map(stat);
    stats.map(|stat| if process.family { stat.ticks + stat.ended_ticks } else { stat.ticks }).sum()
}

/// Every process has memory of its own; what they map or share (a Postgres's buffers) is counted once.
fn memory_kib(process: &Process) -> u64 {
    let mut own = 0;
    let mut shared = 0;
    for member in process.members() {
        let status = fs::read_to_string(format!("/proc/{member}/status")).unwrap_or_default();
        own += field(&status, "RssAnon:");
        shared = (field(&status, "RssFile:") + field(&status, "RssShmem:")).max(shared);
    }
    own + shared
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

struct Stat {
    parent: u32,
    ticks: u64,
    /// Of children that have ended.
    ended_ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name of the program, in brackets, may hold anything; what follows are numbers.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, numbers) = text.rsplit_once(')')?;
    let mut numbers = numbers.split_whitespace();
    let parent = numbers.nth(1)?.parse().ok()?;
    // Fields 14 to 17 of proc(5): user and system time, then both of children that have ended.
    let mut times = numbers.skip(9).map(|number| number.parse::<u64>().unwrap_or(0));
    let ticks = times.next()? + times.next()?;
    Some(Stat { parent, ticks, ended_ticks: times.next()? + times.next()? })
}

/// A process and its descendants.
fn family(pid: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(member) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(stat) = stat(member) {
            children.entry(stat.parent).or_default().push(member);
        }
    }
    let mut family = vec![pid];
    let mut index = 0;
    while let Some(member) = family.get(index).copied() {
        family.extend(children.remove(&member).unwrap_or_default());
        index += 1;
    }
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_past_any_program_name() {
        let stat = parse_stat("42 (a) b) S 7 42 42 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 1").unwrap();
        assert_eq!((stat.parent, stat.ticks, stat.ended_ticks), (7, 30, 70));
    }

    #[test]
    fn memory_fields_are_read_in_kibibytes() {
        let status = "Name:\tx\nRssAnon:\t  2048 kB\nRssFile:\t 12 kB\n";
        assert_eq!(field(status, "RssAnon:"), 2_048);
        assert_eq!(field(status, "RssShmem:"), 0);
    }
}
