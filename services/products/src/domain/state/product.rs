use std::collections::VecDeque;
use std::sync::Arc;

use eventstore::{Aggregate, Category, SnapshotShape};
use money::Money;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::ProductEvent;

/// The deliveries of a product that are remembered: a delivery's request that comes again after this many others is
/// taken for a new one.
pub const REQUESTS_REMEMBERED_MAX: usize = 1_000;

/// Units that may ever be added to one product.
pub const UNITS_MAX: u64 = 1_000_000_000_000_000;

/// Where a product stands.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Product {
    /// Nobody has listed it.
    #[default]
    Unlisted,
    /// It is in the catalogue.
    Listed(Listed),
}

/// A product of the catalogue. Cheap to clone: every reservation of a batch takes a copy to fall back on. It holds no
/// reservation by name, only their sums, so it stays small however many there were.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Listed {
    /// As it was listed.
    #[serde(with = "eventstore::shared")]
    pub listing: Arc<Listing>,
    /// The price of a unit now.
    pub price: Money,
    /// Whether it can be ordered.
    pub active: bool,
    /// Where its units are.
    pub stock: Stock,
    /// The threshold at which its farm was told that it runs out, while that holds.
    pub told_low_at: Option<u64>,
    /// The deliveries taken in last, oldest first.
    #[serde(with = "eventstore::shared")]
    deliveries: Arc<VecDeque<(Uuid, u64)>>,
}

/// What never changes about a product.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Listing {
    /// Whose it is.
    pub farm_id: Uuid,
    /// The farm's name.
    pub farm_name: String,
    /// The farm's address.
    pub farm_email: String,
    /// Its name.
    pub name: String,
    /// The price it was listed with.
    pub price_first: Money,
}

/// Where the units of a product are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Stock {
    /// Can be reserved.
    pub available: u64,
    /// Held for orders that have not ended.
    pub reserved: u64,
    /// Left with completed orders.
    pub shipped: u64,
}

impl Stock {
    /// Units ever added: none is lost.
    #[must_use]
    pub const fn stocked(self) -> u64 {
        self.available.saturating_add(self.reserved).saturating_add(self.shipped)
    }
}

impl Listed {
    /// The units of a delivery that was taken in, if it is still remembered.
    #[must_use]
    pub fn delivered(&self, request_id: Uuid) -> Option<u64> {
        self.deliveries.iter().rev().find(|(known, _)| *known == request_id).map(|(_, quantity)| *quantity)
    }

    /// Only what `decide` has checked becomes an event, so the subtractions never fall below nothing.
    fn after(mut self, event: &ProductEvent) -> Self {
        let stock = &mut self.stock;
        match event {
            ProductEvent::ProductListed { .. } | ProductEvent::ReservationRefused { .. } => {}
            ProductEvent::PriceSet { price } => self.price = *price,
            ProductEvent::ActiveSet { active } => self.active = *active,
            ProductEvent::StockAdded { request_id, quantity } => {
                stock.available = stock.available.saturating_add(*quantity);
                self.remember(*request_id, *quantity);
                self.restocked();
            }
            ProductEvent::StockReserved { quantity, .. } => {
                shift(&mut stock.available, &mut stock.reserved, *quantity);
            }
            ProductEvent::StockReleased { quantity, .. } => {
                shift(&mut stock.reserved, &mut stock.available, *quantity);
            }
            ProductEvent::StockShipped { quantity, .. } => shift(&mut stock.reserved, &mut stock.shipped, *quantity),
            ProductEvent::StockReturned { quantity, .. } => {
                shift(&mut stock.shipped, &mut stock.available, *quantity);
                self.restocked();
            }
            ProductEvent::StockRanLow { threshold, .. } => self.told_low_at = Some(*threshold),
        }
        self
    }

    fn remember(&mut self, request_id: Uuid, quantity: u64) {
        let deliveries = Arc::make_mut(&mut self.deliveries);
        if deliveries.len() >= REQUESTS_REMEMBERED_MAX {
            deliveries.pop_front();
        }
        deliveries.push_back((request_id, quantity));
    }

    fn restocked(&mut self) {
        self.told_low_at = self.told_low_at.filter(|threshold| self.stock.available <= *threshold);
    }
}

fn shift(from: &mut u64, to: &mut u64, quantity: u32) {
    *from = from.saturating_sub(u64::from(quantity));
    *to = to.saturating_add(u64::from(quantity));
}

impl Product {
    fn listed_by(event: &ProductEvent) -> Self {
        let ProductEvent::ProductListed { farm_id, farm_name, farm_email, name, price } = event else {
            return Self::Unlisted;
        };
        let listing = Listing {
            farm_id: *farm_id,
            farm_name: farm_name.clone(),
            farm_email: farm_email.clone(),
            name: name.clone(),
            price_first: *price,
        };
        Self::Listed(Listed {
            listing: Arc::new(listing),
            price: *price,
            active: true,
            stock: Stock::default(),
            told_low_at: None,
            deliveries: Arc::default(),
        })
    }
}

impl Aggregate for Product {
    const CATEGORY: Category = Category::new("product");

    type Event = ProductEvent;

    /// Every reservation is an event here: a product that sells well has a million.
    const SNAPSHOT: Option<SnapshotShape<Self>> = Some(SnapshotShape::json(1));

    fn evolve(self, event: &ProductEvent) -> Self {
        match self {
            Self::Unlisted => Self::listed_by(event),
            Self::Listed(listed) => Self::Listed(listed.after(event)),
        }
    }
}
