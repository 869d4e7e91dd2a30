use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::{NewEvent, Recorded, StreamId, Version};

/// SHA-256 over one event and, by way of the digest before it, over its whole stream up to there.
///
/// Whoever holds the digest of a stream's last event can tell whether any event of the stream was changed, removed,
/// added or moved since. Printed as 64 hexadecimal digits.
///
/// Computed by the writer, which knows the digest before: a version of a stream never changes, so the digest that was
/// read together with version n is that of version n for ever, and an append that expects version n is stored on version
/// n or not at all. There is no stale digest without a conflict.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; Digest::BYTES]);

/// The first byte of everything that is digested: a different encoding would be another number.
const ENCODING: u8 = 1;

impl Digest {
    /// How long one is.
    pub const BYTES: usize = 32;

    /// A digest as it was stored; `None` when there are not [`Self::BYTES`] bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The digest itself.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Why a text is no [`Digest`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a digest is written as 64 hexadecimal digits")]
pub struct NotADigest;

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect();
        let pairs = digits.ok_or(NotADigest)?;
        let bytes: Option<Vec<u8>> = pairs.chunks(2).map(|pair| Some(pair.first()? << 4 | pair.get(1)?)).collect();
        bytes.and_then(|bytes| Self::from_bytes(&bytes)).ok_or(NotADigest)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <std::borrow::Cow<'de, str>>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Everything of an event that its digest covers: all that is stored of it but its place in the log, which a copy of the
/// stream in another database does not share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Covered<'a> {
    /// The stream's category.
    pub category: &'a str,
    /// The stream's id.
    pub stream: Uuid,
    /// The event's version in it.
    pub version: u64,
    /// The event's id.
    pub id: Uuid,
    /// Its name.
    pub type_name: &'a str,
    /// The version of its payload's shape.
    pub schema_version: u16,
    /// When; whole microseconds count.
    pub time: DateTime<Utc>,
    /// The process it belongs to.
    pub correlation: Uuid,
    /// What led to it.
    pub causation: Uuid,
    /// Who did it.
    pub actor: &'a str,
    /// The trace it belongs to.
    pub trace: Option<&'a str>,
    /// Its payload, byte for byte.
    pub payload: &'a str,
}

impl<'a> Covered<'a> {
    pub(crate) fn of(stream: StreamId, version: Version, event: &'a NewEvent) -> Self {
        Self {
            category: stream.category.as_str(),
            stream: stream.id,
            version: version.get(),
            id: event.id.0,
            type_name: event.type_name,
            schema_version: event.schema_version,
            time: event.time,
            correlation: event.cause.correlation,
            causation: event.cause.causation,
            actor: event.cause.actor.as_str(),
            trace: event.cause.trace.as_ref().map(|trace| trace.0.as_str()),
            payload: &event.payload,
        }
    }

    /// The digest of this event after one whose digest is `previous`: `None` for the first of a stream, or after one
    /// from before there were digests.
    #[must_use]
    pub fn digest(&self, previous: Option<Digest>) -> Digest {
        self.digest_with(previous, &mut Vec::new())
    }

    /// [`Self::digest`] with room to work in that may be used again.
    pub(crate) fn digest_with(&self, previous: Option<Digest>, room: &mut Vec<u8>) -> Digest {
        room.clear();
        self.encode(previous, room);
        let mut bytes = [0; Digest::BYTES];
        // Both are as long as SHA-256 is.
        bytes.iter_mut().zip(digest(&SHA256, room).as_ref()).for_each(|(to, from)| *to = *from);
        Digest(bytes)
    }

    /// Unambiguous: what has no fixed length is preceded by its length, what may be missing by whether it is there.
    fn encode(&self, previous: Option<Digest>, to: &mut Vec<u8>) {
        to.push(ENCODING);
        optional(to, previous.as_ref().map(|digest| &digest.0[..]));
        bytes(to, self.category.as_bytes());
        to.extend_from_slice(self.stream.as_bytes());
        to.extend_from_slice(&self.version.to_be_bytes());
        to.extend_from_slice(self.id.as_bytes());
        bytes(to, self.type_name.as_bytes());
        to.extend_from_slice(&self.schema_version.to_be_bytes());
        to.extend_from_slice(&self.time.timestamp_micros().to_be_bytes());
        to.extend_from_slice(self.correlation.as_bytes());
        to.extend_from_slice(self.causation.as_bytes());
        bytes(to, self.actor.as_bytes());
        optional(to, self.trace.map(str::as_bytes));
        bytes(to, self.payload.as_bytes());
    }
}

impl Recorded {
    /// What its digest covers.
    #[must_use]
    pub fn covered(&self) -> Covered<'_> {
        Covered {
            category: self.stream.category.as_str(),
            stream: self.stream.id,
            version: self.version.get(),
            id: self.id.0,
            type_name: &self.type_name,
            schema_version: self.schema_version,
            time: self.time,
            correlation: self.cause.correlation,
            causation: self.cause.causation,
            actor: self.cause.actor.as_str(),
            trace: self.cause.trace.as_ref().map(|trace| trace.0.as_str()),
            payload: &self.payload,
        }
    }
}

fn bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    to.extend_from_slice(bytes);
}

fn optional(to: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => to.push(0),
        Some(value) => {
            to.push(1);
            bytes(to, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Covered<'static> {
        Covered {
            category: "order",
            stream: Uuid::from_u128(1),
            version: 2,
            id: Uuid::from_u128(3),
            type_name: "OrderPlaced",
            schema_version: 4,
            time: DateTime::UNIX_EPOCH,
            correlation: Uuid::from_u128(5),
            causation: Uuid::from_u128(6),
            actor: "service:orders",
            trace: None,
            payload: "{}",
        }
    }

    /// Computed by another program from the description alone.
    #[test]
    fn the_encoding_never_changes() {
        let first = event().digest(None);
        assert_eq!(first.to_string(), "3702ca82285f6ced1c4cf8074f0448bf5d392caf5466db12059d9e245cc4cbaf");
        let second = event().digest(Some(first));
        assert_eq!(second.to_string(), "df30d2054ec2e07b62bf7a8185938c701c0fd4952d8f6b5e804d28a61d849e9a");
    }

    #[test]
    fn everything_counts() {
        let event = event();
        let changed = [
            Covered { category: "saga", ..event },
            Covered { stream: Uuid::nil(), ..event },
            Covered { version: 3, ..event },
            Covered { id: Uuid::nil(), ..event },
            Covered { type_name: "OrderPlaceD", ..event },
            Covered { schema_version: 5, ..event },
            Covered { time: DateTime::UNIX_EPOCH + chrono::Duration::microseconds(1), ..event },
            Covered { correlation: Uuid::nil(), ..event },
            Covered { causation: Uuid::nil(), ..event },
            Covered { actor: "service:order", ..event },
            Covered { trace: Some(""), ..event },
            Covered { payload: "{} ", ..event },
        ];
        let mut digests: Vec<Digest> = changed.iter().map(|changed| changed.digest(None)).collect();
        digests.extend([event.digest(None), event.digest(Some(event.digest(None)))]);
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), changed.len() + 2);
    }

    #[test]
    fn neighbouring_texts_do_not_run_into_each_other() {
        let one = Covered { category: "order", type_name: "sPlaced", ..event() };
        let other = Covered { category: "orders", type_name: "Placed", ..event() };
        assert_ne!(one.digest(None), other.digest(None));
    }

    #[test]
    fn a_digest_survives_being_written_down() {
        let digest = event().digest(None);
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!("".parse::<Digest>(), Err(NotADigest));
        assert_eq!(digest.to_string()[1..].parse::<Digest>(), Err(NotADigest));
        assert_eq!(digest.to_string().replace(|_: char| true, "g").parse::<Digest>(), Err(NotADigest));
    }
}
