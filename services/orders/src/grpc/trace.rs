//! Everything that a saga led to, here and at the participants.

use eventstore::{Aggregate as _, StreamId};
use farmera_proto::saga::v1 as pb;
use tonic::Status;
use uuid::Uuid;

use super::sagas::event;
use super::{Participants, Reads};
use crate::domain::Order;
use crate::operations::tree::tree;
use crate::sagas::OrderFacts;

/// The saga's events, those of its order that belong to it, and what the participants did for it, as a tree.
///
/// # Errors
/// NOT_FOUND, or UNAVAILABLE: of this service alone, a participant that is away is named in the answer.
pub async fn trace(reads: &Reads, participants: &Participants, saga_id: Uuid) -> Result<pb::TraceSagaResponse, Status> {
    let history = reads.history(saga_id).await?;
    let mut events: Vec<pb::Event> = history.recorded.iter().map(event).collect();
    let mut missing_services = Vec::new();
    if let Some(order) = history.saga.input() {
        let (streams, subjects): ([StreamId; 1], _) = ([Order::stream(order.order_id)], subjects(order));
        let (of_order, (of_participants, missing)) =
            tokio::join!(reads.events(&streams), participants.events(saga_id, &subjects));
        events.extend(of_order?.iter().filter(|one| one.cause.correlation == saga_id).map(event));
        events.extend(of_participants);
        missing_services = missing;
    }
    Ok(pb::TraceSagaResponse { nodes: tree(events), missing_services })
}

/// What a saga of an order is about.
pub(super) fn subjects(order: &OrderFacts) -> [Uuid; 3] {
    [order.order_id, order.reservation_id, order.payment_id]
}
