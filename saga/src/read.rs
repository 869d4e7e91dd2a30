//! What others may ask of a saga's state.

use chrono::{DateTime, Utc};

use crate::state::{Attempt, Phase, Pursuit, RunningStep, UndoPhase};
use crate::{
    Compensating, CompensatingStep, CompensationCause, DefinitionRef, Ended, Ending, HoldTarget, Origin, Process,
    Running, Saga, Status, StepName, StepPhase, StepView,
};

impl<P: Process> Saga<P> {
    /// Where it stands, in a word.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::NotStarted => Status::NotStarted,
            Self::Running(Running { paused: Some(_), .. })
            | Self::Compensating(Compensating { paused: Some(_), .. }) => Status::Paused,
            Self::Running(state) if state.is_parked() => Status::Parked,
            Self::Running(_) => Status::Running,
            Self::Compensating(state) if state.is_parked() => Status::Parked,
            Self::Compensating(_) => Status::Compensating,
            Self::Ended(state) => match state.ending {
                Ending::Completed => Status::Completed,
                Ending::Compensated { .. } => Status::Compensated,
                Ending::Abandoned { .. } => Status::Abandoned,
            },
        }
    }

    /// True when nothing will happen to it any more.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        match self {
            Self::Ended(_) => true,
            Self::NotStarted | Self::Running(_) | Self::Compensating(_) => false,
        }
    }

    /// What it is bound to and about; `None` when not started.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin<P>> {
        match self {
            Self::NotStarted => None,
            Self::Running(state) => Some(&state.origin),
            Self::Compensating(state) => Some(&state.origin),
            Self::Ended(state) => Some(&state.origin),
        }
    }

    /// What it was started with; `None` when not started.
    #[must_use]
    pub fn input(&self) -> Option<&P::Input> {
        self.origin().map(|origin| &*origin.input)
    }

    /// What it is bound to; `None` when not started.
    #[must_use]
    pub fn definition(&self) -> Option<&DefinitionRef> {
        self.origin().map(|origin| &origin.definition)
    }

    /// True when an operator stopped it where it stands.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        match self {
            Self::Running(state) => state.paused.is_some(),
            Self::Compensating(state) => state.paused.is_some(),
            Self::NotStarted | Self::Ended(_) => false,
        }
    }

    /// True when an operator froze its timers.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        match self {
            Self::Running(state) => state.frozen.is_some(),
            Self::Compensating(state) => state.frozen.is_some(),
            Self::NotStarted | Self::Ended(_) => false,
        }
    }

    /// Why it is being undone, or was.
    #[must_use]
    pub fn cause(&self) -> Option<&CompensationCause> {
        match self {
            Self::NotStarted | Self::Running(_) => None,
            Self::Compensating(state) => Some(&state.cause),
            Self::Ended(state) => match &state.ending {
                Ending::Compensated { cause } => Some(cause),
                Ending::Completed | Ending::Abandoned { .. } => None,
            },
        }
    }

    /// The steps begun so far, in the order of the definition.
    #[must_use]
    pub fn steps(&self) -> Vec<StepView> {
        match self {
            Self::NotStarted => Vec::new(),
            Self::Running(state) => state.views(),
            Self::Compensating(state) => state.views(),
            Self::Ended(state) => state.steps.clone(),
        }
    }
}

impl<P: Process> Running<P> {
    /// The step called `name`, if it was begun.
    #[must_use]
    pub fn step(&self, name: &str) -> Option<&RunningStep<P>> {
        self.steps.iter().rfind(|step| step.name == *name)
    }

    pub(crate) fn views(&self) -> Vec<StepView> {
        let view = |step: &RunningStep<P>| StepView {
            name: step.name.clone(),
            phase: step.phase.view(),
            attempts: step.phase.attempts(),
        };
        self.steps.iter().map(view).collect()
    }

    fn is_parked(&self) -> bool {
        self.steps.iter().any(|step| step.phase.pursuit().is_some_and(Pursuit::is_parked))
    }
}

impl<P: Process> Ended<P> {
    /// The step called `name`, if it was begun.
    #[must_use]
    pub fn step(&self, name: &StepName) -> Option<&StepView> {
        self.steps.iter().find(|step| step.name == *name)
    }

    /// What it owes: done, or perhaps, and neither undone nor seen to by hand. Only an abandoned saga owes anything.
    #[must_use]
    pub fn owed(&self) -> &[StepName] {
        match &self.ending {
            Ending::Abandoned { owed, .. } => owed,
            Ending::Completed | Ending::Compensated { .. } => &[],
        }
    }
}

impl StepPhase {
    /// True when somebody may still have to see to it: it is neither definitely not done nor undone nor seen to.
    #[must_use]
    pub fn is_open(self) -> bool {
        match self {
            Self::Asked
            | Self::Waiting
            | Self::Parked
            | Self::Held
            | Self::Done
            | Self::Skipped
            | Self::Owed
            | Self::UndoAsked
            | Self::UndoWaiting
            | Self::UndoParked
            | Self::UndoHeld => true,
            Self::Rejected | Self::Undone | Self::UndoSkipped => false,
        }
    }

    /// True once it was asked to be undone.
    #[must_use]
    pub fn is_of_undo(self) -> bool {
        match self {
            Self::UndoAsked
            | Self::UndoWaiting
            | Self::UndoParked
            | Self::UndoHeld
            | Self::Undone
            | Self::UndoSkipped => true,
            Self::Asked
            | Self::Waiting
            | Self::Parked
            | Self::Held
            | Self::Rejected
            | Self::Done
            | Self::Skipped
            | Self::Owed => false,
        }
    }
}

impl<P: Process> Compensating<P> {
    /// The step called `name`, if it was begun.
    #[must_use]
    pub fn step(&self, name: &str) -> Option<&CompensatingStep<P>> {
        self.steps.iter().find(|step| step.name == *name)
    }

    pub(crate) fn views(&self) -> Vec<StepView> {
        let view = |step: &CompensatingStep<P>| StepView {
            name: step.name.clone(),
            phase: step.phase.view(),
            attempts: step.phase.attempts(),
        };
        self.steps.iter().map(view).collect()
    }

    fn is_parked(&self) -> bool {
        self.steps.iter().any(|step| step.phase.pursuit().is_some_and(Pursuit::is_parked))
    }
}

impl<P: Process> Phase<P> {
    pub(crate) fn pursuit(&self) -> Option<&Pursuit<P>> {
        match self {
            Self::Pursued(pursuit) => Some(pursuit),
            Self::Rejected { .. } | Self::Done { .. } | Self::Skipped { .. } => None,
        }
    }

    pub(crate) fn pursuit_mut(&mut self) -> Option<&mut Pursuit<P>> {
        match self {
            Self::Pursued(pursuit) => Some(pursuit),
            Self::Rejected { .. } | Self::Done { .. } | Self::Skipped { .. } => None,
        }
    }

    /// The last asking, while it may have to be repeated.
    pub(crate) fn attempt(&self) -> Option<&Attempt<P>> {
        match self {
            Self::Pursued(pursuit) => Some(pursuit.attempt()),
            Self::Rejected { attempt, .. } => Some(attempt),
            Self::Done { .. } | Self::Skipped { .. } => None,
        }
    }

    pub(crate) fn attempts(&self) -> u32 {
        match self {
            Self::Pursued(pursuit) => pursuit.attempt().number,
            Self::Rejected { attempt, .. } => attempt.number,
            Self::Done { attempts, .. } | Self::Skipped { attempts } => *attempts,
        }
    }

    fn view(&self) -> StepPhase {
        match self {
            Self::Pursued(Pursuit::Asked { .. }) => StepPhase::Asked,
            Self::Pursued(Pursuit::Waiting { .. } | Pursuit::Exhausted { .. }) => StepPhase::Waiting,
            Self::Pursued(Pursuit::Parked { .. }) => StepPhase::Parked,
            Self::Pursued(Pursuit::Held { .. }) => StepPhase::Held,
            Self::Rejected { .. } => StepPhase::Rejected,
            Self::Done { .. } => StepPhase::Done,
            Self::Skipped { .. } => StepPhase::Skipped,
        }
    }
}

impl<P: Process> UndoPhase<P> {
    pub(crate) fn pursuit(&self) -> Option<&Pursuit<P>> {
        match self {
            Self::Undoing(pursuit) => Some(pursuit),
            Self::NotDone { .. } | Self::LeftOut | Self::Owed { .. } | Self::Undone { .. } | Self::Skipped { .. } => {
                None
            }
        }
    }

    pub(crate) fn pursuit_mut(&mut self) -> Option<&mut Pursuit<P>> {
        match self {
            Self::Undoing(pursuit) => Some(pursuit),
            Self::NotDone { .. } | Self::LeftOut | Self::Owed { .. } | Self::Undone { .. } | Self::Skipped { .. } => {
                None
            }
        }
    }

    pub(crate) fn attempts(&self) -> u32 {
        match self {
            Self::NotDone { attempts }
            | Self::Owed { attempts, .. }
            | Self::Undone { attempts }
            | Self::Skipped { attempts } => *attempts,
            Self::LeftOut => 0,
            Self::Undoing(pursuit) => pursuit.attempt().number,
        }
    }

    fn view(&self) -> StepPhase {
        match self {
            Self::NotDone { .. } => StepPhase::Rejected,
            Self::LeftOut => StepPhase::Skipped,
            Self::Owed { .. } => StepPhase::Owed,
            Self::Undoing(Pursuit::Asked { .. }) => StepPhase::UndoAsked,
            Self::Undoing(Pursuit::Waiting { .. } | Pursuit::Exhausted { .. }) => StepPhase::UndoWaiting,
            Self::Undoing(Pursuit::Parked { .. }) => StepPhase::UndoParked,
            Self::Undoing(Pursuit::Held { .. }) => StepPhase::UndoHeld,
            Self::Undone { .. } => StepPhase::Undone,
            Self::Skipped { .. } => StepPhase::UndoSkipped,
        }
    }
}

impl<P: Process> Pursuit<P> {
    /// The last asking.
    #[must_use]
    pub fn attempt(&self) -> &Attempt<P> {
        match self {
            Self::Asked { attempt, .. }
            | Self::Waiting { attempt, .. }
            | Self::Exhausted { attempt, .. }
            | Self::Parked { attempt, .. }
            | Self::Held { attempt, .. } => attempt,
        }
    }

    /// True when nobody was asked yet.
    pub(crate) fn is_unasked(&self) -> bool {
        self.attempt().number == 0
    }

    /// Where it is held, if it is.
    pub(crate) fn held(&self) -> Option<(&HoldTarget, DateTime<Utc>)> {
        match self {
            Self::Held { under, since, .. } => Some((under, *since)),
            Self::Asked { .. } | Self::Waiting { .. } | Self::Exhausted { .. } | Self::Parked { .. } => None,
        }
    }

    pub(crate) fn is_parked(&self) -> bool {
        match self {
            Self::Parked { .. } => true,
            Self::Asked { .. } | Self::Waiting { .. } | Self::Exhausted { .. } | Self::Held { .. } => false,
        }
    }
}
