//! What a service did for a saga: its answer to whoever draws the tree of everything that a saga led to.
//!
//! No index leads from a correlation to its events: it would cost every event a write, for a question that is asked a few
//! times a day. The question names what the saga is about; a service knows which of its streams belong to that, and
//! whatever else it did for the saga stands in the same transactions.

mod located;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use eventstore::{Category, EventStore, ReadError, Recorded, StreamId, StreamKind, TxId, Version};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::correlation_query_service_server::{
    CorrelationQueryService, CorrelationQueryServiceServer,
};
use sqlx::postgres::PgPool;
use tokio::time::timeout;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use self::located::Question;
pub use self::located::is_untold;
use crate::health::Health;
use crate::problem::{self, Violations};
use crate::relay::RelaySpec;
use crate::scan::LogScan;
use crate::service::Service;

/// The name of the gRPC service.
pub const SERVICE: &str = farmera_proto::saga::v1::correlation_query_service_server::SERVICE_NAME;

/// Things that one question may name.
const SUBJECTS_MAX: usize = 16;
/// Messages by which one question may have been put.
const MESSAGES_MAX: usize = 64;
/// Events of the streams that belong to them; a saga leaves a few dozen.
const EVENTS_OF_STREAMS_MAX: usize = 10_000;
/// Transactions that are looked into.
const TRANSACTIONS_MAX: usize = 500;
/// Events of one answer.
const EVENTS_MAX: usize = 1_000;
const DEADLINE: Duration = Duration::from_secs(5);

/// Serves `CorrelationQueryService` over a service's own log.
pub struct Correlated {
    name: &'static str,
    domain: &'static str,
    store: Arc<dyn EventStore>,
    scan: LogScan,
    categories: Vec<Category>,
    belonging: fn(Uuid) -> Vec<StreamId>,
    relay: RelaySpec,
    pool: PgPool,
    health: Health,
}

impl Correlated {
    /// The log of `service`, which holds streams of these kinds, signs its errors with `domain` and tells others through
    /// `relay`; `belonging` names the streams that would belong to a thing, whether they are there or not.
    #[must_use]
    pub fn serve(
        service: &Service,
        domain: &'static str,
        kinds: &[StreamKind],
        relay: RelaySpec,
        belonging: fn(Uuid) -> Vec<StreamId>,
    ) -> CorrelationQueryServiceServer<Self> {
        CorrelationQueryServiceServer::new(Self {
            name: service.name,
            domain,
            store: Arc::clone(&service.store),
            scan: service.scan.clone(),
            categories: kinds.iter().map(|kind| kind.category).collect(),
            belonging,
            relay,
            pool: service.pool.clone(),
            health: service.health().clone(),
        })
    }

    /// What the streams that belong to these hold of one correlation.
    async fn of_streams(&self, correlation: Uuid, subjects: &[Uuid]) -> Result<Vec<Recorded>, ReadError> {
        let belonging = subjects.iter().flat_map(|subject| (self.belonging)(*subject));
        let streams: Vec<_> = belonging.map(|stream| (stream, Version::NONE)).collect();
        let mut events = self.store.read_streams(&streams, EVENTS_OF_STREAMS_MAX).await?;
        events.retain(|event| event.cause.correlation == correlation);
        Ok(events)
    }

    async fn events(&self, correlation: Uuid, subjects: &[Uuid]) -> Result<Vec<Recorded>, ReadError> {
        let own = self.of_streams(correlation, subjects).await?;
        let transactions: BTreeSet<TxId> = own.iter().map(|event| event.cursor.tx).collect();
        let transactions: Vec<_> = transactions.into_iter().take(TRANSACTIONS_MAX).collect();
        self.scan.correlated(&transactions, correlation, &self.categories, EVENTS_MAX + 1).await
    }
}

#[tonic::async_trait]
impl CorrelationQueryService for Correlated {
    async fn list_correlated_events(
        &self,
        request: Request<pb::ListCorrelatedEventsRequest>,
    ) -> Result<Response<pb::ListCorrelatedEventsResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let correlation = violations.uuid("correlation_id", &request.correlation_id);
        let subjects = ids(&mut violations, "subject_ids", &request.subject_ids, SUBJECTS_MAX);
        violations.finish(self.domain)?;
        let Some(correlation) = correlation else { return Err(problem::internal(self.domain)) };
        let mut events = self.in_time(self.events(correlation, &subjects)).await?;
        let has_more = events.len() > EVENTS_MAX;
        events.truncate(EVENTS_MAX);
        let events = events.iter().map(|recorded| event(self.name, recorded)).collect();
        Ok(Response::new(pb::ListCorrelatedEventsResponse { events, has_more }))
    }

    async fn locate_question(
        &self,
        request: Request<pb::LocateQuestionRequest>,
    ) -> Result<Response<pb::LocateQuestionResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let correlation = violations.uuid("correlation_id", &request.correlation_id);
        let subjects = ids(&mut violations, "subject_ids", &request.subject_ids, SUBJECTS_MAX);
        let messages = ids(&mut violations, "message_ids", &request.message_ids, MESSAGES_MAX);
        violations.finish(self.domain)?;
        let Some(correlation) = correlation else { return Err(problem::internal(self.domain)) };
        let question = Question { correlation, subjects, messages, line: request.line };
        self.in_time(self.locate(&question)).await.map(Response::new)
    }
}

impl Correlated {
    /// What the log says, unless it takes too long.
    async fn in_time<T>(&self, reading: impl Future<Output = Result<T, ReadError>>) -> Result<T, Status> {
        match timeout(DEADLINE, reading).await {
            Ok(Ok(read)) => Ok(read),
            Ok(Err(ReadError::Corrupt(reason))) => {
                tracing::error!(reason, "a stored row is corrupt");
                Err(problem::internal(self.domain))
            }
            Ok(Err(ReadError::Unavailable(_))) | Err(_) => {
                Err(problem::unavailable(self.domain, "the event store does not answer; try again"))
            }
        }
    }
}

/// 1 to `max` ids.
fn ids(violations: &mut Violations, field: &str, given: &[String], max: usize) -> Vec<Uuid> {
    let count = given.len();
    if !(1..=max).contains(&count) {
        violations.add(field, format!("has {count} ids: allowed are 1 to {max}"));
    }
    let asked = given.iter().take(max).enumerate();
    asked.filter_map(|(index, id)| violations.uuid(&format!("{field}[{index}]"), id)).collect()
}

/// A stored event of `service` in the contract's words.
#[must_use]
pub fn event(service: &str, recorded: &Recorded) -> pb::Event {
    pb::Event {
        id: recorded.id.to_string(),
        service: service.to_owned(),
        category: recorded.stream.category.to_string(),
        stream_id: recorded.stream.id.to_string(),
        version: recorded.version.get(),
        r#type: recorded.type_name.clone(),
        schema_version: recorded.schema_version.into(),
        time: Some(recorded.time.into()),
        correlation_id: recorded.cause.correlation.to_string(),
        causation_id: recorded.cause.causation.to_string(),
        actor: recorded.cause.actor.as_str().to_owned(),
        trace: recorded.cause.trace.as_ref().map(|trace| trace.0.clone()).unwrap_or_default(),
        payload_json: recorded.payload.clone(),
        cursor: format!("{}/{}", recorded.cursor.tx.0, recorded.cursor.position),
    }
}
