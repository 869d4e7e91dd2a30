//! `OperatorService`: plan, approve, apply, watch.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chassis::page;
use chassis::problem::{self, Problem, Violations};
use chassis::scan::LogScan;
use chassis::shutdown::Shutdown;
use eventstore::{Actor, Aggregate as _, Clock, IdSource, StreamId, Version};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::operator_service_server::OperatorService;
use futures::{Stream, stream};
use pb::operation::State as OperationState;
use pb::plan::State as PlanState;
use saga::Saga;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

use crate::operations::act::Mandate;
use crate::operations::jobs::{Begin, OperationBook};
use crate::operations::letters::unreadable;
use crate::operations::plan::{PlanBook, PlanError, Planner, approval_reason, has_moved};
use crate::operations::task::Task;
use crate::sagas::OrderProcess;
use crate::status::DOMAIN;

/// Where a caller says who it is.
const ACTOR: &str = "x-farmera-actor";
/// The longest reason: what is said of the plan fits behind it.
const REASON_LENGTH_MAX: usize = 400;
const RATE_DEFAULT: u32 = 50;
const RATE_MAX: u32 = 5_000;
/// Items that are told with a plan; the others are listed.
const ITEMS_TOLD: usize = 50;
/// Failures that are told with an operation.
const FAILURES_TOLD: i64 = 1_000;
/// How often a watched operation is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// The operator who calls: `operator:ana`.
///
/// # Errors
/// PERMISSION_DENIED when nobody is named, or the name makes no sense.
pub(super) fn actor(metadata: &MetadataMap) -> Result<Actor, Status> {
    let named = metadata.get(ACTOR).and_then(|name| name.to_str().ok()).unwrap_or_default();
    let name = named.strip_prefix("operator:").unwrap_or(named);
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@' | '+');
    if (1..=64).contains(&name.len()) && name.chars().all(is_name) {
        return Ok(Actor::new(format!("operator:{name}")));
    }
    let message = "say who you are in the metadata x-farmera-actor: 1 to 64 letters, digits and . - _ @ +";
    Err(Problem::new(Code::PermissionDenied, "ACTOR_REQUIRED", message).into_status(DOMAIN))
}

/// Serves `OperatorService`.
pub struct Operator {
    /// Makes plans.
    pub planner: Planner,
    /// Keeps them.
    pub plans: PlanBook,
    /// Where it is seen whether sagas have moved.
    pub scan: LogScan,
    /// Keeps operations.
    pub operations: OperationBook,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where ids come from.
    pub ids: Arc<dyn IdSource>,
    /// Ends the watching.
    pub shutdown: Shutdown,
    /// Plans for more than this need a second person's approval.
    pub approval_above: u32,
}

impl Operator {
    async fn plan(&self, request: pb::CreatePlanRequest, actor: &Actor) -> Result<pb::Plan, Status> {
        let mut violations = Violations::new();
        let reason = violations.text("reason", &request.reason, 1, REASON_LENGTH_MAX);
        violations.finish(DOMAIN)?;
        let (act, selection) = (request.act.unwrap_or_default(), request.selection.unwrap_or_default());
        let (task, reason, now) = (Task::read(&act)?, reason.unwrap_or_default(), self.clock.now());
        let mut plan = match &task {
            Task::Sagas(on_sagas) => self.planner.plan(act, on_sagas, &selection, reason, actor, now).await?,
            Task::Letters(on_letters) => self.planner.plan_letters(act, *on_letters, &selection, reason, actor).await?,
            Task::Hold(on_hold) => {
                let mandate = Mandate { actor: actor.clone(), reason };
                self.planner.plan_hold(act, on_hold, &selection, &mandate, now).await?
            }
        };
        plan.approval_reason = approval_reason(&plan, task.is_destructive(), self.approval_above);
        self.plans.keep(&plan, now).await?;
        self.plans.find(&plan.hash, now).await.map(|kept| kept.plan)
    }

    /// What is not as the plan has it, any more.
    async fn moved(&self, plan: &pb::Plan, actor: &Actor) -> Result<Vec<String>, Status> {
        let act = plan.act.clone().unwrap_or_default();
        match Task::read(&act)? {
            Task::Sagas(_) => self.moved_sagas(plan).await,
            Task::Letters(_) => Ok(Vec::new()),
            Task::Hold(on_hold) => {
                let hold_target = plan.items.first().map(|item| item.id.clone()).unwrap_or_default();
                let selection = pb::Selection { hold_target, ..pb::Selection::default() };
                let mandate = Mandate { actor: actor.clone(), reason: plan.reason.clone() };
                let now = self.planner.plan_hold(act, &on_hold, &selection, &mandate, self.clock.now()).await?;
                let moved = plan.items.iter().zip(&now.items).filter(|(planned, now)| has_moved(planned, now));
                Ok(moved.map(|(planned, _)| planned.id.clone()).collect())
            }
        }
    }

    /// Sagas that are not at the version that the plan rests on.
    async fn moved_sagas(&self, plan: &pb::Plan) -> Result<Vec<String>, Status> {
        let items = plan.items.iter().filter(|item| item.refused.is_empty());
        let planned: Vec<(StreamId, Version)> = items
            .filter_map(|item| {
                let stream = Saga::<OrderProcess>::stream(item.id.parse().ok()?);
                Some((stream, Version::new(item.version)))
            })
            .collect();
        let streams: Vec<_> = planned.iter().map(|(stream, _)| *stream).collect();
        let now = self.scan.versions(&streams).await.map_err(unreadable)?;
        let now: HashMap<StreamId, Version> = now.into_iter().collect();
        let moved = planned.iter().filter(|(stream, version)| now.get(stream) != Some(version));
        Ok(moved.map(|(stream, _)| stream.id.to_string()).collect())
    }

    async fn apply(&self, request: &pb::ApplyPlanRequest, actor: &Actor) -> Result<Uuid, Status> {
        let mut violations = Violations::new();
        if request.rate > RATE_MAX {
            violations.add("rate", format!("is {}: allowed are 0 to {RATE_MAX}", request.rate));
        }
        violations.finish(DOMAIN)?;
        let now = self.clock.now();
        let plan = self.plans.find(&request.hash, now).await?.plan;
        let refused = match plan.state() {
            PlanState::Expired => Some(PlanError::Expired),
            PlanState::Applied => Some(PlanError::Applied(plan.operation_id.clone())),
            PlanState::NeedsApproval => Some(PlanError::NeedsApproval(plan.approval_reason.clone())),
            PlanState::Ready | PlanState::Unspecified if plan.effective == 0 => Some(PlanError::Empty),
            PlanState::Ready | PlanState::Unspecified => None,
        };
        if let Some(refused) = refused {
            return Err(refused.into_status());
        }
        let moved = self.moved(&plan, actor).await?;
        if let Some(first) = moved.first() {
            return Err(PlanError::Stale { moved: moved.len(), first: first.clone() }.into_status());
        }
        let begin = Begin {
            id: self.ids.next_id(),
            plan,
            actor: actor.as_str().to_owned(),
            rate: if request.rate == 0 { RATE_DEFAULT } else { request.rate },
            canary: request.canary,
            failures_max: request.failures_max,
        };
        self.operations.begin(&begin, now).await?;
        Ok(begin.id)
    }
}

#[tonic::async_trait]
impl OperatorService for Operator {
    async fn create_plan(
        &self,
        request: Request<pb::CreatePlanRequest>,
    ) -> Result<Response<pb::CreatePlanResponse>, Status> {
        let actor = actor(request.metadata())?;
        let plan = self.plan(request.into_inner(), &actor).await?;
        Ok(Response::new(pb::CreatePlanResponse { plan: Some(shortened(plan)) }))
    }

    async fn get_plan(&self, request: Request<pb::GetPlanRequest>) -> Result<Response<pb::GetPlanResponse>, Status> {
        actor(request.metadata())?;
        let kept = self.plans.find(&request.get_ref().hash, self.clock.now()).await?;
        Ok(Response::new(pb::GetPlanResponse { plan: Some(shortened(kept.plan)) }))
    }

    async fn list_plan_items(
        &self,
        request: Request<pb::ListPlanItemsRequest>,
    ) -> Result<Response<pb::ListPlanItemsResponse>, Status> {
        actor(request.metadata())?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let size = page::size(&mut violations, request.page_size);
        let question = format!("plan/{}", request.hash);
        let after = page::key(&mut violations, &question, &request.page_token).and_then(|key| key.parse().ok());
        violations.finish(DOMAIN)?;
        let skipped: usize = after.unwrap_or(0);
        let items = self.plans.find(&request.hash, self.clock.now()).await?.plan.items;
        let seen = skipped.saturating_add(size);
        let next = (seen < items.len()).then(|| page::token(&question, &seen.to_string()));
        Ok(Response::new(pb::ListPlanItemsResponse {
            items: items.into_iter().skip(skipped).take(size).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn approve_plan(
        &self,
        request: Request<pb::ApprovePlanRequest>,
    ) -> Result<Response<pb::ApprovePlanResponse>, Status> {
        let actor = actor(request.metadata())?;
        let kept = self.plans.approve(&request.get_ref().hash, &actor, self.clock.now()).await?;
        Ok(Response::new(pb::ApprovePlanResponse { plan: Some(shortened(kept.plan)) }))
    }

    async fn apply_plan(
        &self,
        request: Request<pb::ApplyPlanRequest>,
    ) -> Result<Response<pb::ApplyPlanResponse>, Status> {
        let actor = actor(request.metadata())?;
        let id = self.apply(request.get_ref(), &actor).await?;
        Ok(Response::new(pb::ApplyPlanResponse { operation: Some(self.operations.get(id).await?) }))
    }

    async fn list_operations(
        &self,
        request: Request<pb::ListOperationsRequest>,
    ) -> Result<Response<pb::ListOperationsResponse>, Status> {
        const QUESTION: &str = "operations";
        actor(request.metadata())?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let size = page::size(&mut violations, request.page_size);
        let before = page::key(&mut violations, QUESTION, &request.page_token).and_then(|key| key.parse().ok());
        violations.finish(DOMAIN)?;
        let mut operations = self.operations.list(before, size + 1).await?;
        let has_more = operations.len() > size;
        operations.truncate(size);
        let next = operations.last().filter(|_| has_more).map(|last| page::token(QUESTION, &last.id));
        Ok(Response::new(pb::ListOperationsResponse { operations, next_page_token: next.unwrap_or_default() }))
    }

    async fn get_operation(
        &self,
        request: Request<pb::GetOperationRequest>,
    ) -> Result<Response<pb::GetOperationResponse>, Status> {
        actor(request.metadata())?;
        let id = operation_id(&request.get_ref().operation_id)?;
        let operation = Some(self.operations.get(id).await?);
        let failures = self.operations.failures(id, FAILURES_TOLD).await?;
        Ok(Response::new(pb::GetOperationResponse { operation, failures }))
    }

    type WatchOperationStream = Pin<Box<dyn Stream<Item = Result<pb::WatchOperationResponse, Status>> + Send>>;

    async fn watch_operation(
        &self,
        request: Request<pb::WatchOperationRequest>,
    ) -> Result<Response<Self::WatchOperationStream>, Status> {
        actor(request.metadata())?;
        let id = operation_id(&request.get_ref().operation_id)?;
        self.operations.get(id).await?;
        let (operations, shutdown) = (self.operations.clone(), self.shutdown.clone());
        let watch = Watch { operations, shutdown, id, told: None, over: false };
        Ok(Response::new(Box::pin(stream::unfold(watch, |mut watch| async move {
            let next = watch.next().await?;
            let told = next.map(|operation| pb::WatchOperationResponse { operation: Some(operation) });
            Some((told, watch))
        }))))
    }

    async fn stop_operation(
        &self,
        request: Request<pb::StopOperationRequest>,
    ) -> Result<Response<pb::StopOperationResponse>, Status> {
        let actor = actor(request.metadata())?;
        let request = request.into_inner();
        let id = operation_id(&request.operation_id)?;
        let mut violations = Violations::new();
        let reason = violations.text("reason", &request.reason, 1, REASON_LENGTH_MAX);
        violations.finish(DOMAIN)?;
        self.operations.get(id).await?;
        let why = format!("stopped by {}: {}", actor.as_str(), reason.unwrap_or_default());
        self.operations.end(id, OperationState::Stopped, &why).await?;
        Ok(Response::new(pb::StopOperationResponse { operation: Some(self.operations.get(id).await?) }))
    }
}

/// Somebody watching an operation.
struct Watch {
    operations: OperationBook,
    shutdown: Shutdown,
    id: Uuid,
    told: Option<pb::Operation>,
    over: bool,
}

impl Watch {
    async fn next(&mut self) -> Option<Result<pb::Operation, Status>> {
        while !self.over {
            match self.operations.get(self.id).await {
                Ok(now) if self.told.as_ref() != Some(&now) => {
                    self.over = now.state() != OperationState::Running;
                    self.told = Some(now.clone());
                    return Some(Ok(now));
                }
                Ok(_) => {}
                Err(status) => {
                    self.over = true;
                    return Some(Err(status));
                }
            }
            tokio::select! {
                () = self.shutdown.triggered() => {
                    self.over = true;
                    return Some(Err(problem::unavailable(DOMAIN, "the service is stopping; watch again")));
                }
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
        None
    }
}

fn shortened(mut plan: pb::Plan) -> pb::Plan {
    plan.items.truncate(ITEMS_TOLD);
    plan
}

fn operation_id(text: &str) -> Result<Uuid, Status> {
    let mut violations = Violations::new();
    let id = violations.uuid("operation_id", text);
    violations.finish(DOMAIN)?;
    id.ok_or_else(|| problem::internal(DOMAIN))
}
