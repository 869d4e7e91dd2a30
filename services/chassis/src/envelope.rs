//! How a message looks on the wire: CloudEvents 1.0 in structured mode.
//!
//! The body is a CloudEvent in JSON whose data is the proto3 JSON of a message from the contracts; beside it travels a
//! header that says so, and the broker's own. What is told at the same time on one subject travels together, as a JSON
//! array of such events ([`batch`]). Messages in binary mode, every attribute a `ce-…` header, are read as
//! well ([`Attributes`]). The sources: CloudEvents core 1.0.2, its JSON format, its NATS protocol binding 3.1, and the
//! extensions for correlation, sequence and tracing. Why the body: decision 0030.

mod attributes;
pub mod batch;
mod questions;
mod seal;

use async_nats::HeaderMap;
use bytes::Bytes;
use eventstore::{Actor, Cause, ToldEvent, TraceContext, Version};
use farmera_proto::events::Event;
use uuid::Uuid;

pub use self::attributes::Attributes;
pub use self::batch::Said;
pub(crate) use self::seal::broker_epoch;
pub use self::seal::{Sealed, Stamp, seal, seal_repeat};

/// What a service tells others about one of its events. Made by a pure function in the service's `messages.rs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// `farmera.<service>.<event_name>`.
    pub subject: &'static str,
    /// The body's full proto name: `farmera.orders.v1.OrderPlaced`.
    pub message_type: &'static str,
    /// Proto3 JSON.
    pub body: Vec<u8>,
}

impl Outgoing {
    /// What `event` looks like on the wire.
    #[must_use]
    pub fn of<E: Event>(event: &E) -> Self {
        // The contracts have no map with other than text keys and no foreign types: writing JSON cannot fail.
        Self { subject: E::SUBJECT, message_type: E::TYPE, body: serde_json::to_vec(event).unwrap_or_default() }
    }
}

/// A message as it came in.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Where it was published.
    pub subject: String,
    /// The body's full proto name.
    pub message_type: String,
    /// The publisher's event id.
    pub id: Uuid,
    /// The saga it belongs to.
    pub correlation: Uuid,
    /// The message it answers.
    pub causation: Uuid,
    /// The question that it asks or answers, where it does ([`Attributes::request`]).
    pub request: Option<Uuid>,
    /// The trace, if there is one.
    pub trace: Option<TraceContext>,
    /// The service that published it: `/farmera/orders`.
    pub source: String,
    /// The data: proto3 JSON.
    pub body: Bytes,
}

/// Why a message is no message of ours. It will not get better by trying again.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EnvelopeError {
    /// The body says that it is a CloudEvent in JSON.
    #[error("the body is no CloudEvent: {reason}")]
    Unreadable {
        /// What the decoder said.
        reason: String,
    },
    /// An attribute is missing.
    #[error("attribute {0} is missing")]
    Missing(&'static str),
    /// An attribute makes no sense.
    #[error("attribute {name} is {found:?}: expected {expected}")]
    Malformed {
        /// The attribute.
        name: &'static str,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// The data is not what the attributes say.
    #[error("the body is no {expected}: {reason}")]
    Body {
        /// The message's type.
        expected: &'static str,
        /// What the decoder said.
        reason: String,
    },
}

impl Incoming {
    /// What a change that this message leads to is stamped with.
    #[must_use]
    pub fn cause(&self, actor: &'static str) -> Cause {
        Cause { correlation: self.correlation, causation: self.id, trace: self.trace.clone(), actor: Actor::new(actor) }
    }

    /// The body.
    ///
    /// # Errors
    /// It is no JSON of an `E`: the message is to be parked.
    pub fn read<E: Event>(&self) -> Result<E, EnvelopeError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| EnvelopeError::Body { expected: E::TYPE, reason: error.to_string() })
    }

    /// Reads the attributes.
    ///
    /// # Errors
    /// [`EnvelopeError`]: the message is to be parked.
    pub fn open(subject: &str, headers: &HeaderMap, body: &Bytes) -> Result<Self, EnvelopeError> {
        Self::check(subject, &Attributes::of(Some(headers), body)?, body)
    }

    /// A message that says this of itself; `body` is what `said` was read from.
    pub(crate) fn check(subject: &str, said: &Attributes<'_>, body: &Bytes) -> Result<Self, EnvelopeError> {
        let uuid = |name: &'static str, found: Option<&str>| -> Result<Uuid, EnvelopeError> {
            let found = found.ok_or(EnvelopeError::Missing(name))?;
            let expected = "a UUID";
            found.parse().map_err(|_| EnvelopeError::Malformed { name, found: found.to_owned(), expected })
        };
        let text =
            |name: &'static str, found: Option<&str>| found.map(str::to_owned).ok_or(EnvelopeError::Missing(name));
        let version = text("specversion", said.spec_version.as_deref())?;
        if version != "1.0" {
            return Err(EnvelopeError::Malformed { name: "specversion", found: version, expected: "1.0" });
        }
        let read = Self {
            subject: subject.to_owned(),
            message_type: text("type", said.message_type.as_deref())?,
            id: uuid("id", said.id.as_deref())?,
            correlation: uuid("correlationid", said.correlation.as_deref())?,
            causation: uuid("causationid", said.causation.as_deref())?,
            request: said.request.as_deref().and_then(|request| request.parse().ok()),
            trace: said.trace.as_deref().and_then(TraceContext::read),
            source: text("source", said.source.as_deref())?,
            // Of an absent data nothing can be shared.
            body: if said.data.is_empty() { Bytes::new() } else { body.slice_ref(said.data) },
        };
        if let Some(question) = request_id(read.correlation, &read.message_type) {
            questions::agree(said, &read.message_type, read.correlation, question)?;
        }
        Ok(read)
    }
}

/// The question that a message of this type asks or answers for a saga; `None` when it is news.
#[must_use]
pub fn request_id(saga: Uuid, message_type: &str) -> Option<Uuid> {
    farmera_proto::events::question(message_type).map(|question| eventstore::derived_id(saga, question))
}

/// The event that a message tells of and the store's history it belongs to, as its attributes name them; `None` for an
/// answer that was given once more, and for what is no message of ours.
#[must_use]
pub fn told_event(said: &Attributes<'_>) -> Option<(ToldEvent, Option<Uuid>)> {
    let (category, stream) = said.about.as_deref()?.split_once('/')?;
    let version = Version::new(said.sequence.as_deref()?.parse().ok()?);
    let (stream, id) = (stream.parse().ok()?, said.id.as_deref()?.parse().ok()?);
    let epoch = said.store_epoch.as_deref().and_then(|epoch| epoch.parse().ok());
    Some((ToldEvent { category: category.to_owned(), stream, version, id }, epoch))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use eventstore::Recorded;

    use super::*;

    fn cause() -> Cause {
        Cause {
            correlation: Uuid::from_u128(1),
            causation: Uuid::from_u128(2),
            trace: Some(TraceContext("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned())),
            actor: Actor::new("service:orders"),
        }
    }

    fn outgoing() -> Outgoing {
        Outgoing {
            subject: "farmera.orders.order_placed",
            message_type: "farmera.orders.v1.OrderPlaced",
            body: b"{}".to_vec(),
        }
    }

    #[test]
    fn what_is_sealed_can_be_opened() {
        let sealed = seal_repeat("/farmera/orders", outgoing(), "order/1", DateTime::default(), &cause());
        let opened = Incoming::open(sealed.subject, &sealed.headers(), &Bytes::from(sealed.body)).unwrap();
        assert_eq!((opened.correlation, opened.causation), (Uuid::from_u128(1), Uuid::from_u128(2)));
        assert_eq!(opened.trace, cause().trace);
        assert_eq!(opened.message_type, "farmera.orders.v1.OrderPlaced");
    }

    #[test]
    fn a_sealed_message_is_a_cloud_event_whose_every_attribute_stands_in_its_body() {
        let recorded = Recorded {
            cursor: eventstore::Cursor::START,
            id: eventstore::EventId(Uuid::from_u128(7)),
            stream: eventstore::StreamId::new(eventstore::Category::new("order"), Uuid::from_u128(3)),
            version: Version::new(4),
            type_name: "OrderPlaced".into(),
            schema_version: 1,
            payload: "{}".into(),
            time: DateTime::UNIX_EPOCH,
            cause: cause(),
            digest: None,
        };
        let stamp = Stamp { store_epoch: Uuid::from_u128(8), broker_epoch: 2 };
        let sealed = seal("/farmera/orders", outgoing(), &recorded, stamp);
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/cloudevents+json");
        headers.insert("Nats-Msg-Id", "00000000-0000-0000-0000-000000000007.2");
        assert_eq!(sealed.headers(), headers);
        assert_eq!(
            String::from_utf8(sealed.body).unwrap(),
            concat!(
                r#"{"specversion":"1.0","id":"00000000-0000-0000-0000-000000000007","source":"/farmera/orders","#,
                r#""type":"farmera.orders.v1.OrderPlaced","subject":"order/00000000-0000-0000-0000-000000000003","#,
                r#""time":"1970-01-01T00:00:00.000000Z","datacontenttype":"application/json","#,
                r#""correlationid":"00000000-0000-0000-0000-000000000001","#,
                r#""causationid":"00000000-0000-0000-0000-000000000002","#,
                r#""traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","#,
                r#""sequence":"00000000000000000004","storeepoch":"00000000-0000-0000-0000-000000000008","data":{}}"#,
            )
        );
    }

    #[test]
    fn a_broker_that_lost_something_is_given_other_message_ids_and_receivers_the_same_ones() {
        let id = Uuid::from_u128(7);
        let stamp = |broker_epoch| Stamp { store_epoch: Uuid::from_u128(8), broker_epoch };
        assert_eq!(stamp(0).message_id(id), id.to_string());
        assert_eq!(stamp(3).message_id(id), format!("{id}.3"));
        let told = |message: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(async_nats::header::NATS_MESSAGE_ID, message);
            broker_epoch(&headers, id)
        };
        assert_eq!([0, 3].map(|epoch| told(&stamp(epoch).message_id(id))), [Some(0), Some(3)]);
        assert_eq!((told("another"), told(&format!("{id}.{}", id.simple()))), (None, None));
    }

    #[test]
    fn an_answer_that_is_given_again_names_no_event() {
        let sealed = seal_repeat("/farmera/orders", outgoing(), "order/1", DateTime::default(), &cause());
        let headers = sealed.headers();
        let said = Attributes::of(Some(&headers), &sealed.body).unwrap();
        assert_eq!(told_event(&said), None);
    }

    #[test]
    fn every_attempt_and_every_answer_names_the_same_question() {
        let named = |message_type: &'static str, causation: u128| {
            let cause = Cause { causation: Uuid::from_u128(causation), ..cause() };
            let outgoing = Outgoing { message_type, ..outgoing() };
            let sealed = seal_repeat("/farmera/orders", outgoing, "order/1", DateTime::default(), &cause);
            let headers = sealed.headers();
            let said = Attributes::of(Some(&headers), &sealed.body).unwrap();
            said.request.map(std::borrow::Cow::into_owned)
        };
        let question = named("farmera.orders.v1.PaymentCaptureRequested", 2);
        assert!(question.is_some());
        for (message_type, causation) in [
            ("farmera.orders.v1.PaymentCaptureRequested", 3),
            ("farmera.payment.v1.PaymentCaptured", 4),
            ("farmera.payment.v1.PaymentCaptureRejected", 5),
        ] {
            assert_eq!(named(message_type, causation), question, "{message_type}");
        }
        assert_ne!(named("farmera.orders.v1.PaymentVoidRequested", 2), question);
        assert_eq!(named("farmera.orders.v1.OrderPlaced", 2), None);
    }

    #[test]
    fn a_trace_that_is_none_is_dropped_and_the_message_heard() {
        let trace = format!("00-{}", "x".repeat(600));
        let cause = Cause { trace: Some(TraceContext(trace)), ..cause() };
        let sealed = seal_repeat("/farmera/orders", outgoing(), "order/1", DateTime::default(), &cause);
        let opened = Incoming::open(sealed.subject, &sealed.headers(), &Bytes::from(sealed.body)).unwrap();
        assert_eq!(opened.trace, None);
    }

    #[test]
    fn a_message_without_our_headers_is_refused_by_name() {
        let mut headers = HeaderMap::new();
        assert_eq!(Incoming::open("x", &headers, &Bytes::new()).unwrap_err(), EnvelopeError::Missing("specversion"));
        headers.insert("ce-specversion", "1.0");
        headers.insert("ce-type", "t");
        headers.insert("ce-id", "seven");
        let error = Incoming::open("x", &headers, &Bytes::new()).unwrap_err();
        assert_eq!(error.to_string(), "attribute id is \"seven\": expected a UUID");
    }
}
