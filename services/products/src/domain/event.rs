use std::ops::Deref;
use std::sync::Arc;

use money::Money;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// What can happen to a farm.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FarmEvent {
    /// It was registered.
    FarmRegistered {
        /// Its name.
        name: String,
        /// Where it is told of orders.
        email: String,
    },
}

eventstore::event_types! {
    FarmEvent {
        Self::FarmRegistered { .. } => "FarmRegistered";
    }
}

/// What can happen to a product.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ProductEvent {
    /// It was listed, open and without stock.
    ProductListed {
        /// Whose it is.
        farm_id: Uuid,
        /// The farm's name.
        farm_name: String,
        /// The farm's address.
        farm_email: String,
        /// The product's name.
        name: String,
        /// The price of a unit.
        price: Money,
    },
    /// Its price changed.
    PriceSet {
        /// The price of a unit.
        price: Money,
    },
    /// It was opened or closed.
    ActiveSet {
        /// Whether it can be ordered.
        active: bool,
    },
    /// Units came in from the farm.
    StockAdded {
        /// The delivery.
        request_id: Uuid,
        /// Units.
        quantity: u64,
    },
    /// Units are held: available to reserved.
    StockReserved {
        /// For whom.
        reservation_id: Uuid,
        /// Units.
        quantity: u32,
    },
    /// Held units are free again: reserved to available.
    StockReleased {
        /// Whose they were.
        reservation_id: Uuid,
        /// Units.
        quantity: u32,
    },
    /// Held units left: reserved to shipped.
    StockShipped {
        /// Whose they are.
        reservation_id: Uuid,
        /// Units.
        quantity: u32,
    },
    /// Units were asked for and not held. Moves nothing; it is recorded so that the refusal, like every answer, stands
    /// on the true state of the product: a process that has missed news of it meets a conflict and decides again.
    ReservationRefused {
        /// For whom.
        reservation_id: Uuid,
        /// Units.
        quantity: u32,
        /// Why.
        reason: Reason,
    },
    /// Units came back: shipped to available.
    StockReturned {
        /// Whose they were.
        reservation_id: Uuid,
        /// Units.
        quantity: u32,
    },
    /// The available units fell to the threshold or below; told once until it is restocked above it.
    StockRanLow {
        /// Units left.
        available: u64,
        /// The threshold.
        threshold: u64,
        /// Whose product it is.
        farm_id: Uuid,
        /// The farm's address.
        farm_email: String,
        /// The product's name.
        name: String,
    },
}

/// What can happen to the request id of a delivery.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum DeliveryEvent {
    /// It stands for this delivery from now on.
    DeliveryTaken {
        /// Of which product.
        product_id: Uuid,
        /// Units.
        quantity: u64,
    },
}

eventstore::event_types! {
    DeliveryEvent {
        Self::DeliveryTaken { .. } => "DeliveryTaken";
    }
}

impl ProductEvent {
    /// The stored name of [`Self::StockRanLow`]: the only event of a product that others hear of.
    pub const STOCK_RAN_LOW: &'static str = "StockRanLow";
}

eventstore::event_types! {
    ProductEvent {
        Self::ProductListed { .. } => "ProductListed";
        Self::PriceSet { .. } => "PriceSet";
        Self::ActiveSet { .. } => "ActiveSet";
        Self::StockAdded { .. } => "StockAdded";
        Self::StockReserved { .. } => "StockReserved";
        Self::StockReleased { .. } => "StockReleased";
        Self::StockShipped { .. } => "StockShipped";
        Self::ReservationRefused { .. } => "ReservationRefused";
        Self::StockReturned { .. } => "StockReturned";
        Self::StockRanLow { .. } => Self::STOCK_RAN_LOW;
    }
}

/// A product and a number of units.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Line {
    /// The product.
    pub product_id: Uuid,
    /// Units, at least 1.
    pub quantity: u32,
}

/// The lines of a reservation: by product, each product once. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lines(Arc<[Line]>);

impl Lines {
    /// Lines in the order of their products; `None` when there are none, or a product stands there twice.
    #[must_use]
    pub fn new(mut lines: Vec<Line>) -> Option<Self> {
        lines.sort_unstable_by_key(|line| line.product_id);
        let distinct = lines.iter().zip(lines.iter().skip(1)).all(|(one, next)| one.product_id != next.product_id);
        (distinct && !lines.is_empty()).then(|| Self(lines.into()))
    }
}

impl Deref for Lines {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        &self.0
    }
}

impl Serialize for Lines {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(|lines| Self(lines.into()))
    }
}

/// Why goods are not held. The codes are part of the contract.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    /// Fewer units are available than were asked for.
    OutOfStock,
    /// No such product was ever listed.
    UnknownProduct,
    /// The farm does not sell it now.
    ProductClosed,
    /// The reservation was released; whatever asks for it now comes too late.
    ReleasedBefore,
}

impl Reason {
    /// The code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::OutOfStock => "OUT_OF_STOCK",
            Self::UnknownProduct => "UNKNOWN_PRODUCT",
            Self::ProductClosed => "PRODUCT_CLOSED",
            Self::ReleasedBefore => "RELEASED_BEFORE",
        }
    }
}

/// What can happen to a reservation. Each is also the answer to the saga that asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ReservationEvent {
    /// The goods are held.
    InventoryReserved {
        /// Who asked.
        saga_id: Uuid,
        /// The order.
        order_id: Uuid,
        /// What is held.
        lines: Lines,
    },
    /// The goods are not held, and will not be for this reservation.
    InventoryRejected {
        /// Who asked.
        saga_id: Uuid,
        /// The order.
        order_id: Uuid,
        /// What was asked for.
        lines: Lines,
        /// Why.
        reason: Reason,
        /// Why, for people.
        message: String,
    },
    /// Nothing is held any more, or ever will be.
    InventoryReleased {
        /// Who asked.
        saga_id: Uuid,
        /// The order.
        order_id: Uuid,
    },
    /// The goods left.
    InventoryCommitted {
        /// Who asked.
        saga_id: Uuid,
        /// The order.
        order_id: Uuid,
    },
    /// The goods came back.
    InventoryRestocked {
        /// Who asked.
        saga_id: Uuid,
        /// The order.
        order_id: Uuid,
    },
}

eventstore::event_types! {
    ReservationEvent {
        Self::InventoryReserved { .. } => "InventoryReserved";
        Self::InventoryRejected { .. } => "InventoryRejected";
        Self::InventoryReleased { .. } => "InventoryReleased";
        Self::InventoryCommitted { .. } => "InventoryCommitted";
        Self::InventoryRestocked { .. } => "InventoryRestocked";
    }
}
