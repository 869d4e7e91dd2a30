//! Orders as one process on a store in memory.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use eventstore::memory::{CountingIds, MemoryStore};
use eventstore::worker::{CommitListener, Limits, Shell, SubmitError, Worker, WorkerHandle};
use eventstore::{
    Actor, Aggregate as _, Append, Cause, Clock, Commit, DomainEvent as _, EventId, EventStore as _, NewEvent,
    Recorded, StreamId, Version,
};
use money::{Currency, Money};
use orders::domain::{Facts, Farm, Line, Order, OrderEvent, Placed, Stage};
use orders::handler::{HandleError, Input, OrdersHandler, place_saga_id};
use orders::sagas::{OrderProcess, Patience, library};
use saga::{Input as SagaInput, Outcome, Rejection as Refused, Saga, SagaEvent, StepName, UndoOutcome};
use saga_runtime::Engine;
use uuid::Uuid;

pub const ORDER: Uuid = Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0001);

pub struct World {
    pub store: Arc<MemoryStore>,
    pub worker: WorkerHandle<OrdersHandler>,
}

struct StoreTime(Arc<MemoryStore>);

impl Clock for StoreTime {
    fn now(&self) -> DateTime<Utc> {
        self.0.time()
    }
}

impl World {
    pub fn new() -> (Self, impl Future<Output = ()>) {
        Self::over(Arc::new(MemoryStore::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap())))
    }

    /// A process on what is stored: nothing else survives.
    pub fn over(store: Arc<MemoryStore>) -> (Self, impl Future<Output = ()>) {
        Self::heard_by(store, Vec::new())
    }

    /// The same, with others who hear of its commits.
    pub fn heard_by(
        store: Arc<MemoryStore>,
        listeners: Vec<Arc<dyn CommitListener>>,
    ) -> (Self, impl Future<Output = ()>) {
        let handler = OrdersHandler::new(Engine::new(Arc::new(library(&[Patience::default()]).unwrap())));
        let clock = Arc::new(StoreTime(Arc::clone(&store)));
        let ids = Arc::new(CountingIds::default());
        let shell = Shell { store: store.clone(), clock, ids, listeners };
        let (worker, handle) = Worker::new(handler, shell, Limits::default());
        (Self { store, worker: handle }, worker.run())
    }

    pub async fn submit(&self, input: Input) -> Result<(), HandleError> {
        let actor = Actor::new("customer:1");
        let cause = Cause { correlation: ORDER, causation: ORDER, trace: None, actor };
        match self.worker.submit(input, cause).await {
            Ok(_) => Ok(()),
            Err(SubmitError::Rejected(error)) => Err(error),
            Err(other) => panic!("{other}"),
        }
    }

    pub async fn place(&self) {
        let input = Input::Place { order_id: ORDER, facts: Arc::new(facts()), fingerprint: "f".to_owned() };
        self.submit(input).await.unwrap();
    }

    pub async fn done(&self, saga_id: Uuid, step: &'static str) {
        let reply = SagaInput::Reply { step: StepName::new(step), outcome: Outcome::Done(None) };
        self.submit(Input::Saga { saga_id, input: reply }).await.unwrap();
    }

    pub async fn rejected(&self, step: &'static str, code: &str) {
        let outcome = Outcome::Rejected(Refused::new(code, "no"));
        let reply = SagaInput::Reply { step: StepName::new(step), outcome };
        self.submit(Input::Saga { saga_id: place_saga_id(ORDER), input: reply }).await.unwrap();
    }

    pub async fn undone(&self, step: &'static str) {
        let reply = SagaInput::UndoReply { step: StepName::new(step), outcome: UndoOutcome::Done };
        self.submit(Input::Saga { saga_id: place_saga_id(ORDER), input: reply }).await.unwrap();
    }

    pub async fn events(&self, stream: StreamId) -> Vec<Recorded> {
        self.store.read_streams(&[(stream, Version::NONE)], 1_000).await.unwrap()
    }

    /// A newer program appends an event of a type that this one does not know.
    pub async fn plant(&self, stream: StreamId) {
        let events = self.events(stream).await;
        let (expected, previous) = events.last().map_or((Version::NONE, None), |last| (last.version, last.digest));
        let event = NewEvent {
            id: EventId(Uuid::from_u128(99)),
            type_name: "FromTheFuture",
            schema_version: 1,
            payload: r#"{"FromTheFuture":{}}"#.to_owned(),
            time: self.store.time(),
            cause: Cause { correlation: ORDER, causation: ORDER, trace: None, actor: Actor::new("service:orders") },
        };
        let append = Append::new(stream, expected, previous, vec![event]);
        self.store.commit(Commit { appends: vec![append], ..Commit::default() }).await.unwrap();
    }

    pub async fn stage(&self) -> Stage {
        let events = self.events(Order::stream(ORDER)).await;
        let order = events.iter().map(|event| OrderEvent::from_recorded(event).unwrap());
        match order.fold(Order::default(), |order, event| order.evolve(&event)) {
            Order::Placed(Placed { stage, .. }) => stage,
            Order::Unplaced => panic!("there is no order"),
        }
    }

    pub async fn history(&self, saga_id: Uuid) -> Vec<String> {
        let events = self.events(Saga::<OrderProcess>::stream(saga_id)).await;
        events.iter().map(|event| SagaEvent::<OrderProcess>::from_recorded(event).unwrap().to_string()).collect()
    }
}

pub fn facts() -> Facts {
    let farm = Farm { id: Uuid::from_u128(3), name: "Hof".to_owned(), email: "hof@example.org".to_owned() };
    let price = Money::new(250, Currency::EUR);
    let line = Line { product_id: Uuid::from_u128(2), name: "Apples".to_owned(), quantity: 2, unit_price: price, farm };
    Facts {
        customer_id: Uuid::from_u128(1),
        email: "ana@example.org".to_owned(),
        payment_token: "tok_success".to_owned(),
        lines: vec![line],
        total: Money::new(500, Currency::EUR),
    }
}

/// Runs `story` beside its worker.
pub async fn beside(worker: impl Future<Output = ()>, story: impl Future<Output = ()>) {
    tokio::select! {
        () = story => {}
        () = worker => panic!("the worker ended before the story"),
    }
}
