//! Orders in the world.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use eventstore::worker::{Handler, SubmitError};
use eventstore::{Actor, Aggregate, Category, Cause, DecodeError, Recorded, StreamId, derived_id};
use orders::domain::{Order, Rejection};
use orders::handler::{HandleError, Input};
use orders::messages;
use orders::sagas::OrderProcess;
use saga::{Refusal, Saga};
use saga_simulator::{ErrorOf, Follow, Message, Origin, OutputOf, Service, Task, Wish};
use uuid::Uuid;

use super::envelope;
use super::plan::{Plan, customer};
use super::rules::OrdersRules;

/// Cancellations have numbers from here on.
pub const CANCEL: u64 = 1_000;

/// What clients were told.
#[derive(Debug, Default)]
pub struct Promises {
    /// Orders that were accepted.
    pub accepted: BTreeSet<Uuid>,
    /// Orders that were refused for good.
    pub refused: BTreeSet<Uuid>,
    /// Orders whose cancellation was taken.
    pub cancelling: BTreeSet<Uuid>,
}

/// Orders, the orchestrator.
pub struct Orders {
    /// The rules.
    pub rules: Rc<OrdersRules>,
    /// What clients want.
    pub plan: Rc<Plan>,
    /// What they were told.
    pub promises: Rc<RefCell<Promises>>,
}

impl Service for Orders {
    type Rules = OrdersRules;
    type Call = ();
    type Answer = ();

    fn name(&self) -> &'static str {
        "orders"
    }

    fn rules(&self) -> Rc<OrdersRules> {
        Rc::clone(&self.rules)
    }

    fn hears(&self) -> Vec<&'static str> {
        messages::CONSUMERS.iter().flat_map(|consumer| consumer.subjects).copied().collect()
    }

    fn incoming(&self, message: &Message) -> Result<Option<Wish<Self>>, String> {
        let incoming = envelope::open(message);
        let input = messages::incoming(&incoming).map_err(|error| error.to_string())?;
        Ok(Some(Wish { input, cause: incoming.cause("service:orders") }))
    }

    fn outgoing(&self, event: &Recorded) -> Result<Option<Message>, DecodeError> {
        Ok(messages::outgoing(event)?.map(|outgoing| envelope::seal(outgoing, event)))
    }

    fn told(&self) -> &[Category] {
        messages::RELAY.categories
    }

    fn woken(&self) -> &[Category] {
        const { &[Saga::<OrderProcess>::CATEGORY] }
    }

    fn wake(&self, stream: StreamId, last: Option<&Recorded>) -> Option<Wish<Self>> {
        let last = last?;
        // A wake-up is nobody's message; its name follows from what it finds.
        let causation = derived_id(stream.id, &format!("wake {}", last.version));
        let cause = Cause { correlation: stream.id, causation, trace: None, actor: Actor::new("timer:orders") };
        Some(Wish { input: Input::Wake { saga_id: stream.id }, cause })
    }

    fn looked_after(&self) -> &[Category] {
        self.woken()
    }

    fn is_over(&self, event: &Recorded) -> bool {
        ["SagaCompleted", "SagaCompensated", "SagaAbandoned"].contains(&event.type_name.as_str())
    }

    fn command(&self, number: u64) -> Option<Wish<Self>> {
        let cancels = number >= CANCEL;
        let order = self.plan.order(number % CANCEL)?;
        let actor = Actor::new(format!("customer:{}", customer()));
        let cause = Cause { correlation: order.id, causation: order.id, trace: None, actor };
        let input = if cancels {
            Input::Cancel { order_id: order.id, reason: "changed my mind".to_owned() }
        } else {
            let facts = std::sync::Arc::clone(&order.facts);
            Input::Place { order_id: order.id, facts, fingerprint: order.id.to_string() }
        };
        Some(Wish { input, cause })
    }

    fn follow(&mut self, task: &Task<Self>, met: Result<&OutputOf<Self>, &SubmitError<ErrorOf<Self>>>) -> Follow<Self> {
        match (&task.origin, met) {
            (Origin::Command(number), Ok(_)) => self.told_client(*number, true),
            (Origin::Command(number), Err(SubmitError::Rejected(HandleError::Rejected(rejection)))) => {
                match rejection {
                    // Not yet: the client comes back. (A cancellation may overtake the order itself.)
                    Rejection::PastPivot | Rejection::NotFound => Follow::Later,
                    Rejection::RequestIdReused | Rejection::AlreadyFailed | Rejection::OutOfOrder => {
                        self.told_client(*number, false)
                    }
                }
            }
            (Origin::Timer(_), Err(SubmitError::Rejected(HandleError::Refused(Refusal::NotStarted)))) => Follow::Done,
            (Origin::Command(_) | Origin::Message(_) | Origin::Timer(_), Err(error)) => match error {
                SubmitError::Duplicate => Follow::Done,
                SubmitError::Unavailable(_) | SubmitError::Stopping => Follow::Later,
                SubmitError::Rejected(reason) => Follow::Park(reason.to_string()),
                SubmitError::Parked(need) => Follow::Park(need.to_string()),
                SubmitError::Unstorable(reason) => Follow::Park(reason.clone()),
            },
            (Origin::Message(_) | Origin::Timer(_), Ok(_)) => Follow::Done,
        }
    }

    fn call(&mut self, (): &()) {}

    fn answered(&mut self, _: &Task<Self>, (): &(), _: Option<&()>) -> Follow<Self> {
        Follow::Done
    }
}

impl Orders {
    fn told_client(&self, number: u64, taken: bool) -> Follow<Self> {
        let Some(order) = self.plan.order(number % CANCEL) else { return Follow::Done };
        let mut promises = self.promises.borrow_mut();
        let told = match (number >= CANCEL, taken) {
            (false, true) => &mut promises.accepted,
            (true, true) => &mut promises.cancelling,
            (_, false) => &mut promises.refused,
        };
        told.insert(order.id);
        Follow::Done
    }
}

/// Where every order of a log stands.
#[must_use]
pub fn folded(log: &[Recorded]) -> Vec<(Uuid, Order)> {
    use eventstore::DomainEvent as _;
    let streams = saga_simulator::judge::streams(log);
    let orders = streams.into_iter().filter(|(stream, _)| stream.category == Order::CATEGORY);
    let fold = |events: Vec<&Recorded>| {
        let events = events.into_iter().filter_map(|event| <Order as Aggregate>::Event::from_recorded(event).ok());
        events.fold(Order::default(), |order, event| order.evolve(&event))
    };
    orders.map(|(stream, events)| (stream.id, fold(events))).collect()
}

/// The rules' answers, for those who stand between.
pub type Answer = Result<<OrdersRules as Handler>::Output, <OrdersRules as Handler>::Error>;
