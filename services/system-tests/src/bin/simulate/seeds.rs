use std::io::{self, Write};
use std::time::Instant;

use system_tests::simulation::{Bench, Report};

use crate::arguments::Arguments;
use crate::report::Sum;

/// What is wrong with one seed is told so often; the story has all of it.
const TOLD_MAX: usize = 8;

/// Runs one seed and tells its story; true when nothing is wrong.
///
/// # Errors
/// The output cannot be written.
pub fn one(out: &mut impl Write, bench: &Bench, seed: u64, arguments: &Arguments) -> io::Result<bool> {
    let report = bench.run(seed, arguments.setting(true));
    for line in &report.outcome.story {
        writeln!(out, "{line}")?;
    }
    let mut sum = Sum::default();
    sum.add(&report);
    sum.tell(out, std::time::Duration::ZERO)?;
    told(out, &report, arguments)?;
    Ok(report.outcome.violations.is_empty())
}

/// Runs seed after seed; true when nothing is wrong with any.
///
/// # Errors
/// The output cannot be written.
pub fn many(out: &mut impl Write, bench: &Bench, arguments: &Arguments) -> io::Result<bool> {
    let began = Instant::now();
    let mut sum = Sum::default();
    let last = arguments.seeds.map_or(u64::MAX, |seeds| arguments.from.saturating_add(seeds));
    for seed in arguments.from..last {
        // Whoever says how many waits for as many.
        if arguments.seeds.is_none() && began.elapsed() >= arguments.seconds {
            break;
        }
        let report = bench.run(seed, arguments.setting(false));
        sum.add(&report);
        if !report.outcome.violations.is_empty() {
            told(out, &report, arguments)?;
            if sum.failed >= 10 {
                writeln!(out, "ten seeds have failed, that is enough")?;
                break;
            }
        }
    }
    sum.tell(out, began.elapsed())?;
    Ok(sum.failed == 0)
}

/// What is wrong, and how to see it again.
fn told(out: &mut impl Write, report: &Report, arguments: &Arguments) -> io::Result<()> {
    for violation in report.outcome.violations.iter().take(TOLD_MAX) {
        writeln!(out, "seed {}: {violation}", report.seed)?;
    }
    if !report.outcome.violations.is_empty() {
        let plant = arguments.plant.map(|plant| format!(" --plant {}", plant.name())).unwrap_or_default();
        let alone = if arguments.has_operators { "" } else { " --no-operators" };
        writeln!(out, "again, with its story: make simulate SIMULATE=\"--seed {}{plant}{alone}\"", report.seed)?;
    }
    Ok(())
}
