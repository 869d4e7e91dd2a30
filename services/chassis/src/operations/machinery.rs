//! `MachineryQueryService`: what a service runs on.

use std::pin::Pin;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use eventstore::{Clock, Cursor, EventStore, LetterState, StoredDeadLetter, TxId};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::get_service_info_response::HealthPart;
use farmera_proto::saga::v1::machinery_query_service_server::MachineryQueryService;
use futures::Stream;
use sqlx::postgres::PgPool;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::check::ProjectionChecks;
use super::letters::{self, LetterGroup};
use super::{actor, rows, unreadable};
use crate::health::Health;
use crate::page;
use crate::problem::Violations;
use crate::projection::Projection;
use crate::scan::LogScan;

/// Letters looked at for one answer at most.
const LETTERS_MAX: usize = 100_000;
/// Sagas of one group whose holdings are summed up at most.
const SAGAS_MAX: usize = 10_000;
const GROUPS_MAX: usize = 1_000;

/// What only a service that runs sagas can tell.
#[async_trait::async_trait]
pub trait SagaSide: Send + Sync + 'static {
    /// A page of timers.
    ///
    /// # Errors
    /// INVALID_ARGUMENT, or UNAVAILABLE.
    async fn timers(&self, request: pb::ListTimersRequest) -> Result<pb::ListTimersResponse, Status>;

    /// What is held.
    ///
    /// # Errors
    /// UNAVAILABLE.
    async fn holds(&self) -> Result<Vec<pb::list_holds_response::Hold>, Status>;

    /// What these sagas hold.
    ///
    /// # Errors
    /// UNAVAILABLE.
    async fn exposures(&self, sagas: Vec<Uuid>) -> Result<Vec<pb::Exposure>, Status>;

    /// The definitions it runs: place-order@1.
    fn definitions(&self) -> Vec<String>;
}

/// Serves `MachineryQueryService`.
pub struct Machinery {
    /// The service: `orders`.
    pub service: &'static str,
    /// Of whom it is told what goes wrong: `orders.farmera.dev`.
    pub domain: &'static str,
    /// Where dead letters come from.
    pub store: Arc<dyn EventStore>,
    /// Where lag and the outbox are seen.
    pub scan: LogScan,
    /// The service's database.
    pub pool: PgPool,
    /// The read models.
    pub projections: Arc<[Box<dyn Projection>]>,
    /// Compares them with the log.
    pub checks: ProjectionChecks,
    /// What is told of sagas; `None` where none run.
    pub sagas: Option<Arc<dyn SagaSide>>,
    /// How this process is.
    pub health: Health,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// When this process started.
    pub started_at: DateTime<Utc>,
    /// Plans for more than this need a second person's approval.
    pub approval_above: u32,
}

/// A read model.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
struct ProjectionRow {
    /// Its name.
    name: String,
    /// The transaction it has come to.
    tx: String,
    /// The place in the log it has come to.
    position: i64,
    /// When it last moved.
    updated_at: DateTime<Utc>,
    /// Streams it cannot follow.
    parked: i64,
}

/// What a service remembers of a stream of the broker.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
struct BrokerRow {
    /// Its name.
    stream: String,
    /// How often it lost something.
    epoch: i32,
    /// The newest message it acknowledged.
    last_sequence: i64,
    /// Messages known to be missing.
    missing: i64,
    /// Its durable consumers.
    consumers: Vec<String>,
    /// When this was seen.
    updated_at: DateTime<Utc>,
}

impl Machinery {
    fn parts(&self) -> Vec<HealthPart> {
        let now = self.clock.now();
        let told = self.health.parts_of(self.service).into_iter().map(|(name, part)| {
            let since = now - TimeDelta::from_std(part.since.elapsed()).unwrap_or_default();
            HealthPart { name, reason: part.reason.unwrap_or_default(), since_time: Some(since.into()) }
        });
        told.collect()
    }

    async fn projection(
        &self,
        projection: &dyn Projection,
    ) -> Result<pb::list_projections_response::ProjectionStatus, Status> {
        let found: Vec<ProjectionRow> = rows(
            self.domain,
            sqlx::query_as(
                "select p.name, p.tx::text as tx, p.position, p.updated_at,
                        (select count(*) from parked_stream where consumer = p.name) as parked
                 from projection as p
                 where p.name = $1",
            )
            .bind(projection.name())
            .fetch_all(&self.pool),
        )
        .await?;
        let row = found.into_iter().next();
        let place = row.as_ref().map_or(Cursor::START, |row| Cursor {
            tx: TxId(row.tx.parse().unwrap_or(0)),
            position: u64::try_from(row.position).unwrap_or(0),
        });
        let behind = self.scan.behind(place, projection.categories()).await;
        Ok(pb::list_projections_response::ProjectionStatus {
            name: projection.name().to_owned(),
            cursor: row.as_ref().map(|row| format!("{}/{}", row.tx, row.position)).unwrap_or_default(),
            update_time: row.as_ref().map(|row| row.updated_at.into()),
            lag_events: behind.map_err(|error| unreadable(self.domain, error))?.events,
            parked_streams: row.map_or(0, |row| u64::try_from(row.parked).unwrap_or(0)),
            service: self.service.to_owned(),
        })
    }

    async fn broker(&self) -> Result<Vec<BrokerRow>, Status> {
        rows(
            self.domain,
            sqlx::query_as(
                "select stream, epoch, last_sequence, missing, consumers, updated_at
                 from broker_mark
                 order by stream",
            )
            .fetch_all(&self.pool),
        )
        .await
    }

    async fn group(&self, group: LetterGroup) -> Result<pb::group_dead_letters_response::Group, Status> {
        let sagas: Vec<Uuid> = group.sagas.iter().copied().take(SAGAS_MAX).collect();
        let exposures = match &self.sagas {
            Some(side) => side.exposures(sagas).await?,
            None => Vec::new(),
        };
        let mut words = group.subject.split('.').skip(1);
        let (participant, message) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        Ok(pb::group_dead_letters_response::Group {
            group: group.name,
            cause: group.cause,
            consumer: group.consumer,
            participant: participant.to_owned(),
            message: message.to_owned(),
            count: group.ids.len() as u64,
            lines: group.lines.len() as u64,
            exposures,
            first_time: Some(group.first.into()),
            last_time: Some(group.last.into()),
            sample_id: group.ids.first().copied().unwrap_or(0),
            service: self.service.to_owned(),
        })
    }
}

/// What the pages of timers are bound to, at every service.
#[must_use]
pub fn timers_question(request: &pb::ListTimersRequest) -> String {
    format!("timers/{}", request.overdue_only)
}

#[tonic::async_trait]
impl MachineryQueryService for Machinery {
    async fn list_timers(
        &self,
        request: Request<pb::ListTimersRequest>,
    ) -> Result<Response<pb::ListTimersResponse>, Status> {
        let request = request.into_inner();
        if let Some(side) = &self.sagas {
            return side.timers(request).await.map(Response::new);
        }
        let mut violations = Violations::new();
        let _ = page::size(&mut violations, request.page_size);
        let _ = page::key(&mut violations, &timers_question(&request), &request.page_token, page::moment);
        violations.finish(self.domain)?;
        Ok(Response::new(pb::ListTimersResponse::default()))
    }

    async fn list_dead_letters(
        &self,
        request: Request<pb::ListDeadLettersRequest>,
    ) -> Result<Response<pb::ListDeadLettersResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let size = page::size(&mut violations, request.page_size);
        let question = format!("letters/{}/{}/{}", request.with_ended, request.group, request.saga_id);
        let after = page::key(&mut violations, &question, &request.page_token, page::one);
        let saga_id = if request.saga_id.is_empty() { None } else { violations.uuid("saga_id", &request.saga_id) };
        violations.finish(self.domain)?;
        let wanted = |letter: &StoredDeadLetter| {
            (request.with_ended || letters::waits(letter))
                && (request.group.is_empty() || letters::group_name(letter) == request.group)
                && saga_id.is_none_or(|id| letters::saga_of(letter) == Some(id))
        };
        let mut found = letters::find(&*self.store, after.unwrap_or(0), size + 1, wanted)
            .await
            .map_err(|error| unreadable(self.domain, error))?;
        let has_more = found.len() > size;
        found.truncate(size);
        let next = found.last().filter(|_| has_more).map(|letter| letter.id.to_string());
        Ok(Response::new(pb::ListDeadLettersResponse {
            letters: found.into_iter().map(|found| letter(self.service, found, request.with_bodies)).collect(),
            next_page_token: next.map(|key| page::token(&question, &key)).unwrap_or_default(),
        }))
    }

    async fn group_dead_letters(
        &self,
        _request: Request<pb::GroupDeadLettersRequest>,
    ) -> Result<Response<pb::GroupDeadLettersResponse>, Status> {
        let found = letters::find(&*self.store, 0, LETTERS_MAX, letters::waits)
            .await
            .map_err(|error| unreadable(self.domain, error))?;
        let mut groups = Vec::new();
        for group in letters::groups(&found).into_iter().take(GROUPS_MAX) {
            groups.push(self.group(group).await?);
        }
        Ok(Response::new(pb::GroupDeadLettersResponse { groups }))
    }

    async fn list_holds(
        &self,
        _request: Request<pb::ListHoldsRequest>,
    ) -> Result<Response<pb::ListHoldsResponse>, Status> {
        let holds = match &self.sagas {
            Some(side) => side.holds().await?,
            None => Vec::new(),
        };
        Ok(Response::new(pb::ListHoldsResponse { holds }))
    }

    async fn list_projections(
        &self,
        _request: Request<pb::ListProjectionsRequest>,
    ) -> Result<Response<pb::ListProjectionsResponse>, Status> {
        let mut projections = Vec::new();
        for projection in self.projections.iter() {
            projections.push(self.projection(&**projection).await?);
        }
        projections.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Response::new(pb::ListProjectionsResponse { projections }))
    }

    type CheckProjectionStream = Pin<Box<dyn Stream<Item = Result<pb::CheckProjectionResponse, Status>> + Send>>;

    async fn check_projection(
        &self,
        request: Request<pb::CheckProjectionRequest>,
    ) -> Result<Response<Self::CheckProjectionStream>, Status> {
        // It costs as much as a rebuild: whoever asks has a name.
        actor(self.domain, request.metadata())?;
        Ok(Response::new(Box::pin(self.checks.check(&request.get_ref().name)?)))
    }

    async fn get_transport_status(
        &self,
        _request: Request<pb::GetTransportStatusRequest>,
    ) -> Result<Response<pb::GetTransportStatusResponse>, Status> {
        let backlog = self.scan.outbox().await.map_err(|error| unreadable(self.domain, error))?;
        let broker = self.broker().await?;
        let number = |count: i64| u64::try_from(count).unwrap_or(0);
        let streams = broker.into_iter().map(|row| pb::get_transport_status_response::BrokerStream {
            name: row.stream,
            epoch: u32::try_from(row.epoch).unwrap_or(0),
            last_sequence: number(row.last_sequence),
            missing: number(row.missing),
            consumers: row.consumers,
            update_time: Some(row.updated_at.into()),
        });
        Ok(Response::new(pb::GetTransportStatusResponse {
            outbox_pending: backlog.transactions.into(),
            oldest_pending_time: backlog.oldest_at.map(Into::into),
            streams: streams.collect(),
            service: self.service.to_owned(),
            trouble: self
                .health
                .part(&format!("{}/relay", self.service))
                .and_then(|relay| relay.reason)
                .unwrap_or_default(),
        }))
    }

    async fn get_service_info(
        &self,
        request: Request<pb::GetServiceInfoRequest>,
    ) -> Result<Response<pb::GetServiceInfoResponse>, Status> {
        let actor = actor(self.domain, request.metadata()).ok();
        Ok(Response::new(pb::GetServiceInfoResponse {
            service: self.service.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            contract: "1.0".to_owned(),
            start_time: Some(self.started_at.into()),
            definitions: self.sagas.as_ref().map(|side| side.definitions()).unwrap_or_default(),
            actor: actor.map(|actor| actor.as_str().to_owned()).unwrap_or_default(),
            approval_above: self.approval_above,
            parts: self.parts(),
        }))
    }
}

fn letter(service: &str, stored: StoredDeadLetter, with_body: bool) -> pb::DeadLetter {
    let state = match stored.state {
        LetterState::Waiting => pb::dead_letter::State::Waiting,
        LetterState::Redriving => pb::dead_letter::State::Redriving,
        LetterState::Redriven { .. } => pb::dead_letter::State::Redriven,
        LetterState::Discarded { .. } => pb::dead_letter::State::Discarded,
    };
    let group = letters::group_name(&stored);
    let letter = stored.letter;
    let (headers_json, body) = match with_body {
        true => (letter.headers, String::from_utf8_lossy(&letter.body).into_owned()),
        false => (String::new(), String::new()),
    };
    pb::DeadLetter {
        id: stored.id,
        consumer: letter.consumer,
        key: letter.key.unwrap_or_default(),
        subject: letter.subject,
        message_id: letter.message,
        reason: letter.reason,
        park_time: Some(stored.parked_at.into()),
        state: state.into(),
        attempts: stored.attempts,
        last_error: stored.last_error.unwrap_or_default(),
        group,
        headers_json,
        body,
        service: service.to_owned(),
    }
}
