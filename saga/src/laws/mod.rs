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

mod holds;
mod operators;
mod replies;
mod run;
mod undo;

pub use holds::{a_hold_costs_nothing_but_time, what_was_never_asked_for_is_not_answered};
pub use operators::{
    a_frozen_clock_costs_nothing_but_time, a_pause_costs_nothing_but_time, a_step_without_a_timer_waits_for_somebody,
    moved_timers_change_nothing_but_time, whatever_waits_can_be_seen_to_by_hand,
};
pub use replies::{
    every_reply_may_come_before_its_turn, every_reply_may_come_late, every_reply_may_repeat,
    every_request_may_be_made_twice,
};
pub use run::Sample;
pub use undo::undo_is_strictly_reverse;

use eventstore::{Aggregate, DomainEvent};
use run::{Plan, Run, Trouble, plans};

use crate::pending::pending;
use crate::{Input, Kind, Lane, Process, Saga, SagaEvent, Status, StepName};

/// All of them.
///
/// # Panics
/// One of them is broken.
pub fn all<P: Process>(sample: &Sample<'_, P>) {
    every_step_may_fail(sample);
    every_reply_may_repeat(sample);
    every_reply_may_come_late(sample);
    every_reply_may_come_before_its_turn(sample);
    every_request_may_be_made_twice(sample);
    every_commit_may_be_the_last(sample);
    every_timer_may_fire_twice(sample);
    undo_is_strictly_reverse(sample);
    a_pause_costs_nothing_but_time(sample);
    a_frozen_clock_costs_nothing_but_time(sample);
    moved_timers_change_nothing_but_time(sample);
    a_step_without_a_timer_waits_for_somebody(sample);
    a_hold_costs_nothing_but_time(sample);
    what_was_never_asked_for_is_not_answered(sample);
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

/// Points of a life that are worth looking at: the fiftieth attempt is no other than the third.
fn is_early<P: Process>(run: &Run<'_, P>) -> bool {
    const ATTEMPTS: u32 = 3;
    pending(run.world.saga()).wanted.iter().any(|wanted| wanted.attempt <= ATTEMPTS)
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
