//! `OperatorService`.

use std::pin::Pin;

use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::operator_service_server::OperatorService;
use futures::Stream;
use tonic::{Request, Response, Status};

use super::not_built;

/// Serves `OperatorService`.
pub struct Operator;

#[tonic::async_trait]
impl OperatorService for Operator {
    async fn create_plan(
        &self,
        _request: Request<pb::CreatePlanRequest>,
    ) -> Result<Response<pb::CreatePlanResponse>, Status> {
        Err(not_built())
    }

    async fn get_plan(&self, _request: Request<pb::GetPlanRequest>) -> Result<Response<pb::GetPlanResponse>, Status> {
        Err(not_built())
    }

    async fn list_plan_items(
        &self,
        _request: Request<pb::ListPlanItemsRequest>,
    ) -> Result<Response<pb::ListPlanItemsResponse>, Status> {
        Err(not_built())
    }

    async fn approve_plan(
        &self,
        _request: Request<pb::ApprovePlanRequest>,
    ) -> Result<Response<pb::ApprovePlanResponse>, Status> {
        Err(not_built())
    }

    async fn apply_plan(
        &self,
        _request: Request<pb::ApplyPlanRequest>,
    ) -> Result<Response<pb::ApplyPlanResponse>, Status> {
        Err(not_built())
    }

    async fn list_operations(
        &self,
        _request: Request<pb::ListOperationsRequest>,
    ) -> Result<Response<pb::ListOperationsResponse>, Status> {
        Err(not_built())
    }

    async fn get_operation(
        &self,
        _request: Request<pb::GetOperationRequest>,
    ) -> Result<Response<pb::GetOperationResponse>, Status> {
        Err(not_built())
    }

    type WatchOperationStream = Pin<Box<dyn Stream<Item = Result<pb::WatchOperationResponse, Status>> + Send>>;

    async fn watch_operation(
        &self,
        _request: Request<pb::WatchOperationRequest>,
    ) -> Result<Response<Self::WatchOperationStream>, Status> {
        Err(not_built())
    }

    async fn stop_operation(
        &self,
        _request: Request<pb::StopOperationRequest>,
    ) -> Result<Response<pb::StopOperationResponse>, Status> {
        Err(not_built())
    }
}
