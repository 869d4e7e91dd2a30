//! `EventQueryService`.

use std::pin::Pin;

use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::event_query_service_server::EventQueryService;
use futures::Stream;
use tonic::{Request, Response, Status};

use super::not_built;

/// Serves `EventQueryService`.
pub struct Events;

#[tonic::async_trait]
impl EventQueryService for Events {
    type TailEventsStream = Pin<Box<dyn Stream<Item = Result<pb::TailEventsResponse, Status>> + Send>>;

    async fn tail_events(
        &self,
        _request: Request<pb::TailEventsRequest>,
    ) -> Result<Response<Self::TailEventsStream>, Status> {
        Err(not_built())
    }

    async fn get_event(
        &self,
        _request: Request<pb::GetEventRequest>,
    ) -> Result<Response<pb::GetEventResponse>, Status> {
        Err(not_built())
    }

    type GrepEventsStream = Pin<Box<dyn Stream<Item = Result<pb::GrepEventsResponse, Status>> + Send>>;

    async fn grep_events(
        &self,
        _request: Request<pb::GrepEventsRequest>,
    ) -> Result<Response<Self::GrepEventsStream>, Status> {
        Err(not_built())
    }
}
