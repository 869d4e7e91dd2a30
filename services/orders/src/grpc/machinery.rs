//! `MachineryQueryService`: what sagas run on.

use std::collections::HashMap;
use std::sync::Arc;

use chassis::page;
use chassis::problem::Violations;
use chassis::scan::{ArmedTimer, LogScan};
use chrono::{DateTime, Utc};
use eventstore::{Aggregate as _, Clock, Cursor, EventStore, LetterState, StoredDeadLetter, TxId};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::machinery_query_service_server::MachineryQueryService;
use saga::hold::{Hold, HoldPhase};
use saga::{Library, Saga};
use saga_runtime::HoldsInForce;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::lists;
use crate::domain::Order as OrderStream;
use crate::operations::letters::{self, LetterGroup};
use crate::operations::machinery::{self, ProjectionRow};
use crate::operations::query::{Condition, Query};
use crate::projections::held::HeldList;
use crate::projections::sagas::{Order, Page, Row, SagaList};
use crate::sagas::OrderProcess;
use crate::status::DOMAIN;

/// Letters looked at for one answer at most.
const LETTERS_MAX: usize = 100_000;
/// Sagas of one group whose holdings are summed up at most.
const SAGAS_MAX: usize = 10_000;
const GROUPS_MAX: usize = 1_000;

/// Serves `MachineryQueryService`.
pub struct Machinery {
    /// Where dead letters come from.
    pub store: Arc<dyn EventStore>,
    /// Where timers and the outbox are seen.
    pub scan: LogScan,
    /// Where read models and the broker are seen.
    pub machinery: machinery::Machinery,
    /// Where sagas are listed.
    pub list: SagaList,
    /// What is held.
    pub holds: HoldsInForce,
    /// Who waits there.
    pub held: HeldList,
    /// The definitions.
    pub library: Arc<Library<OrderProcess>>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// When this process started.
    pub started_at: DateTime<Utc>,
    /// Plans for more sagas than this need a second person's approval.
    pub approval_above: u32,
}

impl Machinery {
    /// Timers, each with where its saga stands.
    async fn timers(&self, found: &[ArmedTimer]) -> Result<Vec<pb::Timer>, Status> {
        let ids = found.iter().map(|timer| timer.stream.id).collect();
        let page = Page { order: Order::Oldest, after: None, size: found.len() };
        let (sagas, _) = self.list.find(&Query::Is(Condition::Id(ids)), page, self.clock.now()).await?;
        let sagas: HashMap<Uuid, Row> = sagas.into_iter().map(|row| (row.saga_id, row)).collect();
        let timer = |timer: &ArmedTimer| {
            let saga = sagas.get(&timer.stream.id);
            pb::Timer {
                saga_id: timer.stream.id.to_string(),
                due_time: Some(timer.due.into()),
                claimed_until_time: timer.claimed_until.map(Into::into),
                step: saga.map(|row| row.step.clone()).unwrap_or_default(),
                definition: saga.map(|row| row.definition.clone()).unwrap_or_default(),
                state: saga.map_or(0, |row| row.state.into()),
            }
        };
        Ok(found.iter().map(timer).collect())
    }

    async fn lag(&self, row: &ProjectionRow) -> Result<u64, Status> {
        let category = if row.name == "saga_view" { Saga::<OrderProcess>::CATEGORY } else { OrderStream::CATEGORY };
        let tx = TxId(row.tx.parse().unwrap_or(0));
        let cursor = Cursor { tx, position: u64::try_from(row.position).unwrap_or(0) };
        let behind = self.scan.behind(cursor, &[category]).await.map_err(letters::unreadable)?;
        Ok(behind.events)
    }

    async fn group(&self, group: LetterGroup) -> Result<pb::group_dead_letters_response::Group, Status> {
        let sagas: Vec<Uuid> = group.sagas.iter().copied().take(SAGAS_MAX).collect();
        let counted = self.list.count(&Query::Is(Condition::Id(sagas)), self.clock.now()).await?;
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
            exposures: lists::exposures(&counted.0.iter().collect::<Vec<_>>()),
            first_time: Some(group.first.into()),
            last_time: Some(group.last.into()),
            sample_id: group.ids.first().copied().unwrap_or(0),
        })
    }
}

#[tonic::async_trait]
impl MachineryQueryService for Machinery {
    async fn list_timers(
        &self,
        request: Request<pb::ListTimersRequest>,
    ) -> Result<Response<pb::ListTimersResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let size = page::size(&mut violations, request.page_size);
        let question = format!("timers/{}", request.overdue_only);
        let after = page::key(&mut violations, &question, &request.page_token);
        violations.finish(DOMAIN)?;
        let after = after.and_then(|key| {
            let (micros, id) = key.split_once('/')?;
            Some((DateTime::from_timestamp_micros(micros.parse().ok()?)?, id.parse().ok()?))
        });
        let category = Saga::<OrderProcess>::CATEGORY;
        let found = self.scan.timers(category, after, request.overdue_only, size + 1).await;
        let mut found = found.map_err(letters::unreadable)?;
        let has_more = found.len() > size;
        found.truncate(size);
        let key = |timer: &ArmedTimer| format!("{}/{}", timer.due.timestamp_micros(), timer.stream.id);
        let next = found.last().filter(|_| has_more).map(key);
        Ok(Response::new(pb::ListTimersResponse {
            timers: self.timers(&found).await?,
            next_page_token: next.map(|key| page::token(&question, &key)).unwrap_or_default(),
        }))
    }

    async fn list_dead_letters(
        &self,
        request: Request<pb::ListDeadLettersRequest>,
    ) -> Result<Response<pb::ListDeadLettersResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let size = page::size(&mut violations, request.page_size);
        let question = format!("letters/{}/{}/{}", request.with_ended, request.group, request.saga_id);
        let after = page::key(&mut violations, &question, &request.page_token).and_then(|key| key.parse().ok());
        let saga_id = if request.saga_id.is_empty() { None } else { violations.uuid("saga_id", &request.saga_id) };
        violations.finish(DOMAIN)?;
        let wanted = |letter: &StoredDeadLetter| {
            (request.with_ended || letters::waits(letter))
                && (request.group.is_empty() || letters::group_name(letter) == request.group)
                && saga_id.is_none_or(|id| letters::saga_of(letter) == Some(id))
        };
        let mut found = letters::find(&*self.store, after.unwrap_or(0), size + 1, wanted).await?;
        let has_more = found.len() > size;
        found.truncate(size);
        let next = found.last().filter(|_| has_more).map(|letter| letter.id.to_string());
        Ok(Response::new(pb::ListDeadLettersResponse {
            letters: found.into_iter().map(|found| letter(found, request.with_bodies)).collect(),
            next_page_token: next.map(|key| page::token(&question, &key)).unwrap_or_default(),
        }))
    }

    async fn group_dead_letters(
        &self,
        _request: Request<pb::GroupDeadLettersRequest>,
    ) -> Result<Response<pb::GroupDeadLettersResponse>, Status> {
        let found = letters::find(&*self.store, 0, LETTERS_MAX, letters::waits).await?;
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
        let mut holds = Vec::new();
        for hold in self.holds.holds().iter() {
            holds.push(told_hold(hold, self.held.count(&hold.target).await?));
        }
        Ok(Response::new(pb::ListHoldsResponse { holds }))
    }

    async fn list_projections(
        &self,
        _request: Request<pb::ListProjectionsRequest>,
    ) -> Result<Response<pb::ListProjectionsResponse>, Status> {
        let number = |count: i64| u64::try_from(count).unwrap_or(0);
        let mut projections = Vec::new();
        for row in self.machinery.projections().await? {
            projections.push(pb::list_projections_response::ProjectionStatus {
                lag_events: self.lag(&row).await?,
                cursor: format!("{}/{}", row.tx, row.position),
                name: row.name,
                update_time: Some(row.updated_at.into()),
                parked_streams: number(row.parked),
            });
        }
        Ok(Response::new(pb::ListProjectionsResponse { projections }))
    }

    async fn get_transport_status(
        &self,
        _request: Request<pb::GetTransportStatusRequest>,
    ) -> Result<Response<pb::GetTransportStatusResponse>, Status> {
        let (pending, oldest) = self.scan.outbox().await.map_err(letters::unreadable)?;
        let broker = self.machinery.broker().await?;
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
            outbox_pending: pending,
            oldest_pending_time: oldest.map(Into::into),
            streams: streams.collect(),
        }))
    }

    async fn get_service_info(
        &self,
        request: Request<pb::GetServiceInfoRequest>,
    ) -> Result<Response<pb::GetServiceInfoResponse>, Status> {
        let actor = super::operator::actor(request.metadata()).ok();
        let definitions = self.library.definitions().map(|definition| definition.id());
        Ok(Response::new(pb::GetServiceInfoResponse {
            service: crate::NAME.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            contract: "1.0".to_owned(),
            start_time: Some(self.started_at.into()),
            definitions: definitions.map(|id| format!("{}@{}", id.name, id.version)).collect(),
            actor: actor.map(|actor| actor.as_str().to_owned()).unwrap_or_default(),
            approval_above: self.approval_above,
        }))
    }
}

fn told_hold(hold: &Hold, sagas: u64) -> pb::list_holds_response::Hold {
    let told = pb::list_holds_response::Hold {
        target: hold.target.to_string(),
        actor: hold.by_hand.actor.as_str().to_owned(),
        reason: hold.by_hand.reason.clone(),
        since: Some(hold.since.into()),
        sagas,
        ..pb::list_holds_response::Hold::default()
    };
    match &hold.phase {
        HoldPhase::Standing { until } => pb::list_holds_response::Hold { until: until.map(Into::into), ..told },
        HoldPhase::Releasing { let_go, worked, failed, .. } => {
            pb::list_holds_response::Hold { releasing: true, let_go: *let_go, worked: *worked, failed: *failed, ..told }
        }
    }
}

fn letter(stored: StoredDeadLetter, with_body: bool) -> pb::DeadLetter {
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
    }
}
