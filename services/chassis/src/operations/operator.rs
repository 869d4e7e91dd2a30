//! `OperatorService`: plan, approve, apply, watch.

use std::pin::Pin;
use std::sync::Arc;

use eventstore::{Actor, Clock, IdSource};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::operator_service_server::OperatorService;
use futures::{Stream, stream};
use pb::act::Kind;
use pb::operation::State as OperationState;
use pb::plan::State as PlanState;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::book::{Begin, OperationBook};
use super::plan::{approval_reason, assemble};
use super::plan_book::{PlanBook, PlanError};
use super::watch::Watch;
use super::{Acts, Mandate, actor};
use crate::page;
use crate::problem::{self, Violations};
use crate::shutdown::Shutdown;

/// The longest reason: what is said of the plan fits behind it.
const REASON_LENGTH_MAX: usize = 400;
const RATE_DEFAULT: u32 = 50;
/// Faster than this, an operation takes the processors from whatever runs beside it.
const RATE_MAX: u32 = 500;
/// Items that are told with a plan; the others are listed.
const ITEMS_TOLD: usize = 50;
/// Failures that are told with an operation.
const FAILURES_TOLD: i64 = 1_000;

/// Serves `OperatorService`.
pub struct Operator {
    /// The service: `orders`.
    pub service: &'static str,
    /// Of whom it is told what goes wrong: `orders.farmera.dev`.
    pub domain: &'static str,
    /// What can be done.
    pub acts: Vec<Arc<dyn Acts>>,
    /// Keeps plans.
    pub plans: PlanBook,
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
    fn acts(&self, kind: Kind) -> Result<&dyn Acts, Status> {
        if let Some(acts) = self.acts.iter().find(|acts| acts.include(kind)) {
            return Ok(&**acts);
        }
        let mut violations = Violations::new();
        violations.add("act.kind", format!("{} is nothing that can be done in {}", kind.as_str_name(), self.service));
        violations.finish(self.domain)?;
        Err(problem::internal(self.domain))
    }

    async fn plan(&self, request: pb::CreatePlanRequest, actor: Actor) -> Result<pb::Plan, Status> {
        let mut violations = Violations::new();
        let reason = violations.text("reason", &request.reason, 1, REASON_LENGTH_MAX);
        violations.finish(self.domain)?;
        let (act, selection) = (request.act.unwrap_or_default(), request.selection.unwrap_or_default());
        let (mandate, now) = (Mandate { actor, reason: reason.unwrap_or_default() }, self.clock.now());
        let foreseen = self.acts(act.kind())?.foresee(&act, &selection, &mandate, now).await?;
        let mut plan = assemble(self.service, act, &mandate, foreseen);
        plan.approval_reason = approval_reason(&plan, self.approval_above);
        self.plans.keep(&plan, now).await?;
        self.plans.find(&plan.hash, now).await.map(|kept| kept.plan)
    }

    async fn apply(&self, request: &pb::ApplyPlanRequest, actor: &Actor) -> Result<Uuid, Status> {
        let mut violations = Violations::new();
        if request.rate > RATE_MAX {
            violations.add("rate", format!("is {}: allowed are 0 to {RATE_MAX}", request.rate));
        }
        violations.finish(self.domain)?;
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
            return Err(refused.into_status(self.domain));
        }
        let kind = plan.act.as_ref().map_or(Kind::Unspecified, pb::Act::kind);
        let mandate = Mandate { actor: actor.clone(), reason: plan.reason.clone() };
        let moved = self.acts(kind)?.moved(&plan, &mandate, now).await?;
        if let Some(first) = moved.first() {
            return Err(PlanError::Stale { moved: moved.len(), first: first.clone() }.into_status(self.domain));
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
        let actor = actor(self.domain, request.metadata())?;
        let plan = self.plan(request.into_inner(), actor).await?;
        Ok(Response::new(pb::CreatePlanResponse { plan: Some(shortened(plan)) }))
    }

    async fn get_plan(&self, request: Request<pb::GetPlanRequest>) -> Result<Response<pb::GetPlanResponse>, Status> {
        actor(self.domain, request.metadata())?;
        let kept = self.plans.find(&request.get_ref().hash, self.clock.now()).await?;
        Ok(Response::new(pb::GetPlanResponse { plan: Some(shortened(kept.plan)) }))
    }

    async fn list_plan_items(
        &self,
        request: Request<pb::ListPlanItemsRequest>,
    ) -> Result<Response<pb::ListPlanItemsResponse>, Status> {
        actor(self.domain, request.metadata())?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let size = page::size(&mut violations, request.page_size);
        let question = format!("plan/{}", request.hash);
        let after = page::key(&mut violations, &question, &request.page_token, page::one);
        violations.finish(self.domain)?;
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
        let actor = actor(self.domain, request.metadata())?;
        let kept = self.plans.approve(&request.get_ref().hash, &actor, self.clock.now()).await?;
        Ok(Response::new(pb::ApprovePlanResponse { plan: Some(shortened(kept.plan)) }))
    }

    async fn apply_plan(
        &self,
        request: Request<pb::ApplyPlanRequest>,
    ) -> Result<Response<pb::ApplyPlanResponse>, Status> {
        let actor = actor(self.domain, request.metadata())?;
        let id = self.apply(request.get_ref(), &actor).await?;
        Ok(Response::new(pb::ApplyPlanResponse { operation: Some(self.told(id).await?) }))
    }

    async fn list_operations(
        &self,
        request: Request<pb::ListOperationsRequest>,
    ) -> Result<Response<pb::ListOperationsResponse>, Status> {
        const QUESTION: &str = "operations";
        actor(self.domain, request.metadata())?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let size = page::size(&mut violations, request.page_size);
        let before = page::key(&mut violations, QUESTION, &request.page_token, page::one);
        violations.finish(self.domain)?;
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
        actor(self.domain, request.metadata())?;
        let id = self.operation_id(&request.get_ref().operation_id)?;
        let operation = Some(self.told(id).await?);
        let failures = self.operations.failures(id, FAILURES_TOLD).await?;
        Ok(Response::new(pb::GetOperationResponse { operation, failures }))
    }

    type WatchOperationStream = Pin<Box<dyn Stream<Item = Result<pb::WatchOperationResponse, Status>> + Send>>;

    async fn watch_operation(
        &self,
        request: Request<pb::WatchOperationRequest>,
    ) -> Result<Response<Self::WatchOperationStream>, Status> {
        actor(self.domain, request.metadata())?;
        let id = self.operation_id(&request.get_ref().operation_id)?;
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
        let actor = actor(self.domain, request.metadata())?;
        let request = request.into_inner();
        let id = self.operation_id(&request.operation_id)?;
        let mut violations = Violations::new();
        let reason = violations.text("reason", &request.reason, 1, REASON_LENGTH_MAX);
        violations.finish(self.domain)?;
        self.operations.get(id).await?;
        let why = format!("stopped by {}: {}", actor.as_str(), reason.unwrap_or_default());
        self.operations.end(id, OperationState::Stopped, &why).await?;
        Ok(Response::new(pb::StopOperationResponse { operation: Some(self.told(id).await?) }))
    }
}

fn shortened(mut plan: pb::Plan) -> pb::Plan {
    plan.items.truncate(ITEMS_TOLD);
    plan
}

impl Operator {
    async fn told(&self, id: Uuid) -> Result<pb::Operation, Status> {
        self.operations.stamped(self.operations.get(id).await?).await
    }

    fn operation_id(&self, text: &str) -> Result<Uuid, Status> {
        let mut violations = Violations::new();
        let id = violations.uuid("operation_id", text);
        violations.finish(self.domain)?;
        id.ok_or_else(|| problem::internal(self.domain))
    }
}
