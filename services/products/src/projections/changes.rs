//! What a batch of events means for the rows: one change per farm and product, however many events it had.

use std::collections::BTreeMap;

use eventstore::{Aggregate, DecodeError, DomainEvent, Recorded};
use money::Money;
use uuid::Uuid;

use crate::domain::{Farm, FarmEvent, FarmFacts, Listing, Product, ProductEvent};

/// All changes of a batch, by id: rows are always written in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Farms that are new.
    pub farms: BTreeMap<Uuid, FarmFacts>,
    /// Products that are new.
    pub listed: BTreeMap<Uuid, Listing>,
    /// Products that changed, the new ones among them.
    pub changed: BTreeMap<Uuid, Change>,
}

/// What becomes different about one product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Units that can be reserved: more, or fewer.
    pub available: i64,
    /// Units held: more, or fewer.
    pub reserved: i64,
    /// Units that left: more, or fewer.
    pub shipped: i64,
    /// Its price now, if that was set.
    pub price: Option<Money>,
    /// Whether it is open now, if that was set.
    pub active: Option<bool>,
    /// The version of its stream.
    pub version: u64,
}

impl Changes {
    /// Adds up what `events` change.
    pub fn of(events: &[Recorded]) -> Result<Self, DecodeError> {
        let mut changes = Self::default();
        for recorded in events {
            let id = recorded.stream.id;
            if recorded.stream.category == Farm::CATEGORY {
                let FarmEvent::FarmRegistered { name, email } = FarmEvent::from_recorded(recorded)?;
                changes.farms.insert(id, FarmFacts { name, email });
            } else if recorded.stream.category == Product::CATEGORY {
                let event = ProductEvent::from_recorded(recorded)?;
                let change = changes.changed.entry(id).or_default();
                change.version = recorded.version.get();
                if let Some(listing) = change.add(event) {
                    changes.listed.insert(id, listing);
                }
            }
        }
        Ok(changes)
    }
}

impl Change {
    fn add(&mut self, event: ProductEvent) -> Option<Listing> {
        match event {
            ProductEvent::ProductListed { farm_id, farm_name, farm_email, name, price } => {
                return Some(Listing { farm_id, farm_name, farm_email, name, price_first: price });
            }
            ProductEvent::PriceSet { price } => self.price = Some(price),
            ProductEvent::ActiveSet { active } => self.active = Some(active),
            ProductEvent::StockAdded { quantity, .. } => {
                self.available = self.available.saturating_add(i64::try_from(quantity).unwrap_or(i64::MAX));
            }
            ProductEvent::StockReserved { quantity, .. } => {
                self.available -= i64::from(quantity);
                self.reserved += i64::from(quantity);
            }
            ProductEvent::StockReleased { quantity, .. } => {
                self.reserved -= i64::from(quantity);
                self.available += i64::from(quantity);
            }
            ProductEvent::StockShipped { quantity, .. } => {
                self.reserved -= i64::from(quantity);
                self.shipped += i64::from(quantity);
            }
            ProductEvent::StockReturned { quantity, .. } => {
                self.shipped -= i64::from(quantity);
                self.available += i64::from(quantity);
            }
            ProductEvent::ReservationRefused { .. } | ProductEvent::StockRanLow { .. } => {}
        }
        None
    }
}
