//! `ReplayService`.

use std::pin::Pin;

use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::replay_service_server::ReplayService;
use futures::Stream;
use tonic::{Request, Response, Status};

use super::not_built;

/// Serves `ReplayService`.
pub struct Replay;

#[tonic::async_trait]
impl ReplayService for Replay {
    async fn replay_at(
        &self,
        _request: Request<pb::ReplayAtRequest>,
    ) -> Result<Response<pb::ReplayAtResponse>, Status> {
        Err(not_built())
    }

    type ReplayCheckStream = Pin<Box<dyn Stream<Item = Result<pb::ReplayCheckResponse, Status>> + Send>>;

    async fn replay_check(
        &self,
        _request: Request<pb::ReplayCheckRequest>,
    ) -> Result<Response<Self::ReplayCheckStream>, Status> {
        Err(not_built())
    }

    async fn replay_what_if(
        &self,
        _request: Request<pb::ReplayWhatIfRequest>,
    ) -> Result<Response<pb::ReplayWhatIfResponse>, Status> {
        Err(not_built())
    }

    async fn reconcile(
        &self,
        _request: Request<pb::ReconcileRequest>,
    ) -> Result<Response<pb::ReconcileResponse>, Status> {
        Err(not_built())
    }
}
