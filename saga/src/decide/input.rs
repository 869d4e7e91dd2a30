use chrono::TimeDelta;
use eventstore::Actor;

use crate::{DefinitionRef, HoldTarget, Kind, Parent, Process, Rejection, Status, StepName};

/// Something that comes in for a saga.
///
/// All but the last four are commands: somebody waits to hear whether they took effect, so what has no effect is a
/// [`Refusal`]. The last four are messages: they may be late, repeated or lost, so what has no effect is no event.
#[derive(Clone, PartialEq, Debug)]
pub enum Input<P: Process> {
    /// Begin.
    Start {
        /// What it is about.
        input: P::Input,
    },
    /// Begin, as a step of another saga. For engines.
    StartChild {
        /// What it is about.
        input: P::Input,
        /// Whose step it is.
        parent: Parent,
    },
    /// Undo whatever is done. Where there is no way back, and the definition names a saga that undoes it, this one
    /// completes first and that one follows.
    Cancel {
        /// Why.
        reason: String,
        /// Who.
        actor: Actor,
    },
    /// Try the parked steps again.
    Resume {
        /// Why.
        reason: String,
        /// Who.
        actor: Actor,
    },
    /// End it as it stands; nothing is undone, what is done is recorded as owed.
    Abandon {
        /// Why.
        reason: String,
        /// Who.
        actor: Actor,
    },
    /// Stop where it stands: nothing is asked for, nothing becomes due. Answers that come are kept.
    Pause {
        /// Why.
        reason: String,
        /// Who.
        actor: Actor,
    },
    /// Go on after a pause; what was due is due later by as much.
    Unpause {
        /// Why.
        reason: String,
        /// Who.
        actor: Actor,
    },
    /// Try one step again now, parked or not, with a fresh policy.
    Retry {
        /// Which step.
        step: StepName,
        /// Why.
        reason: String,
        /// Who.
        actor: Actor,
    },
    /// Go on without the answer of a step: somebody has seen to it by hand, or to its undoing.
    Skip {
        /// Which step.
        step: StepName,
        /// Why.
        reason: String,
        /// Who.
        actor: Actor,
    },
    /// Move what is due, by at most 30 days: for one step, or for all and the saga's deadline.
    ShiftTimers {
        /// Which step; `None` for all, and the deadline.
        step: Option<StepName>,
        /// Later by so much, whole milliseconds count; earlier below zero.
        by: TimeDelta,
        /// Why.
        reason: String,
        /// Who.
        actor: Actor,
    },
    /// Let nothing become due until further notice. Answers count as ever: that is the difference to a pause.
    FreezeTimers {
        /// Why.
        reason: String,
        /// Who.
        actor: Actor,
    },
    /// Let time count again; what was due is due later by as much.
    ThawTimers {
        /// Why.
        reason: String,
        /// Who.
        actor: Actor,
    },
    /// Take a timer away. A step without one is parked: its answer counts when it comes, and an operator moves it.
    CancelTimer {
        /// Of which step; `None` for the saga's deadline.
        step: Option<StepName>,
        /// Why.
        reason: String,
        /// Who.
        actor: Actor,
    },
    /// Bind it to another version of its definition.
    Migrate {
        /// Which.
        version: u32,
        /// Why.
        reason: String,
        /// Who.
        actor: Actor,
    },
    /// It may pass a hold that still stands: it is its turn.
    Release {
        /// Which.
        hold: HoldTarget,
    },
    /// A participant answered a step's request, or word came that was awaited.
    Reply {
        /// Which step.
        step: StepName,
        /// What it said.
        outcome: Outcome<P::Output>,
    },
    /// A participant answered a request to undo a step.
    UndoReply {
        /// Which step.
        step: StepName,
        /// What it said.
        outcome: UndoOutcome,
    },
    /// Time has passed. Whatever is due happens, if anything is.
    Wake,
}

/// A participant's answer: yes, definitely not, or nobody knows.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome<O> {
    /// The step is done.
    Done(Option<O>),
    /// It is not done and will not be.
    Rejected(Rejection),
    /// It may be done or not; in words for an operator.
    Unknown(String),
}

/// A participant's answer to a request to undo. There is no definite no: an undo must succeed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UndoOutcome {
    /// It is undone, or never was done and never will be.
    Done,
    /// It may be undone or not; in words for an operator.
    Unknown(String),
}

/// Why a command has no effect.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such saga. Check the id.
    #[error("the saga does not exist")]
    NotStarted,
    /// The id is taken by a saga with another definition or another input. Choose another id, or find out who else
    /// uses this one. (Starting the same saga twice is no error.)
    #[error("the saga was started as {definition}, with other facts")]
    StartedOtherwise {
        /// What it was started as.
        definition: DefinitionRef,
    },
    /// It is over. Start another saga for what is wanted.
    #[error("the saga is over: {status:?}")]
    Ended {
        /// How it ended.
        status: Status,
    },
    /// There is no way back. Start another saga that makes up for it.
    #[error("the saga is past its point of no return")]
    PastNoReturn,
    /// The pivot was asked for, and whether it is done is not known: it cannot be undone, nor taken for not done. Try
    /// again when it is known.
    #[error("whether {pivot} is done is not known yet")]
    AtPivot {
        /// The step.
        pivot: StepName,
    },
    /// It is on its way back already. Wait for its end; if it is parked, resume it.
    #[error("the saga is being undone already")]
    Compensating,
    /// None of its steps waits for an operator. Nothing to do.
    #[error("the saga is not parked")]
    NotParked,
    /// It stands still. Let it go on first ([`Input::Unpause`]).
    #[error("the saga is paused")]
    Paused,
    /// It does not stand still. Nothing to do.
    #[error("the saga is not paused")]
    NotPaused,
    /// No answer is being sought for the step: it was not begun, or is settled. Look at the saga again.
    #[error("nothing is being sought for {step}")]
    NotSought {
        /// The step.
        step: StepName,
    },
    /// No participant can be asked to undo it. See to it by hand, and say so ([`Input::Skip`]).
    #[error("nobody can be asked to undo {step}: see to it by hand, then skip it")]
    NotUndone {
        /// The step.
        step: StepName,
    },
    /// The pivot decides whether there is a way back, so somebody has to say what became of it: bring its answer
    /// before the saga ([`Input::Reply`]).
    #[error("{step} is the pivot and cannot be skipped: answer it")]
    PivotSkipped {
        /// The step.
        step: StepName,
    },
    /// The definition at hand is not the one the saga is bound to. Find that one; never decide by another.
    #[error("the saga is bound to {pinned}, not to {offered}")]
    OtherDefinition {
        /// What it is bound to.
        pinned: Box<DefinitionRef>,
        /// What was at hand.
        offered: Box<DefinitionRef>,
    },
    /// Its timers are frozen. Thaw them first ([`Input::ThawTimers`]).
    #[error("the saga's timers are frozen")]
    Frozen,
    /// They are not frozen. Nothing to do.
    #[error("the saga's timers are not frozen")]
    NotFrozen,
    /// Nothing becomes due. Nothing to do.
    #[error("the saga has no such timer")]
    NoTimer,
    /// Choose at most 30 days.
    #[error("a timer is moved by at most 30 days")]
    ShiftOutOfBounds,
    /// The saga cannot be bound to that version. Let it end as it is, or choose another version.
    #[error("the saga cannot become {to}: {misfit}")]
    CannotMigrate {
        /// Which version was wanted.
        to: String,
        /// Why not.
        misfit: Misfit,
    },
}

/// Why a saga does not fit a version of its definition.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Misfit {
    /// This program does not have it.
    #[error("there is no such version here")]
    Unknown,
    /// It is bound to it already.
    #[error("it is bound to that version already")]
    Same,
    /// A step that was begun is not there.
    #[error("{step} was begun and does not exist there")]
    StepMissing {
        /// The step.
        step: StepName,
    },
    /// A step that was begun stands at another place there.
    #[error("{step} was begun and comes at another place there")]
    OrderDiffers {
        /// The step.
        step: StepName,
    },
    /// What was done in one stage is done in two there, or the reverse.
    #[error("{step} was begun and is grouped differently there")]
    GroupDiffers {
        /// The step.
        step: StepName,
    },
    /// A step that was begun is something else to the way back there.
    #[error("{step} was begun as {was} and is {is} there")]
    KindDiffers {
        /// The step.
        step: StepName,
        /// What it is now.
        was: Kind,
        /// What it would be.
        is: Kind,
    },
    /// A step that was begun is undone here and cannot be there, or asks where it awaited.
    #[error("{step} was begun and is done or undone in another way there")]
    ActionDiffers {
        /// The step.
        step: StepName,
    },
}
