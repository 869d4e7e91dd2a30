//! What events are called, and of which step they tell.

use std::fmt;

use eventstore::DomainEvent as _;

use super::SagaEvent;
use crate::{Process, StepName};

impl<P: Process> SagaEvent<P> {
    /// The step it tells about, if it tells about one.
    #[must_use]
    pub fn step(&self) -> Option<&StepName> {
        match self {
            Self::StepRequested { step, .. }
            | Self::StepAwaited { step, .. }
            | Self::StepSkipped { step, .. }
            | Self::StepRetried { step, .. }
            | Self::StepHeld { step, .. }
            | Self::ChildRequested { step, .. }
            | Self::ChildUndoRequested { step, .. }
            | Self::StepReleased { step, .. }
            | Self::StepSucceeded { step, .. }
            | Self::StepRejected { step, .. }
            | Self::StepUnknown { step, .. }
            | Self::CompensationRequested { step, .. }
            | Self::CompensationSucceeded { step }
            | Self::CompensationFailed { step, .. }
            | Self::Parked { step, .. } => Some(step),
            Self::TimersShifted { step, .. } | Self::TimerCancelled { step, .. } => step.as_ref(),
            Self::Started { .. }
            | Self::CompensationStarted { .. }
            | Self::CancelRequested { .. }
            | Self::Resumed { .. }
            | Self::Paused { .. }
            | Self::Unpaused { .. }
            | Self::TimersFrozen { .. }
            | Self::TimersThawed { .. }
            | Self::Migrated { .. }
            | Self::Abandoned { .. }
            | Self::Completed
            | Self::Compensated { .. } => None,
        }
    }
}

/// In short, for logs and tests: `StepRequested reserve-stock`.
impl<P: Process> fmt::Display for SagaEvent<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.type_name())?;
        self.step().map_or(Ok(()), |step| write!(f, " {step}"))
    }
}

eventstore::event_types! {
    SagaEvent<P> where [P: Process] {
        Self::Started { .. } => "SagaStarted";
        Self::StepRequested { .. } => "StepRequested";
        Self::StepAwaited { .. } => "StepAwaited";
        Self::StepSkipped { .. } => "StepSkipped";
        Self::StepRetried { .. } => "StepRetried";
        Self::StepSucceeded { .. } => "StepSucceeded";
        Self::StepRejected { .. } => "StepRejected";
        Self::StepUnknown { .. } => "StepUnknown";
        Self::CompensationStarted { .. } => "CompensationStarted";
        Self::CompensationRequested { .. } => "CompensationRequested";
        Self::CompensationSucceeded { .. } => "CompensationSucceeded";
        Self::CompensationFailed { .. } => "CompensationFailed";
        Self::CancelRequested { .. } => "CancelRequested";
        Self::Parked { .. } => "SagaParked";
        Self::Resumed { .. } => "SagaResumed";
        Self::Paused { .. } => "SagaPaused";
        Self::Unpaused { .. } => "SagaUnpaused";
        Self::ChildRequested { .. } => "ChildRequested";
        Self::ChildUndoRequested { .. } => "ChildUndoRequested";
        Self::StepHeld { .. } => "StepHeld";
        Self::StepReleased { .. } => "StepReleased";
        Self::TimersShifted { .. } => "TimersShifted";
        Self::TimersFrozen { .. } => "TimersFrozen";
        Self::TimersThawed { .. } => "TimersThawed";
        Self::TimerCancelled { .. } => "TimerCancelled";
        Self::Migrated { .. } => "SagaMigrated";
        Self::Abandoned { .. } => "SagaAbandoned";
        Self::Completed => "SagaCompleted";
        Self::Compensated { .. } => "SagaCompensated";
    }
}
