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

/// What became of a saga that was let go from `target` at `at`, by its whole history.
#[must_use]
pub fn judge<P: Process>(history: &[SagaEvent<P>], target: &HoldTarget, at: DateTime<Utc>) -> Judgement {
    let mut waiting: Vec<&StepName> = Vec::new();
    let mut released = None;
    for (index, event) in history.iter().enumerate() {
        if let SagaEvent::StepHeld { step, hold, .. } = event {
            waiting.retain(|other| *other != step);
            waiting.extend(Some(step).filter(|_| hold == target));
        } else if let SagaEvent::StepReleased { step, at: since, .. } = event {
            let waited = waiting.contains(&step);
            waiting.retain(|other| *other != step);
            released = released.or((waited && *since >= at).then_some((index, step)));
        } else if let SagaEvent::CompensationStarted { .. } | SagaEvent::Abandoned { .. } = event {
            waiting.clear();
        }
    }
    match released {
        Some((index, step)) => {
            let after = history.iter().skip(index + 1);
            let said = |event| said(event, step, target);
            after.map(said).find(|said| *said != Judgement::Open).unwrap_or(Judgement::Open)
        }
        None if !waiting.is_empty() => Judgement::Untold,
        // It went on in another way: by an operator, or because it was undone.
        None => Judgement::Worked,
    }
}

/// What an event says about `released`, once it was let go from `under`.
fn said<P: Process>(event: &SagaEvent<P>, released: &StepName, under: &HoldTarget) -> Judgement {
    let is_of_it = |judgement, step: &StepName| if step == released { judgement } else { Judgement::Open };
    match event {
        // It has passed, and waits at another hold: that one's participant was not asked.
        SagaEvent::StepHeld { step, hold, .. } if hold != under => is_of_it(Judgement::Worked, step),
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
