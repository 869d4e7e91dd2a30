//! What came in: is it sound, whose is it, and how is it kept when it cannot be handled.

use std::sync::Arc;

use async_nats::HeaderMap;
use async_nats::jetstream::Message;
use bytes::Bytes;
use eventstore::DeadLetter;
use farmera_proto::events;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::ConsumerSpec;
use super::delivery::Delivery;
use crate::broker;
use crate::envelope::{Attributes, EnvelopeError, Incoming, Said, batch};

/// The largest body that is looked into. The broker's own limit is the same unless somebody has raised it.
const BODY_BYTES_MAX: usize = 1024 * 1024;
const CATEGORY_LENGTH_MAX: usize = 32;

/// An event that came in, read once.
pub(super) struct Received {
    pub(super) origin: Origin,
    /// Whose line it stands in: the stream its publisher tells of, `<category>/<uuid>`. `None` for what does not name
    /// one.
    pub(super) key: Option<Arc<str>>,
    /// What it says, when it is what its publisher would publish there; otherwise why it is not, for an operator.
    pub(super) sound: Result<Incoming, String>,
}

/// How an event came in.
pub(super) struct Origin {
    /// With what, to be acknowledged.
    pub(super) delivery: Arc<Delivery>,
    /// Its place in a batch; `None` when it came alone.
    place: Option<usize>,
}

/// Reads what a message holds, in its order; at least one.
pub(super) fn receive(spec: &ConsumerSpec, message: Message) -> Vec<Received> {
    let read: Vec<_> = match Said::of(message.headers.as_ref(), &message.payload) {
        Said::Alone(said) => vec![(None, read(spec, &message, said))],
        Said::Together(all) => {
            let read = all.into_iter().map(|said| read(spec, &message, said));
            read.enumerate().map(|(place, read)| (Some(place), read)).collect()
        }
    };
    let delivery = Arc::new(Delivery::new(message, read.len()));
    let received = |(place, (key, sound))| {
        let origin = Origin { delivery: Arc::clone(&delivery), place };
        Received { origin, key, sound }
    };
    read.into_iter().map(received).collect()
}

/// The key and the content of what says this of itself.
fn read(
    spec: &ConsumerSpec,
    message: &Message,
    said: Result<Attributes<'_>, EnvelopeError>,
) -> (Option<Arc<str>>, Result<Incoming, String>) {
    let about = said.as_ref().ok().and_then(|said| said.about.as_deref());
    let key = about.filter(|about| is_stream(about)).map(Arc::from);
    (key, open(spec, message, said))
}

fn is_stream(about: &str) -> bool {
    let Some((category, id)) = about.split_once('/') else { return false };
    let is_word =
        |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-' || letter == b'_';
    let named = (1..=CATEGORY_LENGTH_MAX).contains(&category.len()) && category.bytes().all(is_word);
    named && id.len() == 36 && Uuid::try_parse(id).is_ok()
}

/// The message with its attributes, when it is what its publisher would publish there: within the limit, with all
/// attributes, from the stream's owner, of the type that the contracts give this subject.
///
/// # Errors
/// Why it is not, for an operator.
fn open(
    spec: &ConsumerSpec,
    message: &Message,
    said: Result<Attributes<'_>, EnvelopeError>,
) -> Result<Incoming, String> {
    let (subject, body) = (message.subject.as_str(), &message.payload);
    if body.len() > BODY_BYTES_MAX {
        return Err(format!(
            "the body has {} bytes, {BODY_BYTES_MAX} are possible; what is over is cut off",
            body.len()
        ));
    }
    let incoming = said.and_then(|said| Incoming::check(subject, &said, body));
    let incoming = incoming.map_err(|malformed| malformed.to_string())?;
    let owner = broker::source_of(spec.stream);
    if owner.is_none_or(|owner| incoming.source != owner) {
        return Err(format!(
            "it says that it is from {:?}: {} does not publish for others",
            incoming.source, spec.stream
        ));
    }
    match events::ALL.iter().find(|(_, known)| *known == subject) {
        Some((expected, _)) if incoming.message_type == *expected => Ok(incoming),
        Some((expected, _)) => {
            Err(format!("its type is {:?}: on {subject} only {expected} travels", incoming.message_type))
        }
        None => Err(format!("{subject} is no subject of the contracts")),
    }
}

/// An event as it is kept: as if it had come alone.
pub(super) fn letter(spec: &ConsumerSpec, origin: &Origin, key: Option<&str>, reason: String) -> DeadLetter {
    let message = origin.delivery.message();
    let part = origin.place.and_then(|place| batch::part(&message.payload, place));
    let (headers, body) = match part {
        Some(part) => (batch::headers_of_part(), part),
        None => (message.headers.clone().unwrap_or_default(), message.payload.clone()),
    };
    let body = body.get(..BODY_BYTES_MAX).unwrap_or(&body);
    let letter = DeadLetter {
        consumer: spec.durable.to_owned(),
        message: name(&message.subject, &headers, body),
        key: key.map(ToOwned::to_owned),
        sequence: message.info().map_or(0, |info| info.stream_sequence),
        subject: message.subject.to_string(),
        headers: to_json(&headers),
        body: body.to_vec(),
        reason,
    };
    letter.into_storable()
}

/// A kept message, to be handled after all.
///
/// # Errors
/// Why it cannot be, for an operator.
pub(super) fn reopen(letter: &DeadLetter) -> Result<Incoming, String> {
    let headers = from_json(&letter.headers).ok_or("its headers are none")?;
    let body = Bytes::from(letter.body.clone());
    Incoming::open(&letter.subject, &headers, &body).map_err(|malformed| malformed.to_string())
}

/// The same for the same message however often it is published, in whichever mode, and another one for whatever only
/// claims its id.
fn name(subject: &str, headers: &HeaderMap, body: &[u8]) -> String {
    // What cannot be read is told apart as a whole.
    let said = Attributes::of(Some(headers), body).unwrap_or(Attributes { data: body, ..Attributes::default() });
    let mut digested = Vec::with_capacity(said.data.len() + 512);
    let parts = [&said.id, &said.source, &said.message_type, &said.about, &said.correlation];
    for part in parts.map(Option::as_deref).into_iter().chain([Some(subject)]) {
        digested.extend_from_slice(part.unwrap_or_default().as_bytes());
        digested.push(0);
    }
    digested.extend_from_slice(said.data);
    let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, &digested);
    let id = said.id.as_deref().and_then(|id| id.parse::<Uuid>().ok());
    let id = id.map_or_else(|| "unnamed".to_owned(), |id| id.to_string());
    format!("{id}/{digest}")
}

/// The saga that a kept message belongs to, as it says; `None` when it says nothing of the kind.
#[must_use]
pub(crate) fn saga_of(letter: &DeadLetter) -> Option<Uuid> {
    let headers = from_json(&letter.headers)?;
    Attributes::of(Some(&headers), &letter.body).ok()?.correlation.as_deref()?.parse().ok()
}

fn to_json(headers: &HeaderMap) -> String {
    let values =
        |values: &[async_nats::HeaderValue]| values.iter().map(|value| value.as_str().replace('\0', "")).collect();
    let headers: Map<String, Value> = headers.iter().map(|(name, all)| (name.to_string(), values(all))).collect();
    Value::Object(headers).to_string()
}

fn from_json(text: &str) -> Option<HeaderMap> {
    let Ok(Value::Object(named)) = serde_json::from_str(text) else { return None };
    let mut headers = HeaderMap::new();
    for (name, values) in &named {
        for value in values.as_array()?.iter().filter_map(Value::as_str) {
            let name: async_nats::HeaderName = name.parse().ok()?;
            headers.append(name, value.parse::<async_nats::HeaderValue>().ok()?);
        }
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_a_stream_is_a_key() {
        assert!(is_stream("saga/0199c0de-0001-7000-8000-000000000001"));
        for other in [
            "",
            "saga",
            "saga/",
            "saga/1",
            "Saga/0199c0de-0001-7000-8000-000000000001",
            "#saga/0199c0de-0001-7000-8000-000000000001",
            "/0199c0de-0001-7000-8000-000000000001",
            "saga/0199c0de000170008000000000000001",
        ] {
            assert!(!is_stream(other), "{other}");
        }
    }

    #[test]
    fn headers_survive_being_kept() {
        let mut headers = HeaderMap::new();
        headers.append("ce-id", "1");
        headers.append("twice", "a");
        headers.append("twice", "b");
        assert_eq!(from_json(&to_json(&headers)), Some(headers));
        assert_eq!(from_json("[]"), None);
    }

    #[test]
    fn a_forgery_under_a_known_id_is_another_message() {
        let mut headers = HeaderMap::new();
        headers.insert("ce-id", "0199c0de-0001-7000-8000-000000000001");
        let original = name("farmera.orders.order_placed", &headers, b"{}");
        headers.insert("Nats-Msg-Id", "another publication");
        assert_eq!(name("farmera.orders.order_placed", &headers, b"{}"), original);
        assert_ne!(name("farmera.orders.order_placed", &headers, b"[]"), original);
        headers.insert("ce-correlationid", "another saga");
        assert_ne!(name("farmera.orders.order_placed", &headers, b"{}"), original);
    }
}
