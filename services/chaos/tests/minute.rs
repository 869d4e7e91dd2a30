//! A minute of chaos: each fault and each crash point at least once, and nothing is wrong.

#![expect(clippy::large_futures, reason = "one run at a time, and nobody is short of stack")]

use chaos::plan::Plan;
use chaos::report;
use chaos::run::{self, Arguments};
use farmera::output::Paint;

/// Any other finds other things; this one is kept so that the tests of a commit are the same everywhere.
const SEED: u64 = 20_261_121;

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_of_chaos_loses_doubles_and_skips_nothing() {
    let folder = farmera_local::project_root().join(format!(".farmera/chaos-minute-{}", std::process::id()));
    let arguments = Arguments::minute(SEED, env!("CARGO_BIN_EXE_chaos").into());
    let outcome = run::perform(&arguments, &Plan::minute(), SEED, folder.clone()).await.unwrap();
    report::print_faults(&outcome.faults, Paint::plain());
    report::print_findings(&outcome.findings, Paint::plain());
    assert!(outcome.is_good(), "seed {SEED}; logs and data are in {}", folder.display());
    std::fs::remove_dir_all(folder).unwrap();
}
