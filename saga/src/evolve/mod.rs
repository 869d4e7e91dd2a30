//! The fold. Total: an event that cannot follow on a state leaves it as it is, so a damaged history stops a saga
//! instead of the program.

mod change;
mod settled;

use self::change::migrated;
use crate::asked::AskedBy;
use crate::state::{CompensatingStep, Ending, Phase, Pursuit, UndoPhase};
use crate::{
    ByHand, Compensating, CompensationCause, Deadline, Ended, Lane, Origin, Process, Running, Saga, SagaEvent, Shared,
    StepPhase,
};

pub(crate) fn evolve<P: Process>(saga: Saga<P>, event: &SagaEvent<P>) -> Saga<P> {
    match saga {
        Saga::NotStarted => not_started(event),
        Saga::Running(state) => running(state, event),
        Saga::Compensating(state) => compensating(state, event),
        Saga::Ended(state) => Saga::Ended(ended(state, event)),
    }
}

fn not_started<P: Process>(event: &SagaEvent<P>) -> Saga<P> {
    match event {
        SagaEvent::Started { definition, input, deadline, parent } => Saga::Running(Running {
            origin: Shared::from(Origin {
                definition: definition.clone(),
                input: input.clone(),
                parent: parent.clone(),
            }),
            deadline: *deadline,
            paused: None,
            frozen: None,
            held: None,
            cancel: None,
            asked_by: AskedBy::default(),
            steps: Vec::new(),
        }),
        SagaEvent::StepRequested { .. }
        | SagaEvent::StepAwaited { .. }
        | SagaEvent::StepSkipped { .. }
        | SagaEvent::StepRetried { .. }
        | SagaEvent::StepSucceeded { .. }
        | SagaEvent::StepRejected { .. }
        | SagaEvent::StepUnknown { .. }
        | SagaEvent::CompensationStarted { .. }
        | SagaEvent::CompensationRequested { .. }
        | SagaEvent::CompensationSucceeded { .. }
        | SagaEvent::CompensationFailed { .. }
        | SagaEvent::CancelRequested { .. }
        | SagaEvent::Parked { .. }
        | SagaEvent::Resumed { .. }
        | SagaEvent::Paused { .. }
        | SagaEvent::Unpaused { .. }
        | SagaEvent::ChildRequested { .. }
        | SagaEvent::ChildUndoRequested { .. }
        | SagaEvent::StepHeld { .. }
        | SagaEvent::StepReleased { .. }
        | SagaEvent::TimersShifted { .. }
        | SagaEvent::TimersFrozen { .. }
        | SagaEvent::TimersThawed { .. }
        | SagaEvent::TimerCancelled { .. }
        | SagaEvent::Migrated { .. }
        | SagaEvent::Abandoned { .. }
        | SagaEvent::Completed
        | SagaEvent::Compensated { .. } => Saga::NotStarted,
    }
}

fn running<P: Process>(mut state: Running<P>, event: &SagaEvent<P>) -> Saga<P> {
    match event {
        SagaEvent::StepRequested { step, attempt, request, deadline } => {
            state.pursue(step, *attempt, Some(request), *deadline);
        }
        SagaEvent::StepAwaited { step, attempt, deadline }
        | SagaEvent::ChildRequested { step, attempt, deadline, .. } => state.pursue(step, *attempt, None, *deadline),
        SagaEvent::StepSkipped { step, lane: Lane::Forward, by_hand: _ } => {
            let attempts = state.step(step.as_str()).map_or(0, |step| step.phase.attempts());
            state.put(step, Phase::Skipped { attempts });
        }
        SagaEvent::StepRetried { step, lane: Lane::Forward, .. } => {
            if let Some(attempt) = state.step(step.as_str()).and_then(|step| step.phase.attempt()).cloned() {
                state.put(step, Phase::Pursued(Pursuit::retried(attempt)));
            }
        }
        SagaEvent::Paused { .. }
        | SagaEvent::Unpaused { .. }
        | SagaEvent::TimersFrozen { .. }
        | SagaEvent::TimersThawed { .. }
        | SagaEvent::TimersShifted { .. }
        | SagaEvent::TimerCancelled { .. } => state.timed(event),
        SagaEvent::StepHeld { step, lane: Lane::Forward, hold, at, .. } => state.hold(step, hold, *at),
        SagaEvent::StepReleased { step, lane: Lane::Forward, at } => state.release(step, *at),
        SagaEvent::Migrated { definition, binds, .. } => {
            state.origin = migrated(&state.origin, definition);
            state.deadline = state.deadline.map(|deadline| Deadline { binds: *binds, ..deadline });
        }
        SagaEvent::StepSucceeded { step, output } => {
            let attempts = state.step(step.as_str()).map_or(0, |step| step.phase.attempts());
            state.put(step, Phase::Done { attempts, output: output.clone() });
        }
        SagaEvent::StepRejected { step, reason } => {
            if let Some(attempt) = state.step(step.as_str()).and_then(|step| step.phase.attempt()).cloned() {
                state.put(step, Phase::Rejected { attempt, reason: reason.clone() });
            }
        }
        SagaEvent::StepUnknown { step, attempt: _, detail, retry_at } => {
            if let Some(attempt) = state.step(step.as_str()).and_then(|step| step.phase.attempt()).cloned() {
                state.put(step, Phase::Pursued(Pursuit::unknown(attempt, detail, *retry_at)));
            }
        }
        SagaEvent::Parked { step, lane: Lane::Forward, detail } => {
            if let Some(attempt) = state.step(step.as_str()).and_then(|step| step.phase.attempt()).cloned() {
                state.put(step, Phase::Pursued(Pursuit::Parked { attempt, detail: detail.clone() }));
            }
        }
        SagaEvent::CompensationStarted { cause } => return Saga::Compensating(turned(state, cause)),
        SagaEvent::CancelRequested { actor, reason } => {
            state.cancel = Some(ByHand { actor: actor.clone(), reason: reason.clone() });
        }
        SagaEvent::Completed => return state.ended(Ending::Completed),
        SagaEvent::Abandoned { actor, reason, owed } => {
            return state.ended(Ending::Abandoned { actor: actor.clone(), reason: reason.clone(), owed: owed.clone() });
        }
        SagaEvent::Started { .. }
        | SagaEvent::StepSkipped { lane: Lane::Undo, .. }
        | SagaEvent::StepRetried { lane: Lane::Undo, .. }
        | SagaEvent::CompensationRequested { .. }
        | SagaEvent::CompensationSucceeded { .. }
        | SagaEvent::CompensationFailed { .. }
        | SagaEvent::Parked { lane: Lane::Undo, .. }
        | SagaEvent::ChildUndoRequested { .. }
        | SagaEvent::StepHeld { lane: Lane::Undo, .. }
        | SagaEvent::StepReleased { lane: Lane::Undo, .. }
        | SagaEvent::Resumed { .. }
        | SagaEvent::Compensated { .. } => {}
    }
    Saga::Running(state)
}

/// What is done or unknown is owed; only what was definitely refused, or never asked for, is not.
fn turned<P: Process>(state: Running<P>, cause: &CompensationCause) -> Compensating<P> {
    let steps = state.steps.into_iter().map(|step| {
        let attempts = step.phase.attempts();
        let phase = match step.phase {
            Phase::Pursued(sought) if sought.is_unasked() => UndoPhase::LeftOut,
            Phase::Pursued(_) => UndoPhase::Owed { attempts, output: None },
            Phase::Done { output, .. } => UndoPhase::Owed { attempts, output },
            Phase::Rejected { .. } => UndoPhase::NotDone { attempts },
            Phase::Skipped { attempts: 0 } => UndoPhase::LeftOut,
            // Seen to by hand, after it was asked for: it may be done.
            Phase::Skipped { .. } => UndoPhase::Owed { attempts, output: None },
        };
        CompensatingStep { name: step.name, phase }
    });
    Compensating {
        origin: state.origin,
        cause: cause.clone(),
        paused: state.paused,
        frozen: state.frozen,
        asked_by: state.asked_by,
        steps: steps.collect(),
    }
}

fn compensating<P: Process>(mut state: Compensating<P>, event: &SagaEvent<P>) -> Saga<P> {
    match event {
        SagaEvent::CompensationRequested { step, attempt, request, deadline } => {
            state.request(step, *attempt, Some(request), *deadline);
        }
        SagaEvent::ChildUndoRequested { step, attempt, deadline, .. } => {
            state.request(step, *attempt, None, *deadline);
        }
        SagaEvent::StepSkipped { step, lane: Lane::Undo, by_hand: _ } => {
            let attempts = state.step(step.as_str()).map_or(0, |step| step.phase.attempts());
            state.put(step, UndoPhase::Skipped { attempts });
        }
        SagaEvent::StepRetried { step, lane: Lane::Undo, .. } => {
            if let Some(attempt) = state.attempt(step) {
                state.put(step, UndoPhase::Undoing(Pursuit::retried(attempt)));
            }
        }
        SagaEvent::Paused { .. }
        | SagaEvent::Unpaused { .. }
        | SagaEvent::TimersFrozen { .. }
        | SagaEvent::TimersThawed { .. }
        | SagaEvent::TimersShifted { .. }
        | SagaEvent::TimerCancelled { .. } => state.timed(event),
        SagaEvent::StepHeld { step, lane: Lane::Undo, hold, at, .. } => state.hold(step, hold, *at),
        SagaEvent::StepReleased { step, lane: Lane::Undo, .. } => state.release(step),
        SagaEvent::Migrated { definition, .. } => state.origin = migrated(&state.origin, definition),
        SagaEvent::CompensationSucceeded { step } => {
            let attempts = state.step(step.as_str()).map_or(0, |step| step.phase.attempts());
            state.put(step, UndoPhase::Undone { attempts });
        }
        SagaEvent::CompensationFailed { step, attempt: _, detail, retry_at } => {
            if let Some(attempt) = state.attempt(step) {
                state.put(step, UndoPhase::Undoing(Pursuit::unknown(attempt, detail, *retry_at)));
            }
        }
        SagaEvent::Parked { step, lane: Lane::Undo, detail } => {
            if let Some(attempt) = state.attempt(step) {
                state.put(step, UndoPhase::Undoing(Pursuit::Parked { attempt, detail: detail.clone() }));
            }
        }
        SagaEvent::Compensated { cause } => return state.ended(Ending::Compensated { cause: cause.clone() }),
        SagaEvent::Abandoned { actor, reason, owed } => {
            return state.ended(Ending::Abandoned { actor: actor.clone(), reason: reason.clone(), owed: owed.clone() });
        }
        SagaEvent::Started { .. }
        | SagaEvent::StepRequested { .. }
        | SagaEvent::StepAwaited { .. }
        | SagaEvent::StepSkipped { lane: Lane::Forward, .. }
        | SagaEvent::StepRetried { lane: Lane::Forward, .. }
        | SagaEvent::StepSucceeded { .. }
        | SagaEvent::StepRejected { .. }
        | SagaEvent::StepUnknown { .. }
        | SagaEvent::CompensationStarted { .. }
        | SagaEvent::CancelRequested { .. }
        | SagaEvent::Parked { lane: Lane::Forward, .. }
        | SagaEvent::ChildRequested { .. }
        | SagaEvent::StepHeld { lane: Lane::Forward, .. }
        | SagaEvent::StepReleased { lane: Lane::Forward, .. }
        | SagaEvent::Resumed { .. }
        | SagaEvent::Completed => {}
    }
    Saga::Compensating(state)
}

/// Only what is seen to after the end changes anything.
fn ended<P: Process>(mut state: Ended<P>, event: &SagaEvent<P>) -> Ended<P> {
    match event {
        SagaEvent::CompensationRequested { step, attempt, .. } => state.put(step, StepPhase::UndoAsked, Some(*attempt)),
        SagaEvent::CompensationFailed { step, .. } => state.put(step, StepPhase::UndoParked, None),
        SagaEvent::CompensationSucceeded { step } => state.settle(step, StepPhase::Undone),
        SagaEvent::StepSkipped { step, lane: Lane::Undo, .. } => state.settle(step, StepPhase::UndoSkipped),
        SagaEvent::Started { .. }
        | SagaEvent::StepRequested { .. }
        | SagaEvent::StepAwaited { .. }
        | SagaEvent::StepSkipped { lane: Lane::Forward, .. }
        | SagaEvent::StepRetried { .. }
        | SagaEvent::StepSucceeded { .. }
        | SagaEvent::StepRejected { .. }
        | SagaEvent::StepUnknown { .. }
        | SagaEvent::CompensationStarted { .. }
        | SagaEvent::CancelRequested { .. }
        | SagaEvent::Parked { .. }
        | SagaEvent::Resumed { .. }
        | SagaEvent::Paused { .. }
        | SagaEvent::Unpaused { .. }
        | SagaEvent::ChildRequested { .. }
        | SagaEvent::ChildUndoRequested { .. }
        | SagaEvent::StepHeld { .. }
        | SagaEvent::StepReleased { .. }
        | SagaEvent::TimersShifted { .. }
        | SagaEvent::TimersFrozen { .. }
        | SagaEvent::TimersThawed { .. }
        | SagaEvent::TimerCancelled { .. }
        | SagaEvent::Migrated { .. }
        | SagaEvent::Abandoned { .. }
        | SagaEvent::Completed
        | SagaEvent::Compensated { .. } => {}
    }
    state
}
