//! What was measured, for people and for programs.

use std::fs;

use serde::Serialize;

use crate::bench::Arguments;
use crate::bench::load::Measured;
use crate::bench::processes::Usage;
use crate::bench::target::Running;
use crate::invariants::{self, Verdict};
use crate::output::{self, Format, Paint, grouped};

/// Everything that a reader needs to judge or to repeat the run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    command: String,
    build: &'static str,
    machine: Machine,
    orders: Orders,
    seconds: f64,
    orders_per_second: f64,
    latency_ms: Latency,
    processes: Vec<Usage>,
    invariants: Vec<Verdict>,
}

#[derive(Debug, Serialize)]
struct Machine {
    cores: usize,
    cpu: Option<String>,
    memory_mib: Option<u64>,
    postgres: Option<String>,
    /// Whether a commit reaches the disk; unknown for services that bench did not start.
    fsync: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Orders {
    concurrency: u32,
    /// Orders per second that were started; a closed loop has none.
    rate: Option<f64>,
    lines: u16,
    completed: u64,
    compensated: u64,
    errors: u64,
    first_error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
}

impl Report {
    #[expect(clippy::cast_precision_loss, reason = "orders and microseconds of minutes fit a float")]
    pub(super) fn new(
        arguments: &Arguments,
        running: &Running,
        measured: &Measured,
        processes: Vec<Usage>,
        invariants: Vec<Verdict>,
    ) -> Self {
        let seconds = measured.elapsed.as_secs_f64();
        let millis = |quantile: f64| measured.latency.value_at_quantile(quantile) as f64 / 1_000.0;
        let latency_ms = Latency { p50: millis(0.5), p95: millis(0.95), p99: millis(0.99), max: millis(1.0) };
        let tally = &measured.tally;
        let orders = Orders {
            concurrency: arguments.concurrency,
            rate: arguments.rate,
            lines: arguments.lines,
            completed: tally.completed,
            compensated: tally.compensated,
            errors: tally.errors,
            first_error: tally.first_error.clone(),
        };
        Self {
            command: std::env::args().collect::<Vec<_>>().join(" "),
            build: if cfg!(debug_assertions) { "dev" } else { "release" },
            machine: Machine::look(running),
            orders,
            seconds,
            orders_per_second: (tally.completed + tally.compensated) as f64 / seconds.max(0.001),
            latency_ms,
            processes,
            invariants,
        }
    }

    /// What is wrong with the run, one line.
    pub(super) fn wrong(&self) -> Option<String> {
        if let Some(error) = &self.orders.first_error {
            return Some(format!("{} orders went wrong, the first: {error}", self.orders.errors));
        }
        let broken = self.invariants.iter().find(|verdict| !verdict.holds)?;
        Some(format!("an invariant does not hold: {}: {}", broken.claim, broken.detail))
    }

    pub(super) fn print(&self, format: Format, paint: Paint) {
        if format == Format::Json {
            return output::json(self);
        }
        let orders = &self.orders;
        let loop_kind = match orders.rate {
            Some(rate) => format!("open loop, {rate} started per second, at most {} in flight", orders.concurrency),
            None => format!("closed loop, {} in flight", orders.concurrency),
        };
        output::line(format!("{} ({} build)", paint.strong(&self.command), self.build));
        output::line(format!("  {}", self.machine.line()));
        output::line(format!(
            "  {} orders of {} lines in {:.2} s, {loop_kind}: {} completed, {} declined and undone, {} errors",
            grouped(orders.completed + orders.compensated + orders.errors),
            orders.lines,
            self.seconds,
            grouped(orders.completed),
            grouped(orders.compensated),
            grouped(orders.errors)
        ));
        let Latency { p50, p95, p99, max } = &self.latency_ms;
        let rate = paint.strong(&format!("{:.0} orders/s", self.orders_per_second));
        output::line(format!("\n  {rate}  p50 {p50:.1} ms  p95 {p95:.1} ms  p99 {p99:.1} ms  max {max:.1} ms\n"));
        let mut table = paint.table(&["process", "cpu s", "cores", "memory peak"], &[1, 2, 3]);
        for usage in &self.processes {
            let memory = format!("{:.0} MiB", usage.memory_peak_mib);
            let (cpu, cores) = (format!("{:.2}", usage.cpu_seconds), format!("{:.2}", usage.cores));
            table.add_row([usage.process.to_owned(), cpu, cores, memory]);
        }
        output::line(output::trimmed(&table.to_string().lines().map(|line| format!("  {line}\n")).collect::<String>()));
        output::line("");
        invariants::print(&self.invariants, paint);
        output::line("");
    }
}

impl Machine {
    fn look(running: &Running) -> Self {
        let postgres = running.addresses.as_ref().map(|addresses| &addresses.postgres);
        let cpu = fs::read_to_string("/proc/cpuinfo").ok();
        let memory = fs::read_to_string("/proc/meminfo").ok();
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: cpu.and_then(|text| Some(field(&text, "model name")?.to_owned())),
            memory_mib: memory
                .and_then(|text| field(&text, "MemTotal")?.split(' ').next()?.parse::<u64>().ok())
                .map(|kib| kib / 1_024),
            postgres: postgres.map(|postgres| postgres.version.clone()),
            fsync: postgres.map(|postgres| postgres.fsync),
        }
    }

    fn line(&self) -> String {
        let mut parts = vec![format!("{} cores", self.cores)];
        parts.extend(self.cpu.clone());
        parts.extend(self.memory_mib.map(|mib| format!("{} MiB", grouped(mib))));
        parts.extend(self.postgres.as_ref().map(|version| format!("Postgres {version}")));
        parts.extend(self.fsync.map(|fsync| format!("fsync {}", if fsync { "on" } else { "OFF" })));
        parts.join(", ")
    }
}

/// The value of the first `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}
