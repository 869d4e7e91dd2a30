use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::Facts;

/// Why an order ended otherwise than completed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// UPPER_SNAKE: `OUT_OF_STOCK`.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// What can happen to an order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum OrderEvent {
    /// It was accepted, at these prices.
    OrderPlaced {
        /// What was ordered.
        #[serde(serialize_with = "through", deserialize_with = "shared")]
        facts: Arc<Facts>,
        /// The digest of the client's request.
        fingerprint: String,
    },
    /// The goods are held.
    ProductsReserved,
    /// From here there is no way back.
    OrderConfirmed,
    /// Money taken, goods gone, everybody told.
    OrderCompleted,
    /// It is being refunded and restocked.
    CancellationStarted {
        /// Why, in the customer's words.
        reason: String,
    },
    /// It was not possible; everything is undone.
    OrderFailed {
        /// Why.
        failure: Failure,
        /// Who ordered.
        customer_id: Uuid,
        /// Where they are told.
        email: String,
    },
    /// It is undone at the customer's wish.
    OrderCancelled {
        /// Why.
        failure: Failure,
        /// True when it had been completed before.
        after_completion: bool,
        /// Who ordered.
        customer_id: Uuid,
        /// Where they are told.
        email: String,
    },
}

fn through<S: Serializer>(facts: &Arc<Facts>, serializer: S) -> Result<S::Ok, S::Error> {
    facts.serialize(serializer)
}

fn shared<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Facts>, D::Error> {
    Facts::deserialize(deserializer).map(Arc::new)
}

eventstore::event_types! {
    OrderEvent {
        Self::OrderPlaced { .. } => "OrderPlaced";
        Self::ProductsReserved => "ProductsReserved";
        Self::OrderConfirmed => "OrderConfirmed";
        Self::OrderCompleted => "OrderCompleted";
        Self::CancellationStarted { .. } => "CancellationStarted";
        Self::OrderFailed { .. } => "OrderFailed";
        Self::OrderCancelled { .. } => "OrderCancelled";
    }
}
