use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use saga_simulator::{Fault, Fired};
use system_tests::simulation::Report;

/// What many runs came to.
#[derive(Default)]
pub struct Sum {
    seeds: u64,
    orders: u64,
    events: u64,
    happened: u64,
    lasted: Duration,
    fired: Fired,
    acts: BTreeMap<&'static str, u64>,
    violations: u64,
    /// Seeds with something wrong.
    pub failed: u64,
}

impl Sum {
    /// One more run.
    pub fn add(&mut self, report: &Report) {
        let outcome = &report.outcome;
        self.seeds += 1;
        self.orders += report.orders as u64;
        self.events += report.events as u64;
        self.happened += outcome.happened;
        self.lasted += outcome.lasted;
        self.fired.join(&outcome.fired);
        report.acts.iter().for_each(|(name, count)| *self.acts.entry(name).or_default() += count);
        self.violations += outcome.violations.len() as u64;
        self.failed += u64::from(!outcome.violations.is_empty());
    }

    /// Says what they came to; `took` is nothing when nobody measured.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn tell(&self, out: &mut impl Write, took: Duration) -> io::Result<()> {
        let simulated = self.lasted.as_secs();
        let (days, hours, minutes) = (simulated / 86_400, simulated / 3_600 % 24, simulated / 60 % 60);
        writeln!(out, "seeds            {:>12}", self.seeds)?;
        writeln!(out, "orders           {:>12}", self.orders)?;
        writeln!(out, "events stored    {:>12}", self.events)?;
        writeln!(out, "simulated time   {:>12}", format!("{days}d {hours}h {minutes}m"))?;
        for fault in Fault::ALL {
            writeln!(out, "  {:<24} {:>10}", fault.name(), self.fired.of(*fault))?;
        }
        writeln!(out, "faults fired     {:>12}", self.fired.total())?;
        for (name, count) in &self.acts {
            writeln!(out, "  {name:<24} {count:>10}")?;
        }
        writeln!(out, "by operators     {:>12}", self.acts.values().sum::<u64>())?;
        if !took.is_zero() {
            writeln!(out, "took             {:>10.1} s", took.as_secs_f64())?;
            let busy = cpu_time().unwrap_or(took);
            writeln!(out, "orders/s         {:>12.0}", self.orders as f64 / took.as_secs_f64())?;
            writeln!(out, "orders/s of CPU  {:>12.0}", self.orders as f64 / busy.as_secs_f64())?;
        }
        writeln!(out, "violations       {:>12}", self.violations)
    }
}

/// How long this process has kept a core busy: what counts on a machine that others use, too.
fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<u64> =
        stat.rsplit(')').next()?.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    let ticks = fields.get(11)? + fields.get(12)?;
    Some(Duration::from_millis(ticks * 10)).filter(|busy| !busy.is_zero())
}
