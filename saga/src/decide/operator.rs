use super::{Decision, Refusal, Through, advance, hold, settle};
use crate::definition::Kind;
use crate::state::{Attempt, Phase, Pursuit, UndoPhase};
use crate::{ByHand, Lane, Process, Saga, SagaEvent, StepName};

/// The parked steps are asked for again, the same request with the next attempt's number and a fresh policy.
pub(super) fn resume<P: Process>(decision: &mut Decision<'_, P>, by: ByHand) -> Result<(), Refusal> {
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
    if decision.saga.is_paused() {
        return Err(Refusal::Paused);
    }
    if forward.is_empty() && undo.is_empty() {
        return Err(Refusal::NotParked);
    }
    decision.record(SagaEvent::Resumed { actor: by.actor, reason: by.reason });
    forward.into_iter().for_each(|(step, attempt)| decision.again(step, attempt));
    undo.into_iter().for_each(|(step, attempt)| decision.undo_again(step, attempt));
    advance::advance(decision);
    Ok(())
}

/// One step is asked for again now, the same request with the next attempt's number and a fresh policy. After the end:
/// a step is undone that is owed, or once more.
pub(super) fn retry<P: Process>(decision: &mut Decision<'_, P>, step: &StepName, by: ByHand) -> Result<(), Refusal> {
    if decision.is_settled_by_hand() {
        return settle::undo(decision, step, by);
    }
    let (lane, attempt) = sought(decision, step)?;
    if decision.saga.is_paused() {
        return Err(Refusal::Paused);
    }
    let step = step.clone();
    // Whoever wants it tried now knows what is held.
    decision.through = Through::All;
    hold::leave(decision, &step, lane);
    decision.record(SagaEvent::StepRetried { step: step.clone(), lane, actor: by.actor, reason: by.reason });
    match lane {
        Lane::Forward => decision.again(step, attempt),
        Lane::Undo if attempt.number == 0 => hold::undo_step(decision, &step),
        Lane::Undo => decision.undo_again(step, attempt),
    }
    advance::advance(decision);
    Ok(())
}

/// Somebody says that they have seen to a step, or to its undoing. Should the saga turn later, what was asked for before
/// it was skipped may be done all the same, and is undone. After the end: what is owed is seen to.
pub(super) fn skip<P: Process>(decision: &mut Decision<'_, P>, step: &StepName, by: ByHand) -> Result<(), Refusal> {
    if decision.is_settled_by_hand() {
        return settle::by_hand(decision, step, by);
    }
    let (lane, _) = sought(decision, step)?;
    let is_pivot = decision.definition.step(step.as_str()).is_some_and(|step| step.kind == Kind::Pivot);
    if is_pivot {
        return Err(Refusal::PivotSkipped { step: step.clone() });
    }
    hold::leave(decision, step, lane);
    decision.record(SagaEvent::StepSkipped { step: step.clone(), lane, by_hand: Some(by) });
    advance::advance(decision);
    Ok(())
}

/// The asking of `step` that has no definite answer yet.
fn sought<P: Process>(decision: &Decision<'_, P>, step: &StepName) -> Result<(Lane, Attempt<P>), Refusal> {
    let found = match &decision.saga {
        Saga::NotStarted => return Err(Refusal::NotStarted),
        Saga::Ended(_) => return Err(Refusal::Ended { status: decision.saga.status() }),
        Saga::Running(state) => state.step(step.as_str()).and_then(|step| Some((Lane::Forward, step.phase.pursuit()?))),
        Saga::Compensating(state) => {
            state.step(step.as_str()).and_then(|step| Some((Lane::Undo, step.phase.pursuit()?)))
        }
    };
    let (lane, pursuit) = found.ok_or_else(|| Refusal::NotSought { step: step.clone() })?;
    Ok((lane, pursuit.attempt().clone()))
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
pub(super) fn abandon<P: Process>(decision: &mut Decision<'_, P>, by: ByHand) -> Result<(), Refusal> {
    let owed = match &decision.saga {
        Saga::NotStarted => return Err(Refusal::NotStarted),
        Saga::Ended(_) => return Err(Refusal::Ended { status: decision.saga.status() }),
        Saga::Running(state) => names(state.steps.iter().filter_map(|step| match step.phase {
            Phase::Pursued(ref sought) if sought.is_unasked() => None,
            Phase::Pursued(_) | Phase::Done { .. } => Some(&step.name),
            // What was skipped after it was asked for may be done too.
            Phase::Skipped { attempts } if attempts > 0 => Some(&step.name),
            Phase::Rejected { .. } | Phase::Skipped { .. } => None,
        })),
        Saga::Compensating(state) => names(state.steps.iter().filter_map(|step| match step.phase {
            UndoPhase::Owed { .. } | UndoPhase::Undoing(_) => Some(&step.name),
            UndoPhase::NotDone { .. } | UndoPhase::LeftOut | UndoPhase::Undone { .. } | UndoPhase::Skipped { .. } => {
                None
            }
        })),
    };
    decision.record(SagaEvent::Abandoned { actor: by.actor, reason: by.reason, owed });
    Ok(())
}

fn names<'a>(steps: impl Iterator<Item = &'a StepName>) -> Vec<StepName> {
    steps.cloned().collect()
}
