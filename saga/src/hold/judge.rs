use chrono::{DateTime, Utc};

use crate::{HoldTarget, Process, SagaEvent, StepName};

/// What became of a saga that was let go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judgement {
    /// Its participant answered, or it does not matter any more.
    Worked,
    /// No answer came in time.
    Failed,
    /// It has been asked, and its time is not over.
    Open,
    /// It does not know yet that it may go: tell it again.
    Untold,
}

/// What became of a saga that was let go at `at`, by its whole history.
#[must_use]
pub fn judge<P: Process>(history: &[SagaEvent<P>], at: DateTime<Utc>) -> Judgement {
    let released = history.iter().enumerate().find_map(|(index, event)| {
        let SagaEvent::StepReleased { step, at: since, .. } = event else { return None };
        (*since >= at).then_some((index, step))
    });
    match released {
        Some((index, step)) => {
            let before = history.iter().take(index).rev();
            let under = before.filter(|event| event.step() == Some(step)).find_map(held_under);
            let after = history.iter().skip(index + 1);
            after.map(|event| said(event, step, under)).find(|said| *said != Judgement::Open).unwrap_or(Judgement::Open)
        }
        None if waits(history) => Judgement::Untold,
        // It went on in another way: by an operator, or because it was undone.
        None => Judgement::Worked,
    }
}

fn held_under<P: Process>(event: &SagaEvent<P>) -> Option<&HoldTarget> {
    let SagaEvent::StepHeld { hold, .. } = event else { return None };
    Some(hold)
}

/// What an event says about `released`, once it was let go from `under`.
fn said<P: Process>(event: &SagaEvent<P>, released: &StepName, under: Option<&HoldTarget>) -> Judgement {
    let is_of_it = |judgement, step: &StepName| if step == released { judgement } else { Judgement::Open };
    match event {
        // It has passed, and waits at another hold: that one's participant was not asked.
        SagaEvent::StepHeld { step, hold, .. } if Some(hold) != under => is_of_it(Judgement::Worked, step),
        SagaEvent::StepUnknown { step, .. }
        | SagaEvent::CompensationFailed { step, .. }
        | SagaEvent::StepHeld { step, .. } => is_of_it(Judgement::Failed, step),
        SagaEvent::StepSucceeded { step, .. }
        | SagaEvent::StepRejected { step, .. }
        | SagaEvent::StepSkipped { step, .. }
        | SagaEvent::CompensationSucceeded { step } => is_of_it(Judgement::Worked, step),
        SagaEvent::Completed | SagaEvent::Compensated { .. } | SagaEvent::Abandoned { .. } => Judgement::Worked,
        SagaEvent::Started { .. }
        | SagaEvent::ChildRequested { .. }
        | SagaEvent::ChildUndoRequested { .. }
        | SagaEvent::StepRequested { .. }
        | SagaEvent::StepAwaited { .. }
        | SagaEvent::StepRetried { .. }
        | SagaEvent::CompensationStarted { .. }
        | SagaEvent::CompensationRequested { .. }
        | SagaEvent::CancelRequested { .. }
        | SagaEvent::Parked { .. }
        | SagaEvent::Resumed { .. }
        | SagaEvent::Paused { .. }
        | SagaEvent::Unpaused { .. }
        | SagaEvent::StepReleased { .. }
        | SagaEvent::TimersShifted { .. }
        | SagaEvent::TimersFrozen { .. }
        | SagaEvent::TimersThawed { .. }
        | SagaEvent::TimerCancelled { .. }
        | SagaEvent::Migrated { .. } => Judgement::Open,
    }
}

/// Whether the last that is known of holds is that it came to one.
fn waits<P: Process>(history: &[SagaEvent<P>]) -> bool {
    let tells = |event: &&SagaEvent<P>| {
        matches!(
            event,
            SagaEvent::StepHeld { .. }
                | SagaEvent::StepReleased { .. }
                | SagaEvent::CompensationStarted { .. }
                | SagaEvent::Abandoned { .. }
        )
    };
    history.iter().rfind(tells).is_some_and(|event| matches!(event, SagaEvent::StepHeld { .. }))
}
