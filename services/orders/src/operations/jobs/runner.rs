//! Carries operations out.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use chassis::shutdown::Shutdown;
use eventstore::worker::{SubmitError, WorkerHandle};
use eventstore::{Actor, Aggregate as _, Cause, DeadLetters, EventStore, ReadError, Recorded, Version, derived_id};
use farmera_proto::saga::v1 as pb;
use futures::future::join_all;
use pb::operation::State;
use saga::{HoldTarget, Holds, Saga};
use saga_runtime::HoldsInForce;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{info, warn};
use uuid::Uuid;

use super::book::{Claimed, Item, OperationBook, Outcome};
use super::pace::{Next, Pace, TICK};
use crate::handler::{HandleError, Input, OrdersHandler};
use crate::operations::act::{Act, Mandate};
use crate::operations::history::History;
use crate::operations::holding::{HoldAct, version};
use crate::operations::letters::unreadable;
use crate::operations::plan::LetterAct;
use crate::operations::task::Task;
use crate::sagas::OrderProcess;

/// How long a claim keeps other replicas away; a process that dies is followed after this long.
const LEASE: Duration = Duration::from_secs(10);
/// How often it is looked for operations.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// An item may take this long; what it did by then is found again.
const DEADLINE: Duration = Duration::from_secs(8);
/// Events of the sagas of one batch, many times what they have.
const EVENTS_MAX: usize = 100_000;
/// Events about holds that are looked through for what this operation did: more than happen within a few leases.
const HOLD_EVENTS_MAX: usize = 1_000;

/// What acts go through.
pub struct Hands {
    /// Where acts on sagas go.
    pub worker: WorkerHandle<OrdersHandler>,
    /// Where sagas are read.
    pub store: Arc<dyn EventStore>,
    /// Where acts on dead letters go.
    pub letters: Arc<dyn DeadLetters>,
    /// What is held.
    pub holds: HoldsInForce,
}

/// Works operations off, one at a time.
pub struct Runner {
    book: OperationBook,
    hands: Hands,
}

/// An item cannot be seen to now: the operation goes on later.
struct Later(String);

impl Runner {
    /// A runner of the operations in `book`.
    #[must_use]
    pub fn new(book: OperationBook, hands: Hands) -> Self {
        Self { book, hands }
    }

    /// Goes on until `shutdown`.
    pub async fn run(self, mut shutdown: Shutdown) {
        while !shutdown.is_triggered() {
            match self.book.claim(LEASE).await {
                Ok(Some(claimed)) => self.work(&claimed, &shutdown).await,
                Ok(None) => {
                    tokio::select! {
                        () = shutdown.triggered() => {}
                        () = sleep(LOOK_INTERVAL) => {}
                    }
                }
                Err(status) => {
                    warn!(error = &status as &dyn Error, "operations cannot be looked for, will retry");
                    tokio::select! {
                        () = shutdown.triggered() => {}
                        () = sleep(LEASE) => {}
                    }
                }
            }
        }
    }

    /// Works one operation off, until it is over, stopped, or the process ends.
    async fn work(&self, Claimed { operation, id }: &Claimed, shutdown: &Shutdown) {
        info!(operation = %id, actor = operation.actor, total = operation.total, "an operation is carried out");
        let mut pace = Pace {
            rate: operation.rate,
            canary: operation.canary,
            failures_max: operation.failures_max,
            done: operation.succeeded + operation.failed,
            failed: operation.failed,
            total: operation.total,
        };
        let mut ticks = 0;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !shutdown.is_triggered() {
            let turned = match pace.next(ticks) {
                Next::Done => self.book.end(*id, State::Done, "").await.map(|()| None),
                Next::Stop(why) => self.book.end(*id, State::Failed, &why).await.map(|()| None),
                Next::Take(count) => self.batch(operation, *id, count).await,
            };
            match turned {
                Ok(Some((done, failed))) => {
                    pace = Pace { done: pace.done + done, failed: pace.failed + failed, ..pace };
                }
                Ok(None) => return,
                Err(status) => {
                    // Whoever claims it next goes on.
                    warn!(operation = %id, error = &status as &dyn Error, "an operation waits");
                    return;
                }
            }
            ticks += 1;
            tick.tick().await;
        }
    }

    /// Sees to the next items: how many, and how many of them failed. `None` when the operation was stopped.
    async fn batch(
        &self,
        operation: &pb::Operation,
        id: Uuid,
        count: u32,
    ) -> Result<Option<(u32, u32)>, tonic::Status> {
        let items = if count == 0 { Vec::new() } else { self.book.waiting(id, count).await? };
        let task = Task::read(&operation.act.clone().unwrap_or_default()).ok();
        let histories = match &task {
            Some(Task::Sagas(_)) => self.histories(&items).await.map_err(unreadable)?,
            Some(Task::Letters(_) | Task::Hold(_)) | None => HashMap::new(),
        };
        let seen_to = items.iter().map(|item| self.item(operation, id, task.as_ref(), item, &histories));
        let seen_to = join_all(seen_to).await;
        let mut outcomes = Vec::with_capacity(items.len());
        for (item, seen_to) in items.iter().zip(seen_to) {
            match seen_to {
                Ok(failure) => outcomes.push(Outcome { ordinal: item.ordinal, failure }),
                Err(Later(why)) => warn!(operation = %id, item = item.item, why, "an item waits"),
            }
        }
        let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
        let goes_on = self.book.note(id, &outcomes, LEASE).await?;
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(goes_on.then_some((number(outcomes.len()), number(failed))))
    }

    async fn item(
        &self,
        operation: &pb::Operation,
        id: Uuid,
        task: Option<&Task>,
        item: &Item,
        histories: &HashMap<Uuid, Vec<Recorded>>,
    ) -> Result<Option<String>, Later> {
        let applied = async {
            match task {
                Some(Task::Sagas(act)) => self.saga(operation, id, act, item, histories).await,
                Some(Task::Letters(act)) => self.letter(operation, *act, item).await,
                Some(Task::Hold(act)) => self.hold(operation, id, act, item).await,
                None => Ok(Some("this program does not know the act".to_owned())),
            }
        };
        timeout(DEADLINE, applied).await.unwrap_or_else(|_| Err(Later("no answer in time".to_owned())))
    }

    async fn saga(
        &self,
        operation: &pb::Operation,
        id: Uuid,
        act: &Act,
        item: &Item,
        histories: &HashMap<Uuid, Vec<Recorded>>,
    ) -> Result<Option<String>, Later> {
        let Ok(saga_id) = item.item.parse::<Uuid>() else { return Ok(Some("it is no saga".to_owned())) };
        let expected = Version::new(u64::try_from(item.version).unwrap_or(0));
        let causation = derived_id(id, &format!("item {}", item.ordinal));
        let recorded = histories.get(&saga_id).cloned().unwrap_or_default();
        if recorded.iter().any(|event| event.cause.causation == causation) {
            // Applied just before a process died that could not write it down.
            return Ok(None);
        }
        let history = match History::read(recorded) {
            Ok(history) if history.version() == expected => history,
            Ok(history) => return Ok(Some(moved(expected, history.version()))),
            Err(error) => return Ok(Some(error.to_string())),
        };
        let actor = Actor::new(&operation.actor);
        let mandate = Mandate { actor: actor.clone(), reason: because(operation) };
        let Some(input) = act.input(&history.saga, &mandate) else {
            return Ok(Some("no step of the saga is waited for".to_owned()));
        };
        let cause = Cause { correlation: saga_id, causation, trace: None, actor };
        self.submit(Input::Operate { saga_id, expected, input }, cause, expected).await
    }

    /// Why it failed; `None` when it did not.
    async fn submit(&self, input: Input, cause: Cause, expected: Version) -> Result<Option<String>, Later> {
        match self.hands.worker.submit(input, cause).await {
            Ok(_) => Ok(None),
            Err(SubmitError::Rejected(HandleError::Moved { actual })) => Ok(Some(moved(expected, actual))),
            Err(SubmitError::Rejected(error)) => Ok(Some(error.to_string())),
            Err(SubmitError::Unavailable(why)) => Err(Later(why)),
            Err(SubmitError::Stopping) => Err(Later("the service is stopping".to_owned())),
            Err(error) => Ok(Some(error.to_string())),
        }
    }

    async fn hold(
        &self,
        operation: &pb::Operation,
        id: Uuid,
        act: &HoldAct,
        item: &Item,
    ) -> Result<Option<String>, Later> {
        let Ok(target) = item.item.parse::<HoldTarget>() else { return Ok(Some("it is no hold".to_owned())) };
        let causation = derived_id(id, &format!("item {}", item.ordinal));
        let recorded = self.hands.store.read_stream_backwards(Holds::only_stream(), HOLD_EVENTS_MAX).await;
        if recorded.map_err(|error| Later(error.to_string()))?.iter().any(|event| event.cause.causation == causation) {
            // Applied just before a process died that could not write it down.
            return Ok(None);
        }
        if i64::try_from(version(&self.hands.holds.holds(), &target)) != Ok(item.version) {
            return Ok(Some("the hold has moved since the plan".to_owned()));
        }
        let actor = Actor::new(&operation.actor);
        let input = act.input(target, &Mandate { actor: actor.clone(), reason: because(operation) });
        let cause = Cause { correlation: Holds::ID, causation, trace: None, actor };
        self.submit(Input::Hold { input }, cause, Version::NONE).await
    }

    /// The histories of the sagas of these items.
    async fn histories(&self, items: &[Item]) -> Result<HashMap<Uuid, Vec<Recorded>>, ReadError> {
        let ids = items.iter().filter_map(|item| item.item.parse::<Uuid>().ok());
        let streams: Vec<_> = ids.map(|id| (Saga::<OrderProcess>::stream(id), Version::NONE)).collect();
        let events = self.hands.store.read_streams(&streams, EVENTS_MAX).await?;
        let of_saga = events.chunk_by(|one, next| one.stream == next.stream);
        Ok(of_saga.filter_map(|events| Some((events.first()?.stream.id, events.to_vec()))).collect())
    }

    async fn letter(&self, operation: &pb::Operation, act: LetterAct, item: &Item) -> Result<Option<String>, Later> {
        let Ok(letter) = item.item.parse::<i64>() else { return Ok(Some("it is no letter".to_owned())) };
        let (by, reason) = (operation.actor.as_str(), because(operation));
        let done = match act {
            LetterAct::Redrive => self.hands.letters.ask_redrive(letter, by).await,
            LetterAct::Discard => self.hands.letters.discard(letter, by, &reason).await,
        };
        match done {
            Ok(true) => Ok(None),
            Ok(false) => Ok(Some("it does not wait any more".to_owned())),
            Err(error) => Err(Later(error.to_string())),
        }
    }
}

fn moved(expected: Version, actual: Version) -> String {
    format!("it has moved since the plan: version {actual}, planned at {expected}")
}

/// Why, and by which plan: part of the history of every saga touched.
fn because(operation: &pb::Operation) -> String {
    let hash: String = operation.plan_hash.chars().take(12).collect();
    let approved = match operation.approved_by.as_str() {
        "" => String::new(),
        approver => format!(", approved by {approver}"),
    };
    format!("{} [plan {hash}{approved}]", operation.reason)
}
