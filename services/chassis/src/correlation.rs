//! What a service did for a saga: its answer to whoever draws the tree of everything that a saga led to.
//!
//! No index leads from a correlation to its events: it would cost every event a write, for a question that is asked a few
//! times a day. The question names what the saga is about; a service knows which of its streams belong to that, and
//! whatever else it did for the saga stands in the same transactions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use eventstore::{Category, EventStore, ReadError, Recorded, StreamId, StreamKind, TxId, Version};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::correlation_query_service_server::{
    CorrelationQueryService, CorrelationQueryServiceServer,
};
use tokio::time::timeout;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::problem::{self, Violations};
use crate::scan::LogScan;
use crate::service::Service;

/// The name of the gRPC service.
pub const SERVICE: &str = farmera_proto::saga::v1::correlation_query_service_server::SERVICE_NAME;

/// Things that one question may name.
const SUBJECTS_MAX: usize = 16;
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
}

impl Correlated {
    /// The log of `service`, which holds streams of these kinds and signs its errors with `domain`; `belonging` names the streams that would belong to a
    /// thing, whether they are there or not.
    #[must_use]
    pub fn serve(
        service: &Service,
        domain: &'static str,
        kinds: &[StreamKind],
        belonging: fn(Uuid) -> Vec<StreamId>,
    ) -> CorrelationQueryServiceServer<Self> {
        CorrelationQueryServiceServer::new(Self {
            name: service.name,
            domain,
            store: Arc::clone(&service.store),
            scan: service.scan.clone(),
            categories: kinds.iter().map(|kind| kind.category).collect(),
            belonging,
        })
    }

    async fn events(&self, correlation: Uuid, subjects: &[Uuid]) -> Result<Vec<Recorded>, ReadError> {
        let streams: Vec<_> = subjects
            .iter()
            .flat_map(|subject| (self.belonging)(*subject))
            .map(|stream| (stream, Version::NONE))
            .collect();
        let own = self.store.read_streams(&streams, EVENTS_OF_STREAMS_MAX).await?;
        let transactions: BTreeSet<TxId> =
            own.iter().filter(|event| event.cause.correlation == correlation).map(|event| event.cursor.tx).collect();
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
        let count = request.subject_ids.len();
        if !(1..=SUBJECTS_MAX).contains(&count) {
            violations.add("subject_ids", format!("has {count} ids: allowed are 1 to {SUBJECTS_MAX}"));
        }
        let asked = request.subject_ids.iter().take(SUBJECTS_MAX).enumerate();
        let subjects: Vec<_> =
            asked.filter_map(|(index, id)| violations.uuid(&format!("subject_ids[{index}]"), id)).collect();
        violations.finish(self.domain)?;
        let Some(correlation) = correlation else { return Err(problem::internal(self.domain)) };
        let mut events = match timeout(DEADLINE, self.events(correlation, &subjects)).await {
            Ok(Ok(events)) => events,
            Ok(Err(ReadError::Corrupt(reason))) => {
                tracing::error!(reason, "a stored row is corrupt");
                return Err(problem::internal(self.domain));
            }
            Ok(Err(ReadError::Unavailable(_))) | Err(_) => {
                return Err(problem::unavailable(self.domain, "the event store does not answer; try again"));
            }
        };
        let has_more = events.len() > EVENTS_MAX;
        events.truncate(EVENTS_MAX);
        let events = events.iter().map(|recorded| event(self.name, recorded)).collect();
        Ok(Response::new(pb::ListCorrelatedEventsResponse { events, has_more }))
    }
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
