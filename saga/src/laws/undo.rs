//! What is undone, and in which order.

use super::run::{Run, Sample, plans};
use crate::testing::cancelled;
use crate::{Kind, Lane, Process, Refusal, SagaEvent, Status, StepName};

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
                // Another saga undoes it when it is completed.
                Ok(events) if events.len() <= 1 && sample.definition.cancelled_by().is_some() => {
                    assert_eq!(cancelled_run.finish(), Status::Completed, "{}", cancelled_run.told());
                }
                Ok(_) => {
                    assert_eq!(cancelled_run.finish(), Status::Compensated, "{}", cancelled_run.told());
                    undone_in_reverse(&cancelled_run);
                }
                Err(refusal) => {
                    let is_sound = matches!(
                        refusal,
                        Refusal::PastNoReturn | Refusal::AtPivot { .. } | Refusal::Compensating | Refusal::Ended { .. }
                    );
                    assert!(is_sound, "cancelling: {refusal}: {}", run.told());
                }
            }
            if !run.turn() {
                break;
            }
        }
        undone_in_reverse(&run);
    }
}

pub(super) fn undone_in_reverse<P: Process>(run: &Run<'_, P>) {
    let stages = || run.world.definition().stages();
    let stage_of = |step: &StepName| stages().position(|stage| stage.iter().any(|other| other.name == *step));
    let mut standing: Vec<&StepName> = Vec::new();
    let mut undoing = false;
    for event in run.world.history() {
        if let SagaEvent::StepRequested { step, attempt: 1, .. }
        | SagaEvent::StepAwaited { step, attempt: 1, .. }
        | SagaEvent::ChildRequested { step, attempt: 1, .. } = event
        {
            standing.push(step);
        } else if let SagaEvent::StepSucceeded { step, .. } = event {
            standing.extend(Some(step).filter(|step| !standing.contains(step)));
        } else if let SagaEvent::StepRejected { step, .. } = event {
            standing.retain(|other| *other != step || is_retriable(run, step));
        } else if let SagaEvent::CompensationStarted { .. } = event {
            undoing = true;
        } else if let SagaEvent::CompensationRequested { step, .. } | SagaEvent::ChildUndoRequested { step, .. } = event
        {
            assert!(standing.contains(&step), "{step} is undone in vain: {}", run.told());
            let later = standing.iter().find(|other| stage_of(other) > stage_of(step));
            assert_eq!(later, None, "{step} is undone too early: {}", run.told());
        } else if let SagaEvent::CompensationSucceeded { step }
        | SagaEvent::StepSkipped { step, lane: Lane::Undo, .. } = event
        {
            standing.retain(|other| *other != step);
        }
    }
    assert!(!undoing || standing.is_empty(), "{standing:?} not undone: {}", run.told());
}

fn is_retriable<P: Process>(run: &Run<'_, P>, step: &StepName) -> bool {
    run.world.definition().step(step.as_str()).is_some_and(|step| step.kind == Kind::Retriable)
}
