use eventstore::{Aggregate, Category, derived_id};
use serde::Serialize;
use uuid::Uuid;

use crate::domain::DeliveryEvent;

/// What the request id of a delivery stands for. A product forgets its deliveries by and by; this does not, and it knows
/// of all products.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub enum Delivery {
    /// Nothing: the id is free.
    #[default]
    Unknown,
    /// A delivery that was taken in.
    Taken {
        /// Of which product.
        product_id: Uuid,
        /// Units.
        quantity: u64,
    },
}

impl Delivery {
    /// The stream's id for a request id.
    #[must_use]
    pub fn id(request_id: Uuid) -> Uuid {
        derived_id(request_id, "delivery")
    }
}

impl Aggregate for Delivery {
    const CATEGORY: Category = Category::new("delivery");

    type Event = DeliveryEvent;

    fn evolve(self, event: &DeliveryEvent) -> Self {
        match event {
            DeliveryEvent::DeliveryTaken { product_id, quantity } => {
                Self::Taken { product_id: *product_id, quantity: *quantity }
            }
        }
    }
}
