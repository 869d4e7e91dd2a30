use super::{Decision, UndoOutcome, advance, detail, hold, settle};
use crate::state::{Attempt, Pursuit, UndoPhase};
use crate::{Lane, Process, Saga, SagaEvent, StepName};

pub(super) fn undo_reply<P: Process>(decision: &mut Decision<'_, P>, step: &StepName, outcome: UndoOutcome) {
    let event = match &decision.saga {
        Saga::NotStarted | Saga::Running(_) => None,
        Saga::Ended(state) => settle::answered(state, step, outcome),
        Saga::Compensating(state) => state.step(step.as_str()).and_then(|step| match &step.phase {
            UndoPhase::Undoing(pursuit) => answered(decision, &step.name, pursuit, outcome),
            UndoPhase::NotDone { .. }
            | UndoPhase::LeftOut
            | UndoPhase::Owed { .. }
            | UndoPhase::Undone { .. }
            | UndoPhase::Skipped { .. } => None,
        }),
    };
    if let Some(event) = event {
        hold::leave(decision, step, Lane::Undo);
        decision.record(event);
        advance::advance(decision);
    }
}

fn answered<P: Process>(
    decision: &Decision<'_, P>,
    step: &StepName,
    pursuit: &Pursuit<P>,
    outcome: UndoOutcome,
) -> Option<SagaEvent<P>> {
    match (outcome, pursuit) {
        (_, pursuit) if pursuit.is_unasked() => None,
        (UndoOutcome::Done, _) => Some(SagaEvent::CompensationSucceeded { step: step.clone() }),
        (UndoOutcome::Unknown(text), Pursuit::Asked { attempt, .. }) => {
            Some(failed(decision, step, attempt, detail(text)))
        }
        (
            UndoOutcome::Unknown(_),
            Pursuit::Waiting { .. } | Pursuit::Exhausted { .. } | Pursuit::Parked { .. } | Pursuit::Held { .. },
        ) => None,
    }
}

/// Nobody knows whether `attempt` to undo took effect.
pub(super) fn failed<P: Process>(
    decision: &Decision<'_, P>,
    step: &StepName,
    attempt: &Attempt<P>,
    detail: String,
) -> SagaEvent<P> {
    let policy = decision.ask(step).map(|ask| ask.undo_retry).unwrap_or_default();
    let retry_at = decision.retry_at(step, policy, attempt.number, attempt.used());
    SagaEvent::CompensationFailed { step: step.clone(), attempt: attempt.number, detail, retry_at }
}
