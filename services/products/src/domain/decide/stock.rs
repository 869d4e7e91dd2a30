//! How units move when reservations come and go.

use uuid::Uuid;

use crate::domain::{Listed, Product, ProductEvent, Reason};

/// Why a product cannot be held for an order.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Shortage {
    /// No such product was ever listed.
    #[error("product {product_id} is not in the catalogue")]
    Unknown {
        /// The product.
        product_id: Uuid,
    },
    /// The farm does not sell it now.
    #[error("{name} is not sold at the moment")]
    Closed {
        /// The product's name.
        name: String,
    },
    /// Not enough is available.
    #[error("{name}: {wanted} wanted, {available} available")]
    OutOfStock {
        /// The product's name.
        name: String,
        /// Units asked for.
        wanted: u32,
        /// Units that there are.
        available: u64,
    },
}

impl Shortage {
    /// The contract's word for it.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Unknown { .. } => Reason::UnknownProduct,
            Self::Closed { .. } => Reason::ProductClosed,
            Self::OutOfStock { .. } => Reason::OutOfStock,
        }
    }
}

/// What a product records of a shortage; nothing when there is no product.
#[must_use]
pub fn refused(shortage: &Shortage, reservation_id: Uuid, quantity: u32) -> Vec<ProductEvent> {
    match shortage {
        Shortage::Unknown { .. } => Vec::new(),
        Shortage::Closed { .. } | Shortage::OutOfStock { .. } => {
            vec![ProductEvent::ReservationRefused { reservation_id, quantity, reason: shortage.reason() }]
        }
    }
}

/// A product does not hold what a reservation says it holds: a defect. Nothing is changed; an operator must look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "product {product_id} has fewer than {quantity} units to {step}: product and reservation contradict each other"
)]
pub struct Inconsistent {
    /// The product.
    pub product_id: Uuid,
    /// Units that should be there.
    pub quantity: u32,
    /// What was to be done with them.
    pub step: Step,
}

/// What becomes of units that were held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Held units become free.
    Release,
    /// Held units leave.
    Ship,
    /// Units that left come back.
    Return,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Release => "release",
            Self::Ship => "ship",
            Self::Return => "return",
        })
    }
}

/// Holds units, and tells once when at most `low_threshold` are left.
///
/// # Errors
/// [`Shortage`].
pub fn reserve(
    product: &Product,
    product_id: Uuid,
    reservation_id: Uuid,
    quantity: u32,
    low_threshold: u64,
) -> Result<Vec<ProductEvent>, Shortage> {
    let listed = match product {
        Product::Unlisted => return Err(Shortage::Unknown { product_id }),
        Product::Listed(listed) => listed,
    };
    let name = || listed.listing.name.clone();
    if !listed.active {
        return Err(Shortage::Closed { name: name() });
    }
    let available = listed.stock.available;
    let Some(left) = available.checked_sub(u64::from(quantity)) else {
        return Err(Shortage::OutOfStock { name: name(), wanted: quantity, available });
    };
    let mut events = vec![ProductEvent::StockReserved { reservation_id, quantity }];
    if left <= low_threshold && listed.told_low_at.is_none() {
        events.push(ran_low(listed, left, low_threshold));
    }
    Ok(events)
}

fn ran_low(listed: &Listed, available: u64, threshold: u64) -> ProductEvent {
    let listing = &listed.listing;
    ProductEvent::StockRanLow {
        available,
        threshold,
        farm_id: listing.farm_id,
        farm_email: listing.farm_email.clone(),
        name: listing.name.clone(),
    }
}

/// Moves units of a reservation on.
///
/// # Errors
/// [`Inconsistent`].
pub fn settle(
    product: &Product,
    product_id: Uuid,
    reservation_id: Uuid,
    quantity: u32,
    step: Step,
) -> Result<ProductEvent, Inconsistent> {
    let stock = match product {
        Product::Unlisted => return Err(Inconsistent { product_id, quantity, step }),
        Product::Listed(listed) => listed.stock,
    };
    let (there, event) = match step {
        Step::Release => (stock.reserved, ProductEvent::StockReleased { reservation_id, quantity }),
        Step::Ship => (stock.reserved, ProductEvent::StockShipped { reservation_id, quantity }),
        Step::Return => (stock.shipped, ProductEvent::StockReturned { reservation_id, quantity }),
    };
    if there < u64::from(quantity) {
        return Err(Inconsistent { product_id, quantity, step });
    }
    Ok(event)
}
