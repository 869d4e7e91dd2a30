//! What an operator may do to what is due. Timers follow from the saga's state, so changing them is an event like any
//! other, and the store's wake-up follows.

use chrono::TimeDelta;

use super::{Decision, Refusal, pause};
use crate::pending::timers;
use crate::{ByHand, Process, SagaEvent, StepName};

/// Not further than a definition may wait.
const SHIFT_MAX: TimeDelta = TimeDelta::days(30);

pub(super) fn shift<P: Process>(
    decision: &mut Decision<'_, P>,
    step: Option<StepName>,
    span: TimeDelta,
    by: ByHand,
) -> Result<(), Refusal> {
    pause::alive(decision)?;
    if span.abs() > SHIFT_MAX {
        return Err(Refusal::ShiftOutOfBounds);
    }
    is_there(decision, step.as_ref(), step.is_none())?;
    let by_ms = span.num_milliseconds();
    decision.record(SagaEvent::TimersShifted { step, by_ms, actor: by.actor, reason: by.reason });
    Ok(())
}

pub(super) fn freeze<P: Process>(decision: &mut Decision<'_, P>, by: ByHand) -> Result<(), Refusal> {
    pause::alive(decision)?;
    if decision.saga.is_paused() {
        return Err(Refusal::Paused);
    }
    if decision.saga.is_frozen() {
        return Err(Refusal::Frozen);
    }
    let at = decision.now;
    decision.record(SagaEvent::TimersFrozen { actor: by.actor, reason: by.reason, at });
    Ok(())
}

/// What was armed while time did not count is later, too: nobody has less time than was promised.
pub(super) fn thaw<P: Process>(decision: &mut Decision<'_, P>, by: ByHand) -> Result<(), Refusal> {
    pause::alive(decision)?;
    if !decision.saga.is_frozen() {
        return Err(Refusal::NotFrozen);
    }
    let at = decision.now;
    decision.record(SagaEvent::TimersThawed { actor: by.actor, reason: by.reason, at });
    Ok(())
}

pub(super) fn cancel<P: Process>(
    decision: &mut Decision<'_, P>,
    step: Option<StepName>,
    by: ByHand,
) -> Result<(), Refusal> {
    pause::alive(decision)?;
    is_there(decision, step.as_ref(), false)?;
    decision.record(SagaEvent::TimerCancelled { step, actor: by.actor, reason: by.reason });
    Ok(())
}

/// Whether there is a timer of `step`, or the saga's own; with `any`, whether there is one at all.
fn is_there<P: Process>(decision: &Decision<'_, P>, step: Option<&StepName>, any: bool) -> Result<(), Refusal> {
    let found = timers(&decision.saga).iter().any(|timer| any || timer.step.as_ref().map(|(name, _)| name) == step);
    if found { Ok(()) } else { Err(Refusal::NoTimer) }
}
