//! Everything that a saga led to.

use eventstore::{Aggregate as _, StreamId};
use farmera_proto::saga::v1 as pb;
use tonic::Status;
use uuid::Uuid;

use super::Reads;
use super::sagas::event;
use crate::domain::Order;
use crate::operations::tree::tree;

/// The saga's events and those of its order that belong to it, as a tree.
///
/// # Errors
/// NOT_FOUND, or UNAVAILABLE.
pub async fn trace(reads: &Reads, saga_id: Uuid) -> Result<pb::TraceSagaResponse, Status> {
    let history = reads.history(saga_id).await?;
    let mut events: Vec<pb::Event> = history.recorded.iter().map(event).collect();
    if let Some(order) = history.saga.input() {
        let streams: [StreamId; 1] = [Order::stream(order.order_id)];
        let of_order = reads.events(&streams).await?;
        events.extend(of_order.iter().filter(|one| one.cause.correlation == saga_id).map(event));
    }
    let missing_services = ["products", "payment", "notification"].map(str::to_owned).to_vec();
    Ok(pb::TraceSagaResponse { nodes: tree(events), missing_services })
}
