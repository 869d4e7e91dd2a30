//! Sagas that run sagas: what one of them records starts, answers or undoes another, in the same unit of work.

use std::collections::VecDeque;

use eventstore::{Unit, derived_id};
use saga::{
    CompensationCause, Ended, Ending, Input, Lane, Outcome, Parent, Process, Refusal, Rejection, Saga, SagaEvent,
    Status, StepName, UndoOutcome,
};
use uuid::Uuid;

use crate::engine::{Engine, Happened, StepError};

impl<P: Process> Engine<P> {
    /// Records what follows for other sagas from `happened`, and from that in turn, and returns all of it. Ends: no saga
    /// runs itself ([`Library::new`](saga::Library::new)), and each answers its parent once.
    pub(crate) fn follow(&self, unit: &mut Unit<'_>, happened: Happened<P>) -> Result<Happened<P>, StepError> {
        if !happened.iter().any(|(_, event)| concerns_others(event)) {
            return Ok(happened);
        }
        let (mut all, mut next) = (Vec::new(), VecDeque::from(happened));
        while let Some((saga_id, event)) = next.pop_front() {
            next.extend(self.consequences(unit, saga_id, &event)?);
            all.push((saga_id, event));
        }
        Ok(all)
    }

    fn consequences(&self, unit: &mut Unit<'_>, saga_id: Uuid, event: &SagaEvent<P>) -> Result<Happened<P>, StepError> {
        if let SagaEvent::ChildRequested { step, child_id, definition, input, .. } = event {
            let parent = Parent { saga_id, step: step.clone(), lane: Lane::Forward };
            self.run(unit, *child_id, definition, (**input).clone(), parent)
        } else if let SagaEvent::ChildUndoRequested { step, child_id, .. } = event {
            self.undo(unit, saga_id, step, *child_id)
        } else if is_end(event) {
            self.ended(unit, saga_id)
        } else {
            Ok(Vec::new())
        }
    }

    /// Runs a saga for its parent; one that is over answers again.
    fn run(
        &self,
        unit: &mut Unit<'_>,
        child_id: Uuid,
        definition: &str,
        input: P::Input,
        parent: Parent,
    ) -> Result<Happened<P>, StepError> {
        let happened = self.begin(unit, child_id, definition, Input::StartChild { input, parent })?;
        if happened.is_empty() { self.ended(unit, child_id) } else { Ok(happened) }
    }

    /// What the end of a saga means to others: to the one whose step it is, and to the one that undoes it.
    fn ended(&self, unit: &mut Unit<'_>, saga_id: Uuid) -> Result<Happened<P>, StepError> {
        let Saga::Ended(ended) = unit.get::<Saga<P>>(saga_id)?.clone() else { return Ok(Vec::new()) };
        let mut happened = match ended.origin.parent.clone() {
            Some(parent) => self.tell(unit, &parent, saga_id, &ended)?,
            None => Vec::new(),
        };
        if ended.cancel.is_some() && ended.ending == Ending::Completed {
            happened.extend(self.start_cancelling(unit, saga_id, &ended)?);
        }
        Ok(happened)
    }

    fn tell(
        &self,
        unit: &mut Unit<'_>,
        parent: &Parent,
        child_id: Uuid,
        ended: &Ended<P>,
    ) -> Result<Happened<P>, StepError> {
        let step = parent.step.clone();
        match parent.lane {
            Lane::Forward => {
                let outcome = self.outcome(ended)?;
                let mut happened = self.one(unit, parent.saga_id, Input::Reply { step, outcome })?;
                // The parent may have turned meanwhile and wait for this end to undo it.
                if happened.is_empty() && is_sought(unit.get::<Saga<P>>(parent.saga_id)?, &parent.step) {
                    happened = self.undo(unit, parent.saga_id, &parent.step, child_id)?;
                }
                Ok(happened)
            }
            Lane::Undo => {
                let outcome = match &ended.ending {
                    Ending::Completed => UndoOutcome::Done,
                    Ending::Compensated { .. } | Ending::Abandoned { .. } => {
                        UndoOutcome::Unknown(format!("{} did not undo it", ended.origin.definition))
                    }
                };
                self.one(unit, parent.saga_id, Input::UndoReply { step, outcome })
            }
        }
    }

    /// What a saga's end is to the step that ran it.
    fn outcome(&self, ended: &Ended<P>) -> Result<Outcome<P::Output>, StepError> {
        Ok(match &ended.ending {
            Ending::Completed => {
                let gives = self.library().pinned(&ended.origin.definition)?.gives();
                let given = ended.outputs.iter().find(|(step, _)| Some(step.as_str()) == gives);
                Outcome::Done(given.map(|(_, output)| (**output).clone()))
            }
            Ending::Compensated { cause } => Outcome::Rejected(rejection(cause)),
            Ending::Abandoned { reason, .. } => Outcome::Unknown(format!("it was abandoned: {reason}")),
        })
    }

    /// Undoes the saga that was run as `step`, as far as it can be now: when it ends, this is asked again.
    fn undo(
        &self,
        unit: &mut Unit<'_>,
        parent_id: Uuid,
        step: &StepName,
        child_id: Uuid,
    ) -> Result<Happened<P>, StepError> {
        let undone = |outcome| Input::UndoReply { step: step.clone(), outcome };
        let actor = unit.cause().actor.clone();
        match unit.get::<Saga<P>>(child_id)?.clone() {
            Saga::NotStarted => self.one(unit, parent_id, undone(UndoOutcome::Done)),
            Saga::Running(_) => {
                let reason = format!("{step} of {parent_id} is undone");
                match self.one(unit, child_id, Input::Cancel { reason, actor }) {
                    // It completes first.
                    Err(StepError::Refused(Refusal::PastNoReturn | Refusal::AtPivot { .. })) => Ok(Vec::new()),
                    other => other,
                }
            }
            Saga::Compensating(_) => Ok(Vec::new()),
            Saga::Ended(ended) => match &ended.ending {
                Ending::Compensated { .. } => self.one(unit, parent_id, undone(UndoOutcome::Done)),
                Ending::Completed => self.undo_completed(unit, parent_id, step, child_id, &ended),
                Ending::Abandoned { reason, .. } => {
                    let outcome = UndoOutcome::Unknown(format!("it was abandoned: {reason}"));
                    self.one(unit, parent_id, undone(outcome))
                }
            },
        }
    }

    fn undo_completed(
        &self,
        unit: &mut Unit<'_>,
        parent_id: Uuid,
        step: &StepName,
        child_id: Uuid,
        ended: &Ended<P>,
    ) -> Result<Happened<P>, StepError> {
        let definition = self.library().pinned(&ended.origin.definition)?;
        match definition.cancelled_by() {
            Some(name) => {
                let parent = Parent { saga_id: parent_id, step: step.clone(), lane: Lane::Undo };
                let cancel_id = derived_id(child_id, name);
                match unit.get::<Saga<P>>(cancel_id)? {
                    // Somebody else wanted it undone before, and it is.
                    Saga::Ended(cancel) if cancel.origin.parent.is_none() && cancel.ending == Ending::Completed => {
                        self.one(unit, parent_id, Input::UndoReply { step: step.clone(), outcome: UndoOutcome::Done })
                    }
                    // Or it will be: this is asked again.
                    cancel if cancel.origin().is_some_and(|origin| origin.parent.is_none()) => Ok(Vec::new()),
                    Saga::NotStarted | Saga::Running(_) | Saga::Compensating(_) | Saga::Ended(_) => {
                        self.run(unit, cancel_id, name, (*ended.origin.input).clone(), parent)
                    }
                }
            }
            None => {
                // Without a point of no return there is nothing but steps that can be undone, and a saga that is over
                // does not undo them.
                let outcome = UndoOutcome::Unknown(format!("{} is completed", definition.id()));
                self.one(unit, parent_id, Input::UndoReply { step: step.clone(), outcome })
            }
        }
    }

    /// Starts the saga that undoes one which is completed, if its definition names one.
    pub(crate) fn start_cancelling(
        &self,
        unit: &mut Unit<'_>,
        saga_id: Uuid,
        ended: &Ended<P>,
    ) -> Result<Happened<P>, StepError> {
        let definition = self.library().pinned(&ended.origin.definition)?;
        let Some(name) = definition.cancelled_by() else {
            return Err(Refusal::Ended { status: Status::Completed }.into());
        };
        let cancel_id = derived_id(saga_id, name);
        if unit.get::<Saga<P>>(cancel_id)?.origin().is_some() {
            return Ok(Vec::new());
        }
        let input = (*ended.origin.input).clone();
        self.begin(unit, cancel_id, name, Input::Start { input })
    }
}

/// Whether other sagas may have to be told.
fn concerns_others<P: Process>(event: &SagaEvent<P>) -> bool {
    matches!(event, SagaEvent::ChildRequested { .. } | SagaEvent::ChildUndoRequested { .. }) || is_end(event)
}

fn is_end<P: Process>(event: &SagaEvent<P>) -> bool {
    matches!(event, SagaEvent::Completed | SagaEvent::Compensated { .. } | SagaEvent::Abandoned { .. })
}

/// Whether the undoing of `step` is being sought.
fn is_sought<P: Process>(saga: &Saga<P>, step: &StepName) -> bool {
    saga::pending(saga).wanted.iter().any(|wanted| wanted.lane == Lane::Undo && wanted.step == *step)
}

fn rejection(cause: &CompensationCause) -> Rejection {
    match cause {
        CompensationCause::Rejected { rejection, .. } => rejection.clone(),
        CompensationCause::Exhausted { step, detail } => Rejection::new("NO_ANSWER", format!("{step}: {detail}")),
        CompensationCause::Cancelled { reason, .. } => Rejection::new("CANCELLED", reason.clone()),
        CompensationCause::Late { deadline } => Rejection::new("TIMED_OUT", format!("its deadline was {deadline}")),
    }
}
