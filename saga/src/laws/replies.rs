//! What participants may do with their answers.

use eventstore::DomainEvent;

use super::absorbed;
use super::run::{Plan, Run, Sample, Trouble, plans};
use crate::pending::pending;
use crate::{Input, Kind, Lane, Outcome, Process, Rejection, Saga, SagaEvent, StepName, UndoOutcome};

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

/// An answer to a step that was not begun, or to an undo that was not asked for, is absorbed, whenever it comes.
///
/// # Panics
/// Something follows from it.
pub fn every_reply_may_come_before_its_turn<P: Process>(sample: &Sample<'_, P>) {
    for plans in plans(sample) {
        let mut run = Run::begin(sample, plans);
        loop {
            let wanted = pending(run.world.saga()).wanted;
            let is_sought = |step: &StepName, lane| wanted.iter().any(|w| w.step == *step && w.lane == lane);
            let begun: Vec<_> = run.world.saga().steps().into_iter().map(|step| step.name).collect();
            for step in sample.definition.steps().iter().map(crate::Step::name) {
                if !begun.contains(step) {
                    let outcome = Outcome::Done((sample.output)(step.as_str()));
                    absorbed(&mut run, Input::Reply { step: step.clone(), outcome });
                    let outcome = Outcome::Rejected(Rejection::new("EARLY", "before its turn"));
                    absorbed(&mut run, Input::Reply { step: step.clone(), outcome });
                }
                if !is_sought(step, Lane::Undo) {
                    absorbed(&mut run, Input::UndoReply { step: step.clone(), outcome: UndoOutcome::Done });
                }
            }
            if !run.turn() {
                break;
            }
        }
    }
}

/// Every action and every undo may run twice: its answer is lost, and it is asked for again in the very same words, so
/// that whoever is asked can tell that it is the same. Both answers may come.
///
/// # Panics
/// Other words are used, or the second answer changes something.
pub fn every_request_may_be_made_twice<P: Process>(sample: &Sample<'_, P>) {
    let every =
        |lane| sample.definition.steps().iter().map(move |step| Plan::of(&step.name, lane, Trouble::SilentOnce));
    let mut all = vec![every(Lane::Forward).collect::<Vec<_>>()];
    let refused = sample.definition.steps().iter().filter(|step| step.kind != Kind::Retriable && step.ask().is_some());
    for step in refused {
        let mut plans = vec![Plan::of(&step.name, Lane::Forward, Trouble::Rejects)];
        plans.extend(every(Lane::Undo));
        all.push(plans);
    }
    for plans in all {
        let mut run = Run::begin(sample, plans);
        while run.turn() {
            if let Some(last) = run.said.last().filter(|last| is_definite_reply(last)).cloned() {
                absorbed(&mut run, last);
            }
        }
        same_words(&run);
    }
}

fn same_words<P: Process>(run: &Run<'_, P>) {
    let mut first: Vec<(&StepName, Lane, &P::Request)> = Vec::new();
    for event in run.world.history() {
        let (step, lane, request) = if let SagaEvent::StepRequested { step, request, .. } = event {
            (step, Lane::Forward, request)
        } else if let SagaEvent::CompensationRequested { step, request, .. } = event {
            (step, Lane::Undo, request)
        } else {
            continue;
        };
        match first.iter().find(|(of, way, _)| *of == step && *way == lane) {
            Some((_, _, words)) => assert_eq!(*words, &**request, "{step} in other words: {}", run.told()),
            None => first.push((step, lane, request)),
        }
    }
}

fn is_reply<P: Process>(input: &Input<P>) -> bool {
    matches!(input, Input::Reply { .. } | Input::UndoReply { .. })
}

fn is_definite_reply<P: Process>(input: &Input<P>) -> bool {
    matches!(
        input,
        Input::Reply { outcome: Outcome::Done(_) | Outcome::Rejected(_), .. }
            | Input::UndoReply { outcome: UndoOutcome::Done, .. }
    )
}
