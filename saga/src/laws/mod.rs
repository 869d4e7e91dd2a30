//! What must be true of every saga, whatever it is about. A test of a definition runs it through all of them:
//!
//! ```
//! # use saga::{Facts, Process, ask, laws};
//! # #[derive(Clone, Debug, PartialEq)] struct Trip;
//! # impl Process for Trip { type Input = u32; type Request = String; type Output = (); }
//! # fn book(_: &Facts<'_, Trip>) -> String { "book".to_owned() }
//! # fn free(_: &Facts<'_, Trip>) -> String { "free".to_owned() }
//! # fn pay(_: &Facts<'_, Trip>) -> String { "pay".to_owned() }
//! let trip = saga::saga::<Trip>("trip", 1).compensatable("book", ask(book).undo(free)).pivot("pay", ask(pay)).build()?;
//! laws::all(&laws::Sample { definition: &trip, input: 7, output: |_| None });
//! # Ok::<(), saga::DefinitionError>(())
//! ```
//!
//! A law is broken with a panic that tells the history that breaks it. Each law plays the definition once for every
//! trouble that it can get into: no trouble at all, each step refused, never answered, answered late, and answered with
//! "I do not know"; the same for each undo.

mod run;

pub use run::Sample;

use eventstore::{Aggregate, DomainEvent};
use run::{Plan, Run, Trouble, plans};

use crate::pending::pending;
use crate::testing::{cancelled, paused, tester, unpaused};
use crate::{Input, Kind, Lane, Outcome, Process, Refusal, Saga, SagaEvent, Status, StepName, UndoOutcome};

/// All of them.
///
/// # Panics
/// One of them is broken.
pub fn all<P: Process>(sample: &Sample<'_, P>) {
    every_step_may_fail(sample);
    every_reply_may_repeat(sample);
    every_reply_may_come_late(sample);
    every_commit_may_be_the_last(sample);
    every_timer_may_fire_twice(sample);
    undo_is_strictly_reverse(sample);
    a_pause_costs_nothing_but_time(sample);
    whatever_waits_can_be_seen_to_by_hand(sample);
}

/// Whatever goes wrong, the saga ends: undone when the trouble was before the point of no return, completed otherwise,
/// with an operator's help where there is no other way. Folding its stored history gives its state.
///
/// # Panics
/// It does not.
pub fn every_step_may_fail<P: Process>(sample: &Sample<'_, P>) {
    for plans in plans(sample) {
        let mut run = Run::begin(sample, plans.clone());
        let status = run.finish();
        let turns = run.was_late() || plans.iter().any(|plan| turns(sample, plan));
        assert_eq!(status, if turns { Status::Compensated } else { Status::Completed }, "{}", run.told());
        assert_eq!(run.was_parked, plans.iter().any(|plan| parks(sample, plan)), "operator needed? {}", run.told());
        assert_eq!(*run.world.saga(), restored(run.world.history()), "{}", run.told());
    }
}

/// A definite answer that comes twice, at any later time, is absorbed. So is a timid one that comes twice in a row.
///
/// # Panics
/// Something follows from it.
pub fn every_reply_may_repeat<P: Process>(sample: &Sample<'_, P>) {
    for plans in plans(sample) {
        let mut run = Run::begin(sample, plans);
        loop {
            let resumed = run.was_parked;
            let said = run.said.clone();
            let last = said.len().saturating_sub(1);
            // After an operator had a step tried again, an old answer cannot be told from a new one.
            for (index, reply) in said.into_iter().enumerate().filter(|_| !resumed) {
                if is_definite_reply(&reply) || (index == last && is_reply(&reply)) {
                    absorbed(&mut run, reply);
                }
            }
            if !run.turn() {
                break;
            }
        }
    }
}

/// An answer that comes after its deadline is taken as long as the step still seeks one. On the way back, and after the
/// end, it is absorbed.
///
/// # Panics
/// It is not.
pub fn every_reply_may_come_late<P: Process>(sample: &Sample<'_, P>) {
    for plans in plans(sample) {
        let Some(plan) = plans.first().filter(|plan| plan.trouble == Trouble::Silent) else { continue };
        let mut run = Run::begin(sample, plans.clone());
        let step = || plan.step.clone();
        let late = Input::Reply { step: step(), outcome: Outcome::Done((sample.output)(plan.step.as_str())) };
        loop {
            let seeks = match run.world.saga() {
                Saga::Running(state) => {
                    state.step(plan.step.as_str()).is_some_and(|step| step.phase.pursuit().is_some())
                }
                Saga::NotStarted | Saga::Compensating(_) | Saga::Ended(_) => false,
            };
            if seeks {
                let events = run.clone().say(late.clone());
                let takes = events.first().is_some_and(|event| event.type_name() == "StepSucceeded");
                assert!(takes, "a late answer for {} is not taken: {}", plan.step, run.told());
            } else {
                absorbed(&mut run, late.clone());
            }
            if !run.turn() {
                break;
            }
        }
    }
}

/// A process may die after any commit: whoever folds what is stored, and asks what is pending, brings the saga to the
/// same end. Even where a commit was torn, which no store does, waking the saga is enough for it to end.
///
/// # Panics
/// It does not end, or not in the same way.
pub fn every_commit_may_be_the_last<P: Process>(sample: &Sample<'_, P>) {
    for plans in plans(sample) {
        let mut whole = Run::begin(sample, plans.clone());
        let status = whole.finish();
        for cut in cuts(whole.world.commits().len()) {
            let stored = whole.world.commits().iter().take(cut).flatten();
            let resumed = finished(sample, &plans, stored.map(through_json).collect());
            assert_eq!(resumed, status, "cut at {cut}: {}", whole.told());
        }
        for cut in cuts(whole.world.history().count()) {
            finished(sample, &plans, whole.world.history().take(cut).map(through_json).collect());
        }
    }
}

/// A timer that fires too early, or a second time, changes nothing.
///
/// # Panics
/// It does.
pub fn every_timer_may_fire_twice<P: Process>(sample: &Sample<'_, P>) {
    for plans in plans(sample) {
        let mut run = Run::begin(sample, plans);
        loop {
            absorbed(&mut run, Input::Wake);
            if !run.turn() {
                break;
            }
        }
    }
}

/// Cancelled at any point where there is a way back, the saga undoes exactly what is done or unknown, and the last
/// stage first: no undo is asked for while a later stage still has something to undo. Where there is no way back,
/// cancelling changes nothing.
///
/// # Panics
/// Something is undone out of order, twice, in vain, or not at all.
pub fn undo_is_strictly_reverse<P: Process>(sample: &Sample<'_, P>) {
    for plans in plans(sample) {
        let mut run = Run::begin(sample, plans);
        loop {
            let mut cancelled_run = run.clone();
            match cancelled_run.world.submit(cancelled()) {
                Ok(_) => {
                    assert_eq!(cancelled_run.finish(), Status::Compensated, "{}", cancelled_run.told());
                    undone_in_reverse(&cancelled_run);
                }
                Err(
                    Refusal::PastNoReturn | Refusal::AtPivot { .. } | Refusal::Compensating | Refusal::Ended { .. },
                ) => {}
                Err(
                    refusal @ (Refusal::NotStarted
                    | Refusal::StartedOtherwise { .. }
                    | Refusal::NotParked
                    | Refusal::Paused
                    | Refusal::NotPaused
                    | Refusal::NotSought { .. }
                    | Refusal::PivotSkipped { .. }
                    | Refusal::OtherDefinition { .. }),
                ) => assert_eq!(Some(refusal), None, "cancelling: {}", run.told()),
            }
            if !run.turn() {
                break;
            }
        }
        undone_in_reverse(&run);
    }
}

/// Paused at any point, nothing is asked for and nothing becomes due, answers are kept, and when it goes on an hour
/// later, it ends as it would have ended.
///
/// # Panics
/// It does not.
pub fn a_pause_costs_nothing_but_time<P: Process>(sample: &Sample<'_, P>) {
    for plans in plans(sample) {
        let mut run = Run::begin(sample, plans);
        let status = run.clone().finish();
        loop {
            let mut still = run.clone();
            if !still.world.saga().is_ended() && is_early(&run) {
                still.say(paused());
                assert_eq!(still.world.saga().next_wake(), None, "{}", still.told());
                still.world.now += chrono::TimeDelta::hours(1);
                absorbed(&mut still, Input::Wake);
                still.say(unpaused());
                assert_eq!(still.finish(), status, "after a pause: {}", still.told());
                undone_in_reverse(&still);
            }
            if !run.turn() {
                break;
            }
        }
    }
}

/// Whatever waits for an answer, in either lane, can be skipped by an operator, but for a pivot; the saga then goes on
/// and ends, and what may be done is undone if it turns.
///
/// # Panics
/// It does not.
pub fn whatever_waits_can_be_seen_to_by_hand<P: Process>(sample: &Sample<'_, P>) {
    for plans in plans(sample) {
        let mut run = Run::begin(sample, plans);
        loop {
            let wanted = if is_early(&run) { pending(run.world.saga()).wanted } else { Vec::new() };
            for wanted in wanted {
                let mut by_hand = run.clone();
                let step = wanted.step.clone();
                let skipped = Input::Skip { step, reason: "by hand".to_owned(), actor: tester() };
                if kind(sample, &wanted.step) == Some(Kind::Pivot) && wanted.lane == Lane::Forward {
                    let refusal = by_hand.world.submit(skipped).err();
                    assert_eq!(refusal, Some(Refusal::PivotSkipped { step: wanted.step }), "{}", by_hand.told());
                } else {
                    by_hand.say(skipped);
                    by_hand.finish();
                    undone_in_reverse(&by_hand);
                }
            }
            if !run.turn() {
                break;
            }
        }
    }
}

/// Points of a life that are worth looking at: the fiftieth attempt is no other than the third.
fn is_early<P: Process>(run: &Run<'_, P>) -> bool {
    const ATTEMPTS: u32 = 3;
    pending(run.world.saga()).wanted.iter().any(|wanted| wanted.attempt <= ATTEMPTS)
}

fn undone_in_reverse<P: Process>(run: &Run<'_, P>) {
    let stages = || run.world.definition().stages();
    let stage_of = |step: &StepName| stages().position(|stage| stage.iter().any(|other| other.name == *step));
    let mut standing: Vec<&StepName> = Vec::new();
    let mut undoing = false;
    for event in run.world.history() {
        match event {
            SagaEvent::StepRequested { step, attempt: 1, .. } | SagaEvent::StepAwaited { step, attempt: 1, .. } => {
                standing.push(step);
            }
            SagaEvent::StepSucceeded { step, .. } if !standing.contains(&step) => standing.push(step),
            SagaEvent::StepRejected { step, .. } if !is_retriable(run, step) => standing.retain(|other| *other != step),
            SagaEvent::CompensationStarted { .. } => undoing = true,
            SagaEvent::CompensationRequested { step, .. } => {
                assert!(standing.contains(&step), "{step} is undone in vain: {}", run.told());
                let later = standing.iter().find(|other| stage_of(other) > stage_of(step));
                assert_eq!(later, None, "{step} is undone too early: {}", run.told());
            }
            SagaEvent::CompensationSucceeded { step } | SagaEvent::StepSkipped { step, lane: Lane::Undo, .. } => {
                standing.retain(|other| *other != step);
            }
            SagaEvent::Started { .. }
            | SagaEvent::StepRequested { .. }
            | SagaEvent::StepAwaited { .. }
            | SagaEvent::StepSkipped { lane: Lane::Forward, .. }
            | SagaEvent::StepRetried { .. }
            | SagaEvent::Paused { .. }
            | SagaEvent::Unpaused { .. }
            | SagaEvent::StepSucceeded { .. }
            | SagaEvent::StepRejected { .. }
            | SagaEvent::StepUnknown { .. }
            | SagaEvent::CompensationFailed { .. }
            | SagaEvent::CancelRequested { .. }
            | SagaEvent::Parked { .. }
            | SagaEvent::Resumed { .. }
            | SagaEvent::Abandoned { .. }
            | SagaEvent::Completed
            | SagaEvent::Compensated { .. } => {}
        }
    }
    assert!(!undoing || standing.is_empty(), "{standing:?} not undone: {}", run.told());
}

/// Whether this trouble makes the saga turn back.
fn turns<P: Process>(sample: &Sample<'_, P>, plan: &Plan) -> bool {
    let kind = kind(sample, &plan.step);
    let awaited =
        sample.definition.step(plan.step.as_str()).and_then(crate::Step::ask).is_some_and(crate::Ask::is_awaited);
    let gives_up = kind == Some(Kind::Compensatable) || (kind == Some(Kind::Pivot) && awaited);
    match (plan.lane, plan.trouble) {
        (Lane::Forward, Trouble::Rejects) => kind != Some(Kind::Retriable),
        (Lane::Forward, Trouble::Silent | Trouble::Unsure) => gives_up,
        (Lane::Forward, Trouble::SilentOnce) => gives_up && is_asked_once(sample, plan),
        (Lane::Undo, _) => false,
    }
}

/// Whether this trouble needs an operator.
fn parks<P: Process>(sample: &Sample<'_, P>, plan: &Plan) -> bool {
    match (plan.lane, plan.trouble) {
        (Lane::Forward, Trouble::Rejects | Trouble::Silent | Trouble::Unsure) => !turns(sample, plan),
        (Lane::Undo, Trouble::Rejects | Trouble::Silent | Trouble::Unsure) => true,
        (Lane::Forward | Lane::Undo, Trouble::SilentOnce) => is_asked_once(sample, plan) && !turns(sample, plan),
    }
}

/// Whether the policy allows for one attempt only.
fn is_asked_once<P: Process>(sample: &Sample<'_, P>, plan: &Plan) -> bool {
    let ask = sample.definition.step(plan.step.as_str()).and_then(crate::Step::ask);
    let policy = ask.map(|ask| match plan.lane {
        Lane::Forward => ask.retry,
        Lane::Undo => ask.undo_retry,
    });
    policy.is_some_and(|policy| policy.attempts_max.get() == 1)
}

fn kind<P: Process>(sample: &Sample<'_, P>, step: &StepName) -> Option<Kind> {
    sample.definition.step(step.as_str()).map(|step| step.kind)
}

fn is_retriable<P: Process>(run: &Run<'_, P>, step: &StepName) -> bool {
    run.world.definition().step(step.as_str()).is_some_and(|step| step.kind == Kind::Retriable)
}

fn is_reply<P: Process>(input: &Input<P>) -> bool {
    match input {
        Input::Reply { .. } | Input::UndoReply { .. } => true,
        Input::Start { .. }
        | Input::Cancel { .. }
        | Input::Resume { .. }
        | Input::Abandon { .. }
        | Input::Pause { .. }
        | Input::Unpause { .. }
        | Input::Retry { .. }
        | Input::Skip { .. }
        | Input::Wake => false,
    }
}

fn is_definite_reply<P: Process>(input: &Input<P>) -> bool {
    match input {
        Input::Reply { outcome: Outcome::Done(_) | Outcome::Rejected(_), .. }
        | Input::UndoReply { outcome: UndoOutcome::Done, .. } => true,
        Input::Reply { outcome: Outcome::Unknown(_), .. }
        | Input::UndoReply { outcome: UndoOutcome::Unknown(_), .. }
        | Input::Start { .. }
        | Input::Cancel { .. }
        | Input::Resume { .. }
        | Input::Abandon { .. }
        | Input::Pause { .. }
        | Input::Unpause { .. }
        | Input::Retry { .. }
        | Input::Skip { .. }
        | Input::Wake => false,
    }
}

fn absorbed<P: Process>(run: &mut Run<'_, P>, input: Input<P>) {
    let told = format!("{input:?}");
    let events = run.say(input);
    assert!(events.is_empty(), "{told} is not absorbed, but leads to {events:?}: {}", run.told());
}

/// The state after what was stored, by way of the store's text.
fn restored<'e, P: Process>(events: impl IntoIterator<Item = &'e SagaEvent<P>>) -> Saga<P> {
    events.into_iter().fold(Saga::default(), |saga, event| saga.evolve(&through_json(event)))
}

fn through_json<P: Process>(event: &SagaEvent<P>) -> SagaEvent<P> {
    let text = serde_json::to_string(event).unwrap_or_default();
    let read = SagaEvent::<P>::decode(event.type_name(), event.event_type().version(), &text).ok();
    assert_eq!(read.as_ref(), Some(event), "{event} is not what was stored");
    read.unwrap_or_else(|| event.clone())
}

/// How a saga ends that was left with `stored`, an hour later, in the same trouble.
fn finished<P: Process>(sample: &Sample<'_, P>, plans: &[Plan], stored: Vec<SagaEvent<P>>) -> Status {
    let mut run = Run::left(sample, plans.to_vec(), stored);
    run.world.now += chrono::TimeDelta::hours(1);
    run.finish()
}

/// Where to cut a history of `length`: everywhere, unless it is very long.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    const EDGE: usize = 100;
    (1..=length).filter(move |cut| *cut <= EDGE || *cut + EDGE > length)
}
