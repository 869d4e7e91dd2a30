//! `chaos plants`: plants each bug in turn and runs the test that must notice. A test that passes all the same fails
//! the command: a check that never turns red proves nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use farmera::failure::Failure;
use farmera::output::{self, Paint};
use faults::Plant;
use serde::Deserialize;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

/// One test may take this long; they take seconds.
const TEST_LIMIT: Duration = Duration::from_secs(180);
/// All test programs of the workspace that are named here, from nothing.
const BUILD_LIMIT: Duration = Duration::from_secs(3_600);

/// Which test notices a bug.
#[derive(Clone, Copy, Debug)]
pub struct Catch {
    /// The bug.
    pub plant: Plant,
    /// The package whose tests these are.
    pub package: &'static str,
    /// The file of tests; the package's own name for those within it.
    pub target: &'static str,
    /// The test.
    pub test: &'static str,
}

const fn catch(plant: Plant, package: &'static str, target: &'static str, test: &'static str) -> Catch {
    Catch { plant, package, target, test }
}

/// Every plant, and who notices. `docs/chaos.md` shows the same.
pub const CATCHES: &[Catch] = &[
    catch(
        Plant::CursorOnPosition,
        "eventstore-postgres",
        "log",
        "a_position_drawn_early_by_a_late_transaction_is_not_stepped_over",
    ),
    catch(
        Plant::NoOpenTransactionBarrier,
        "eventstore-postgres",
        "log",
        "an_open_writer_holds_the_log_back_and_nothing_is_lost",
    ),
    catch(Plant::SwallowConflict, "eventstore-postgres", "contract", "an_append_with_a_stale_version_changes_nothing"),
    catch(
        Plant::ExpectedVersionIgnored,
        "eventstore-postgres",
        "contract",
        "an_append_ahead_of_its_stream_changes_nothing",
    ),
    catch(Plant::LostAnswerIsConflict, "eventstore-postgres", "faults", "a_commit_whose_answer_is_lost_is_found"),
    catch(
        Plant::InboxOutsideTransaction,
        "eventstore-postgres",
        "contract",
        "a_conflict_leaves_no_timer_no_inbox_row_no_letter_no_outbox_row",
    ),
    catch(Plant::PublishBeforeCommit, "eventstore", "worker", "listeners_hear_of_each_commit_once_and_in_order"),
    catch(
        Plant::TimerNotRearmed,
        "saga-runtime",
        "engine",
        "a_timer_of_a_step_that_is_done_by_now_is_moved_to_what_is_awaited",
    ),
    catch(Plant::ChargeWithNewKey, "payment", "settle", "a_request_that_was_lost_is_made_again_under_the_same_key"),
    catch(Plant::OutboxBeforeAck, "chaos", "shells", "a_transaction_leaves_the_outbox_when_it_is_acknowledged"),
    catch(Plant::AckBeforeCommit, "chaos", "shells", "a_message_that_was_not_handled_comes_again"),
    catch(Plant::PoisonDropped, "chaos", "shells", "a_message_nobody_can_handle_is_kept"),
    catch(Plant::CursorBeforeRows, "chaos", "shells", "a_batch_that_failed_halfway_is_applied_again"),
    catch(Plant::NoBarrier, "chaos", "goods", "a_release_that_comes_first_makes_the_late_reservation_a_refusal"),
    catch(Plant::ReleaseWithoutEffect, "chaos", "goods", "released_goods_can_be_had_again"),
];

/// What cargo says of a test program.
#[derive(Deserialize)]
struct Artifact {
    reason: String,
    package_id: Option<String>,
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Plants each bug in turn.
///
/// # Errors
/// [`Failure::Failed`] when a test does not notice its bug, or fails without it.
pub async fn command() -> Result<(), Failure> {
    let programs = programs().await?;
    let paint = Paint::of_stdout();
    let mut table = paint.table(&["planted", "caught by", "after"], &[2]);
    let mut unnoticed = Vec::new();
    for catch in CATCHES {
        let key = (catch.package.to_owned(), catch.target.to_owned());
        let program = programs
            .get(&key)
            .ok_or_else(|| Failure::Setup(format!("no tests {} of {} were built", catch.target, catch.package)))?;
        let sound = run(program, catch.test, None).await?;
        let started = Instant::now();
        let red = !run(program, catch.test, Some(catch.plant)).await?;
        let after = format!("{:.1} s", started.elapsed().as_secs_f64());
        let by = format!("{} {}: {}", catch.package, catch.target, catch.test);
        if !sound || !red {
            unnoticed.push(catch.plant.name());
        }
        table.add_row([catch.plant.name().to_owned(), by, if red { after } else { "NEVER".to_owned() }]);
    }
    output::table(&table);
    if unnoticed.is_empty() {
        return Ok(());
    }
    Err(Failure::Failed(format!("nobody noticed, or the test fails by itself: {}", unnoticed.join(", "))))
}

/// Builds the test programs: together with this package, so that they can be told what to plant.
async fn programs() -> Result<BTreeMap<(String, String), PathBuf>, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["test", "--workspace", "--locked", "--no-run", "--quiet", "--message-format=json"]);
    let mut targets: Vec<&str> = CATCHES.iter().map(|catch| catch.target).collect();
    targets.sort_unstable();
    targets.dedup();
    for target in targets {
        build.args(["--test", target]);
    }
    build.current_dir(farmera_local::project_root()).stderr(Stdio::inherit()).kill_on_drop(true);
    let failed = |what: String| Failure::Setup(format!("cannot build the tests: {what}"));
    let built = timeout(BUILD_LIMIT, build.output()).await.map_err(|error| failed(error.to_string()))?;
    let built = built.map_err(|error| failed(error.to_string()))?;
    if !built.status.success() {
        return Err(failed(built.status.to_string()));
    }
    let text = String::from_utf8_lossy(&built.stdout);
    let artifacts = text.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    let program = |artifact: Artifact| {
        let of_ours = artifact.reason == "compiler-artifact";
        let package = package_of(&artifact.package_id?)?;
        of_ours.then_some(((package, artifact.target?.name), artifact.executable?))
    };
    Ok(artifacts.filter_map(program).collect())
}

/// `path+file:///somewhere/eventstore/postgres#eventstore-postgres@0.1.0`, or without a name when the folder has it.
fn package_of(id: &str) -> Option<String> {
    let (folder, rest) = id.split_once('#')?;
    match rest.split_once('@') {
        Some((name, _)) => Some(name.to_owned()),
        None => folder.rsplit('/').next().map(str::to_owned),
    }
}

/// True when the test passes. A name that no test has is an error, not a pass.
async fn run(program: &Path, test: &str, plant: Option<Plant>) -> Result<bool, Failure> {
    let mut command = Command::new(program);
    command.args(["--include-ignored", test]).env_remove(faults::PLANT).stdin(Stdio::null()).kill_on_drop(true);
    if let Some(plant) = plant {
        command.env(faults::PLANT, plant.name());
    }
    let failed = |what: String| Failure::Failed(format!("{test}: {what}"));
    match timeout(TEST_LIMIT, command.output()).await {
        // It hangs: whoever runs it notices.
        Err(_) => Ok(false),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Ok(Ok(output)) => {
            let text = String::from_utf8_lossy(&output.stdout);
            if text.contains("running 0 tests") {
                return Err(failed("there is no such test".to_owned()));
            }
            Ok(output.status.success())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plant_is_caught_by_somebody_and_the_manual_says_by_whom() {
        let manual = include_str!("../../../docs/chaos.md");
        for plant in Plant::ALL {
            let catch = CATCHES.iter().find(|catch| catch.plant == *plant);
            let catch = catch.unwrap_or_else(|| panic!("nobody catches {}", plant.name()));
            let row = manual.lines().find(|line| line.contains(&format!("`{}`", plant.name())));
            assert!(row.is_some_and(|row| row.contains(catch.test)), "docs/chaos.md: {}", plant.name());
        }
    }

    #[test]
    fn a_package_is_known_by_its_id() {
        let id = package_of("path+file:///x/eventstore/postgres#eventstore-postgres@0.1.0");
        assert_eq!(id.as_deref(), Some("eventstore-postgres"));
        assert_eq!(package_of("path+file:///x/services/payment#0.1.0").as_deref(), Some("payment"));
    }
}
