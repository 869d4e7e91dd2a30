//! What an input leads to: the saga decides, the order follows, in one unit of work.

mod consequence;

use std::sync::Arc;

use chrono::TimeDelta;
use eventstore::worker::Handler;
use eventstore::{Need, Unit, Version, derived_id};
use saga::hold::{HoldInput, HoldRefusal};
use saga::{Input as SagaInput, Refusal, Saga};
use saga_runtime::{Engine, Happened, HoldError, StepError};
use uuid::Uuid;

use self::consequence::{Whose, consequence, told_of_the_order};
use crate::domain::{Command, Facts, Order, Placed, Rejection, Stage, decide};
use crate::sagas::{Answer, CANCEL_ORDER, OrderFacts, OrderProcess, PLACE_ORDER, Unasked};

/// When it is looked again whether a question has left.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(2);

/// Everything that comes in.
#[derive(Debug)]
pub enum Input {
    /// A client places an order; prices are known.
    Place {
        /// The order.
        order_id: Uuid,
        /// What is ordered.
        facts: Arc<Facts>,
        /// The digest of the client's request.
        fingerprint: String,
    },
    /// A client cancels.
    Cancel {
        /// The order.
        order_id: Uuid,
        /// Why.
        reason: String,
    },
    /// A participant answered, as a message says.
    Answer {
        /// The saga.
        saga_id: Uuid,
        /// What it says, and of what. Not believed yet.
        answer: Answer,
    },
    /// A saga is let go on, or an operator acts.
    Saga {
        /// The saga.
        saga_id: Uuid,
        /// What came in.
        input: SagaInput<OrderProcess>,
    },
    /// An operator holds or releases a participant or a step, or a release goes on.
    Hold {
        /// What came in.
        input: HoldInput,
    },
    /// An operator acts on a saga as it was when the act was planned.
    Operate {
        /// The saga.
        saga_id: Uuid,
        /// The version of its stream that the plan rests on.
        expected: Version,
        /// What is done.
        input: SagaInput<OrderProcess>,
    },
    /// A saga's timer fired, and what it asked has not left yet.
    PutOff {
        /// The saga.
        saga_id: Uuid,
    },
    /// A saga's timer fired, and what it asked has left only just now.
    BeginPatience {
        /// The saga.
        saga_id: Uuid,
    },
    /// A saga's timer fired, or somebody wants to be sure that it does not sleep.
    Wake {
        /// The saga.
        saga_id: Uuid,
    },
}

/// What a client is told: the order as it is now. `None` for everybody else.
pub type Output = Option<Told>;

/// An order and its version.
#[derive(Clone, Debug)]
pub struct Told {
    /// The order.
    pub placed: Placed,
    /// The version of its stream.
    pub version: Version,
}

/// Why an input has no effect.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// A stream is not at hand.
    #[error(transparent)]
    Need(#[from] Need),
    /// The order's rules.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The saga's rules.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The rules of holds.
    #[error(transparent)]
    HoldRefused(#[from] HoldRefusal),
    /// The saga is not where a plan found it. Plan again.
    #[error("the saga has moved to version {actual}")]
    Moved {
        /// Where it is now.
        actual: Version,
    },
    /// The message answers nothing that was asked. Keep it for an operator, alone.
    #[error(transparent)]
    Unasked(#[from] Unasked),
    /// The saga's definition is not known here.
    #[error("{0}")]
    Undecidable(String),
    /// A defect: what the saga decided cannot happen to its order.
    #[error("saga {saga_id} and order {order_id} contradict each other: {event}, but {rejection}")]
    Contradiction {
        /// The saga.
        saga_id: Uuid,
        /// Its order.
        order_id: Uuid,
        /// What the saga decided.
        event: Box<str>,
        /// Why the order does not follow.
        rejection: Rejection,
    },
}

impl From<StepError> for HandleError {
    fn from(error: StepError) -> Self {
        match error {
            StepError::Need(need) => Self::Need(need),
            StepError::Refused(refusal) => Self::Refused(refusal),
            StepError::UnknownDefinition(unknown) => Self::Undecidable(unknown.to_string()),
        }
    }
}

impl From<HoldError> for HandleError {
    fn from(error: HoldError) -> Self {
        match error {
            HoldError::Need(need) => Self::Need(need),
            HoldError::Refused(refusal) => Self::HoldRefused(refusal),
        }
    }
}

/// The rules of orders.
pub struct OrdersHandler {
    engine: Engine<OrderProcess>,
}

/// The saga that makes an order happen.
#[must_use]
pub fn place_saga_id(order_id: Uuid) -> Uuid {
    derived_id(order_id, PLACE_ORDER)
}

/// The saga that undoes it once it is completed.
#[must_use]
pub fn cancel_saga_id(order_id: Uuid) -> Uuid {
    derived_id(order_id, CANCEL_ORDER)
}

impl OrdersHandler {
    /// Rules with these sagas.
    #[must_use]
    pub fn new(engine: Engine<OrderProcess>) -> Self {
        Self { engine }
    }

    fn place(
        &self,
        unit: &mut Unit<'_>,
        order_id: Uuid,
        facts: &Arc<Facts>,
        fingerprint: &str,
    ) -> Result<Output, HandleError> {
        let command = Command::Place { facts: Arc::clone(facts), fingerprint: fingerprint.to_owned() };
        let events = decide(unit.get_or_new::<Order>(order_id)?, command)?;
        if !events.is_empty() {
            unit.record::<Order>(order_id, &events)?;
            let input = OrderFacts::new(order_id, (**facts).clone());
            self.engine.start(unit, place_saga_id(order_id), PLACE_ORDER, input)?;
        }
        tell(unit, order_id).map(Some)
    }

    fn cancel(&self, unit: &mut Unit<'_>, order_id: Uuid, reason: &str) -> Result<Output, HandleError> {
        let Order::Placed(placed) = unit.get::<Order>(order_id)?.clone() else {
            return Err(Rejection::NotFound.into());
        };
        match placed.stage {
            Stage::Pending | Stage::ProductsReserved => self.cancel_in_flight(unit, order_id, reason)?,
            Stage::Completed => self.cancel_completed(unit, order_id, &placed, reason)?,
            Stage::Cancelling { .. } | Stage::Cancelled { .. } => {}
            Stage::Confirmed => return Err(Rejection::PastPivot.into()),
            Stage::Failed(_) => return Err(Rejection::AlreadyFailed.into()),
        }
        tell(unit, order_id).map(Some)
    }

    fn cancel_in_flight(&self, unit: &mut Unit<'_>, order_id: Uuid, reason: &str) -> Result<(), HandleError> {
        let actor = unit.cause().actor.clone();
        let cancel = SagaInput::Cancel { reason: reason.to_owned(), actor };
        match self.apply(unit, place_saga_id(order_id), cancel) {
            Err(HandleError::Refused(refusal)) => told_of_the_order(refusal),
            other => other,
        }
    }

    fn cancel_completed(
        &self,
        unit: &mut Unit<'_>,
        order_id: Uuid,
        placed: &Placed,
        reason: &str,
    ) -> Result<(), HandleError> {
        let events = decide(unit.get::<Order>(order_id)?, Command::StartCancellation { reason: reason.to_owned() })?;
        unit.get_or_new::<Saga<OrderProcess>>(cancel_saga_id(order_id))?;
        unit.record::<Order>(order_id, &events)?;
        let input = OrderFacts::new(order_id, (*placed.facts).clone());
        self.engine.start(unit, cancel_saga_id(order_id), CANCEL_ORDER, input)?;
        Ok(())
    }

    fn apply(&self, unit: &mut Unit<'_>, saga_id: Uuid, input: SagaInput<OrderProcess>) -> Result<(), HandleError> {
        self.advance(unit, saga_id, |unit| self.engine.apply(unit, saga_id, input))
    }

    /// Lets the saga decide, and the order follow.
    fn advance<'c>(
        &self,
        unit: &mut Unit<'c>,
        saga_id: Uuid,
        step: impl FnOnce(&mut Unit<'c>) -> Result<Happened<OrderProcess>, StepError>,
    ) -> Result<(), HandleError> {
        let order_id = match unit.get::<Saga<OrderProcess>>(saga_id)?.input() {
            Some(facts) => facts.order_id,
            None => return Err(Refusal::NotStarted.into()),
        };
        unit.require::<Order>(&[order_id])?;
        for (of, event) in step(unit)? {
            let Some(command) = consequence(&event, Whose::of(of, order_id)) else { continue };
            // No word of it yet: what was decided on a memory that is behind is decided once more on the log.
            let contradiction = |rejection| HandleError::Contradiction {
                saga_id,
                order_id,
                event: event.to_string().into(),
                rejection,
            };
            let events = decide(unit.get::<Order>(order_id)?, command).map_err(contradiction)?;
            unit.record::<Order>(order_id, &events)?;
        }
        Ok(())
    }
}

impl Handler for OrdersHandler {
    type Input = Input;
    type Output = Output;
    type Error = HandleError;

    fn handle(&self, unit: &mut Unit<'_>, input: &Input) -> Result<Output, HandleError> {
        match input {
            Input::Place { order_id, facts, fingerprint } => self.place(unit, *order_id, facts, fingerprint),
            Input::Cancel { order_id, reason } => self.cancel(unit, *order_id, reason),
            Input::Answer { saga_id, answer } => {
                answer.check(*saga_id, unit.get::<Saga<OrderProcess>>(*saga_id)?)?;
                self.apply(unit, *saga_id, answer.input()).map(|()| None)
            }
            Input::Saga { saga_id, input } => self.apply(unit, *saga_id, input.clone()).map(|()| None),
            Input::Hold { input } => {
                self.engine.hold(unit, input.clone())?;
                Ok(None)
            }
            Input::Operate { saga_id, expected, input } => {
                unit.get::<Saga<OrderProcess>>(*saga_id)?;
                let actual = unit.version::<Saga<OrderProcess>>(*saga_id);
                if actual != *expected {
                    return Err(HandleError::Moved { actual });
                }
                self.apply(unit, *saga_id, input.clone()).map(|()| None)
            }
            Input::PutOff { saga_id } => {
                self.advance(unit, *saga_id, |unit| self.engine.put_off(unit, *saga_id, LOOK_AGAIN)).map(|()| None)
            }
            Input::BeginPatience { saga_id } => {
                self.advance(unit, *saga_id, |unit| self.engine.begin_patience(unit, *saga_id)).map(|()| None)
            }
            Input::Wake { saga_id } => {
                self.advance(unit, *saga_id, |unit| self.engine.wake(unit, *saga_id)).map(|()| None)
            }
        }
    }
}

fn tell(unit: &mut Unit<'_>, order_id: Uuid) -> Result<Told, HandleError> {
    let version = unit.version::<Order>(order_id);
    match unit.get::<Order>(order_id)? {
        Order::Placed(placed) => Ok(Told { placed: placed.clone(), version }),
        Order::Unplaced => Err(Rejection::NotFound.into()),
    }
}
