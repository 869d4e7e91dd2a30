//! What is seen to after a saga's end.

use crate::state::{Ended, Ending};
use crate::{Process, StepName, StepPhase};

impl<P: Process> Ended<P> {
    pub(super) fn put(&mut self, name: &StepName, phase: StepPhase, attempts: Option<u32>) {
        if let Some(step) = self.steps.iter_mut().find(|step| step.name == *name) {
            step.phase = phase;
            step.attempts = attempts.unwrap_or(step.attempts);
        }
    }

    /// A step is undone, or seen to: it is owed no more.
    pub(super) fn settle(&mut self, name: &StepName, phase: StepPhase) {
        self.put(name, phase, None);
        match &mut self.ending {
            Ending::Abandoned { owed, .. } => owed.retain(|step| step != name),
            Ending::Completed | Ending::Compensated { .. } => {}
        }
    }
}
