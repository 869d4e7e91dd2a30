//! Several events in one message: the batch format of CloudEvents (JSON event format 1.0.2, section 4), an array of
//! events that each say all of themselves. They have a subject in common and nothing else: who receives a batch handles
//! each of its events as if it had come alone. Why: decision 0032.

use std::fmt;
use std::marker::PhantomData;

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::attributes::{BATCH, CONTENT_TYPE, STRUCTURED, Structured, is_of};
use super::{Attributes, EnvelopeError, Sealed, Stamp};

/// Events in a batch, at most.
pub const EVENTS_MAX: usize = 64;
/// Bytes of events in a batch, at most; what is larger travels alone.
pub const BYTES_MAX: usize = 128 * 1024;

/// What the batch of these events is known by: the same for the same events in the same order, and for no others. So the
/// broker's window of de-duplication takes a batch for another one only when it tells the same.
#[must_use]
pub fn id(events: impl IntoIterator<Item = Uuid>) -> Uuid {
    let ids: Vec<u8> = events.into_iter().flat_map(Uuid::into_bytes).collect();
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &ids)
}

/// Events that leave together, in this order; all of one subject. An event that is alone travels as it is; `None` of
/// none.
#[must_use]
pub fn together(mut events: Vec<Sealed>, stamp: Stamp) -> Option<Sealed> {
    if events.len() < 2 {
        return events.pop();
    }
    let subject = events.first()?.subject;
    let id = id(events.iter().map(|event| event.id));
    let bytes: usize = events.iter().map(|event| event.body.len() + 1).sum();
    let mut body = Vec::with_capacity(bytes + 1);
    for event in &events {
        body.push(if body.is_empty() { b'[' } else { b',' });
        body.extend_from_slice(&event.body);
    }
    body.push(b']');
    Some(Sealed { subject, id, message_id: stamp.message_id(id), media_type: BATCH, body })
}

/// What a message says.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one per message, and nobody keeps it: a box would be an allocation more"
)]
pub enum Said<'m> {
    /// One event, or something that is none.
    Alone(Result<Attributes<'m>, EnvelopeError>),
    /// What each event of a batch says, in their order.
    Together(Vec<Result<Attributes<'m>, EnvelopeError>>),
}

impl<'m> Said<'m> {
    /// Reads what a message with these headers and this body says.
    #[must_use]
    pub fn of(headers: Option<&'m HeaderMap>, body: &'m [u8]) -> Self {
        if is_of(BATCH, headers) {
            return Self::in_array(body).map_or_else(|unreadable| Self::Alone(Err(unreadable)), Self::Together);
        }
        Self::Alone(Attributes::of(headers, body))
    }

    /// The events that can be read.
    #[must_use]
    pub fn readable(self) -> Vec<Attributes<'m>> {
        match self {
            Self::Alone(said) => said.into_iter().collect(),
            Self::Together(said) => said.into_iter().flatten().collect(),
        }
    }

    fn in_array(body: &'m [u8]) -> Result<Vec<Result<Attributes<'m>, EnvelopeError>>, EnvelopeError> {
        if let Ok(Bounded(read)) = serde_json::from_slice::<Bounded<Structured<'m>>>(body) {
            return Ok(read.into_iter().map(|read| Ok(read.into())).collect());
        }
        // One of them at least is none: the others are read all the same.
        let parts = parts(body)?;
        Ok(parts.into_iter().map(|part| Attributes::in_body(part.get().as_bytes())).collect())
    }
}

/// The text of an event of a batch, by its place.
#[must_use]
pub(crate) fn part(body: &Bytes, place: usize) -> Option<Bytes> {
    let parts = parts(body).ok()?;
    parts.get(place).map(|part| body.slice_ref(part.get().as_bytes()))
}

/// The headers that an event of a batch would have, were it alone; but for the broker's id.
#[must_use]
pub(crate) fn headers_of_part() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, STRUCTURED);
    headers
}

fn parts(body: &[u8]) -> Result<Vec<&RawValue>, EnvelopeError> {
    let read = serde_json::from_slice::<Bounded<&RawValue>>(body);
    read.map(|Bounded(parts)| parts).map_err(|error| EnvelopeError::Unreadable { reason: error.to_string() })
}

/// One to [`EVENTS_MAX`] elements; an array of more or none is not read to its end.
struct Bounded<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Bounded<T> {
    fn deserialize<D: Deserializer<'de>>(array: D) -> Result<Self, D::Error> {
        array.deserialize_seq(Elements(PhantomData))
    }
}

struct Elements<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
    type Value = Bounded<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of 1 to {EVENTS_MAX} events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut read = Vec::with_capacity(16);
        while let Some(element) = array.next_element()? {
            if read.len() >= EVENTS_MAX {
                return Err(A::Error::invalid_length(EVENTS_MAX + 1, &self));
            }
            read.push(element);
        }
        if read.is_empty() {
            return Err(A::Error::invalid_length(0, &self));
        }
        Ok(Bounded(read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { store_epoch: Uuid::nil(), broker_epoch: 3 };

    fn event(number: u64) -> Sealed {
        let body = format!(r#"{{"specversion":"1.0","id":"{number}","data":{{"n":{number}}}}}"#).into_bytes();
        Sealed { body, ..Sealed::sample("farmera.test", number, 0) }
    }

    fn read(headers: &HeaderMap, body: &[u8]) -> Vec<Option<String>> {
        let id = |said: Result<Attributes<'_>, EnvelopeError>| {
            said.ok().and_then(|said| said.id.map(std::borrow::Cow::into_owned))
        };
        match Said::of(Some(headers), body) {
            Said::Alone(_) => panic!("{}", String::from_utf8_lossy(body)),
            Said::Together(all) => all.into_iter().map(id).collect(),
        }
    }

    fn headers() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/cloudevents-batch+json");
        headers
    }

    #[test]
    fn events_that_leave_together_say_each_what_they_say_alone() {
        let sealed = together(vec![event(1), event(2)], STAMP).unwrap();
        let (headers, body) = (sealed.headers(), Bytes::from(sealed.body));
        assert_eq!(headers.get("content-type").unwrap().as_str(), "application/cloudevents-batch+json");
        let Said::Together(all) = Said::of(Some(&headers), &body) else { panic!("no batch") };
        for (place, said) in all.into_iter().enumerate() {
            let alone = event(place as u64 + 1);
            assert_eq!(said, Attributes::of(Some(&alone.headers()), &alone.body));
            assert_eq!(part(&body, place).unwrap(), alone.body);
        }
        assert_eq!(part(&body, 2), None);
    }

    #[test]
    fn an_event_without_company_travels_as_it_is() {
        let alone = together(vec![event(1)], STAMP).unwrap();
        assert_eq!((alone.headers(), alone.body), (event(1).headers(), event(1).body));
        assert!(together(vec![], STAMP).is_none());
    }

    #[test]
    fn only_the_same_events_in_the_same_order_are_known_by_the_same_id() {
        let id = |numbers: &[u64], stamp| {
            together(numbers.iter().map(|number| event(*number)).collect(), stamp).unwrap().message_id
        };
        assert_eq!(id(&[1, 2], STAMP), id(&[1, 2], STAMP));
        for other in [[2, 1].as_slice(), &[1, 3], &[1, 2, 3], &[1]] {
            assert_ne!(id(&[1, 2], STAMP), id(other, STAMP), "{other:?}");
        }
        assert_ne!(id(&[1, 2], STAMP), id(&[1, 2], Stamp { broker_epoch: 4, ..STAMP }));
    }

    #[test]
    fn an_event_that_cannot_be_read_leaves_its_neighbours_alone() {
        let read = read(&headers(), br#"[{"id":"1"},{"id":2},"three",{"id":"4"}]"#);
        assert_eq!(read, [Some("1".to_owned()), None, None, Some("4".to_owned())]);
    }

    #[test]
    fn what_is_no_array_of_a_few_events_is_one_thing_that_cannot_be_read() {
        let array = |count| format!("[{}]", vec!["{}"; count].join(","));
        assert_eq!(read(&headers(), array(EVENTS_MAX).as_bytes()).len(), EVENTS_MAX);
        let (endless, deep) = (array(EVENTS_MAX + 1), "[".repeat(100_000));
        for body in ["", "[]", "{}", "[{}", "[{}]]", &endless, &deep] {
            let headers = headers();
            let said = Said::of(Some(&headers), body.as_bytes());
            assert!(matches!(said, Said::Alone(Err(EnvelopeError::Unreadable { .. }))), "{:?}", body.get(..9));
        }
    }
}
