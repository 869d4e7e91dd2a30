use super::{Decision, Refusal, advance};
use crate::{ByHand, Process, Saga, SagaEvent};

/// From here on answers are kept, and nothing follows from them until the saga goes on.
pub(super) fn pause<P: Process>(decision: &mut Decision<'_, P>, by: ByHand) -> Result<(), Refusal> {
    alive(decision)?;
    if decision.saga.is_paused() {
        return Err(Refusal::Paused);
    }
    if decision.saga.is_frozen() {
        return Err(Refusal::Frozen);
    }
    let at = decision.now;
    decision.record(SagaEvent::Paused { actor: by.actor, reason: by.reason, at });
    Ok(())
}

/// What was due is due later by the time it stood still, so a pause costs no retries and no deadline.
pub(super) fn unpause<P: Process>(decision: &mut Decision<'_, P>, by: ByHand) -> Result<(), Refusal> {
    alive(decision)?;
    if !decision.saga.is_paused() {
        return Err(Refusal::NotPaused);
    }
    let at = decision.now;
    decision.record(SagaEvent::Unpaused { actor: by.actor, reason: by.reason, at });
    advance::advance(decision);
    Ok(())
}

pub(super) fn alive<P: Process>(decision: &Decision<'_, P>) -> Result<(), Refusal> {
    match &decision.saga {
        Saga::NotStarted => Err(Refusal::NotStarted),
        Saga::Ended(_) => Err(Refusal::Ended { status: decision.saga.status() }),
        Saga::Running(_) | Saga::Compensating(_) => Ok(()),
    }
}
