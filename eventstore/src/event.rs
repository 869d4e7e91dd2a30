use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::{Digest, StreamId, Version};

/// Names one event for ever; also the id of the message that tells others about it. UUIDv7.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub Uuid);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who did it: `customer:<id>`, `service:orders`, `operator:<name>`. At most 128 characters. Cheap to clone: every event
/// carries one.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Actor(Arc<str>);

impl Actor {
    /// The longest name that is kept; a longer one is cut.
    pub const LENGTH_MAX: usize = 128;

    /// An actor by name; what is over [`Self::LENGTH_MAX`] characters is cut off.
    #[must_use]
    pub fn new(name: impl AsRef<str>) -> Self {
        let name = name.as_ref();
        let kept = name.char_indices().nth(Self::LENGTH_MAX).and_then(|(end, _)| name.get(..end));
        Self(Arc::from(kept.unwrap_or(name)))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <std::borrow::Cow<'de, str>>::deserialize(deserializer).map(Self::new)
    }
}

/// A W3C `traceparent`, kept with the event so that a trace can be followed through the log.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TraceContext(pub String);

impl TraceContext {
    /// What a header or an attribute says, when it is a `traceparent` as W3C writes it, of version 00:
    /// `00-<32 hex digits>-<16>-<2>`. `None` for everything else: a trace is lost, never a message or a request.
    #[must_use]
    pub fn read(said: &str) -> Option<Self> {
        let is_hex = |part: &str, digits: usize| {
            part.len() == digits && part.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
        };
        let mut parts = said.split('-');
        let [version, trace, parent, flags] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
        let whole = version == "00" && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
        (whole && parts.next().is_none()).then(|| Self(said.to_owned()))
    }
}

/// Where a change comes from: stamped on every event that it leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cause {
    /// The process the change belongs to: the saga's id, or the id of the command where there is no saga.
    pub correlation: Uuid,
    /// The message or command that led to it.
    pub causation: Uuid,
    /// The trace of the caller, if it sent one.
    pub trace: Option<TraceContext>,
    /// Who.
    pub actor: Actor,
}

/// An event before it has a version and a position.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewEvent {
    /// Its id; made by the shell.
    pub id: EventId,
    /// The event's name, past tense, CamelCase: `OrderPlaced`. At most 64 characters.
    pub type_name: &'static str,
    /// Version of the payload's shape, from 1.
    pub schema_version: u16,
    /// The payload as JSON text.
    pub payload: String,
    /// When, by the database's clock as the process knows it; microseconds.
    pub time: DateTime<Utc>,
    /// Where it comes from.
    pub cause: Cause,
}

/// The transaction that wrote an event: Postgres' `xid8`, never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TxId(pub u64);

/// A place in the log in commit order.
///
/// The pair, not the position alone: a position is drawn when the row is written, a transaction may become visible
/// long after a younger one, and a cursor over positions would step over it for ever. All readers sort by
/// `(tx, position)` and stop below the oldest transaction that is still open.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Cursor {
    /// The writing transaction.
    pub tx: TxId,
    /// The row's number within the log.
    pub position: u64,
}

impl Cursor {
    /// Before the first event.
    pub const START: Self = Self { tx: TxId(0), position: 0 };
}

/// An event as the store keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Its version in the stream, from 1.
    pub version: Version,
    /// Its place in the log.
    pub cursor: Cursor,
    /// Its id.
    pub id: EventId,
    /// Its name.
    pub type_name: String,
    /// The version of its payload's shape.
    pub schema_version: u16,
    /// Its payload, JSON text.
    pub payload: String,
    /// When it happened; microseconds.
    pub time: DateTime<Utc>,
    /// Where it came from.
    pub cause: Cause,
    /// Its digest; `None` for one that was stored before there were digests.
    pub digest: Option<Digest>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_cut_at_its_limit_between_characters() {
        let long = "ä".repeat(Actor::LENGTH_MAX + 5);
        assert_eq!(Actor::new(long).as_str().chars().count(), Actor::LENGTH_MAX);
        assert_eq!(Actor::new("operator:ana").as_str(), "operator:ana");
    }
}

#[cfg(test)]
mod traces {
    use super::TraceContext;

    #[test]
    fn what_is_no_traceparent_is_no_trace() {
        let sound = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(TraceContext::read(sound), Some(TraceContext(sound.to_owned())));
        let too_long = format!("{sound}-{}", "x".repeat(600));
        let longer_parts = sound.replace("00f067aa", "00f067aa00");
        for other in ["", "00", "x", &too_long, &longer_parts, &sound.to_uppercase(), &sound.replace("00-4", "01-4")] {
            assert_eq!(TraceContext::read(other), None, "{other}");
        }
    }
}
