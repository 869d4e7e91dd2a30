//! Messages of sagas in, answers out. Pure.

use chassis::envelope::{Incoming, Outgoing};
use chassis::reactor::ConsumerSpec;
use eventstore::{Aggregate, Category, DecodeError, DomainEvent, Recorded, Undecodable};
use farmera_proto::orders::v1 as orders;
use farmera_proto::products::v1 as pb;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::domain::{Line, Lines, Product, ProductEvent, Request, Reservation, ReservationEvent, Wish};

/// This service as a CloudEvents source.
pub const SOURCE: &str = "/farmera/products";
/// Where its answers go.
pub const STREAM: &str = "FARMERA_PRODUCTS";
/// The streams with events that others may hear of.
pub const TOLD: &[Category] = &[Reservation::CATEGORY, Product::CATEGORY];

const RESERVATION_REQUESTED: &str = "farmera.orders.inventory_reservation_requested";
const RELEASE_REQUESTED: &str = "farmera.orders.inventory_release_requested";
const COMMIT_REQUESTED: &str = "farmera.orders.inventory_commit_requested";
const RESTOCK_REQUESTED: &str = "farmera.orders.inventory_restock_requested";

/// What this service listens to.
pub const CONSUMER: ConsumerSpec = ConsumerSpec {
    stream: "FARMERA_ORDERS",
    durable: "products-orders",
    subjects: &[RESERVATION_REQUESTED, RELEASE_REQUESTED, COMMIT_REQUESTED, RESTOCK_REQUESTED],
};

/// Lines of one reservation at most.
const LINES_MAX: usize = 500;

/// Why a message means nothing here. It will not get better by trying again.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The body is not what the subject promises.
    #[error("the body is no {expected}: {source}")]
    Body {
        /// What the subject promises.
        expected: &'static str,
        /// What the decoder said.
        source: serde_json::Error,
    },
    /// A field makes no sense.
    #[error("{field} is {found:?}: expected {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// A subject nobody here has asked for.
    #[error("subject {0} means nothing here")]
    Subject(String),
}

/// What a message asks for.
///
/// # Errors
/// [`Unreadable`]: park it.
pub fn parse(message: &Incoming) -> Result<Request, Unreadable> {
    let body = message.body.as_ref();
    match message.subject.as_str() {
        RESERVATION_REQUESTED => {
            let asked: orders::InventoryReservationRequested = read(body, "InventoryReservationRequested")?;
            let wish = Wish::Reserve(lines(&asked.items)?);
            request(&asked.saga_id, &asked.order_id, &asked.reservation_id, wish)
        }
        RELEASE_REQUESTED => {
            let asked: orders::InventoryReleaseRequested = read(body, "InventoryReleaseRequested")?;
            request(&asked.saga_id, &asked.order_id, &asked.reservation_id, Wish::Release)
        }
        COMMIT_REQUESTED => {
            let asked: orders::InventoryCommitRequested = read(body, "InventoryCommitRequested")?;
            request(&asked.saga_id, &asked.order_id, &asked.reservation_id, Wish::Commit)
        }
        RESTOCK_REQUESTED => {
            let asked: orders::InventoryRestockRequested = read(body, "InventoryRestockRequested")?;
            request(&asked.saga_id, &asked.order_id, &asked.reservation_id, Wish::Restock)
        }
        other => Err(Unreadable::Subject(other.to_owned())),
    }
}

fn read<M: DeserializeOwned>(body: &[u8], expected: &'static str) -> Result<M, Unreadable> {
    serde_json::from_slice(body).map_err(|source| Unreadable::Body { expected, source })
}

fn request(saga_id: &str, order_id: &str, reservation_id: &str, wish: Wish) -> Result<Request, Unreadable> {
    Ok(Request {
        saga_id: uuid("saga_id", saga_id)?,
        order_id: uuid("order_id", order_id)?,
        reservation_id: uuid("reservation_id", reservation_id)?,
        wish,
    })
}

fn uuid(field: &'static str, text: &str) -> Result<Uuid, Unreadable> {
    text.parse().map_err(|_| field_error(field, text, "a UUID"))
}

fn field_error(field: &'static str, found: impl ToString, expected: &'static str) -> Unreadable {
    Unreadable::Field { field, found: found.to_string(), expected }
}

fn lines(items: &[orders::inventory_reservation_requested::Item]) -> Result<Lines, Unreadable> {
    const EXPECTED: &str = "1 to 500 items, each product once";
    if items.len() > LINES_MAX {
        return Err(field_error("items", items.len(), EXPECTED));
    }
    let mut lines = Vec::with_capacity(items.len());
    for item in items {
        if item.quantity == 0 {
            return Err(field_error("items.quantity", 0, "at least 1"));
        }
        lines.push(Line { product_id: uuid("items.product_id", &item.product_id)?, quantity: item.quantity });
    }
    Lines::new(lines).ok_or_else(|| field_error("items", items.len(), EXPECTED))
}

/// What others hear of a stored event.
///
/// # Errors
/// [`DecodeError`]: the event is damaged, or of a newer program.
pub fn translate(recorded: &Recorded) -> Result<Option<Outgoing>, DecodeError> {
    let written = if recorded.stream.category == Reservation::CATEGORY {
        answer(recorded.stream.id, &ReservationEvent::from_recorded(recorded)?).map(Some)
    } else if recorded.type_name == ProductEvent::STOCK_RAN_LOW {
        stock_low(recorded.stream.id, ProductEvent::from_recorded(recorded)?)
    } else {
        ProductEvent::check(recorded)?;
        Ok(None)
    };
    written.map_err(|unwritable| DecodeError::of(recorded, Undecodable::Damaged(unwritable)))
}

/// The answer to a saga.
///
/// # Errors
/// It cannot be written as JSON: a defect.
pub fn answer(reservation_id: Uuid, event: &ReservationEvent) -> Result<Outgoing, serde_json::Error> {
    let reservation_id = reservation_id.to_string();
    match event {
        ReservationEvent::InventoryReserved { saga_id, order_id, .. } => {
            let (saga_id, order_id) = (saga_id.to_string(), order_id.to_string());
            let body = pb::InventoryReserved { saga_id, order_id, reservation_id };
            outgoing("farmera.products.inventory_reserved", "farmera.products.v1.InventoryReserved", &body)
        }
        ReservationEvent::InventoryRejected { saga_id, order_id, reason, message, .. } => {
            let body = pb::InventoryRejected {
                saga_id: saga_id.to_string(),
                order_id: order_id.to_string(),
                reservation_id,
                reason: reason.code().to_owned(),
                message: message.clone(),
            };
            outgoing("farmera.products.inventory_rejected", "farmera.products.v1.InventoryRejected", &body)
        }
        ReservationEvent::InventoryReleased { saga_id, order_id } => {
            let (saga_id, order_id) = (saga_id.to_string(), order_id.to_string());
            let body = pb::InventoryReleased { saga_id, order_id, reservation_id };
            outgoing("farmera.products.inventory_released", "farmera.products.v1.InventoryReleased", &body)
        }
        ReservationEvent::InventoryCommitted { saga_id, order_id } => {
            let (saga_id, order_id) = (saga_id.to_string(), order_id.to_string());
            let body = pb::InventoryCommitted { saga_id, order_id, reservation_id };
            outgoing("farmera.products.inventory_committed", "farmera.products.v1.InventoryCommitted", &body)
        }
        ReservationEvent::InventoryRestocked { saga_id, order_id } => {
            let (saga_id, order_id) = (saga_id.to_string(), order_id.to_string());
            let body = pb::InventoryRestocked { saga_id, order_id, reservation_id };
            outgoing("farmera.products.inventory_restocked", "farmera.products.v1.InventoryRestocked", &body)
        }
    }
}

fn stock_low(product_id: Uuid, event: ProductEvent) -> Result<Option<Outgoing>, serde_json::Error> {
    let ProductEvent::StockRanLow { available, farm_id, farm_email, name, threshold: _ } = event else {
        return Ok(None);
    };
    let body = pb::StockLow {
        product_id: product_id.to_string(),
        farm_id: farm_id.to_string(),
        product_name: name,
        farm_email,
        available,
    };
    outgoing("farmera.products.stock_low", "farmera.products.v1.StockLow", &body).map(Some)
}

fn outgoing(
    subject: &'static str,
    message_type: &'static str,
    body: &impl Serialize,
) -> Result<Outgoing, serde_json::Error> {
    Ok(Outgoing { subject, message_type, body: serde_json::to_vec(body)? })
}
