use std::sync::Arc;

use eventstore::{Aggregate, Category};
use serde::Serialize;
use uuid::Uuid;

use crate::domain::{Lines, Reason, ReservationEvent};

/// Where a reservation stands.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub enum Reservation {
    /// Nobody has asked for it.
    #[default]
    Absent,
    /// The goods are held.
    Reserved {
        /// For whom.
        order_id: Uuid,
        /// Which.
        lines: Lines,
    },
    /// The goods could not be held.
    Rejected {
        /// For whom.
        order_id: Uuid,
        /// Which.
        lines: Lines,
        /// Why.
        #[serde(serialize_with = "eventstore::shared::serialize")]
        refused: Arc<Refused>,
    },
    /// The goods were held and are free again.
    Released {
        /// For whom.
        order_id: Uuid,
        /// Which.
        lines: Lines,
    },
    /// It was released before anybody asked to hold anything: whoever asks now comes too late.
    ReleasedBefore {
        /// For whom.
        order_id: Uuid,
    },
    /// The goods left with the order.
    Committed {
        /// For whom.
        order_id: Uuid,
        /// Which.
        lines: Lines,
    },
    /// The goods left and came back.
    Restocked {
        /// For whom.
        order_id: Uuid,
        /// Which.
        lines: Lines,
    },
}

/// Why goods were not held, as it was answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Refused {
    /// For programs.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

impl Reservation {
    /// The order it belongs to.
    #[must_use]
    pub const fn order_id(&self) -> Option<Uuid> {
        match self {
            Self::Absent => None,
            Self::Reserved { order_id, .. }
            | Self::Rejected { order_id, .. }
            | Self::Released { order_id, .. }
            | Self::ReleasedBefore { order_id }
            | Self::Committed { order_id, .. }
            | Self::Restocked { order_id, .. } => Some(*order_id),
        }
    }

    /// What was asked for.
    #[must_use]
    pub const fn lines(&self) -> Option<&Lines> {
        match self {
            Self::Absent | Self::ReleasedBefore { .. } => None,
            Self::Reserved { lines, .. }
            | Self::Rejected { lines, .. }
            | Self::Released { lines, .. }
            | Self::Committed { lines, .. }
            | Self::Restocked { lines, .. } => Some(lines),
        }
    }

    fn released(self, order_id: Uuid) -> Self {
        match self {
            Self::Absent | Self::ReleasedBefore { .. } => Self::ReleasedBefore { order_id },
            Self::Reserved { lines, .. }
            | Self::Rejected { lines, .. }
            | Self::Released { lines, .. }
            | Self::Committed { lines, .. }
            | Self::Restocked { lines, .. } => Self::Released { order_id, lines },
        }
    }

    /// The state that `make` builds from the lines; a reservation without lines stays what it is.
    fn with_lines(self, make: impl FnOnce(Lines) -> Self) -> Self {
        match self.lines() {
            Some(lines) => make(lines.clone()),
            None => self,
        }
    }
}

impl Aggregate for Reservation {
    const CATEGORY: Category = Category::new("reservation");

    type Event = ReservationEvent;

    fn evolve(self, event: &ReservationEvent) -> Self {
        match event {
            ReservationEvent::InventoryReserved { order_id, lines, .. } => {
                Self::Reserved { order_id: *order_id, lines: lines.clone() }
            }
            ReservationEvent::InventoryRejected { order_id, lines, reason, message, .. } => {
                let refused = Arc::new(Refused { reason: *reason, message: message.clone() });
                Self::Rejected { order_id: *order_id, lines: lines.clone(), refused }
            }
            ReservationEvent::InventoryReleased { order_id, .. } => self.released(*order_id),
            ReservationEvent::InventoryCommitted { order_id, .. } => {
                self.with_lines(|lines| Self::Committed { order_id: *order_id, lines })
            }
            ReservationEvent::InventoryRestocked { order_id, .. } => {
                self.with_lines(|lines| Self::Restocked { order_id: *order_id, lines })
            }
        }
    }
}
