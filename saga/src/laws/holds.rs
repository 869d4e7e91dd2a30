//! What waits at a hold.

use chrono::{DateTime, TimeDelta, Utc};

use super::run::{Run, Sample, Trouble, plans};
use super::undo::undone_in_reverse;
use super::{absorbed, is_early};
use crate::hold::{HoldEvent, HoldTarget, Holds, ReleasePlan};
use crate::pending::pending;
use crate::testing::tester;
use crate::{Ask, ByHand, Input, Lane, Outcome, Process, Rejection, SagaEvent, Step, StepName, StepPhase, UndoOutcome};

/// Held at any point for an hour, a step is not asked for and uses up no attempt, and when the hold is over the saga ends
/// as it would have ended; the same when it is let go while the hold stands.
///
/// # Panics
/// It does not.
pub fn a_hold_costs_nothing_but_time<P: Process>(sample: &Sample<'_, P>) {
    // What is silent once gets another chance behind a hold, and may end better.
    let is_clear = |trouble| trouble != Trouble::SilentOnce;
    for plans in plans(sample).into_iter().filter(|plans| plans.iter().all(|plan| is_clear(plan.trouble))) {
        let mut run = Run::begin(sample, plans);
        let status = run.clone().finish();
        loop {
            for target in targets(sample).filter(|_| is_early(&run)) {
                for passes in [true, false] {
                    let mut held = run.clone();
                    held.world.holds = held_by(&target, held.world.now);
                    held.live_while_held();
                    if held.world.saga().is_ended() {
                        continue;
                    }
                    held.world.now += TimeDelta::hours(1);
                    absorbed(&mut held, Input::Wake);
                    if passes {
                        held.say(Input::Release { hold: target.clone() });
                    }
                    held.world.holds = Holds::default();
                    held.say(Input::Wake);
                    assert_eq!(held.finish(), status, "after {target} was held: {}", held.told());
                    undone_in_reverse(&held);
                    attempts_are_not_used_up(sample, &held);
                }
            }
            if !run.turn() {
                break;
            }
        }
    }
}

/// What waits at a hold and was never asked for has no answer, in either lane: whatever comes for it is absorbed. Word from
/// outside counts, as nobody is ever asked for it.
///
/// # Panics
/// Something follows from it.
pub fn what_was_never_asked_for_is_not_answered<P: Process>(sample: &Sample<'_, P>) {
    for plans in plans(sample) {
        let mut run = Run::begin(sample, plans);
        loop {
            for step in sample.definition.steps().iter().filter(|step| comes_to_it(&run, step)) {
                let mut held = run.clone();
                held.world.holds = held_by(&target(sample, step), held.world.now);
                held.live_while_held();
                let unasked = pending(held.world.saga()).wanted.into_iter().filter(|wanted| wanted.attempt == 0);
                for wanted in unasked.filter(|wanted| wanted.step == step.name) {
                    answers(step, wanted.lane).into_iter().for_each(|answer| absorbed(&mut held, answer));
                }
            }
            if !run.turn() {
                break;
            }
        }
    }
}

/// Whether a step may still come to a hold without having been asked for: to happen, or to be undone.
fn comes_to_it<P: Process>(run: &Run<'_, P>, step: &Step<P>) -> bool {
    let phase = run.world.saga().steps().into_iter().find(|view| view.name == step.name).map(|view| view.phase);
    let is_first = run.said.len() <= 1;
    match phase {
        None => is_first,
        Some(StepPhase::Done | StepPhase::Owed) => is_early(run),
        Some(
            StepPhase::Asked
            | StepPhase::Waiting
            | StepPhase::Parked
            | StepPhase::Held
            | StepPhase::Rejected
            | StepPhase::Skipped
            | StepPhase::UndoAsked
            | StepPhase::UndoWaiting
            | StepPhase::UndoParked
            | StepPhase::UndoHeld
            | StepPhase::Undone
            | StepPhase::UndoSkipped,
        ) => false,
    }
}

/// Everything that may be said of a step, unless it is word from outside.
fn answers<P: Process>(step: &Step<P>, lane: Lane) -> Vec<Input<P>> {
    let name = || step.name.clone();
    match lane {
        Lane::Forward if step.ask().is_some_and(Ask::is_awaited) => Vec::new(),
        Lane::Forward => {
            let no = Outcome::Rejected(Rejection::new("NO", "refused by the law"));
            let outcomes = [Outcome::Done(None), no, Outcome::Unknown("unsure".to_owned())];
            outcomes.map(|outcome| Input::Reply { step: name(), outcome }).to_vec()
        }
        Lane::Undo => {
            let outcomes = [UndoOutcome::Done, UndoOutcome::Unknown("unsure".to_owned())];
            outcomes.map(|outcome| Input::UndoReply { step: name(), outcome }).to_vec()
        }
    }
}

fn targets<'a, P: Process>(sample: &'a Sample<'_, P>) -> impl Iterator<Item = HoldTarget> + 'a {
    sample.definition.steps().iter().map(|step| target(sample, step))
}

fn target<P: Process>(sample: &Sample<'_, P>, step: &Step<P>) -> HoldTarget {
    HoldTarget::Step { definition: sample.definition.id().name.to_string(), step: step.name.clone() }
}

fn held_by(target: &HoldTarget, at: DateTime<Utc>) -> Holds {
    let by_hand = ByHand { actor: tester(), reason: "down".to_owned() };
    let (target, plan) = (target.clone(), ReleasePlan::default());
    eventstore::Aggregate::evolve(Holds::default(), &HoldEvent::Placed { target, by_hand, until: None, plan, at })
}

/// No step was given up although it had been held away from its attempts.
fn attempts_are_not_used_up<P: Process>(sample: &Sample<'_, P>, run: &Run<'_, P>) {
    let unknown = |of: &StepName| {
        let found =
            run.world.history().filter(|event| matches!(event, SagaEvent::StepUnknown { step, .. } if step == of));
        found.count()
    };
    for event in run.world.history() {
        if let SagaEvent::StepUnknown { step, retry_at: None, .. } = event {
            let policy =
                sample.definition.step(step.as_str()).and_then(crate::Step::ask).map(|ask| ask.retry.attempts_max);
            let allowed = policy.map_or(0, |most| most.get() as usize);
            assert!(unknown(step) >= allowed, "{step} was given up too early: {}", run.told());
        }
    }
}
