//! Messages on their way out: sealed, with the broker's id for them.

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use chrono::{DateTime, SecondsFormat, Utc};
use eventstore::{Cause, Recorded};
use uuid::Uuid;

use super::attributes::{CONTENT_TYPE, STRUCTURED, Written};
use super::{Outgoing, request_id};

/// A message ready to be published.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Where to.
    pub subject: &'static str,
    /// What it is known by, in every epoch of the broker: the event's id, or [`super::batch::id`].
    pub id: Uuid,
    /// The broker's id for it ([`Stamp::message_id`]).
    pub message_id: String,
    /// The media type of the body.
    pub(super) media_type: &'static str,
    /// Attributes and data.
    pub body: Vec<u8>,
}

impl Sealed {
    /// What travels beside the body: what it is, and the broker's id for it.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, self.media_type);
        headers.insert(NATS_MESSAGE_ID, self.message_id.as_str());
        headers
    }

    /// Some message of so many bytes.
    #[cfg(test)]
    pub(crate) fn sample(subject: &'static str, number: u64, bytes: usize) -> Self {
        let id = Uuid::from_u128(u128::from(number));
        let body = vec![b'0'; bytes];
        Self { subject, id, message_id: id_text(id), media_type: STRUCTURED, body }
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

    /// Gives a message its id of this memory of the broker.
    pub(crate) fn stamp(self, sealed: &mut Sealed) {
        sealed.message_id = self.message_id(sealed.id);
    }
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

/// In which epoch of the broker's memory the relay published what is known by `id` ([`Sealed::id`]); `None` for a
/// message that somebody else made of it.
#[must_use]
pub(crate) fn broker_epoch(headers: &HeaderMap, id: Uuid) -> Option<u32> {
    let message_id = headers.get(NATS_MESSAGE_ID)?.as_str();
    match message_id.strip_prefix(id_text(id).as_str())? {
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
    let body = written.around(&outgoing.body);
    Sealed { subject: outgoing.subject, id: written.id, message_id, media_type: STRUCTURED, body }
}
