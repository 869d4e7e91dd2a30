//! Messages of other services as news, and stored events as messages. Pure.

use std::sync::Arc;

use chassis::envelope::{Incoming, Outgoing};
use eventstore::{Category, DecodeError, DomainEvent as _, Recorded, StreamId, derived_id};
use farmera_proto::notification::v1 as pb;
use farmera_proto::orders::v1::{self as orders, notification_requested};
use farmera_proto::products::v1 as products;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::domain::{
    FailureNews, FarmShare, Kind, Line, News, Notification, NotificationEvent, OrderNews, StockNews, Subject,
};
use eventstore::Aggregate as _;

/// This service as a CloudEvents source.
pub const SOURCE: &str = "/farmera/notification";
/// What the relay may tell about.
pub const CATEGORIES: &[Category] = &[Notification::CATEGORY];

/// The saga asks.
pub const REQUESTED: &str = "farmera.orders.notification_requested";
/// An order failed.
pub const ORDER_FAILED: &str = "farmera.orders.order_failed";
/// An order was cancelled.
pub const ORDER_CANCELLED: &str = "farmera.orders.order_cancelled";
/// A product runs out.
pub const STOCK_LOW: &str = "farmera.products.stock_low";

/// Names and the like are kept up to this many characters; an address may have 254, one more tells that it is wrong.
const NAME_LENGTH_MAX: usize = 200;
const EMAIL_LENGTH_MAX: usize = 255;
const MESSAGE_LENGTH_MAX: usize = 1_000;

/// Why a message is no message for us. Trying again is useless.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// We did not ask for such messages.
    #[error("nothing is done on {0}")]
    UnknownSubject(String),
    /// The body is not what the contract says.
    #[error("the body cannot be read: {0}")]
    Body(#[from] serde_json::Error),
    /// A field makes no sense.
    #[error("{field} is {found:?}: expected {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: &'static str,
    },
}

/// What a message gives us to tell, and under which id; `None` when another message will tell it.
///
/// # Errors
/// [`MessageError`]: the message is to be parked.
pub fn news(message: &Incoming) -> Result<Option<(Uuid, News)>, MessageError> {
    match message.subject.as_str() {
        REQUESTED => requested(&read(message)?).map(Some),
        ORDER_FAILED => failed(read(message)?).map(Some),
        ORDER_CANCELLED => cancelled(read(message)?),
        STOCK_LOW => stock_low(message.id, &read(message)?).map(Some),
        other => Err(MessageError::UnknownSubject(other.to_owned())),
    }
}

/// Who caused a change that a message led to.
#[must_use]
pub fn actor(message: &Incoming) -> &'static str {
    match message.subject.as_str() {
        STOCK_LOW => "service:products",
        _ => "service:orders",
    }
}

fn read<T: DeserializeOwned>(message: &Incoming) -> Result<T, MessageError> {
    Ok(serde_json::from_slice(&message.body)?)
}

/// A notification's id: exactly one per order and kind.
fn id_of(subject: Subject) -> Uuid {
    derived_id(subject.id, subject.kind.as_str())
}

fn requested(request: &orders::NotificationRequested) -> Result<(Uuid, News), MessageError> {
    let total = request.total.as_ref().and_then(chassis::money::from_proto);
    let order = OrderNews {
        saga_id: uuid("saga_id", &request.saga_id)?,
        order_id: uuid("order_id", &request.order_id)?,
        email: clean(&request.email, EMAIL_LENGTH_MAX),
        farms: by_farm(&request.lines),
        total: total.ok_or_else(|| field("total", &format!("{:?}", request.total), "an amount of money"))?,
    };
    let news = match request.kind() {
        notification_requested::Kind::OrderCompleted => News::OrderCompleted(order),
        notification_requested::Kind::OrderRefunded => News::OrderRefunded(order),
        notification_requested::Kind::Unspecified => {
            return Err(field("kind", &request.kind.to_string(), "a kind of news this program knows"));
        }
    };
    Ok((id_of(news.subject()), news))
}

/// Every farm once, in the order of its first line.
fn by_farm(lines: &[notification_requested::NotifiedLine]) -> Vec<FarmShare> {
    let mut farms: Vec<(&str, FarmShare)> = Vec::new();
    for line in lines {
        let sold = Line { name: clean(&line.product_name, NAME_LENGTH_MAX), quantity: line.quantity };
        match farms.iter_mut().find(|(farm_id, _)| *farm_id == line.farm_id) {
            Some((_, farm)) => farm.lines.push(sold),
            None => {
                let name = clean(&line.farm_name, NAME_LENGTH_MAX);
                let email = clean(&line.farm_email, EMAIL_LENGTH_MAX);
                farms.push((&line.farm_id, FarmShare { name, email, lines: vec![sold] }));
            }
        }
    }
    farms.into_iter().map(|(_, farm)| farm).collect()
}

fn failed(message: orders::OrderFailed) -> Result<(Uuid, News), MessageError> {
    let news = News::OrderFailed(failure(&message.order_id, &message.email, message.failure)?);
    Ok((id_of(news.subject()), news))
}

/// An order that had been completed is told of by the saga that refunds it.
fn cancelled(message: orders::OrderCancelled) -> Result<Option<(Uuid, News)>, MessageError> {
    if message.after_completion {
        return Ok(None);
    }
    let news = News::OrderCancelled(failure(&message.order_id, &message.email, message.failure)?);
    Ok(Some((id_of(news.subject()), news)))
}

fn failure(order_id: &str, email: &str, failure: Option<orders::Failure>) -> Result<FailureNews, MessageError> {
    let failure = failure.unwrap_or_default();
    Ok(FailureNews {
        order_id: uuid("order_id", order_id)?,
        email: clean(email, EMAIL_LENGTH_MAX),
        reason: clean(&failure.reason, NAME_LENGTH_MAX),
        message: clean(&failure.message, MESSAGE_LENGTH_MAX),
    })
}

fn stock_low(event_id: Uuid, message: &products::StockLow) -> Result<(Uuid, News), MessageError> {
    let news = News::StockLow(StockNews {
        product_id: uuid("product_id", &message.product_id)?,
        product_name: clean(&message.product_name, NAME_LENGTH_MAX),
        farm_email: clean(&message.farm_email, EMAIL_LENGTH_MAX),
        available: message.available,
    });
    // A product runs out many times: each time is news of its own.
    Ok((derived_id(event_id, news.subject().kind.as_str()), news))
}

fn uuid(name: &'static str, text: &str) -> Result<Uuid, MessageError> {
    text.parse().map_err(|_| field(name, text, "a UUID"))
}

fn field(field: &'static str, found: &str, expected: &'static str) -> MessageError {
    MessageError::Field { field, found: found.chars().take(64).collect(), expected }
}

/// One line of text: what others wrote never breaks out of the line it is put in, or turns it around.
fn clean(text: &str, max: usize) -> String {
    let kept: String = text.trim().chars().take(max).collect();
    text::shown(&kept)
}

/// The notifications that there may be about an order.
#[must_use]
pub fn about_order(order_id: Uuid) -> Vec<StreamId> {
    let kinds = [Kind::OrderCompleted, Kind::OrderRefunded, Kind::OrderFailed, Kind::OrderCancelled];
    kinds.map(|kind| Notification::stream(id_of(Subject { id: order_id, kind }))).into()
}

/// What others hear of a stored event.
///
/// # Errors
/// The event cannot be read.
pub fn translate(event: &Recorded) -> Result<Option<Outgoing>, DecodeError> {
    Ok(match NotificationEvent::from_recorded(event)? {
        NotificationEvent::NotificationAccepted { news } => {
            news.saga_id().map(|saga_id| accepted(saga_id, news.subject(), event.stream.id))
        }
        NotificationEvent::NotificationDelivered { subject } => Some(delivered(subject, event.stream.id)),
        NotificationEvent::DeliveryTryFailed { .. } | NotificationEvent::NotificationFailed { .. } => None,
    })
}

/// The answer to a saga's question; the same however often it asks.
#[must_use]
pub fn answer(id: Uuid, news: &Arc<News>) -> Option<Outgoing> {
    news.saga_id().map(|saga_id| accepted(saga_id, news.subject(), id))
}

fn accepted(saga_id: Uuid, subject: Subject, id: Uuid) -> Outgoing {
    let message = pb::NotificationAccepted {
        saga_id: saga_id.to_string(),
        order_id: subject.id.to_string(),
        notification_id: id.to_string(),
    };
    Outgoing {
        subject: "farmera.notification.notification_accepted",
        message_type: "farmera.notification.v1.NotificationAccepted",
        body: json(&message),
    }
}

fn delivered(subject: Subject, id: Uuid) -> Outgoing {
    let message = pb::NotificationDelivered {
        notification_id: id.to_string(),
        subject_id: subject.id.to_string(),
        kind: subject.kind.as_str().to_owned(),
    };
    Outgoing {
        subject: "farmera.notification.notification_delivered",
        message_type: "farmera.notification.v1.NotificationDelivered",
        body: json(&message),
    }
}

/// Our messages are structs of strings: writing them as JSON cannot fail.
fn json<T: serde::Serialize>(message: &T) -> Vec<u8> {
    serde_json::to_vec(message).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incoming(subject: &str, body: &str) -> Incoming {
        Incoming {
            subject: subject.to_owned(),
            message_type: String::new(),
            id: Uuid::from_u128(9),
            correlation: Uuid::from_u128(1),
            causation: Uuid::from_u128(2),
            request: None,
            trace: None,
            source: "/farmera/orders".to_owned(),
            body: body.as_bytes().to_vec().into(),
        }
    }

    const ORDER: Uuid = Uuid::from_u128(0x0199_0000_0001_7000_8000_0000_0000_0001);

    fn request(kind: &str) -> String {
        let line = |product: &str, farm: &str| {
            format!(
                r#"{{"productName":"{product}","quantity":2,"farmId":"{farm}","farmName":"{farm}","farmEmail":"{farm}@x.test"}}"#
            )
        };
        format!(
            r#"{{"sagaId":"{ORDER}","orderId":"{ORDER}","kind":"{kind}","customerId":"c","email":"ana@example.org",
                "lines":[{},{},{}],"total":{{"currencyCode":"EUR","minorUnits":"1250"}}}}"#,
            line("Eggs", "a"),
            line("Milk", "b"),
            line("Cheese\\r\\nBcc: x@y.z", "a"),
        )
    }

    #[test]
    fn a_request_becomes_news_with_every_farm_once() {
        let (id, news) = news(&incoming(REQUESTED, &request("KIND_ORDER_COMPLETED"))).unwrap().unwrap();
        assert_eq!(id, derived_id(ORDER, "order_completed"));
        assert_eq!(news.recipients(), ["ana@example.org", "a@x.test", "b@x.test"]);
        let News::OrderCompleted(order) = news else { panic!("{news:?}") };
        let names: Vec<_> = order.farms[0].lines.iter().map(|line| line.name.as_str()).collect();
        assert_eq!(names, ["Eggs", r"Cheese\r\nBcc: x@y.z"]);
    }

    #[test]
    fn an_order_cancelled_after_completion_is_told_of_by_the_refund_only() {
        let body = |after: bool| format!(r#"{{"orderId":"{ORDER}","email":"a@b.c","afterCompletion":{after}}}"#);
        assert!(news(&incoming(ORDER_CANCELLED, &body(true))).unwrap().is_none());
        let (id, told) = news(&incoming(ORDER_CANCELLED, &body(false))).unwrap().unwrap();
        assert_eq!((id, told.subject().kind), (derived_id(ORDER, "order_cancelled"), Kind::OrderCancelled));
        let (_, refunded) = news(&incoming(REQUESTED, &request("KIND_ORDER_REFUNDED"))).unwrap().unwrap();
        assert_eq!(refunded.subject().kind, Kind::OrderRefunded);
    }

    #[test]
    fn every_stock_notice_is_news_of_its_own() {
        let body = format!(r#"{{"productId":"{ORDER}","productName":"Eggs","farmEmail":"a@b.c","available":"3"}}"#);
        let (id, _) = news(&incoming(STOCK_LOW, &body)).unwrap().unwrap();
        assert_eq!(id, derived_id(Uuid::from_u128(9), "stock_low"));
    }

    #[test]
    fn what_cannot_be_told_says_why() {
        let error = |subject, body: &str| news(&incoming(subject, body)).unwrap_err().to_string();
        assert!(error(REQUESTED, &request("KIND_UNSPECIFIED")).starts_with("kind is"));
        assert!(error(ORDER_FAILED, r#"{"orderId":"seven"}"#).contains("expected a UUID"));
        assert!(error(ORDER_FAILED, "{").starts_with("the body cannot be read"));
        assert!(error("farmera.orders.order_placed", "{}").starts_with("nothing is done on"));
    }
}
