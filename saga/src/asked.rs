//! What was asked of whom, and by which stored event: an answer is believed when it names one of those.

use eventstore::EventId;

use crate::state::{Phase, Pursuit, UndoPhase};
use crate::{Compensating, Lane, Process, Running, Saga, SagaEvent, StepPhase, StepView};

/// The stored events by which a saga asked for anything. Bounded by the attempts that policies and operators allow.
///
/// Not one by one for what they asked: a participant may give the answer to one question when it meets another about
/// the same thing, and names that one. (A void is in progress, the authorization comes late: the void is answered.)
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AskedBy(Vec<EventId>);

impl AskedBy {
    /// True when this event asked.
    #[must_use]
    pub fn contains(&self, id: EventId) -> bool {
        self.0.contains(&id)
    }
}

/// Whether something was asked, and still is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked<'s> {
    /// Nobody was asked.
    Never,
    /// It was asked, and nothing is sought any more: an answer changes nothing.
    Before,
    /// A definite answer is being sought; it names one of these.
    Now(&'s AskedBy),
}

impl<P: Process> Saga<P> {
    /// Whether `step` was asked for in `lane`.
    #[must_use]
    pub fn asked(&self, step: &str, lane: Lane) -> Asked<'_> {
        match self {
            Self::NotStarted => Asked::Never,
            Self::Running(state) => state.asked(step, lane),
            Self::Compensating(state) => state.asked(step, lane),
            Self::Ended(state) => {
                let view = state.steps.iter().find(|view| view.name == *step);
                view.map_or(Asked::Never, |view| ended(view, lane, &state.asked_by))
            }
        }
    }

    /// Notes which event asked.
    pub(crate) fn note_asked(mut self, event: &SagaEvent<P>, id: EventId) -> Self {
        match (&mut self, event) {
            (Self::Running(state), SagaEvent::StepRequested { .. }) => state.asked_by.0.push(id),
            (Self::Compensating(state), SagaEvent::CompensationRequested { .. }) => state.asked_by.0.push(id),
            (Self::Ended(state), SagaEvent::CompensationRequested { .. }) => state.asked_by.0.push(id),
            (Self::NotStarted | Self::Running(_) | Self::Compensating(_) | Self::Ended(_), _) => {}
        }
        self
    }
}

impl<P: Process> Running<P> {
    fn asked(&self, step: &str, lane: Lane) -> Asked<'_> {
        match (lane, self.step(step).map(|step| &step.phase)) {
            (Lane::Undo, _) | (Lane::Forward, None) => Asked::Never,
            (Lane::Forward, Some(Phase::Pursued(sought))) => now(sought, &self.asked_by),
            (Lane::Forward, Some(phase)) => before(phase.attempts()),
        }
    }
}

impl<P: Process> Compensating<P> {
    fn asked(&self, step: &str, lane: Lane) -> Asked<'_> {
        let Some(phase) = self.step(step).map(|step| &step.phase) else { return Asked::Never };
        match (lane, phase) {
            (_, UndoPhase::LeftOut) => Asked::Never,
            (Lane::Forward, UndoPhase::NotDone { attempts } | UndoPhase::Owed { attempts, .. }) => before(*attempts),
            (Lane::Forward, UndoPhase::Undoing(_) | UndoPhase::Undone { .. } | UndoPhase::Skipped { .. }) => {
                Asked::Before
            }
            (Lane::Undo, UndoPhase::NotDone { .. } | UndoPhase::Owed { .. }) => Asked::Never,
            (Lane::Undo, UndoPhase::Undoing(sought)) => now(sought, &self.asked_by),
            (Lane::Undo, UndoPhase::Undone { attempts } | UndoPhase::Skipped { attempts }) => before(*attempts),
        }
    }
}

/// Of a saga that is over nothing is sought any more but what an operator has undone after its end.
fn ended<'s>(view: &StepView, lane: Lane, asked_by: &'s AskedBy) -> Asked<'s> {
    match (lane, view.phase) {
        (Lane::Forward, phase) if phase.is_of_undo() => Asked::Before,
        (Lane::Undo, StepPhase::UndoAsked | StepPhase::UndoWaiting | StepPhase::UndoParked) => Asked::Now(asked_by),
        (Lane::Undo, phase) if !phase.is_of_undo() => Asked::Never,
        (Lane::Forward | Lane::Undo, _) => before(view.attempts),
    }
}

fn before(attempts: u32) -> Asked<'static> {
    if attempts == 0 { Asked::Never } else { Asked::Before }
}

fn now<'s, P: Process>(sought: &Pursuit<P>, asked_by: &'s AskedBy) -> Asked<'s> {
    if sought.is_unasked() { Asked::Never } else { Asked::Now(asked_by) }
}
