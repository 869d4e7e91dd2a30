use super::{Decision, Refusal, advance};
use crate::state::{Phase, Pursuit};
use crate::{ByHand, CompensationCause, Process, Running, Saga, SagaEvent};

/// Cancel means undo. What is in flight counts as unknown and is undone too: participants keep a barrier, so undoing
/// what has not arrived yet makes it a refusal when it does.
pub(super) fn cancel<P: Process>(decision: &mut Decision<'_, P>, by: ByHand) -> Result<(), Refusal> {
    match &decision.saga {
        Saga::NotStarted => return Err(Refusal::NotStarted),
        Saga::Compensating(_) => return Err(Refusal::Compensating),
        Saga::Ended(_) => return Err(Refusal::Ended { status: decision.saga.status() }),
        Saga::Running(state) => match (way_back(decision, state), decision.definition.cancelled_by()) {
            (Ok(()), _) => {}
            (Err(Refusal::PastNoReturn), Some(_)) => {
                note(decision, by);
                return Ok(());
            }
            (Err(refusal), _) => return Err(refusal),
        },
    }
    let ByHand { actor, reason } = by;
    decision.record(SagaEvent::CancelRequested { reason: reason.clone(), actor: actor.clone() });
    decision.record(SagaEvent::CompensationStarted { cause: CompensationCause::Cancelled { reason, actor } });
    advance::advance(decision);
    Ok(())
}

/// There is another saga for what is past the point of no return, and it comes when this one is completed.
fn note<P: Process>(decision: &mut Decision<'_, P>, by: ByHand) {
    let is_noted = match &decision.saga {
        Saga::Running(state) => state.cancel.is_some(),
        Saga::NotStarted | Saga::Compensating(_) | Saga::Ended(_) => true,
    };
    if !is_noted {
        decision.record(SagaEvent::CancelRequested { reason: by.reason, actor: by.actor });
    }
}

fn way_back<P: Process>(decision: &Decision<'_, P>, state: &Running<P>) -> Result<(), Refusal> {
    let no_return = decision.definition.no_return();
    let beyond = state.steps.get(no_return..).unwrap_or_default();
    let Some(first) = beyond.first() else { return Ok(()) };
    // What waits at a hold and was never asked for is not begun.
    if beyond.iter().all(|step| step.phase.pursuit().is_some_and(Pursuit::is_unasked)) {
        return Ok(());
    }
    let is_last_begun = state.steps.len() == no_return + 1;
    let is_pivot = decision.definition.steps().get(no_return).is_some_and(|step| step.kind == crate::Kind::Pivot);
    match &first.phase {
        Phase::Pursued(_) if is_last_begun && is_pivot => Err(Refusal::AtPivot { pivot: first.name.clone() }),
        Phase::Pursued(_) | Phase::Rejected { .. } | Phase::Done { .. } | Phase::Skipped { .. } => {
            Err(Refusal::PastNoReturn)
        }
    }
}
