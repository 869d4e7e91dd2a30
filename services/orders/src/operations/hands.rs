//! Acts on sagas and holds: what they would do, and doing it, each in a transaction of its own.

use std::collections::HashMap;
use std::time::Duration;

use chassis::operations::{Acts, Became, Foreseen, Item, Job, Later, Mandate};
use chassis::scan::LogScan;
use chrono::{DateTime, Utc};
use eventstore::worker::{SubmitError, WorkerHandle};
use eventstore::{Aggregate as _, Cause, ReadError, Recorded, StreamId, Version, derived_id};
use farmera_proto::saga::v1 as pb;
use futures::future::join_all;
use pb::act::Kind;
use saga::{HoldTarget, Holds, Saga};
use tokio::time::timeout;
use tonic::Status;
use uuid::Uuid;

use super::act::Act;
use super::history::History;
use super::holding::{HoldAct, version};
use super::plan::Planner;
use super::task::{Task, is_on_sagas};
use crate::handler::{HandleError, Input, OrdersHandler};
use crate::sagas::OrderProcess;
use crate::status::unreadable;

/// Items that are in the worker's queue at a time: orders that run beside an operation wait behind so many of it, not behind
/// all of a tick.
const TOGETHER: usize = 16;
/// An item may take this long; what it did by then is found again.
const DEADLINE: Duration = Duration::from_secs(8);
/// Events of the sagas of one batch, many times what they have.
const EVENTS_MAX: usize = 100_000;
/// Events about holds that are looked through for what this operation did: more than happen within a few leases.
const HOLD_EVENTS_MAX: usize = 1_000;

/// Acts where sagas run.
pub struct SagaActs {
    /// Foresees them.
    pub planner: Planner,
    /// Where it is seen whether sagas have moved.
    pub scan: LogScan,
    /// Where they go.
    pub worker: WorkerHandle<OrdersHandler>,
}

#[async_trait::async_trait]
impl Acts for SagaActs {
    fn include(&self, kind: Kind) -> bool {
        is_on_sagas(kind) || matches!(kind, Kind::Hold | Kind::Release)
    }

    async fn foresee(
        &self,
        act: &pb::Act,
        selection: &pb::Selection,
        mandate: &Mandate,
        now: DateTime<Utc>,
    ) -> Result<Foreseen, Status> {
        match Task::read(act)? {
            Task::Sagas(act) => self.planner.sagas(&act, selection, mandate, now).await,
            Task::Hold(act) => self.planner.hold(&act, selection, mandate, now).await,
        }
    }

    async fn moved(&self, plan: &pb::Plan, mandate: &Mandate, now: DateTime<Utc>) -> Result<Vec<String>, Status> {
        let act = plan.act.clone().unwrap_or_default();
        let planned: Vec<_> = plan.items.iter().filter(|item| item.refused.is_empty()).cloned().collect();
        match Task::read(&act)? {
            // Their versions say it all.
            Task::Sagas(_) => self.moved_sagas(&planned).await,
            Task::Hold(on_hold) => {
                let foreseen = self.planner.hold(&on_hold, &self.select(&planned), mandate, now).await?;
                Ok(chassis::operations::plan::moved(&planned, &foreseen.items))
            }
        }
    }

    fn select(&self, items: &[pb::PlanItem]) -> pb::Selection {
        let hold_target = items.first().map(|item| item.id.clone()).unwrap_or_default();
        pb::Selection { hold_target, ..pb::Selection::default() }
    }

    async fn carry_out(&self, job: Job<'_>, items: &[Item]) -> Vec<Became> {
        let mandate = Mandate::of(job.operation);
        let task = Task::read(&job.operation.act.clone().unwrap_or_default());
        let histories = match &task {
            Ok(Task::Sagas(_)) => self.histories(items).await,
            Ok(Task::Hold(_)) | Err(_) => Ok(HashMap::new()),
        };
        let histories = match histories {
            Ok(histories) => histories,
            Err(error) => return items.iter().map(|_| Err(Later(error.to_string()))).collect(),
        };
        let mut became = Vec::with_capacity(items.len());
        for piece in items.chunks(TOGETHER) {
            let one = piece.iter().map(|item| self.one(job.id, task.as_ref(), &mandate, item, &histories));
            became.extend(join_all(one).await);
        }
        became
    }
}

impl SagaActs {
    async fn one(
        &self,
        operation: Uuid,
        task: Result<&Task, &Status>,
        mandate: &Mandate,
        item: &Item,
        histories: &HashMap<Uuid, Vec<Recorded>>,
    ) -> Became {
        let done = async {
            match task {
                Ok(Task::Sagas(act)) => self.saga(operation, act, mandate, item, histories).await,
                Ok(Task::Hold(act)) => self.hold(operation, act, mandate, item).await,
                Err(status) => Ok(Some(status.message().to_owned())),
            }
        };
        timeout(DEADLINE, done).await.unwrap_or_else(|_| Err(Later("no answer in time".to_owned())))
    }

    /// Sagas that are not at the version that the plan rests on.
    async fn moved_sagas(&self, planned: &[pb::PlanItem]) -> Result<Vec<String>, Status> {
        let planned = planned.iter().filter_map(|item| {
            let stream = Saga::<OrderProcess>::stream(item.id.parse().ok()?);
            Some((stream, Version::new(item.version)))
        });
        let planned: Vec<(StreamId, Version)> = planned.collect();
        let streams: Vec<_> = planned.iter().map(|(stream, _)| *stream).collect();
        let now: HashMap<_, _> = self.scan.versions(&streams).await.map_err(unreadable)?.into_iter().collect();
        let moved = planned.iter().filter(|(stream, version)| now.get(stream) != Some(version));
        Ok(moved.map(|(stream, _)| stream.id.to_string()).collect())
    }

    async fn saga(
        &self,
        operation: Uuid,
        act: &Act,
        mandate: &Mandate,
        item: &Item,
        histories: &HashMap<Uuid, Vec<Recorded>>,
    ) -> Became {
        let Ok(saga_id) = item.item.parse::<Uuid>() else { return Ok(Some("it is no saga".to_owned())) };
        let expected = Version::new(u64::try_from(item.version).unwrap_or(0));
        let causation = derived_id(operation, &format!("item {}", item.ordinal));
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
        let Some(input) = act.input(&history.saga, mandate) else {
            return Ok(Some("no step of the saga is waited for".to_owned()));
        };
        let cause = Cause { correlation: saga_id, causation, trace: None, actor: mandate.actor.clone() };
        self.submit(Input::Operate { saga_id, expected, input }, cause, expected).await
    }

    async fn submit(&self, input: Input, cause: Cause, expected: Version) -> Became {
        match self.worker.submit(input, cause).await {
            Ok(_) => Ok(None),
            Err(SubmitError::Rejected(HandleError::Moved { actual })) => Ok(Some(moved(expected, actual))),
            Err(SubmitError::Rejected(error)) => Ok(Some(error.to_string())),
            Err(SubmitError::Unavailable(why)) => Err(Later(why)),
            Err(SubmitError::Stopping) => Err(Later("the service is stopping".to_owned())),
            Err(error) => Ok(Some(error.to_string())),
        }
    }

    async fn hold(&self, operation: Uuid, act: &HoldAct, mandate: &Mandate, item: &Item) -> Became {
        let Ok(target) = item.item.parse::<HoldTarget>() else { return Ok(Some("it is no hold".to_owned())) };
        let causation = derived_id(operation, &format!("item {}", item.ordinal));
        let store = &self.planner.store;
        let recorded = store.read_stream_backwards(Holds::only_stream(), HOLD_EVENTS_MAX).await;
        if recorded.map_err(|error| Later(error.to_string()))?.iter().any(|event| event.cause.causation == causation) {
            // Applied just before a process died that could not write it down.
            return Ok(None);
        }
        if i64::try_from(version(&self.planner.holds.holds(), &target)) != Ok(item.version) {
            return Ok(Some("the hold has moved since the plan".to_owned()));
        }
        let input = act.input(target, mandate);
        let cause = Cause { correlation: Holds::ID, causation, trace: None, actor: mandate.actor.clone() };
        self.submit(Input::Hold { input }, cause, Version::NONE).await
    }

    /// The histories of the sagas of these items.
    async fn histories(&self, items: &[Item]) -> Result<HashMap<Uuid, Vec<Recorded>>, ReadError> {
        let ids = items.iter().filter_map(|item| item.item.parse::<Uuid>().ok());
        let streams: Vec<_> = ids.map(|id| (Saga::<OrderProcess>::stream(id), Version::NONE)).collect();
        let events = self.planner.store.read_streams(&streams, EVENTS_MAX).await?;
        let of_saga = events.chunk_by(|one, next| one.stream == next.stream);
        Ok(of_saga.filter_map(|events| Some((events.first()?.stream.id, events.to_vec()))).collect())
    }
}

fn moved(expected: Version, actual: Version) -> String {
    format!("it has moved since the plan: version {actual}, planned at {expected}")
}
