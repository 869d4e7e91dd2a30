//! The production cores in a world where everything goes wrong that can: what must hold in each run, and for the runs.
//! `make simulate` runs more of them, and faster.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use system_tests::simulation::{Bench, Plant, Report};

/// Seeds that once found something wrong: each stays here for ever.
const KEPT: [u64; 6] = [1, 2, 3, 7, 11_345, 52_100];

fn bench() -> Bench {
    Bench::new().unwrap()
}

/// Fails with the story and the command that tells it again.
fn must_be_sound(bench: &Bench, report: &Report) {
    let violations = &report.outcome.violations;
    if violations.is_empty() {
        return;
    }
    let story = bench.run(report.seed, None, true).outcome.story.join("\n");
    let told: Vec<_> = violations.iter().map(ToString::to_string).collect();
    panic!("{story}\nseed {}: {}\nagain: make simulate SIMULATE=\"--seed {0}\"", report.seed, told.join("; "));
}

#[test]
fn seeds_that_once_failed_pass() {
    let bench = bench();
    for seed in KEPT {
        must_be_sound(&bench, &bench.run(seed, None, false));
    }
}

#[test]
fn ten_seconds_of_seeds_break_no_promise() {
    let bench = bench();
    let began = Instant::now();
    for seed in (1_000_000..).take_while(|_| began.elapsed() < Duration::from_secs(10)) {
        let report = bench.run(seed, None, false);
        must_be_sound(&bench, &report);
        assert!(report.orders > 0, "a run without orders proves nothing");
    }
}

#[test]
fn one_seed_is_one_run_to_the_byte() {
    let bench = bench();
    for seed in [11, 12, 13, 14, 15] {
        let (once, again) = (bench.run(seed, None, true), bench.run(seed, None, true));
        assert_eq!(once.outcome.story, again.outcome.story);
        assert_eq!(once.fingerprint, again.fingerprint);
        assert!(once.outcome.story.len() > 100, "there is nothing to compare");
        let untold = bench.run(seed, None, false);
        assert_eq!(untold.fingerprint, once.fingerprint, "telling a run changes it");
    }
    assert_ne!(bench.run(11, None, false).fingerprint, bench.run(12, None, false).fingerprint);
}

#[test]
fn a_planted_bug_is_found_and_its_story_ends_with_what_is_wrong() {
    let bench = bench();
    let plant = Some(Plant::ReleaseWithoutEffect);
    let found = (1..200).map(|seed| bench.run(seed, plant, true)).find(|report| !report.outcome.violations.is_empty());
    let report = found.expect("nobody noticed");
    assert!(report.outcome.story.last().unwrap().contains(&report.outcome.violations.last().unwrap().what));
}
