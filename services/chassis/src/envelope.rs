//! How a message looks on the wire: CloudEvents 1.0 in structured mode.
//!
//! The body is a CloudEvent in JSON whose data is the proto3 JSON of a message from the contracts; beside it travels a
//! header that says so, and the broker's own. Messages in binary mode, every attribute a `ce-…` header, are read as
//! well ([`Attributes`]). The sources: CloudEvents core 1.0.2, its JSON format, its NATS protocol binding 3.1, and the
//! extensions for correlation, sequence and tracing. Why the body: decision 0030.

mod attributes;

use async_nats::HeaderMap;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use eventstore::{Actor, Cause, Recorded, ToldEvent, TraceContext, Version};
use farmera_proto::events::Event;
use uuid::Uuid;

pub use self::attributes::Attributes;
use self::attributes::{CONTENT_TYPE, STRUCTURED, Written};

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

/// A message ready to be published.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Where to.
    pub subject: &'static str,
    /// What the body is, and the broker's id for it.
    pub headers: HeaderMap,
    /// Attributes and data.
    pub body: Vec<u8>,
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
        let version = text("specversion", said.spec_version)?;
        if version != "1.0" {
            return Err(EnvelopeError::Malformed { name: "specversion", found: version, expected: "1.0" });
        }
        Ok(Self {
            subject: subject.to_owned(),
            message_type: text("type", said.message_type)?,
            id: uuid("id", said.id)?,
            correlation: uuid("correlationid", said.correlation)?,
            causation: uuid("causationid", said.causation)?,
            request: said.request.and_then(|request| request.parse().ok()),
            trace: said.trace.map(|trace| TraceContext(trace.to_owned())),
            source: text("source", said.source)?,
            // Of an absent data nothing can be shared.
            body: if said.data.is_empty() { Bytes::new() } else { body.slice_ref(said.data) },
        })
    }
}

/// Which history of the store and which memory of the broker a message belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The history that the service's database tells.
    pub store_epoch: Uuid,
    /// How often the broker was found to have lost something.
    pub broker_epoch: u32,
}

impl Stamp {
    /// The message's id for the broker: another one in every epoch of its memory, so that its window of de-duplication
    /// does not swallow what it has lost. The `id` stays the same: by that receivers tell a duplicate.
    #[must_use]
    pub fn message_id(self, event: Uuid) -> String {
        match self.broker_epoch {
            0 => id_text(event),
            epoch => format!("{event}.{epoch}"),
        }
    }

    /// Gives a message that has an id its id of this memory of the broker.
    pub(crate) fn stamp(self, sealed: &mut Sealed) {
        if self.broker_epoch > 0
            && let Some(id) = sealed.headers.get(async_nats::header::NATS_MESSAGE_ID)
        {
            let id = format!("{id}.{}", self.broker_epoch);
            sealed.headers.insert(async_nats::header::NATS_MESSAGE_ID, id);
        }
    }
}

/// The question that a message of this type asks or answers for a saga; `None` when it is news.
#[must_use]
pub fn request_id(saga: Uuid, message_type: &str) -> Option<Uuid> {
    farmera_proto::events::question(message_type).map(|question| eventstore::derived_id(saga, question))
}

/// Seals what a service tells about a stored event.
#[must_use]
pub fn seal(source: &str, outgoing: Outgoing, event: &Recorded, stamp: Stamp) -> Sealed {
    let id = event.id.0;
    let subject = [event.stream.category.as_str(), "/", &id_text(event.stream.id)].concat();
    let written = Written {
        sequence: Some(format!("{:020}", event.version.get())),
        storeepoch: Some(stamp.store_epoch),
        ..written(source, &outgoing, id, event.time, &event.cause, &subject)
    };
    sealed(&outgoing, &written, stamp.message_id(id))
}

/// The event that a message tells of and the store's history it belongs to, as its attributes name them; `None` for an
/// answer that was given once more, and for what is no message of ours.
#[must_use]
pub fn told_event(said: &Attributes<'_>) -> Option<(ToldEvent, Option<Uuid>)> {
    let (category, stream) = said.about?.split_once('/')?;
    let version = Version::new(said.sequence?.parse().ok()?);
    let (stream, id) = (stream.parse().ok()?, said.id?.parse().ok()?);
    let epoch = said.store_epoch.and_then(|epoch| epoch.parse().ok());
    Some((ToldEvent { category: category.to_owned(), stream, version, id }, epoch))
}

/// In which epoch of the broker's memory the relay told of an event; `None` for a message that somebody else made of it.
#[must_use]
pub(crate) fn broker_epoch(headers: &HeaderMap, event: Uuid) -> Option<u32> {
    let id = headers.get(async_nats::header::NATS_MESSAGE_ID)?.as_str();
    match id.strip_prefix(id_text(event).as_str())? {
        "" => Some(0),
        rest => {
            let epoch: u32 = rest.strip_prefix('.')?.parse().ok()?;
            // As the relay writes it, and in no other way: what others append to an id may be a number, too.
            (rest == format!(".{epoch}")).then_some(epoch)
        }
    }
}

/// Seals a recorded answer that is given once more. Its message id differs from the first time, so that the broker's
/// de-duplication window does not swallow it; the same question asked again gets the same id.
#[must_use]
pub fn seal_repeat(source: &str, outgoing: Outgoing, subject: &str, now: DateTime<Utc>, cause: &Cause) -> Sealed {
    let id = eventstore::derived_id(cause.causation, outgoing.message_type);
    sealed(&outgoing, &written(source, &outgoing, id, now, cause, subject), id_text(id))
}

/// An id as text. A message has half a dozen of them: they are not written through the machinery for any format.
fn id_text(id: Uuid) -> String {
    id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned()
}

fn written<'s>(
    source: &'s str,
    outgoing: &Outgoing,
    id: Uuid,
    time: DateTime<Utc>,
    cause: &'s Cause,
    subject: &'s str,
) -> Written<'s> {
    Written {
        specversion: "1.0",
        id,
        source,
        message_type: outgoing.message_type,
        subject,
        time: time.to_rfc3339_opts(SecondsFormat::Micros, true),
        datacontenttype: "application/json",
        correlationid: cause.correlation,
        causationid: cause.causation,
        requestid: request_id(cause.correlation, outgoing.message_type),
        traceparent: cause.trace.as_ref().map(|trace| trace.0.as_str()),
        sequence: None,
        storeepoch: None,
    }
}

fn sealed(outgoing: &Outgoing, written: &Written<'_>, message_id: String) -> Sealed {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, STRUCTURED);
    headers.insert(async_nats::header::NATS_MESSAGE_ID, message_id);
    Sealed { subject: outgoing.subject, headers, body: written.around(&outgoing.body) }
}

#[cfg(test)]
mod tests {
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
        let opened = Incoming::open(sealed.subject, &sealed.headers, &Bytes::from(sealed.body)).unwrap();
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
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, "application/cloudevents+json");
        headers.insert(async_nats::header::NATS_MESSAGE_ID, "00000000-0000-0000-0000-000000000007.2");
        assert_eq!(sealed.headers, headers);
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
        let said = Attributes::of(Some(&sealed.headers), &sealed.body).unwrap();
        assert_eq!(told_event(&said), None);
    }

    #[test]
    fn every_attempt_and_every_answer_names_the_same_question() {
        let named = |message_type: &'static str, causation: u128| {
            let cause = Cause { causation: Uuid::from_u128(causation), ..cause() };
            let outgoing = Outgoing { message_type, ..outgoing() };
            let sealed = seal_repeat("/farmera/orders", outgoing, "order/1", DateTime::default(), &cause);
            let said = Attributes::of(Some(&sealed.headers), &sealed.body).unwrap();
            said.request.map(ToOwned::to_owned)
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
