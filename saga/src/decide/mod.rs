//! What follows: a file per kind of thing that can happen, and [`advance`] for what follows from all of them.

mod advance;
mod cancel;
mod hold;
mod input;
mod migrate;
mod operator;
mod pause;
mod reply;
mod settle;
mod start;
mod timers;
mod undo;
mod wake;

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use eventstore::{Actor, Aggregate, derived_id};
use uuid::Uuid;

use crate::cause::{DETAIL_LENGTH_MAX, cut};
use crate::definition::{Ask, ChildOf, Step};
use crate::policy::{jitter, later};
use crate::state::Attempt;
use crate::{
    ByHand, Definition, HoldTarget, Holds, Lane, Process, RetryPolicy, Saga, SagaEvent, Shared, Status, StepName,
};

pub use wake::NO_ANSWER;

pub use input::{Input, Misfit, Outcome, Refusal, UndoOutcome};

/// What is the case around a saga when something comes in for it.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a, P: Process> {
    /// What is held.
    pub holds: &'a Holds,
    /// The definition that [`Input::Migrate`] wants to bind the saga to; `None` when there is none.
    pub successor: Option<&'a Definition<P>>,
}

impl<P: Process> Default for Circumstances<'_, P> {
    /// Nothing is held, nothing is migrated.
    fn default() -> Self {
        Self { holds: Holds::NONE, successor: None }
    }
}

/// What follows when `input` meets `saga` at `now`, where nothing is held. Pure: the same arguments always give the same
/// events.
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
    decide_given(definition, saga_id, saga, input, now, Circumstances::default())
}

/// What follows when `input` meets `saga` at `now` under these circumstances. As pure as [`decide()`].
///
/// # Errors
/// As with [`decide()`].
pub fn decide_given<P: Process>(
    definition: &Definition<P>,
    saga_id: Uuid,
    saga: &Saga<P>,
    input: Input<P>,
    now: DateTime<Utc>,
    circumstances: Circumstances<'_, P>,
) -> Result<Vec<SagaEvent<P>>, Refusal> {
    let (saga, through) = (saga.clone(), Through::None);
    let mut decision = Decision { definition, saga_id, now, circumstances, through, saga, events: Vec::new() };
    match input {
        Input::Start { input } => start::start(&mut decision, input, None)?,
        Input::StartChild { input, parent } => start::start(&mut decision, input, Some(parent))?,
        Input::Cancel { reason, actor } => cancel::cancel(decision.bound()?, by(actor, reason))?,
        Input::Resume { reason, actor } => operator::resume(decision.bound()?, by(actor, reason))?,
        Input::Abandon { reason, actor } => operator::abandon(decision.bound()?, by(actor, reason))?,
        Input::Pause { reason, actor } => pause::pause(decision.bound()?, by(actor, reason))?,
        Input::Unpause { reason, actor } => pause::unpause(decision.bound()?, by(actor, reason))?,
        Input::Retry { step, reason, actor } => operator::retry(decision.bound()?, &step, by(actor, reason))?,
        Input::Skip { step, reason, actor } => operator::skip(decision.bound()?, &step, by(actor, reason))?,
        Input::ShiftTimers { step, by: span, reason, actor } => {
            timers::shift(decision.bound()?, step, span, by(actor, reason))?;
        }
        Input::FreezeTimers { reason, actor } => timers::freeze(decision.bound()?, by(actor, reason))?,
        Input::ThawTimers { reason, actor } => timers::thaw(decision.bound()?, by(actor, reason))?,
        Input::CancelTimer { step, reason, actor } => {
            timers::cancel(decision.bound()?, step, by(actor, reason))?;
        }
        Input::Migrate { version, reason, actor } => {
            migrate::migrate(decision.bound()?, version, by(actor, reason))?;
        }
        Input::Release { hold } => hold::release(decision.bound()?, hold),
        Input::Reply { step, outcome } => reply::reply(decision.bound()?, &step, outcome),
        Input::UndoReply { step, outcome } => undo::undo_reply(decision.bound()?, &step, outcome),
        Input::Wake => wake::wake(decision.bound()?),
    }
    Ok(decision.events)
}

/// The holds that a decision does not heed.
enum Through {
    None,
    /// It lets a saga go from this one.
    Only(HoldTarget),
    /// An operator wants one step tried now.
    All,
}

/// A decision in the making: the state as it will be when `events` are stored.
struct Decision<'a, P: Process> {
    definition: &'a Definition<P>,
    saga_id: Uuid,
    now: DateTime<Utc>,
    circumstances: Circumstances<'a, P>,
    through: Through,
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

    /// True when it is over and not everything went as it should have: people see to what is left.
    fn is_settled_by_hand(&self) -> bool {
        match self.saga.status() {
            Status::Compensated | Status::Abandoned => true,
            Status::NotStarted
            | Status::Running
            | Status::Compensating
            | Status::Parked
            | Status::Paused
            | Status::Completed => false,
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

    /// Runs another saga as a step.
    fn run_child(&mut self, step: StepName, attempt: u32, child: ChildOf<P>, input: Shared<P::Input>) {
        let (child_id, deadline) = (self.child_id(&step), self.deadline(&step));
        let definition = Cow::Borrowed(child.definition);
        self.record(SagaEvent::ChildRequested { step, attempt, child_id, definition, input, deadline });
    }

    fn undo_child(&mut self, step: StepName, attempt: u32) {
        let (child_id, deadline) = (self.child_id(&step), self.deadline(&step));
        self.record(SagaEvent::ChildUndoRequested { step, attempt, child_id, deadline });
    }

    /// The same for every attempt: running it twice is running it once.
    fn child_id(&self, step: &StepName) -> Uuid {
        derived_id(self.saga_id, step.as_str())
    }

    /// Takes a step once more, in the same words; unless it is held.
    fn again(&mut self, step: StepName, attempt: Attempt<P>) {
        if self.is_to_wait(&step, Lane::Forward) {
            return;
        }
        if attempt.number == 0 {
            return advance::begin_step(self, &step);
        }
        let number = attempt.number.saturating_add(1);
        match attempt.request {
            Some(request) => self.request(step, number, request),
            None => advance::begin_again(self, step, number),
        }
    }

    /// Undoes a step once more, in the same words; unless it is held.
    fn undo_again(&mut self, step: StepName, attempt: Attempt<P>) {
        if self.is_to_wait(&step, Lane::Undo) {
            return;
        }
        let number = attempt.number.saturating_add(1);
        match attempt.request {
            Some(request) => self.request_undo(step, number, request),
            None => self.undo_child(step, number),
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

fn by(actor: Actor, reason: String) -> ByHand {
    ByHand { actor, reason: detail(reason) }
}

fn detail(text: String) -> String {
    cut(text, DETAIL_LENGTH_MAX)
}
