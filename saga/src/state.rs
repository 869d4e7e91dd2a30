use chrono::{DateTime, Utc};
use eventstore::{Actor, Aggregate, Category, EventId};
use serde::Serialize;

use crate::asked::AskedBy;
use crate::{
    ByHand, CompensationCause, Deadline, DefinitionRef, HoldTarget, Parent, Process, Rejection, SagaEvent, Shared,
    StepName,
};

/// Where one saga stands: the fold of its stream.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
#[serde(bound = "")]
pub enum Saga<P: Process> {
    /// There is none.
    #[default]
    NotStarted,
    /// On its way.
    Running(Running<P>),
    /// On its way back.
    Compensating(Compensating<P>),
    /// Over. Nothing happens to it any more.
    Ended(Ended<P>),
}

/// What a saga was started with.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(bound = "")]
pub struct Origin<P: Process> {
    /// What it is bound to.
    pub definition: DefinitionRef,
    /// What it is about.
    pub input: Shared<P::Input>,
    /// The saga that runs it as a step, if one does.
    pub parent: Option<Parent>,
}

/// A saga on its way. Its steps are those that were begun, in the order of the definition: the step at an index here
/// is the step at that index there.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(bound = "")]
pub struct Running<P: Process> {
    /// What it was started with.
    pub origin: Shared<Origin<P>>,
    /// When it has to be past its point of no return, if it has to.
    pub deadline: Option<Deadline>,
    /// Since when it stands still, if it does.
    pub paused: Option<DateTime<Utc>>,
    /// Since when nothing becomes due, if an operator froze its timers.
    pub frozen: Option<DateTime<Utc>>,
    /// Since when some step waits at a hold, if one does: its deadline stands still.
    pub held: Option<DateTime<Utc>>,
    /// Who wanted it undone when there was no way back any more, and why.
    pub cancel: Option<ByHand>,
    /// The stored events that asked for something so far: an answer names one of them.
    #[serde(skip)]
    pub asked_by: AskedBy,
    /// The steps begun so far.
    pub steps: Vec<RunningStep<P>>,
}

/// A step of a saga on its way.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(bound = "")]
pub struct RunningStep<P: Process> {
    /// Its name.
    pub name: StepName,
    /// How far it is.
    pub phase: Phase<P>,
}

/// How far a step is.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(bound = "")]
pub enum Phase<P: Process> {
    /// A definite answer is being sought.
    Pursued(Pursuit<P>),
    /// Definitely not done.
    Rejected {
        /// What was refused.
        attempt: Attempt<P>,
        /// Why.
        reason: Rejection,
    },
    /// Done.
    Done {
        /// How often it was asked for; 0 for a local step.
        attempts: u32,
        /// What it reported.
        output: Option<Shared<P::Output>>,
    },
    /// Left out.
    Skipped {
        /// How often it was asked for before somebody saw to it by hand; 0 when there was nothing to do.
        attempts: u32,
    },
}

/// A request for which a definite answer is being sought, in either lane.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(bound = "")]
pub enum Pursuit<P: Process> {
    /// Asked, no answer yet.
    Asked {
        /// What was asked.
        attempt: Attempt<P>,
        /// Until when an answer is waited for.
        deadline: DateTime<Utc>,
    },
    /// No definite answer; it will be asked again.
    Waiting {
        /// What was asked.
        attempt: Attempt<P>,
        /// When.
        retry_at: DateTime<Utc>,
    },
    /// No definite answer as often as the policy allows. The decision that finds this out also says what follows.
    Exhausted {
        /// What was asked.
        attempt: Attempt<P>,
        /// What was learned last.
        detail: String,
    },
    /// An operator must look.
    Parked {
        /// What was asked.
        attempt: Attempt<P>,
        /// What stopped it.
        detail: String,
    },
    /// It waits at a hold.
    Held {
        /// What was asked before; number 0 when nothing was.
        attempt: Attempt<P>,
        /// What is held.
        under: HoldTarget,
        /// Since when.
        since: DateTime<Utc>,
        /// What the step reported that is to be undone.
        output: Option<Shared<P::Output>>,
    },
}

/// One asking of a request.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(bound = "")]
pub struct Attempt<P: Process> {
    /// For which time, from 1; 0 when it is about to be asked for the first time.
    pub number: u32,
    /// The attempts that do not count against the policy: those before an operator last had it tried again.
    pub forgiven: u32,
    /// What is asked, the same every time; `None` where nobody is asked and word from outside is awaited.
    pub request: Option<Shared<P::Request>>,
}

/// A saga on its way back. Its steps are those that were begun, as in [`Running`].
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(bound = "")]
pub struct Compensating<P: Process> {
    /// What it was started with.
    pub origin: Shared<Origin<P>>,
    /// Why.
    pub cause: CompensationCause,
    /// Since when it stands still, if it does.
    pub paused: Option<DateTime<Utc>>,
    /// Since when nothing becomes due, if an operator froze its timers.
    pub frozen: Option<DateTime<Utc>>,
    /// The stored events that asked for something so far, on the way and on the way back.
    #[serde(skip)]
    pub asked_by: AskedBy,
    /// The steps that were begun.
    pub steps: Vec<CompensatingStep<P>>,
}

/// A step of a saga on its way back.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(bound = "")]
pub struct CompensatingStep<P: Process> {
    /// Its name.
    pub name: StepName,
    /// How far undoing it is.
    pub phase: UndoPhase<P>,
}

/// How far undoing a step is.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(bound = "")]
pub enum UndoPhase<P: Process> {
    /// There is nothing to undo: it was refused.
    NotDone {
        /// How often it was asked for.
        attempts: u32,
    },
    /// There is nothing to undo: it was never asked for, as there was nothing to do, or as it waited at a hold.
    LeftOut,
    /// It is done, or may be; its turn to be undone has not come.
    Owed {
        /// How often it was asked for.
        attempts: u32,
        /// What it reported.
        output: Option<Shared<P::Output>>,
    },
    /// Its undoing is being sought.
    Undoing(Pursuit<P>),
    /// It is undone.
    Undone {
        /// How often that was asked for.
        attempts: u32,
    },
    /// Somebody saw to it by hand.
    Skipped {
        /// How often it was asked to be undone before.
        attempts: u32,
    },
}

/// A saga that is over.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(bound = "")]
pub struct Ended<P: Process> {
    /// What it was started with.
    pub origin: Shared<Origin<P>>,
    /// How it ended.
    pub ending: Ending,
    /// Its steps as they stood.
    pub steps: Vec<StepView>,
    /// What its steps reported, where it is completed or was abandoned.
    pub outputs: Vec<(StepName, Shared<P::Output>)>,
    /// Who wanted it undone when there was no way back any more, and why.
    pub cancel: Option<ByHand>,
    /// The stored events that asked for something, before its end and after.
    #[serde(skip)]
    pub asked_by: AskedBy,
}

/// How a saga ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum Ending {
    /// Every step is done.
    Completed,
    /// Everything that was done is undone.
    Compensated {
        /// Why.
        cause: CompensationCause,
    },
    /// An operator ended it as it stood.
    Abandoned {
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
        /// What is done, or may be, and was not undone, nor seen to since.
        owed: Vec<StepName>,
    },
}

/// Where a saga stands, in a word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Status {
    /// There is none.
    NotStarted,
    /// On its way.
    Running,
    /// On its way back.
    Compensating,
    /// At least one of its steps waits for an operator.
    Parked,
    /// An operator stopped it where it stands, whichever way it was going.
    Paused,
    /// Every step is done.
    Completed,
    /// Everything that was done is undone.
    Compensated,
    /// An operator ended it as it stood.
    Abandoned,
}

/// One step of a saga, for people to look at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct StepView {
    /// Its name.
    pub name: StepName,
    /// How far it is.
    pub phase: StepPhase,
    /// How often it was asked for, or, once its undoing was asked for, how often that was; 0 for a local step.
    pub attempts: u32,
}

/// How far a step is, in a word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
pub enum StepPhase {
    /// Asked, no answer yet.
    Asked,
    /// Nobody knows; it will be asked again.
    Waiting,
    /// It waits for an operator.
    Parked,
    /// It waits at a hold.
    Held,
    /// Definitely not done.
    Rejected,
    /// Done.
    Done,
    /// Left out: nothing to do, never asked for, or seen to by hand.
    Skipped,
    /// Done or unknown; its turn to be undone has not come.
    Owed,
    /// Asked to be undone, no answer yet.
    UndoAsked,
    /// Nobody knows whether it is undone; it will be asked again.
    UndoWaiting,
    /// Its undoing waits for an operator.
    UndoParked,
    /// Its undoing waits at a hold.
    UndoHeld,
    /// Undone.
    Undone,
    /// Its undoing was seen to by hand.
    UndoSkipped,
}

impl<P: Process> Aggregate for Saga<P> {
    const CATEGORY: Category = Category::new("saga");

    type Event = SagaEvent<P>;

    fn evolve(self, event: &SagaEvent<P>) -> Self {
        crate::evolve::evolve(self, event)
    }

    fn evolve_stored(self, event: &SagaEvent<P>, id: EventId) -> Self {
        self.evolve(event).note_asked(event, id)
    }
}
