//! The attributes of a message, however they travel: in its body (structured mode, which we write) or in its headers
//! (binary mode, as programs before this one wrote; what they published is in streams and among dead letters).

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use async_nats::{HeaderMap, HeaderName};
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::EnvelopeError;

/// The header that says whether the body is a CloudEvent as a whole.
pub(super) const CONTENT_TYPE: HeaderName = HeaderName::from_static("content-type");
/// The media type of a CloudEvent in JSON (CloudEvents JSON format 1.0.2, section 3).
pub(super) const STRUCTURED: &str = "application/cloudevents+json";

/// The media type of several (section 4 there).
pub(super) const BATCH: &str = "application/cloudevents-batch+json";

/// Whether the headers give the body this media type, with whatever parameters (`; charset=utf-8`; RFC 9110, 8.3.1).
pub(super) fn is_of(media_type: &str, headers: Option<&HeaderMap>) -> bool {
    let mut all = headers.into_iter().flat_map(HeaderMap::iter);
    let found = all.find(|(name, _)| AsRef::<str>::as_ref(*name).eq_ignore_ascii_case(CONTENT_TYPE.as_ref()));
    let value = found.and_then(|(_, values)| values.first());
    value.is_some_and(|value| {
        let kind = value.as_str().split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case(media_type)
    })
}

/// A text of a CloudEvent: as it stands in the body, or, where it is written with escapes, what they mean.
pub(super) struct Text<'m>(Cow<'m, str>);

impl<'de: 'm, 'm> Deserialize<'de> for Text<'m> {
    fn deserialize<D: Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
        text.deserialize_str(Reading(PhantomData))
    }
}

struct Reading<'m>(PhantomData<&'m ()>);

impl<'de: 'm, 'm> Visitor<'de> for Reading<'m> {
    type Value = Text<'m>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Text<'m>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text<'m>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

/// What a message says of itself. Nothing is checked but that it can be read; an attribute that is absent is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes<'m> {
    /// `1.0`.
    pub spec_version: Option<Cow<'m, str>>,
    /// The publisher's event id.
    pub id: Option<Cow<'m, str>>,
    /// Who publishes: `/farmera/orders`.
    pub source: Option<Cow<'m, str>>,
    /// The full proto name of the data.
    pub message_type: Option<Cow<'m, str>>,
    /// The stream it tells of: `<category>/<uuid>`.
    pub about: Option<Cow<'m, str>>,
    /// When the event was stored, RFC 3339.
    pub time: Option<Cow<'m, str>>,
    /// The saga it belongs to.
    pub correlation: Option<Cow<'m, str>>,
    /// The message it answers.
    pub causation: Option<Cow<'m, str>>,
    /// The question that it asks or answers: the same in every attempt to ask it, and in every answer to it. Each
    /// message has its own `id` and its own id for the broker all the same, or the broker would take an attempt for a
    /// duplicate of the one before. Absent in news.
    pub request: Option<Cow<'m, str>>,
    /// W3C trace context.
    pub trace: Option<Cow<'m, str>>,
    /// The version of the event in its stream, 20 digits.
    pub sequence: Option<Cow<'m, str>>,
    /// The history of the publisher's store.
    pub store_epoch: Option<Cow<'m, str>>,
    /// The proto3 JSON of the message.
    pub data: &'m [u8],
}

/// A CloudEvent as JSON. Names are those of CloudEvents and of its extensions, see the module above.
#[derive(Deserialize)]
pub(super) struct Structured<'m> {
    #[serde(borrow)]
    specversion: Option<Text<'m>>,
    #[serde(borrow)]
    id: Option<Text<'m>>,
    #[serde(borrow)]
    source: Option<Text<'m>>,
    #[serde(borrow, rename = "type")]
    message_type: Option<Text<'m>>,
    #[serde(borrow)]
    subject: Option<Text<'m>>,
    #[serde(borrow)]
    time: Option<Text<'m>>,
    #[serde(borrow)]
    correlationid: Option<Text<'m>>,
    #[serde(borrow)]
    causationid: Option<Text<'m>>,
    #[serde(borrow)]
    requestid: Option<Text<'m>>,
    #[serde(borrow)]
    traceparent: Option<Text<'m>>,
    #[serde(borrow)]
    sequence: Option<Text<'m>>,
    #[serde(borrow)]
    storeepoch: Option<Text<'m>>,
    #[serde(borrow)]
    data: Option<&'m RawValue>,
}

impl<'m> Attributes<'m> {
    /// Reads what a message with these headers and this body says.
    ///
    /// # Errors
    /// [`EnvelopeError::Unreadable`]: the body claims to be a CloudEvent and is none.
    pub fn of(headers: Option<&'m HeaderMap>, body: &'m [u8]) -> Result<Self, EnvelopeError> {
        if is_of(STRUCTURED, headers) {
            return Self::in_body(body);
        }
        Ok(headers.map_or(Self { data: body, ..Self::default() }, |headers| Self::in_headers(headers, body)))
    }

    pub(super) fn in_body(body: &'m [u8]) -> Result<Self, EnvelopeError> {
        let read = serde_json::from_slice::<Structured<'m>>(body);
        read.map(Self::from).map_err(|error| EnvelopeError::Unreadable { reason: error.to_string() })
    }

    fn in_headers(headers: &'m HeaderMap, body: &'m [u8]) -> Self {
        let text =
            |name: &'static str| headers.get(HeaderName::from_static(name)).map(|value| Cow::Borrowed(value.as_str()));
        Self {
            spec_version: text("ce-specversion"),
            id: text("ce-id"),
            source: text("ce-source"),
            message_type: text("ce-type"),
            about: text("ce-subject"),
            time: text("ce-time"),
            correlation: text("ce-correlationid"),
            causation: text("ce-causationid"),
            request: text("ce-requestid"),
            trace: text("traceparent"),
            sequence: text("ce-sequence"),
            store_epoch: text("ce-storeepoch"),
            data: body,
        }
    }
}

impl<'m> From<Structured<'m>> for Attributes<'m> {
    fn from(read: Structured<'m>) -> Self {
        let text = |read: Option<Text<'m>>| read.map(|Text(text)| text);
        Self {
            spec_version: text(read.specversion),
            id: text(read.id),
            source: text(read.source),
            message_type: text(read.message_type),
            about: text(read.subject),
            time: text(read.time),
            correlation: text(read.correlationid),
            causation: text(read.causationid),
            request: text(read.requestid),
            trace: text(read.traceparent),
            sequence: text(read.sequence),
            store_epoch: text(read.storeepoch),
            data: read.data.map_or(&[], |data| data.get().as_bytes()),
        }
    }
}

/// The attributes of a message that is sealed, in the order they are written.
#[derive(Serialize)]
pub(super) struct Written<'s> {
    pub(super) specversion: &'static str,
    pub(super) id: Uuid,
    pub(super) source: &'s str,
    #[serde(rename = "type")]
    pub(super) message_type: &'static str,
    pub(super) subject: &'s str,
    pub(super) time: String,
    pub(super) datacontenttype: &'static str,
    pub(super) correlationid: Uuid,
    pub(super) causationid: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) requestid: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) traceparent: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sequence: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) storeepoch: Option<Uuid>,
}

impl Written<'_> {
    /// The whole CloudEvent around `data`, which is JSON and is not looked into.
    pub(super) fn around(&self, data: &[u8]) -> Vec<u8> {
        const ATTRIBUTES_BYTES: usize = 704;
        let mut event = Vec::with_capacity(ATTRIBUTES_BYTES + data.len());
        // Texts and ids: writing them as JSON to memory cannot fail.
        if serde_json::to_writer(&mut event, self).is_ok() {
            event.pop();
        }
        event.extend_from_slice(b",\"data\":");
        event.extend_from_slice(data);
        event.push(b'}');
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn structured() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, STRUCTURED);
        headers
    }

    #[test]
    fn both_modes_say_the_same() {
        let body = br#"{"specversion":"1.0","id":"7","type":"t","subject":"order/1","storeepoch":"9","data":{"a":1}}"#;
        let in_body = structured();
        let mut in_headers = HeaderMap::new();
        for (name, value) in [
            ("ce-specversion", "1.0"),
            ("ce-id", "7"),
            ("ce-type", "t"),
            ("ce-subject", "order/1"),
            ("ce-storeepoch", "9"),
        ] {
            in_headers.insert(name, value);
        }
        let said = Attributes::of(Some(&in_body), body).unwrap();
        assert_eq!(said, Attributes::of(Some(&in_headers), br#"{"a":1}"#).unwrap());
        assert_eq!((said.id.as_deref(), said.source, said.data), (Some("7"), None, br#"{"a":1}"#.as_slice()));
    }

    #[test]
    fn what_programs_of_others_write_is_the_same_event() {
        let ours = br#"{"specversion":"1.0","id":"7","source":"/farmera/payment","type":"t","data":{"a":1}}"#;
        let theirs = br#"{"specversion":"1.0","id":"\u0037","source":"\/farmera\/payment","type":"t","data":{"a":1}}"#;
        let structured = structured();
        let said = Attributes::of(Some(&structured), ours).unwrap();
        for kind in
            [STRUCTURED, "application/cloudevents+json; charset=utf-8", "Application/CloudEvents+JSON;charset=UTF-8"]
        {
            for name in ["content-type", "Content-Type"] {
                let mut headers = HeaderMap::new();
                headers.insert(name, kind);
                assert_eq!(Attributes::of(Some(&headers), theirs).unwrap(), said, "{name}: {kind}");
            }
        }
        assert!(matches!(said.source, Some(Cow::Borrowed(_))), "what needs no escapes is not copied");
    }

    #[test]
    fn a_body_that_only_claims_to_be_an_event_is_unreadable() {
        let headers = structured();
        for body in ["", "no JSON", "[]", "{\"id\":7}", "{\"data\":{}", "{\"id\":\"1\",\"id\":\"2\"}"] {
            let read = Attributes::of(Some(&headers), body.as_bytes());
            assert!(matches!(read, Err(EnvelopeError::Unreadable { .. })), "{body}");
        }
    }

    #[test]
    fn what_comes_without_headers_says_nothing_of_itself() {
        assert_eq!(Attributes::of(None, b"x").unwrap(), Attributes { data: b"x", ..Attributes::default() });
    }
}
