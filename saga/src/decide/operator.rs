use eventstore::Actor;

use super::{Decision, Refusal, advance};
use crate::state::{Attempt, Phase, Pursuit, UndoPhase};
use crate::{Process, Saga, SagaEvent, StepName};

/// The parked steps are asked for again, the same request with the next attempt's number and a fresh policy.
pub(super) fn resume<P: Process>(decision: &mut Decision<'_, P>, reason: String, actor: Actor) -> Result<(), Refusal> {
    let (forward, undo) = match &decision.saga {
        Saga::NotStarted => return Err(Refusal::NotStarted),
        Saga::Ended(_) => return Err(Refusal::Ended { status: decision.saga.status() }),
        Saga::Running(state) => {
            (parked(state.steps.iter().filter_map(|step| Some((&step.name, step.phase.pursuit()?)))), Vec::new())
        }
        Saga::Compensating(state) => {
            (Vec::new(), parked(state.steps.iter().filter_map(|step| Some((&step.name, step.phase.pursuit()?)))))
        }
    };
    if forward.is_empty() && undo.is_empty() {
        return Err(Refusal::NotParked);
    }
    decision.record(SagaEvent::Resumed { actor, reason });
    for (step, attempt) in forward {
        decision.request(step, attempt.number.saturating_add(1), attempt.request);
    }
    for (step, attempt) in undo {
        decision.request_undo(step, attempt.number.saturating_add(1), attempt.request);
    }
    advance::advance(decision);
    Ok(())
}

fn parked<'a, P: Process>(
    pursued: impl Iterator<Item = (&'a StepName, &'a Pursuit<P>)>,
) -> Vec<(StepName, Attempt<P>)> {
    pursued
        .filter(|(_, pursuit)| pursuit.is_parked())
        .map(|(step, pursuit)| (step.clone(), pursuit.attempt().clone()))
        .collect()
}

/// Abandon means no undo: what is done, or may be, is written down for whoever has to see to it by hand.
pub(super) fn abandon<P: Process>(decision: &mut Decision<'_, P>, reason: String, actor: Actor) -> Result<(), Refusal> {
    let owed = match &decision.saga {
        Saga::NotStarted => return Err(Refusal::NotStarted),
        Saga::Ended(_) => return Err(Refusal::Ended { status: decision.saga.status() }),
        Saga::Running(state) => names(state.steps.iter().filter_map(|step| match step.phase {
            Phase::Pursued(_) | Phase::Done { .. } => Some(&step.name),
            Phase::Rejected { .. } => None,
        })),
        Saga::Compensating(state) => names(state.steps.iter().filter_map(|step| match step.phase {
            UndoPhase::Owed { .. } | UndoPhase::Undoing(_) => Some(&step.name),
            UndoPhase::NotDone { .. } | UndoPhase::Undone { .. } => None,
        })),
    };
    decision.record(SagaEvent::Abandoned { actor, reason, owed });
    Ok(())
}

fn names<'a>(steps: impl Iterator<Item = &'a StepName>) -> Vec<StepName> {
    steps.cloned().collect()
}
