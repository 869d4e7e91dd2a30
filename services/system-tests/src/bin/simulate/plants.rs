use std::io::{self, Write};
use std::time::{Duration, Instant};

use system_tests::simulation::{Bench, Plant, Setting};

/// Plants each bug in turn, and runs seeds until one finds it; true when each is found.
///
/// # Errors
/// The output cannot be written.
pub fn all(out: &mut impl Write, bench: &Bench, patience: Duration) -> io::Result<bool> {
    writeln!(out, "{:<26} {:<24} {:>6} {:>8}  noticed by", "planted", "where", "seed", "after")?;
    let mut unnoticed = 0;
    for plant in Plant::ALL {
        let began = Instant::now();
        let found = (1..).take_while(|_| began.elapsed() < patience).find_map(|seed| {
            let report = bench.run(seed, Setting { plant: Some(*plant), ..Setting::default() });
            report.outcome.violations.into_iter().next().map(|violation| (seed, violation))
        });
        let (name, place, after) = (plant.name(), plant.place(), began.elapsed().as_secs_f64());
        match found {
            Some((seed, violation)) => {
                writeln!(out, "{name:<26} {place:<24} {seed:>6} {after:>6.2} s  {}", violation.promise)?;
            }
            None => {
                unnoticed += 1;
                writeln!(out, "{name:<26} {place:<24} {:>6} {after:>6.2} s  NOBODY", "-")?;
            }
        }
    }
    Ok(unnoticed == 0)
}
