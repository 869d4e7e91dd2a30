use std::sync::Arc;

use eventstore::{Aggregate, Category};
use money::Money;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Failure, OrderEvent};

/// The farm behind a line, as it was when the order was placed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Farm {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Where it is told of orders.
    pub email: String,
}

/// One product of an order, as it was when the order was placed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Line {
    /// The product.
    pub product_id: Uuid,
    /// Its name.
    pub name: String,
    /// Units, 1 to 10,000.
    pub quantity: u32,
    /// The price of one unit.
    pub unit_price: Money,
    /// Who sells it.
    pub farm: Farm,
}

/// What was ordered: fixed when the order is placed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// Who ordered.
    pub customer_id: Uuid,
    /// Where they are told.
    pub email: String,
    /// The payment provider's token.
    pub payment_token: String,
    /// What.
    pub lines: Vec<Line>,
    /// The sum of all lines.
    pub total: Money,
}

impl Facts {
    /// Units of all lines.
    #[must_use]
    pub fn units(&self) -> i64 {
        self.lines.iter().map(|line| i64::from(line.quantity)).sum()
    }
}

/// An order.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub enum Order {
    /// There is none.
    #[default]
    Unplaced,
    /// There is one.
    Placed(Placed),
}

/// An order that was placed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Placed {
    /// What was ordered.
    #[serde(serialize_with = "eventstore::shared::serialize")]
    pub facts: Arc<Facts>,
    /// The digest of the client's request: the same request again is the same order.
    #[serde(serialize_with = "eventstore::shared::serialize")]
    pub fingerprint: Arc<str>,
    /// Where it stands.
    pub stage: Stage,
}

/// Where an order stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum Stage {
    /// Accepted.
    Pending,
    /// The goods are held.
    ProductsReserved,
    /// Past the point of no return.
    Confirmed,
    /// Done.
    Completed,
    /// Done, and being refunded and restocked.
    Cancelling {
        /// Why, in the customer's words.
        reason: String,
    },
    /// Not possible.
    Failed(Failure),
    /// Undone at the customer's wish.
    Cancelled {
        /// Why.
        failure: Failure,
        /// True when it had been completed before.
        after_completion: bool,
    },
}

impl Stage {
    /// True when nothing happens any more by itself.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        match self {
            Self::Completed | Self::Failed(_) | Self::Cancelled { .. } => true,
            Self::Pending | Self::ProductsReserved | Self::Confirmed | Self::Cancelling { .. } => false,
        }
    }
}

impl Aggregate for Order {
    const CATEGORY: Category = Category::new("order");
    type Event = OrderEvent;

    fn evolve(self, event: &OrderEvent) -> Self {
        let stage = match event {
            OrderEvent::OrderPlaced { facts, fingerprint } => {
                let fingerprint = Arc::from(fingerprint.as_str());
                return Self::Placed(Placed { facts: Arc::clone(facts), fingerprint, stage: Stage::Pending });
            }
            OrderEvent::ProductsReserved => Stage::ProductsReserved,
            OrderEvent::OrderConfirmed => Stage::Confirmed,
            OrderEvent::OrderCompleted => Stage::Completed,
            OrderEvent::CancellationStarted { reason } => Stage::Cancelling { reason: reason.clone() },
            OrderEvent::OrderFailed { failure, .. } => Stage::Failed(failure.clone()),
            OrderEvent::OrderCancelled { failure, after_completion, .. } => {
                Stage::Cancelled { failure: failure.clone(), after_completion: *after_completion }
            }
        };
        match self {
            Self::Unplaced => Self::Unplaced,
            Self::Placed(placed) => Self::Placed(Placed { stage, ..placed }),
        }
    }
}
