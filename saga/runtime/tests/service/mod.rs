//! A small service around the engine: an order's saga, a worker over a memory store, participants that answer.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper of tests may fail as a test does")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::DateTime;
use eventstore::memory::{CountingIds, MemoryClock, MemoryStore};
use eventstore::worker::{Handler, Limits, Shell, SubmitError, Worker, WorkerHandle};
use eventstore::{Actor, Aggregate, Cause, Clock, DomainEvent, EventStore, IdSource, ReadError, StreamId, Unit};
use saga::hold::{HoldInput, HoldTarget};
use saga::{
    Facts, Input, Lane, Library, Outcome, Process, RetryPolicy, Saga, SagaEvent, StepName, UndoOutcome, ask, local,
    retriable, saga,
};
use saga_runtime::{
    Engine, HeldSagas, HoldError, HoldKeeper, HoldLimits, HoldLoop, HoldsInForce, SagaWaker, StepError, TimerLimits,
    TimerLoop, WakeError,
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq)]
pub struct Orders;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask(pub String);

impl Process for Orders {
    type Input = u32;
    type Request = Ask;
    type Output = u32;
}

fn word(text: &str, facts: &Facts<'_, Orders>) -> Ask {
    Ask(format!("{text} {}", facts.input()))
}

pub const SAGA: Uuid = Uuid::from_u128(0x0199_0000_0001_7000_8000_0000_0000_0001);

/// How long a participant may take.
pub const TIMEOUT: Duration = Duration::from_secs(10);

pub fn library() -> Library<Orders> {
    let patient = RetryPolicy::new(3, Duration::from_secs(1), Duration::from_secs(4));
    let place_order = saga::<Orders>("place-order", 1)
        .compensatable(
            "reserve",
            ask(|f| word("reserve", f)).undo(|f| word("release", f)).within(TIMEOUT).retry(patient),
        )
        .compensatable(
            "authorize",
            ask(|f| word("authorize", f)).of("payment").undo(|f| word("void", f)).within(TIMEOUT).retry(patient),
        )
        .pivot("confirm", local())
        .in_parallel([
            retriable("capture", ask(|f| word("capture", f)).within(TIMEOUT).retry(patient)),
            retriable("commit", ask(|f| word("commit", f)).within(TIMEOUT).retry(patient)),
        ])
        .retriable("notify", ask(|f| word("notify", f)).within(TIMEOUT).retry(patient))
        .build()
        .unwrap();
    Library::new([place_order]).unwrap()
}

#[derive(Clone, Debug)]
pub enum Come {
    Start(Uuid, u32),
    Input(Uuid, Input<Orders>),
    Wake(Uuid),
    PutOff(Uuid),
    BeginPatience(Uuid),
    Hold(HoldInput),
}

pub struct Rules(Engine<Orders>);

impl Handler for Rules {
    type Input = Come;
    type Output = usize;
    type Error = StepError;

    fn handle(&self, unit: &mut Unit<'_>, input: &Come) -> Result<usize, StepError> {
        if let Come::Hold(input) = input {
            return match self.0.hold(unit, input.clone()) {
                Ok(events) => Ok(events.len()),
                Err(HoldError::Need(need)) => Err(need.into()),
                Err(HoldError::Refused(refusal)) => panic!("{refusal}"),
            };
        }
        let events = match input {
            Come::Start(saga_id, input) => self.0.start(unit, *saga_id, "place-order", *input)?,
            Come::Input(saga_id, input) => self.0.apply(unit, *saga_id, input.clone())?,
            Come::Wake(saga_id) => self.0.wake(unit, *saga_id)?,
            Come::PutOff(saga_id) => self.0.put_off(unit, *saga_id, chrono::TimeDelta::seconds(2))?,
            Come::BeginPatience(saga_id) => self.0.begin_patience(unit, *saga_id)?,
            Come::Hold(_) => Vec::new(),
        };
        Ok(events.len())
    }
}

/// What a participant does with a request.
pub type Answer = fn(step: &str, lane: Lane, attempt: u32) -> Option<bool>;

pub fn all_agree(_: &str, _: Lane, _: u32) -> Option<bool> {
    Some(true)
}

/// One replica: a worker of its own over a store that others may share.
pub struct Service {
    pub store: Arc<MemoryStore>,
    pub waker: Arc<Waker>,
    pub holds: HoldsInForce,
    ids: Arc<CountingIds>,
    library: Arc<Library<Orders>>,
    tasks: JoinSet<()>,
    /// The events of the store that were shown to the participants.
    shown: usize,
}

pub struct Waker(WorkerHandle<Rules>);

impl SagaWaker for Waker {
    async fn wake(&self, saga_id: Uuid) -> Result<(), WakeError> {
        match self.0.submit(Come::Wake(saga_id), cause()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{error:?}").into()),
        }
    }
}

impl HoldKeeper for Waker {
    async fn hold(&self, input: HoldInput) -> Result<(), WakeError> {
        match self.0.submit(Come::Hold(input), cause()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{error:?}").into()),
        }
    }

    async fn release(&self, saga_id: Uuid, hold: HoldTarget) -> Result<(), WakeError> {
        match self.0.submit(Come::Input(saga_id, Input::Release { hold }), cause()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{error:?}").into()),
        }
    }
}

/// The sagas that wait at a hold, by the log.
pub struct HeldByLog(Arc<MemoryStore>);

impl HeldSagas for HeldByLog {
    async fn held(&self, _hold: &HoldTarget, limit: usize) -> Result<Vec<Uuid>, ReadError> {
        let mut held = Vec::new();
        for event in self.0.events() {
            if event.type_name == "StepHeld" {
                held.push(event.stream.id);
            } else if event.type_name == "StepReleased" {
                held.retain(|id| *id != event.stream.id);
            }
        }
        held.truncate(limit);
        Ok(held)
    }
}

pub fn store() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(DateTime::from_timestamp(1_767_225_600, 0).unwrap()))
}

impl Service {
    pub fn over(store: &Arc<MemoryStore>, series: u16, library: Library<Orders>) -> Self {
        let (ids, library) = (Arc::new(CountingIds::new(series)), Arc::new(library));
        let mut tasks = JoinSet::new();
        let holds = HoldsInForce::new();
        let waker = spawn(&mut tasks, store, &ids, &library, &holds);
        Self { store: Arc::clone(store), waker, holds, ids, library, tasks, shown: 0 }
    }

    /// Ends the worker with all it knows, and begins another.
    pub async fn restart(&mut self) {
        self.holds = HoldsInForce::new();
        let replacement = spawn(&mut self.tasks, &self.store, &self.ids, &self.library, &self.holds);
        drop(std::mem::replace(&mut self.waker, replacement));
        self.tasks.join_next().await.unwrap().unwrap();
    }

    pub async fn start(&self) {
        self.submit(Come::Start(SAGA, 7)).await.unwrap();
    }

    pub async fn submit(&self, input: Come) -> Result<usize, SubmitError<StepError>> {
        self.waker.0.submit(input, cause()).await.map(|done| done.output)
    }

    pub fn timers(&self) -> TimerLoop<Orders, Waker> {
        let (store, clock) = (Arc::clone(&self.store), MemoryClock::of(&self.store));
        TimerLoop::new(store, Arc::new(clock), Arc::clone(&self.waker), TimerLimits::default())
    }

    /// Who tells the engine of holds and carries out releases.
    pub fn releases(&self) -> HoldLoop<Orders, Waker, HeldByLog> {
        let (store, clock) = (Arc::clone(&self.store), Arc::new(MemoryClock::of(&self.store)));
        let (keeper, held) = (Arc::clone(&self.waker), HeldByLog(Arc::clone(&self.store)));
        HoldLoop::new(store, clock, keeper, held, self.holds.clone(), HoldLimits::default())
    }

    /// The answers of the participants to what was stored since they were last asked.
    pub fn answers(&mut self, answer: Answer) -> Vec<Input<Orders>> {
        let events = history(&self.store);
        let news = events.get(self.shown..).unwrap_or_default();
        self.shown = events.len();
        news.iter().filter_map(|event| reply(event, answer)).collect()
    }

    /// Lets participants answer and time go by until the saga waits for nobody; `restarts` after every commit if so.
    pub async fn live(&mut self, answer: Answer, restarts: bool) {
        loop {
            let answers = self.answers(answer);
            for input in &answers {
                self.submit(Come::Input(SAGA, input.clone())).await.unwrap();
                if restarts {
                    self.restart().await;
                }
            }
            if answers.is_empty() {
                let Some(due) = self.store.armed(stream()) else { return };
                self.store.set_time(due.max(self.store.time()));
                self.timers().fire_once().await.unwrap();
                if restarts {
                    self.restart().await;
                }
            }
        }
    }
}

fn spawn(
    tasks: &mut JoinSet<()>,
    store: &Arc<MemoryStore>,
    ids: &Arc<CountingIds>,
    library: &Arc<Library<Orders>>,
    holds: &HoldsInForce,
) -> Arc<Waker> {
    let shell = Shell {
        store: Arc::clone(store) as Arc<dyn EventStore>,
        clock: Arc::new(MemoryClock::of(store)) as Arc<dyn Clock>,
        ids: Arc::clone(ids) as Arc<dyn IdSource>,
        listeners: vec![Arc::new(saga_runtime::SagaMetrics::<Orders>::new()), Arc::new(holds.clone())],
    };
    let engine = Engine::new(Arc::clone(library)).with_holds(holds.clone());
    let (worker, handle) = Worker::new(Rules(engine), shell, Limits::default());
    tasks.spawn(worker.run());
    Arc::new(Waker(handle))
}

fn reply(event: &SagaEvent<Orders>, answer: Answer) -> Option<Input<Orders>> {
    if let SagaEvent::StepRequested { step, attempt, .. } = event {
        let rejected = Outcome::Rejected(saga::Rejection::new("NO", "refused"));
        let agrees = answer(step.as_str(), Lane::Forward, *attempt)?;
        Some(Input::Reply { step: step.clone(), outcome: if agrees { Outcome::Done(None) } else { rejected } })
    } else if let SagaEvent::CompensationRequested { step, attempt, .. } = event {
        let unknown = UndoOutcome::Unknown("cannot".to_owned());
        let agrees = answer(step.as_str(), Lane::Undo, *attempt)?;
        Some(Input::UndoReply { step: step.clone(), outcome: if agrees { UndoOutcome::Done } else { unknown } })
    } else {
        None
    }
}

pub fn done(step: &'static str) -> Input<Orders> {
    Input::Reply { step: StepName::new(step), outcome: Outcome::Done(None) }
}

pub fn stream() -> StreamId {
    Saga::<Orders>::stream(SAGA)
}

/// Every input comes by a message of its own.
pub fn cause() -> Cause {
    static MESSAGES: AtomicU64 = AtomicU64::new(1);
    let causation = Uuid::from_u64_pair(1, MESSAGES.fetch_add(1, Ordering::Relaxed));
    Cause { correlation: SAGA, causation, trace: None, actor: Actor::new("service:test") }
}

pub fn history(store: &MemoryStore) -> Vec<SagaEvent<Orders>> {
    let of_saga = store.events().into_iter().filter(|event| event.stream == stream());
    of_saga.map(|event| SagaEvent::from_recorded(&event).unwrap()).collect()
}

/// What happened, in short.
pub fn told(store: &MemoryStore) -> Vec<String> {
    history(store).iter().map(ToString::to_string).collect()
}
