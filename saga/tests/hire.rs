//! What a definition may ask for beyond steps in order: word from outside, steps that may be left out, a deadline for the
//! whole; and what an operator may do to one saga. Somebody is hired.

#![expect(clippy::unwrap_used, reason = "a helper of tests may fail as a test does")]

use std::time::Duration;

use chrono::TimeDelta;
use saga::laws::{self, Sample};
use saga::testing::{
    DAWN, World, cancelled, done, paused, rejected, resumed, retried, skipped, started, undone, unpaused, woken,
};
use saga::{
    CompensationCause, Definition, Facts, Problem, Process, Refusal, RetryPolicy, Status, StepName, StepPhase, ask,
    await_word, local, saga,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq)]
struct Hiring;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Candidate {
    needs_visa: bool,
}

impl Process for Hiring {
    type Input = Candidate;
    type Request = String;
    type Output = ();
}

const HOUR: Duration = Duration::from_hours(1);

fn words(text: &'static str) -> fn(&Facts<'_, Hiring>) -> String {
    match text {
        "desk" => |_| "desk".to_owned(),
        "no desk" => |_| "no desk".to_owned(),
        "visa" => |_| "visa".to_owned(),
        "no visa" => |_| "no visa".to_owned(),
        "revoke" => |_| "revoke".to_owned(),
        _ => |_| "welcome".to_owned(),
    }
}

/// Desk, visa if one is needed, approval by a person, then no way back: signature from outside, welcome.
fn hire() -> Definition<Hiring> {
    let twice = RetryPolicy::new(2, Duration::from_secs(60), Duration::from_secs(60));
    saga::<Hiring>("hire", 1)
        .deadline(48 * HOUR)
        .compensatable("desk", ask(words("desk")).undo(words("no desk")).retry(twice).undo_retry(twice))
        .compensatable(
            "visa",
            ask(words("visa"))
                .retry(twice)
                .undo(words("no visa"))
                .undo_retry(twice)
                .only_if(|facts| facts.input().needs_visa),
        )
        .compensatable("approval", await_word(24 * HOUR))
        .compensatable("contract", await_word(24 * HOUR).undo(words("revoke")).undo_retry(twice))
        .pivot("sign", local())
        .retriable("first-day", await_word(24 * HOUR))
        .retriable("welcome", ask(words("welcome")).retry(twice))
        .build()
        .unwrap()
}

fn candidate(needs_visa: bool) -> saga::Input<Hiring> {
    started(Candidate { needs_visa })
}

#[test]
fn a_definition_with_everything_obeys_the_laws() {
    let hire = hire();
    for needs_visa in [true, false] {
        laws::all(&Sample { definition: &hire, input: Candidate { needs_visa }, output: |_| None });
    }
}

#[test]
fn a_step_with_nothing_to_do_is_recorded_as_skipped_and_never_undone() {
    let hire = hire();
    saga::testing::saga(&hire).given([candidate(false)]).when(done("desk")).then([
        "StepSucceeded desk",
        "StepSkipped visa",
        "StepAwaited approval",
    ]);
    saga::testing::saga(&hire).given([candidate(false), done("desk")]).when(rejected("approval", "NO")).then([
        "StepRejected approval",
        "CompensationStarted",
        "CompensationRequested desk",
    ]);
}

#[test]
fn a_step_that_was_left_out_is_shown_as_left_out_on_the_way_back_too() {
    let hire = hire();
    let world = saga::testing::saga(&hire)
        .given([candidate(false), done("desk"), rejected("approval", "NO")])
        .when(undone("desk"))
        .and_is(Status::Compensated)
        .world();
    let phases: Vec<_> = world.saga().steps().into_iter().map(|step| step.phase).collect();
    assert_eq!(phases, [StepPhase::Undone, StepPhase::Skipped, StepPhase::Rejected]);
}

#[test]
fn word_that_does_not_come_is_a_no_where_nothing_was_asked() {
    let hire = hire();
    let world = saga::testing::saga(&hire)
        .given([candidate(false), done("desk")])
        .when(woken())
        .then(["StepRejected approval", "CompensationStarted", "CompensationRequested desk"])
        .world();
    let cause = world.saga().cause().cloned();
    assert!(matches!(cause, Some(CompensationCause::Rejected { rejection, .. }) if rejection.code == "NO_WORD"));
}

#[test]
fn word_that_may_have_left_something_behind_is_undone_when_it_does_not_come() {
    let hire = hire();
    saga::testing::saga(&hire).given([candidate(false), done("desk"), done("approval")]).when(woken()).then([
        "StepUnknown contract",
        "CompensationStarted",
        "CompensationRequested contract",
    ]);
}

#[test]
fn word_that_came_needs_no_undoing_without_an_undo() {
    let hire = hire();
    saga::testing::saga(&hire)
        .given([candidate(false), done("desk"), done("approval"), woken()])
        .when(undone("contract"))
        .then(["CompensationSucceeded contract", "CompensationSucceeded approval", "CompensationRequested desk"]);
}

#[test]
fn behind_the_point_of_no_return_missing_word_is_for_an_operator_who_may_wait_again() {
    let hire = hire();
    saga::testing::saga(&hire)
        .given([candidate(false), done("desk"), done("approval"), done("contract")])
        .when(woken())
        .then(["StepUnknown first-day", "SagaParked first-day"])
        .and_is(Status::Parked);
    saga::testing::saga(&hire)
        .given([candidate(false), done("desk"), done("approval"), done("contract"), woken(), resumed()])
        .when(done("first-day"))
        .then(["StepSucceeded first-day", "StepRequested welcome"]);
}

#[test]
fn a_saga_that_is_not_past_its_pivot_by_its_deadline_is_undone() {
    let hire = hire();
    let world = saga::testing::saga(&hire)
        .given([candidate(false), done("desk")])
        .after(TimeDelta::hours(23))
        .when(done("approval"))
        .then(["StepSucceeded approval", "StepAwaited contract"])
        .world();
    let given = [candidate(false), done("desk")];
    saga::testing::saga(&hire).given(given).after(TimeDelta::hours(48)).when(done("approval")).then([
        "StepSucceeded approval",
        "CompensationStarted",
        "CompensationSucceeded approval",
        "CompensationRequested desk",
    ]);
    assert_eq!(world.saga().deadline(), Some(DAWN + TimeDelta::hours(48)));
}

#[test]
fn the_deadline_does_not_bind_behind_the_pivot() {
    let hire = hire();
    let world = saga::testing::saga(&hire)
        .given([candidate(false), done("desk"), done("approval"), done("contract")])
        .after(TimeDelta::hours(72))
        .when(done("first-day"))
        .then(["StepSucceeded first-day", "StepRequested welcome"])
        .world();
    assert_eq!(world.saga().deadline(), None);
}

#[test]
fn a_paused_saga_keeps_answers_and_its_deadlines_stand_still() {
    let hire = hire();
    let mut world = World::new(&hire);
    world.submit(candidate(false)).unwrap();
    let due = world.saga().next_wake().unwrap();
    world.submit(paused()).unwrap();
    assert_eq!((world.saga().status(), world.saga().next_wake()), (Status::Paused, None));
    world.now += TimeDelta::hours(100);
    assert_eq!(world.submit(woken()), Ok(Vec::new()));
    assert_eq!(world.submit(paused()), Err(Refusal::Paused));
    assert_eq!(world.submit(resumed()), Err(Refusal::Paused));
    world.submit(unpaused()).unwrap();
    assert_eq!(world.saga().next_wake(), Some(due + TimeDelta::hours(100)));
    assert_eq!(world.saga().deadline(), Some(DAWN + TimeDelta::hours(148)));
    assert_eq!(world.submit(unpaused()), Err(Refusal::NotPaused));
}

#[test]
fn what_is_answered_while_paused_has_its_effect_when_the_saga_goes_on() {
    let hire = hire();
    saga::testing::saga(&hire)
        .given([candidate(false), paused()])
        .when(done("desk"))
        .then(["StepSucceeded desk"])
        .and_is(Status::Paused);
    saga::testing::saga(&hire).given([candidate(false), paused(), done("desk")]).when(unpaused()).then([
        "SagaUnpaused",
        "StepSkipped visa",
        "StepAwaited approval",
    ]);
}

#[test]
fn cancelled_while_paused_it_undoes_when_it_goes_on() {
    let hire = hire();
    saga::testing::saga(&hire)
        .given([candidate(false), paused()])
        .when(cancelled())
        .then(["CancelRequested", "CompensationStarted"])
        .and_is(Status::Paused);
    saga::testing::saga(&hire)
        .given([candidate(false), paused(), cancelled()])
        .when(unpaused())
        .then(["SagaUnpaused", "CompensationRequested desk"]);
}

#[test]
fn one_step_is_tried_again_at_once_with_a_fresh_policy() {
    let hire = hire();
    let mut world = saga::testing::saga(&hire)
        .given([candidate(false), woken()])
        .when(retried("desk"))
        .then(["StepRetried desk", "StepRequested desk"])
        .world();
    // Two attempts are allowed; the two before do not count any more.
    world.sleep();
    assert_eq!(world.submit(woken()).unwrap().len(), 1, "asked again instead of given up");
    assert_eq!(world.saga().status(), Status::Running);
}

#[test]
fn what_was_skipped_by_hand_after_it_was_asked_for_is_undone_all_the_same() {
    let hire = hire();
    saga::testing::saga(&hire).given([candidate(false)]).when(skipped("desk")).then([
        "StepSkipped desk",
        "StepSkipped visa",
        "StepAwaited approval",
    ]);
    saga::testing::saga(&hire).given([candidate(false), skipped("desk")]).when(rejected("approval", "NO")).then([
        "StepRejected approval",
        "CompensationStarted",
        "CompensationRequested desk",
    ]);
    let world = saga::testing::saga(&hire)
        .given([candidate(false), skipped("desk"), rejected("approval", "NO")])
        .when(skipped("desk"))
        .then(["StepSkipped desk", "SagaCompensated"])
        .world();
    let desk = world.saga().steps().into_iter().find(|step| step.name == *"desk").unwrap();
    assert_eq!(desk.phase, StepPhase::UndoSkipped);
}

#[test]
fn only_what_is_being_sought_can_be_skipped_or_retried() {
    let hire = hire();
    let not_sought = Refusal::NotSought { step: StepName::new("approval") };
    saga::testing::saga(&hire).given([candidate(false)]).when(skipped("approval")).then_refused(&not_sought);
    saga::testing::saga(&hire).given([candidate(false)]).when(retried("approval")).then_refused(&not_sought);
}

#[test]
fn a_pivot_cannot_be_left_out() {
    let error = saga::<Hiring>("h", 1).pivot("sign", ask(words("visa")).only_if(|_| true)).build().unwrap_err();
    assert_eq!(error.problems, [Problem::ConditionalPivot { step: StepName::new("sign") }]);
}

#[test]
fn a_deadline_has_limits() {
    let deadline = Duration::from_hours(24 * 31);
    let error = saga::<Hiring>("h", 1).deadline(deadline).pivot("sign", local()).build().unwrap_err();
    assert_eq!(error.problems, [Problem::Deadline { deadline }]);
}
