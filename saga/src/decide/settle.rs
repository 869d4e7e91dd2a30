//! What is seen to after a saga's end: what an abandoned one owes, and what is held all the same although everything was
//! undone. A saga that is over stays over: nothing becomes due, and who wants it asked again asks again.

use super::{ByHand, Decision, Refusal, UndoOutcome, detail};
use crate::state::{Ended, Ending};
use crate::{Facts, Lane, Process, Saga, SagaEvent, Shared, StepName, StepPhase};

/// Asks for a step to be undone that an abandoned saga owes, or once more for one of a saga that was undone: whoever
/// undoes knows what is undone already.
pub(super) fn undo<P: Process>(decision: &mut Decision<'_, P>, step: &StepName, by: ByHand) -> Result<(), Refusal> {
    let (request, number) = {
        let ended = ended(decision, step)?;
        let view = ended.step(step).ok_or_else(|| Refusal::NotSought { step: step.clone() })?;
        let is_owed = match &ended.ending {
            Ending::Compensated { .. } => true,
            Ending::Abandoned { owed, .. } => owed.contains(step),
            Ending::Completed => false,
        };
        if !is_owed {
            return Err(Refusal::NotSought { step: step.clone() });
        }
        let undo = decision.ask(step).and_then(|ask| ask.undo);
        let undo = undo.ok_or_else(|| Refusal::NotUndone { step: step.clone() })?;
        let number = if view.phase.is_of_undo() { view.attempts.saturating_add(1) } else { 1 };
        (Shared::from(undo(&Facts::of_ended(decision.saga_id, ended))), number)
    };
    decision.record(SagaEvent::StepRetried {
        step: step.clone(),
        lane: Lane::Undo,
        actor: by.actor,
        reason: by.reason,
    });
    decision.request_undo(step.clone(), number, request);
    Ok(())
}

/// Somebody says that they have seen to what an abandoned saga owes.
pub(super) fn by_hand<P: Process>(decision: &mut Decision<'_, P>, step: &StepName, by: ByHand) -> Result<(), Refusal> {
    let ended = ended(decision, step)?;
    match ended.ending {
        Ending::Abandoned { .. } => {}
        Ending::Completed | Ending::Compensated { .. } => {
            return Err(Refusal::Ended { status: decision.saga.status() });
        }
    }
    if !ended.step(step).is_some_and(|view| view.phase.is_open()) {
        return Err(Refusal::NotSought { step: step.clone() });
    }
    decision.record(SagaEvent::StepSkipped { step: step.clone(), lane: Lane::Undo, by_hand: Some(by) });
    Ok(())
}

/// An answer to what was asked for after the end, or just before it.
pub(super) fn answered<P: Process>(ended: &Ended<P>, step: &StepName, outcome: UndoOutcome) -> Option<SagaEvent<P>> {
    let view = ended.step(step)?;
    match (outcome, view.phase) {
        (UndoOutcome::Done, StepPhase::UndoAsked | StepPhase::UndoWaiting | StepPhase::UndoParked) => {
            Some(SagaEvent::CompensationSucceeded { step: step.clone() })
        }
        (UndoOutcome::Unknown(text), StepPhase::UndoAsked) => {
            let (attempt, detail) = (view.attempts, detail(text));
            Some(SagaEvent::CompensationFailed { step: step.clone(), attempt, detail, retry_at: None })
        }
        (UndoOutcome::Done | UndoOutcome::Unknown(_), _) => None,
    }
}

fn ended<'d, P: Process>(decision: &'d Decision<'_, P>, step: &StepName) -> Result<&'d Ended<P>, Refusal> {
    match &decision.saga {
        Saga::Ended(ended) => Ok(ended),
        Saga::NotStarted | Saga::Running(_) | Saga::Compensating(_) => Err(Refusal::NotSought { step: step.clone() }),
    }
}
