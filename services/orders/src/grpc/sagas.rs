//! `SagaQueryService`: looking into sagas.

use std::sync::Arc;

use chassis::health::Health;
use chassis::problem::{self, Problem, Violations};
use chrono::{DateTime, Utc};
use eventstore::{Aggregate as _, Clock, Recorded, Version};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::saga_query_service_server::SagaQueryService;
use futures::future::try_join_all;
use saga::{Library, Saga};
use saga_runtime::HoldsInForce;
use serde_json::Value;
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

use super::timeline::entry;
use super::{Lists, Participants, Reads, lists, trace};
use crate::NAME;
use crate::operations::act::Rules;
use crate::operations::history::{History, Moment};
use crate::operations::query::{Condition, Query};
use crate::operations::steps::{Usuals, stages, steps};
use crate::operations::{difference, explanation};
use crate::projections::sagas::SagaList;
use crate::sagas::{OrderFacts, OrderProcess};
use crate::status::DOMAIN;

/// Serves `SagaQueryService`.
pub struct Sagas {
    /// Where single sagas come from.
    pub reads: Reads,
    /// Who is asked what they did for a saga.
    pub participants: Participants,
    /// Where lists come from.
    pub list: SagaList,
    /// The definitions.
    pub library: Arc<Library<OrderProcess>>,
    /// What is held.
    pub holds: HoldsInForce,
    /// How this process is.
    pub health: Health,
    /// Where lists wait for what they must hold.
    pub abreast: Lists,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl Sagas {
    async fn definition(
        &self,
        definition: &saga::Definition<OrderProcess>,
        usuals: &Usuals,
    ) -> Result<pb::Definition, Status> {
        let id = definition.id();
        let of_it = Query::And(vec![
            Query::Is(Condition::State(crate::operations::query::States::OPEN)),
            Query::Is(Condition::Definition(vec![(id.name.to_string(), Some(id.version))])),
        ]);
        let open = self.list.count(&of_it, self.clock.now()).await?;
        Ok(pb::Definition {
            name: id.name.to_string(),
            version: id.version,
            hash: id.hash.to_string(),
            stages: stages(definition, usuals),
            mermaid: definition.to_mermaid(),
            open_sagas: open.0.iter().map(|group| u64::try_from(group.count).unwrap_or(0)).sum(),
        })
    }

    /// The same with the places of the questions that have been put.
    async fn located(
        &self,
        saga_id: Uuid,
        history: &History,
        mut waiting: Vec<pb::Waiting>,
    ) -> Result<Vec<pb::Waiting>, Status> {
        let put = waiting.iter_mut().filter(|one| one.held_by.is_none());
        try_join_all(put.map(|one| self.locate(saga_id, history, one))).await?;
        Ok(waiting)
    }

    /// Looks along the whole way of a question: the outbox here, the participant, the way in here.
    async fn locate(&self, saga_id: Uuid, history: &History, waiting: &mut pb::Waiting) -> Result<(), Status> {
        let asked: Vec<_> = explanation::asked_by(history, waiting).collect();
        let (Some(first), Some(order)) = (asked.first(), history.saga.input()) else { return Ok(()) };
        if self.reads.is_untold(first.cursor.tx).await? {
            explanation::unsent(waiting, self.why_down("relay"));
            return Ok(());
        }
        let messages: Vec<_> = asked.iter().map(|event| event.id.0).collect();
        let subjects = trace::subjects(order);
        match self.participants.locate(&waiting.participant, saga_id, &subjects, &messages).await {
            Some(Ok(found)) => {
                let way_in = self.why_down(&format!("consumer {NAME}-{}", waiting.participant));
                explanation::located(waiting, &found, &way_in.unwrap_or_default());
            }
            Some(Err(status)) => explanation::unlocated(waiting, status.message()),
            None => {}
        }
        Ok(())
    }

    /// Why a part of this service is down; `None` while it is up.
    fn why_down(&self, part: &str) -> Option<String> {
        self.health.part(&format!("{NAME}/{part}")).and_then(|part| part.reason)
    }

    /// Other sagas at the same step with the same error, this one included.
    async fn alike(&self, saga_id: Uuid, now: DateTime<Utc>) -> Result<pb::CountSagasResponse, Status> {
        let (found, _) = self.list.find(&Query::Is(Condition::Id(vec![saga_id])), lists::ONE, now).await?;
        let Some(row) = found.first().filter(|row| !row.error_code.is_empty() && !row.step.is_empty()) else {
            return Ok(pb::CountSagasResponse::default());
        };
        let alike = Query::And(vec![
            Query::Is(Condition::State(crate::operations::query::States::OPEN)),
            Query::Is(Condition::Step(vec![row.step.clone()])),
            Query::Is(Condition::Error(vec![row.error_code.clone()])),
        ]);
        let counted = self.list.count(&alike, now).await?;
        let groups: Vec<_> = counted.0.iter().collect();
        Ok(pb::CountSagasResponse {
            count: groups.iter().map(|group| u64::try_from(group.count).unwrap_or(0)).sum(),
            exposures: lists::exposures(&groups),
            ..pb::CountSagasResponse::default()
        })
    }
}

#[tonic::async_trait]
impl SagaQueryService for Sagas {
    async fn get_saga(&self, request: Request<pb::GetSagaRequest>) -> Result<Response<pb::GetSagaResponse>, Status> {
        let request = request.into_inner();
        let moment = moment(request.at.as_ref())?;
        let now = self.reads.history(saga_id(&request.saga_id)?).await?;
        let newest = now.version();
        let history = match moment {
            Some(moment) => now.at(moment),
            None => now,
        };
        let Some(described) = history.describe() else { return Err(was_not_there(newest)) };
        let definition = history.saga.definition().and_then(|pinned| self.library.pinned(pinned).ok());
        let usuals = self.list.usual().await.unwrap_or_default();
        Ok(Response::new(pb::GetSagaResponse {
            saga: Some(described),
            timeline: timeline(&history),
            steps: definition.map(|definition| steps(&history, definition)).unwrap_or_default(),
            events: if request.with_events { history.recorded.iter().map(event).collect() } else { Vec::new() },
            newest_version: newest.get(),
            state_json: serde_json::to_string(&history.saga).unwrap_or_default(),
            stages: definition.map(|definition| stages(definition, &usuals)).unwrap_or_default(),
        }))
    }

    async fn list_sagas(
        &self,
        request: Request<pb::ListSagasRequest>,
    ) -> Result<Response<pb::ListSagasResponse>, Status> {
        let request = request.into_inner();
        let is_abreast = self.abreast.wait(&request.written_token, request.as_of_now).await?;
        let page = lists::page(&self.list, &request, self.clock.now()).await?;
        Ok(Response::new(pb::ListSagasResponse { lags: !is_abreast, ..page }))
    }

    async fn count_sagas(
        &self,
        request: Request<pb::CountSagasRequest>,
    ) -> Result<Response<pb::CountSagasResponse>, Status> {
        let request = request.into_inner();
        let is_abreast = self.abreast.wait(&request.written_token, request.as_of_now).await?;
        let counted = lists::count(&self.list, &request, self.clock.now()).await?;
        Ok(Response::new(pb::CountSagasResponse { lags: !is_abreast, ..counted }))
    }

    async fn explain_saga(
        &self,
        request: Request<pb::ExplainSagaRequest>,
    ) -> Result<Response<pb::ExplainSagaResponse>, Status> {
        let saga_id = saga_id(&request.get_ref().saga_id)?;
        let (history, usuals, now) = (self.reads.history(saga_id).await?, self.list.usual().await?, self.clock.now());
        let definition = match history.saga.definition() {
            Some(pinned) => self.library.pinned(pinned).map_err(|unknown| {
                Problem::new(Code::FailedPrecondition, "UNKNOWN_DEFINITION", unknown.to_string()).into_status(DOMAIN)
            })?,
            None => return Err(not_found()),
        };
        let holds = self.holds.holds();
        let rules = Rules { library: &self.library, holds: &holds };
        let waiting = explanation::waiting(&history, definition, &usuals, &holds);
        let waiting = self.located(saga_id, &history, waiting).await?;
        let lines = history.saga.input().map(lines).unwrap_or_default();
        let (alike, dead_letters) = tokio::try_join!(self.alike(saga_id, now), self.list.letters_in(&lines))?;
        Ok(Response::new(pb::ExplainSagaResponse {
            saga: history.describe(),
            summary: explanation::summary(&history, &waiting),
            waiting,
            holdings: explanation::holdings(&history),
            acts: explanation::legal_acts(&history, saga_id, rules, now),
            alike: alike.count,
            alike_exposures: alike.exposures,
            dead_letters,
            steps: steps(&history, definition),
        }))
    }

    async fn diff_saga(&self, request: Request<pb::DiffSagaRequest>) -> Result<Response<pb::DiffSagaResponse>, Status> {
        let request = request.into_inner();
        let history = self.reads.history(saga_id(&request.saga_id)?).await?;
        let newest = history.version().get();
        let to = if request.to_version == 0 { newest } else { request.to_version };
        if request.from_version > to || to > newest {
            let mut violations = Violations::new();
            let (from, what) = (request.from_version, "expected from_version <= to_version <= its newest version");
            violations.add("to_version", format!("is {to}, from_version {from}, newest {newest}: {what}"));
            violations.finish(DOMAIN)?;
        }
        let older = history.clone().at(Moment::Version(Version::new(request.from_version)));
        let newer = history.at(Moment::Version(Version::new(to)));
        let state = |history: &History| serde_json::to_value(&history.saga).unwrap_or(Value::Null);
        let (from, between) = (request.from_version, timeline(&newer));
        Ok(Response::new(pb::DiffSagaResponse {
            from_version: from,
            to_version: to,
            changes: difference::changes(&state(&older), &state(&newer)),
            timeline: between.into_iter().filter(|entry| entry.version > from).collect(),
        }))
    }

    async fn trace_saga(
        &self,
        request: Request<pb::TraceSagaRequest>,
    ) -> Result<Response<pb::TraceSagaResponse>, Status> {
        trace::trace(&self.reads, &self.participants, saga_id(&request.get_ref().saga_id)?).await.map(Response::new)
    }

    async fn list_definitions(
        &self,
        request: Request<pb::ListDefinitionsRequest>,
    ) -> Result<Response<pb::ListDefinitionsResponse>, Status> {
        let name = request.into_inner().name;
        let usuals = self.list.usual().await?;
        let mut definitions = Vec::new();
        for definition in self.library.definitions() {
            if name.is_empty() || definition.id().name == name {
                definitions.push(self.definition(definition, &usuals).await?);
            }
        }
        Ok(Response::new(pb::ListDefinitionsResponse { definitions }))
    }
}

impl Reads {
    /// The history of a saga.
    ///
    /// # Errors
    /// NOT_FOUND, or UNAVAILABLE.
    pub async fn history(&self, saga_id: Uuid) -> Result<History, Status> {
        let recorded = self.events(&[Saga::<OrderProcess>::stream(saga_id)]).await?;
        let history = History::read(recorded).map_err(|error| problem::undecodable(DOMAIN, error))?;
        if history.recorded.is_empty() { Err(not_found()) } else { Ok(history) }
    }
}

fn saga_id(text: &str) -> Result<Uuid, Status> {
    let mut violations = Violations::new();
    let saga_id = violations.uuid("saga_id", text);
    violations.finish(DOMAIN)?;
    saga_id.ok_or_else(|| problem::internal(DOMAIN))
}

fn moment(at: Option<&pb::get_saga_request::At>) -> Result<Option<Moment>, Status> {
    match at {
        None => Ok(None),
        Some(pb::get_saga_request::At::AtVersion(version)) => Ok(Some(Moment::Version(Version::new(*version)))),
        Some(pb::get_saga_request::At::AtTime(time)) => time_of("at_time", time).map(|time| Some(Moment::Time(time))),
    }
}

/// A time of a request.
///
/// # Errors
/// INVALID_ARGUMENT.
pub(super) fn time_of(field: &str, time: &pbjson_types::Timestamp) -> Result<DateTime<Utc>, Status> {
    let found = u32::try_from(time.nanos).ok().and_then(|nanos| DateTime::from_timestamp(time.seconds, nanos));
    found.ok_or_else(|| {
        let mut violations = Violations::new();
        violations.add(field, "is no time between the years -262143 and 262142");
        violations.finish(DOMAIN).err().unwrap_or_else(|| problem::internal(DOMAIN))
    })
}

/// The lines in which dead letters for the sagas of an order stand: they are named by what participants' answers are
/// about.
fn lines(order: &OrderFacts) -> Vec<String> {
    vec![
        format!("reservation/{}", order.reservation_id),
        format!("payment/{}", order.payment_id),
        format!("saga/{}", crate::handler::place_saga_id(order.order_id)),
        format!("saga/{}", crate::handler::cancel_saga_id(order.order_id)),
    ]
}

fn not_found() -> Status {
    let message = "there is no such saga; sagas are named by Order.saga_id";
    Problem::new(Code::NotFound, "SAGA_NOT_FOUND", message).into_status(DOMAIN)
}

fn was_not_there(newest: Version) -> Status {
    let message = format!("the saga was not there yet; it has versions 1 to {newest}");
    Problem::new(Code::NotFound, "SAGA_NOT_THERE_YET", message).with("newest_version", newest).into_status(DOMAIN)
}

fn timeline(history: &History) -> Vec<pb::TimelineEntry> {
    history.recorded.iter().zip(&history.events).map(|(recorded, event)| entry(recorded, event)).collect()
}

/// A stored event in the contract's words.
#[must_use]
pub fn event(recorded: &Recorded) -> pb::Event {
    chassis::correlation::event(crate::NAME, recorded)
}
