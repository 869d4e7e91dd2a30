//! `MachineryQueryService`.

use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::machinery_query_service_server::MachineryQueryService;
use tonic::{Request, Response, Status};

use super::not_built;

/// Serves `MachineryQueryService`.
pub struct Machinery;

#[tonic::async_trait]
impl MachineryQueryService for Machinery {
    async fn list_timers(
        &self,
        _request: Request<pb::ListTimersRequest>,
    ) -> Result<Response<pb::ListTimersResponse>, Status> {
        Err(not_built())
    }

    async fn list_dead_letters(
        &self,
        _request: Request<pb::ListDeadLettersRequest>,
    ) -> Result<Response<pb::ListDeadLettersResponse>, Status> {
        Err(not_built())
    }

    async fn group_dead_letters(
        &self,
        _request: Request<pb::GroupDeadLettersRequest>,
    ) -> Result<Response<pb::GroupDeadLettersResponse>, Status> {
        Err(not_built())
    }

    async fn list_holds(
        &self,
        _request: Request<pb::ListHoldsRequest>,
    ) -> Result<Response<pb::ListHoldsResponse>, Status> {
        Err(not_built())
    }

    async fn list_projections(
        &self,
        _request: Request<pb::ListProjectionsRequest>,
    ) -> Result<Response<pb::ListProjectionsResponse>, Status> {
        Err(not_built())
    }

    async fn get_transport_status(
        &self,
        _request: Request<pb::GetTransportStatusRequest>,
    ) -> Result<Response<pb::GetTransportStatusResponse>, Status> {
        Err(not_built())
    }

    async fn get_service_info(
        &self,
        _request: Request<pb::GetServiceInfoRequest>,
    ) -> Result<Response<pb::GetServiceInfoResponse>, Status> {
        Err(not_built())
    }
}
