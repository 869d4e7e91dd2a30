//! Whether a log still says what was written: gaps, changed events, events nobody understands.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    Actor, Category, Cause, Covered, Cursor, Digest, EventId, Recorded, StreamId, StreamKind, TraceContext, TxId,
    Version,
};

/// An event as it stands in a database, nothing taken for granted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredRow {
    /// Its stream's category.
    pub category: String,
    /// Its stream's id.
    pub stream: Uuid,
    /// Its version.
    pub version: u64,
    /// Its place in the log.
    pub cursor: Cursor,
    /// True when its transaction has a number that the database has not reached: a row that came from elsewhere.
    pub from_the_future: bool,
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub type_name: String,
    /// The version of its payload's shape.
    pub schema_version: i16,
    /// When.
    pub time: DateTime<Utc>,
    /// The process it belongs to.
    pub correlation: Uuid,
    /// What led to it.
    pub causation: Uuid,
    /// Who.
    pub actor: String,
    /// The trace.
    pub trace: Option<String>,
    /// The payload.
    pub payload: String,
    /// What stands where the digest should: empty, a digest, or something else.
    pub digest: Vec<u8>,
}

impl StoredRow {
    fn covered(&self) -> Covered<'_> {
        Covered {
            category: &self.category,
            stream: self.stream,
            version: self.version,
            id: self.id,
            type_name: &self.type_name,
            // A negative one was never written: any other number gives it away.
            schema_version: u16::from_ne_bytes(self.schema_version.to_ne_bytes()),
            time: self.time,
            correlation: self.correlation,
            causation: self.causation,
            actor: &self.actor,
            trace: self.trace.as_deref(),
            payload: &self.payload,
        }
    }

    fn recorded(&self, category: Category) -> Recorded {
        Recorded {
            stream: StreamId::new(category, self.stream),
            version: Version::new(self.version),
            cursor: self.cursor,
            id: EventId(self.id),
            type_name: self.type_name.clone(),
            schema_version: u16::try_from(self.schema_version).unwrap_or_default(),
            payload: self.payload.clone(),
            time: self.time,
            cause: Cause {
                correlation: self.correlation,
                causation: self.causation,
                trace: self.trace.clone().map(TraceContext),
                actor: Actor::new(&self.actor),
            },
            digest: Digest::from_bytes(&self.digest),
        }
    }
}

/// Something that is not as it was written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// Versions were removed or renumbered.
    #[error("versions {from} to {to} are missing")]
    Missing {
        /// The first one.
        from: u64,
        /// The last one.
        to: u64,
    },
    /// The event does not fit its digest and the event before it: one of the two was changed.
    #[error("its digest is not that of the event after version {before}: one of the two was changed")]
    Changed {
        /// The version before; 0 for the first of a stream.
        before: u64,
    },
    /// An event without a digest stands after one that has one.
    #[error("it has no digest although the events before it do")]
    Undigested,
    /// This program cannot read it.
    #[error("{type_name} version {schema_version} cannot be decoded: {reason}")]
    Undecodable {
        /// The event's name.
        type_name: String,
        /// The version of its shape.
        schema_version: i16,
        /// What the decoder said.
        reason: String,
    },
    /// This program knows no such streams.
    #[error("this program knows no streams of this category")]
    UnknownCategory,
    /// No reader of the log will see it before the database's transactions have come that far.
    #[error("written by transaction {}, which this database has not reached: readers of the log do not see it", .0.0)]
    FromTheFuture(TxId),
}

impl Problem {
    /// Its kind in one word, for programs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Changed { .. } => "changed",
            Self::Undigested => "undigested",
            Self::Undecodable { .. } => "undecodable",
            Self::UnknownCategory => "unknown_category",
            Self::FromTheFuture(_) => "from_the_future",
        }
    }
}

/// A stream's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// The version.
    pub version: u64,
    /// The digest of all that stands there, up to that version, computed anew: also for events without one.
    pub digest: Digest,
    /// What the next event's digest is made with.
    chained: Option<Digest>,
}

/// Goes through a log stream by stream: by stream id, then version, then category. Remembers the streams of one id.
pub struct Audit<'a> {
    kinds: &'a [StreamKind],
    stream: Uuid,
    heads: BTreeMap<String, Head>,
    without_digest: u64,
}

impl<'a> Audit<'a> {
    /// Before the first event of a service that knows these kinds.
    #[must_use]
    pub fn new(kinds: &'a [StreamKind]) -> Self {
        Self { kinds, stream: Uuid::nil(), heads: BTreeMap::new(), without_digest: 0 }
    }

    /// How many events are from before there were digests.
    #[must_use]
    pub fn without_digest(&self) -> u64 {
        self.without_digest
    }

    /// When `row` belongs to another stream id than the rows before it: that id and the ends of its streams, by category.
    /// To be asked before [`Audit::row`], and with `None` after the last row.
    pub fn ended(&mut self, row: Option<&StoredRow>) -> Option<(Uuid, BTreeMap<String, Head>)> {
        let goes_on = row.is_some_and(|row| row.stream == self.stream);
        let before = row.map_or(self.stream, |row| std::mem::replace(&mut self.stream, row.stream));
        if goes_on || self.heads.is_empty() {
            return None;
        }
        Some((before, std::mem::take(&mut self.heads)))
    }

    /// Looks at the next event; hands each problem to `found`. Returns its stream's end with it.
    pub fn row(&mut self, row: &StoredRow, mut found: impl FnMut(Problem)) -> Head {
        let before = self.heads.get(&row.category).copied();
        let version = before.map_or(0, |head| head.version);
        if row.from_the_future {
            found(Problem::FromTheFuture(row.cursor.tx));
        }
        let follows = row.version == version + 1;
        if !follows {
            found(Problem::Missing { from: version + 1, to: row.version.saturating_sub(1) });
        }
        let previous = before.and_then(|head| head.chained);
        let digest = row.covered().digest(before.map(|head| head.digest));
        let same_before = before.map(|head| head.digest) == previous;
        let expected = if same_before { digest } else { row.covered().digest(previous) };
        let chained = match Digest::from_bytes(&row.digest) {
            // After a gap nobody knows what the digest was made with.
            Some(stored) if stored != expected && follows => {
                found(Problem::Changed { before: version });
                Some(stored)
            }
            Some(stored) => Some(stored),
            None if row.digest.is_empty() && previous.is_none() => {
                self.without_digest += 1;
                None
            }
            None => {
                let wiped = row.digest.is_empty();
                found(if wiped { Problem::Undigested } else { Problem::Changed { before: version } });
                Some(expected)
            }
        };
        self.decode(row, found);
        let head = Head { version: row.version, digest, chained };
        self.heads.insert(row.category.clone(), head);
        head
    }

    fn decode(&self, row: &StoredRow, mut found: impl FnMut(Problem)) {
        let Some(kind) = self.kinds.iter().find(|kind| kind.category.as_str() == row.category) else {
            // Once per stream is enough.
            if !self.heads.contains_key(&row.category) {
                found(Problem::UnknownCategory);
            }
            return;
        };
        if let Err(error) = kind.decodes(&row.recorded(kind.category)) {
            found(Problem::Undecodable {
                type_name: row.type_name.clone(),
                schema_version: row.schema_version,
                reason: error.source.to_string(),
            });
        }
    }
}
