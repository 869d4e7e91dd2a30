//! `SagaQueryService`: looking into sagas.

use chassis::problem::{self, Problem, Violations};
use eventstore::{Aggregate as _, DomainEvent as _, Recorded};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::saga_query_service_server::SagaQueryService;
use saga::{CompensationCause, Lane, Saga, SagaEvent, Status as SagaStatus, pending};
use tonic::{Code, Request, Response, Status};

use super::Reads;
use super::timeline::{clock, entry};
use crate::projections::sagas::SagaList;
use crate::sagas::OrderProcess;
use crate::status::DOMAIN;

/// Serves `SagaQueryService`.
pub struct Sagas {
    /// Where single sagas come from.
    pub reads: Reads,
    /// Where lists come from.
    pub list: SagaList,
}

#[tonic::async_trait]
impl SagaQueryService for Sagas {
    async fn get_saga(&self, request: Request<pb::GetSagaRequest>) -> Result<Response<pb::GetSagaResponse>, Status> {
        let mut violations = Violations::new();
        let saga_id = violations.uuid("saga_id", &request.into_inner().saga_id);
        violations.finish(DOMAIN)?;
        let Some(saga_id) = saga_id else { return Err(problem::internal(DOMAIN)) };
        let recorded = self.reads.events(&[Saga::<OrderProcess>::stream(saga_id)]).await?;
        let events: Result<Vec<_>, _> = recorded.iter().map(SagaEvent::<OrderProcess>::from_recorded).collect();
        let events = events.map_err(|error| problem::undecodable(DOMAIN, error))?;
        let saga = events.iter().fold(Saga::default(), Saga::evolve);
        let Some(described) = describe(&saga, &recorded) else {
            let problem = Problem::new(
                Code::NotFound,
                "SAGA_NOT_FOUND",
                "there is no such saga; sagas are named by Order.saga_id",
            );
            return Err(problem.with("saga_id", saga_id).into_status(DOMAIN));
        };
        let timeline = recorded.iter().zip(&events).map(|(recorded, event)| entry(recorded, event)).collect();
        Ok(Response::new(pb::GetSagaResponse { saga: Some(described), timeline, ..pb::GetSagaResponse::default() }))
    }

    async fn list_sagas(
        &self,
        request: Request<pb::ListSagasRequest>,
    ) -> Result<Response<pb::ListSagasResponse>, Status> {
        self.list.page(&request.into_inner()).await.map(Response::new)
    }

    async fn count_sagas(
        &self,
        _request: Request<pb::CountSagasRequest>,
    ) -> Result<Response<pb::CountSagasResponse>, Status> {
        Err(super::not_built())
    }

    async fn explain_saga(
        &self,
        _request: Request<pb::ExplainSagaRequest>,
    ) -> Result<Response<pb::ExplainSagaResponse>, Status> {
        Err(super::not_built())
    }

    async fn diff_saga(
        &self,
        _request: Request<pb::DiffSagaRequest>,
    ) -> Result<Response<pb::DiffSagaResponse>, Status> {
        Err(super::not_built())
    }

    async fn trace_saga(
        &self,
        _request: Request<pb::TraceSagaRequest>,
    ) -> Result<Response<pb::TraceSagaResponse>, Status> {
        Err(super::not_built())
    }

    async fn list_definitions(
        &self,
        _request: Request<pb::ListDefinitionsRequest>,
    ) -> Result<Response<pb::ListDefinitionsResponse>, Status> {
        Err(super::not_built())
    }
}

fn describe(saga: &Saga<OrderProcess>, recorded: &[Recorded]) -> Option<pb::Saga> {
    let (definition, input) = (saga.definition()?, saga.input()?);
    let (first, last) = (recorded.first()?, recorded.last()?);
    let pending = pending(saga);
    let waiting = pending.wanted.iter().map(|wanted| {
        let lane = match wanted.lane {
            Lane::Forward => "",
            Lane::Undo => " (undo)",
        };
        format!("{}{lane}, try {}", wanted.step, wanted.attempt)
    });
    Some(pb::Saga {
        id: first.stream.id.to_string(),
        definition: definition.name.to_string(),
        definition_version: definition.version,
        order_id: input.order_id.to_string(),
        state: state_of(saga.status()).into(),
        cause: saga.cause().map(cause).unwrap_or_default(),
        version: last.version.get(),
        start_time: Some(first.time.into()),
        update_time: Some(last.time.into()),
        waiting_for: waiting.collect(),
        wake_time: pending.wake.map(Into::into),
        ..pb::Saga::default()
    })
}

/// Where a saga stands, in the contract's words.
#[must_use]
pub fn state_of(status: SagaStatus) -> pb::saga::State {
    match status {
        SagaStatus::NotStarted => pb::saga::State::Unspecified,
        SagaStatus::Running => pb::saga::State::Running,
        SagaStatus::Compensating => pb::saga::State::Compensating,
        SagaStatus::Parked => pb::saga::State::Parked,
        SagaStatus::Paused => pb::saga::State::Paused,
        SagaStatus::Completed => pb::saga::State::Completed,
        SagaStatus::Compensated => pb::saga::State::Compensated,
        SagaStatus::Abandoned => pb::saga::State::Abandoned,
    }
}

/// Why a saga is undone, for people.
pub(super) fn cause(cause: &CompensationCause) -> String {
    match cause {
        CompensationCause::Rejected { step, rejection } => format!("{step} was refused: {rejection}"),
        CompensationCause::Exhausted { step, detail } => format!("{step} got no answer: {detail}"),
        CompensationCause::Cancelled { reason, actor } => format!("cancelled by {}: {reason}", actor.as_str()),
        CompensationCause::Late { deadline } => format!("it took too long: its deadline was {}", clock(*deadline)),
    }
}
