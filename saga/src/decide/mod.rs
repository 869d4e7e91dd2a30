//! What follows: a file per kind of thing that can happen, and [`advance`] for what follows from all of them.

mod advance;
mod cancel;
mod operator;
mod pause;
mod reply;
mod start;
mod undo;
mod wake;

use chrono::{DateTime, Utc};
use eventstore::{Actor, Aggregate};
use uuid::Uuid;

use crate::definition::{Ask, Step};
use crate::event::{DETAIL_LENGTH_MAX, cut};
use crate::policy::{jitter, later};
use crate::state::Attempt;
use crate::{
    ByHand, Definition, DefinitionRef, Process, Rejection, RetryPolicy, Saga, SagaEvent, Shared, Status, StepName,
};

/// Something that comes in for a saga.
///
/// The first eight are commands: somebody waits to hear whether they took effect, so what has no effect is a
/// [`Refusal`]. The others are messages: they may be late, repeated or lost, so what has no effect is no event.
#[derive(Clone, PartialEq, Debug)]
pub enum Input<P: Process> {
    /// Begin.
    Start {
        /// What it is about.
        input: P::Input,
    },
    /// Undo whatever is done.
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
}

/// What follows when `input` meets `saga` at `now`. Pure: the same arguments always give the same events.
///
/// # Errors
/// A [`Refusal`] says what whoever sent the command should do. Messages are never refused, unless by
/// [`Refusal::OtherDefinition`].
pub fn decide<P: Process>(
    definition: &Definition<P>,
    saga_id: Uuid,
    saga: &Saga<P>,
    input: Input<P>,
    now: DateTime<Utc>,
) -> Result<Vec<SagaEvent<P>>, Refusal> {
    let mut decision = Decision { definition, saga_id, now, saga: saga.clone(), events: Vec::new() };
    match input {
        Input::Start { input } => start::start(&mut decision, input)?,
        Input::Cancel { reason, actor } => cancel::cancel(decision.bound()?, detail(reason), actor)?,
        Input::Resume { reason, actor } => operator::resume(decision.bound()?, detail(reason), actor)?,
        Input::Abandon { reason, actor } => operator::abandon(decision.bound()?, detail(reason), actor)?,
        Input::Pause { reason, actor } => pause::pause(decision.bound()?, detail(reason), actor)?,
        Input::Unpause { reason, actor } => pause::unpause(decision.bound()?, detail(reason), actor)?,
        Input::Retry { step, reason, actor } => {
            operator::retry(decision.bound()?, &step, ByHand { actor, reason: detail(reason) })?;
        }
        Input::Skip { step, reason, actor } => {
            operator::skip(decision.bound()?, &step, ByHand { actor, reason: detail(reason) })?;
        }
        Input::Reply { step, outcome } => reply::reply(decision.bound()?, &step, outcome),
        Input::UndoReply { step, outcome } => undo::undo_reply(decision.bound()?, &step, outcome),
        Input::Wake => wake::wake(decision.bound()?),
    }
    Ok(decision.events)
}

/// A decision in the making: the state as it will be when `events` are stored.
struct Decision<'a, P: Process> {
    definition: &'a Definition<P>,
    saga_id: Uuid,
    now: DateTime<Utc>,
    saga: Saga<P>,
    events: Vec<SagaEvent<P>>,
}

impl<P: Process> Decision<'_, P> {
    /// Itself, if the definition at hand is the one that the saga is bound to.
    fn bound(&mut self) -> Result<&mut Self, Refusal> {
        let offered = self.definition.id();
        match self.saga.definition() {
            Some(pinned) if pinned != offered => {
                Err(Refusal::OtherDefinition { pinned: Box::new(pinned.clone()), offered: Box::new(offered.clone()) })
            }
            Some(_) | None => Ok(self),
        }
    }

    /// Lets it happen.
    fn record(&mut self, event: SagaEvent<P>) {
        self.saga = std::mem::take(&mut self.saga).evolve(&event);
        self.events.push(event);
    }

    /// Asks a participant to take a step.
    fn request(&mut self, step: StepName, attempt: u32, request: Shared<P::Request>) {
        let deadline = self.deadline(&step);
        self.record(SagaEvent::StepRequested { step, attempt, request, deadline });
    }

    /// Waits for word from outside.
    fn wait_for_word(&mut self, step: StepName, attempt: u32) {
        let deadline = self.deadline(&step);
        self.record(SagaEvent::StepAwaited { step, attempt, deadline });
    }

    /// Takes a step once more, in the same words.
    fn again(&mut self, step: StepName, attempt: Attempt<P>) {
        let number = attempt.number.saturating_add(1);
        match attempt.request {
            Some(request) => self.request(step, number, request),
            None => self.wait_for_word(step, number),
        }
    }

    /// Undoes a step once more, in the same words.
    fn undo_again(&mut self, step: StepName, attempt: Attempt<P>) {
        if let Some(request) = attempt.request {
            self.request_undo(step, attempt.number.saturating_add(1), request);
        }
    }

    /// Asks a participant to undo a step.
    fn request_undo(&mut self, step: StepName, attempt: u32, request: Shared<P::Request>) {
        let deadline = self.deadline(&step);
        self.record(SagaEvent::CompensationRequested { step, attempt, request, deadline });
    }

    fn deadline(&self, step: &StepName) -> DateTime<Utc> {
        self.ask(step).map_or(self.now, |ask| later(self.now, ask.timeout))
    }

    /// When to ask again for `step`, of whose policy `used` attempts are used up.
    fn retry_at(&self, step: &StepName, policy: RetryPolicy, attempt: u32, used: u32) -> Option<DateTime<Utc>> {
        policy.retry_at(used, jitter(self.saga_id, step.as_str(), attempt), self.now)
    }

    fn ask(&self, step: &StepName) -> Option<&Ask<P>> {
        self.definition.step(step.as_str()).and_then(Step::ask)
    }
}

fn detail(text: String) -> String {
    cut(text, DETAIL_LENGTH_MAX)
}
