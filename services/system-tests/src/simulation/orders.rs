//! Orders in the world.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use eventstore::memory::MemoryStore;
use eventstore::worker::{Handler, SubmitError};
use eventstore::{Actor, Aggregate, Category, Cause, DecodeError, Recorded, StreamId, Version, derived_id};
use orders::domain::{Order, Rejection};
use orders::handler::{HandleError, Input};
use orders::messages;
use orders::sagas::{Answer as Heard, OrderProcess, RESERVE_INVENTORY, Said};
use saga::hold::HoldInput;
use saga::{Holds, Refusal, Saga, Status};
use saga_runtime::HoldsInForce;
use saga_simulator::{ErrorOf, Follow, Message, Origin, OutputOf, Service, Task, Wish};
use uuid::Uuid;

use super::definitions::{LET_GOODS_GO, RELEASE_GOODS};
use super::desk::{Desk, Sent};
use super::envelope;
use super::gate::Gate;
use super::operators::Operators;
use super::plan::{Plan, customer};
use super::rules::OrdersRules;

/// Cancellations have numbers from here on.
pub const CANCEL: u64 = 1_000;
/// What operators do has numbers from here on.
pub const OPERATE: u64 = 2_000;

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
    /// Who operates.
    pub operators: Operators,
    /// What is held, as the rules know it.
    pub in_force: HoldsInForce,
    /// The seed of the run.
    pub seed: u64,
    /// What the service reads of its own store; there once it has one.
    pub reads: Option<Reads>,
}

/// The events that a saga ends with.
const ENDS: [&str; 3] = ["SagaCompleted", "SagaCompensated", "SagaAbandoned"];
/// The events that may follow its end.
const SETTLES: [&str; 5] =
    ["StepRetried", "StepSkipped", "CompensationRequested", "CompensationSucceeded", "CompensationFailed"];
/// More than the history of any saga has.
const EVENTS_MAX: usize = 1_000;

/// What the service reads of its own store.
pub struct Reads {
    store: Rc<MemoryStore>,
    desk: RefCell<Desk>,
    gate: RefCell<Gate>,
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

    fn attach(&mut self, store: &Rc<MemoryStore>) {
        let desk = RefCell::new(Desk::new(self.operators.clone(), Rc::clone(store)));
        let gate = RefCell::new(Gate::new(self.seed, &self.plan, self.in_force.clone(), Rc::clone(store)));
        self.reads = Some(Reads { store: Rc::clone(store), desk, gate });
    }

    fn hears(&self) -> Vec<&'static str> {
        messages::CONSUMERS.iter().flat_map(|consumer| consumer.subjects).copied().collect()
    }

    fn incoming(&self, message: &Message) -> Result<Option<Wish<Self>>, String> {
        let incoming = envelope::open(message);
        let input = self.heard(messages::incoming(&incoming).map_err(|error| error.to_string())?);
        Ok(Some(Wish { input, cause: incoming.cause("service:orders") }))
    }

    fn outgoing(&self, event: &Recorded) -> Result<Option<Message>, DecodeError> {
        Ok(messages::outgoing(event)?.map(|outgoing| envelope::seal(outgoing, event)))
    }

    fn told(&self) -> &[Category] {
        messages::RELAY.categories
    }

    fn woken(&self) -> &[Category] {
        const { &[Saga::<OrderProcess>::CATEGORY, Holds::CATEGORY] }
    }

    fn wake(&self, stream: StreamId, last: Option<&Recorded>) -> Option<Wish<Self>> {
        let last = last?;
        self.keep_up();
        let input = if stream.category == Holds::CATEGORY {
            Input::Hold { input: HoldInput::Wake }
        } else {
            Input::Wake { saga_id: stream.id }
        };
        // A wake-up is nobody's message; its name follows from what it finds.
        let causation = derived_id(stream.id, &format!("wake {}", last.version));
        let cause = Cause { correlation: stream.id, causation, trace: None, actor: Actor::new("timer:orders") };
        Some(Wish { input, cause })
    }

    fn looked_after(&self) -> &[Category] {
        self.woken()
    }

    fn is_over(&self, event: &Recorded) -> bool {
        if event.stream.category == Holds::CATEGORY {
            return self.reads.as_ref().is_none_or(|reads| reads.gate.borrow().is_open());
        }
        // What is seen to after the end does not open it again.
        let ends = |event: &Recorded| ENDS.contains(&event.type_name.as_str());
        let history = |reads: &Reads| reads.store.read_streams_now(&[(event.stream, Version::NONE)], EVENTS_MAX);
        let settles = || SETTLES.contains(&event.type_name.as_str());
        ends(event) || (settles() && self.reads.as_ref().is_some_and(|reads| history(reads).iter().any(ends)))
    }

    fn command(&self, number: u64) -> Option<Wish<Self>> {
        if let Some(index) = act(number) {
            return self.operate(index);
        }
        self.keep_up();
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
        if let Some(index) = act_of(&task.origin) {
            return self.operated(index, task, met);
        }
        match (&task.origin, met) {
            (Origin::Timer(stream), Ok(_)) if stream.category == Holds::CATEGORY => {
                let next = self.reads.as_ref().and_then(|reads| reads.gate.borrow_mut().next(&task.input));
                next.map_or(Follow::Done, Follow::Again)
            }
            (Origin::Command(number), Ok(_)) => self.told_client(*number, true),
            (Origin::Command(number), Err(SubmitError::Rejected(HandleError::Rejected(rejection)))) => {
                match rejection {
                    // Not yet: the client comes back. (A cancellation may overtake the order itself.)
                    Rejection::PastPivot | Rejection::NotFound => Follow::Later,
                    // Where an operator has ended its saga.
                    Rejection::RequestIdReused
                    | Rejection::AlreadyFailed
                    | Rejection::InHands
                    | Rejection::OutOfOrder => self.told_client(*number, false),
                }
            }
            (Origin::Timer(_), Err(SubmitError::Rejected(HandleError::Refused(Refusal::NotStarted)))) => Follow::Done,
            // An operator has ended it.
            (
                Origin::Command(number),
                Err(SubmitError::Rejected(HandleError::Refused(Refusal::Ended { status: Status::Abandoned }))),
            ) => self.told_client(*number, false),
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
    /// What an answer is to sagas that production does not have: goods are let go by a step there.
    fn heard(&self, input: Input) -> Input {
        let Some(reads) = &self.reads else { return input };
        reads.gate.borrow_mut().glance();
        let Input::Answer { saga_id, answer: heard @ Heard { step: RESERVE_INVENTORY, said: Said::Undone, .. } } =
            &input
        else {
            return input;
        };
        let started = reads.store.read_streams_now(&[(Saga::<OrderProcess>::stream(*saga_id), Version::NONE)], 1);
        let lets_go = started.first().is_some_and(|event| event.payload.contains(LET_GOODS_GO));
        if lets_go {
            let answer = Heard { step: RELEASE_GOODS, said: Said::Done, ..heard.clone() };
            return Input::Answer { saga_id: *saga_id, answer };
        }
        input
    }

    /// What is held is known after a while, whoever placed or released it.
    fn keep_up(&self) {
        if let Some(reads) = &self.reads {
            reads.gate.borrow_mut().keep_up();
        }
    }

    fn operate(&self, index: usize) -> Option<Wish<Self>> {
        let reads = self.reads.as_ref()?;
        reads.gate.borrow_mut().glance();
        let mut desk = reads.desk.borrow_mut();
        if desk.upgrades(index) {
            self.rules.upgrade();
            return None;
        }
        let input = match desk.send(index, &self.plan)? {
            Sent::Input(input) => *input,
            Sent::Look(saga_id) => Input::Wake { saga_id },
        };
        let causation = derived_id(customer(), &format!("act {index}"));
        let actor = Actor::new("operator:simulated");
        Some(Wish { input, cause: Cause { correlation: causation, causation, trace: None, actor } })
    }

    /// What an operator is told.
    fn operated(
        &self,
        index: usize,
        task: &Task<Self>,
        met: Result<&OutputOf<Self>, &SubmitError<ErrorOf<Self>>>,
    ) -> Follow<Self> {
        let Some(reads) = &self.reads else { return Follow::Done };
        let mut desk = reads.desk.borrow_mut();
        match (&*task.input, met) {
            (Input::Wake { .. }, _)
            | (_, Err(SubmitError::Rejected(HandleError::Moved { .. })))
            | (_, Err(SubmitError::Unavailable(_) | SubmitError::Stopping)) => return Follow::Later,
            (_, Err(SubmitError::Rejected(HandleError::Refused(refusal)))) if desk.waits(index, refusal) => {
                return Follow::Later;
            }
            (_, Ok(_) | Err(SubmitError::Duplicate)) => desk.taken(index),
            (_, Err(SubmitError::Rejected(HandleError::Refused(refusal)))) => desk.refused(index, Some(refusal)),
            (_, Err(SubmitError::Rejected(HandleError::HoldRefused(_)))) => desk.refused(index, None),
            (
                _,
                Err(SubmitError::Rejected(
                    reason @ (HandleError::Need(_)
                    | HandleError::Rejected(_)
                    | HandleError::Unasked(_)
                    | HandleError::Undecidable(_)
                    | HandleError::Contradiction { .. }),
                )),
            ) => return Follow::Park(reason.to_string()),
            (_, Err(SubmitError::Parked(need))) => return Follow::Park(need.to_string()),
            (_, Err(SubmitError::Unstorable(reason))) => return Follow::Park(reason.clone()),
        }
        // Whoever has placed or released a hold knows it at once, other processes a little later.
        if matches!(*task.input, Input::Hold { .. }) && index.is_multiple_of(2) {
            reads.gate.borrow_mut().learn();
        }
        Follow::Done
    }

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

fn act_of(origin: &Origin) -> Option<usize> {
    match origin {
        Origin::Command(number) => act(*number),
        Origin::Message(_) | Origin::Timer(_) => None,
    }
}

/// The operators' act that has this number, if it is one.
fn act(number: u64) -> Option<usize> {
    usize::try_from(number.checked_sub(OPERATE)?).ok()
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
