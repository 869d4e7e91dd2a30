use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{Covered, Cursor, Digest, NewEvent, StoreError, StreamId, Version};

/// Events for one stream, and the version the writer believes it has. Their digests are made with it and cannot be
/// parted from it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Append {
    /// Where.
    pub stream: StreamId,
    /// The stream's version before the first of `events`; [`Version::NONE`] for a new stream.
    pub expected: Version,
    /// What happened, oldest first; at least one.
    events: Vec<NewEvent>,
    /// One per event.
    digests: Vec<Digest>,
}

impl Append {
    /// `events`, oldest first, to be stored after version `expected`, whose digest is `previous`: `None` for a new stream,
    /// or when its last event is from before there were digests. Times are cut to the microseconds that stores keep.
    #[must_use]
    pub fn new(stream: StreamId, expected: Version, previous: Option<Digest>, mut events: Vec<NewEvent>) -> Self {
        let mut digests = Vec::with_capacity(events.len());
        let (mut previous, mut room) = (previous, Vec::with_capacity(1024));
        for (index, event) in events.iter_mut().enumerate() {
            event.time = to_micros(event.time);
            let covered = Covered::of(stream, expected.plus(index + 1), event);
            let digest = covered.digest_with(previous, &mut room);
            digests.push(digest);
            previous = Some(digest);
        }
        Self { stream, expected, events, digests }
    }

    /// What happened, oldest first.
    #[must_use]
    pub fn events(&self) -> &[NewEvent] {
        &self.events
    }

    /// The events' digests, one for each.
    #[must_use]
    pub fn digests(&self) -> &[Digest] {
        &self.digests
    }

    /// Each event with its digest.
    pub fn into_events(self) -> impl Iterator<Item = (NewEvent, Digest)> {
        self.events.into_iter().zip(self.digests)
    }
}

/// Stores keep microseconds; what is compared later must be what was kept.
pub(crate) fn to_micros(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(time.timestamp_micros()).unwrap_or(time)
}

/// A message that was handled, by the consumer that handled it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct InboxEntry {
    /// The durable consumer's name.
    pub consumer: String,
    /// The message's id.
    pub message: Uuid,
}

/// A stream's wake-up call: at most one per stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimerChange {
    /// Wake the stream at `due` by the database's clock; replaces what was armed.
    Arm {
        /// Whom to wake.
        stream: StreamId,
        /// When.
        due: DateTime<Utc>,
    },
    /// The stream needs no waking any more.
    Disarm {
        /// Whose timer goes.
        stream: StreamId,
    },
}

impl TimerChange {
    /// Whose timer this is.
    #[must_use]
    pub const fn stream(&self) -> StreamId {
        match self {
            Self::Arm { stream, .. } | Self::Disarm { stream } => *stream,
        }
    }
}

/// A message nobody could handle, kept with everything needed to see why and to try it again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadLetter {
    /// The durable consumer that gave up.
    pub consumer: String,
    /// What tells it from every other message: its name, and a digest of what it says where the name alone could be
    /// somebody else's.
    pub message: String,
    /// Whose line it stands in: the stream that its publisher told of (`saga/0199…`). What comes later for the same key
    /// is parked behind it. `None` when that is not known, or not to be believed: nothing waits behind it.
    pub key: Option<String>,
    /// Its place in the broker's stream: the order within a line. 0 when it is not known.
    pub sequence: u64,
    /// The subject it came on.
    pub subject: String,
    /// Its headers as JSON text.
    pub headers: String,
    /// Its body.
    pub body: Vec<u8>,
    /// Why, in words for an operator.
    pub reason: String,
}

/// Everything one batch leads to. A store takes all of it or nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Commit {
    /// Events, at most one entry per stream.
    pub appends: Vec<Append>,
    /// Timers, at most one entry per stream.
    pub timers: Vec<TimerChange>,
    /// Messages that are done.
    pub inbox: Vec<InboxEntry>,
    /// Messages that are given up; a repeated one is kept once, one that was discarded stays so. Their keys are blocked
    /// from now on, see [`DeadLetters`](crate::DeadLetters).
    pub dead_letters: Vec<DeadLetter>,
}

impl Commit {
    /// True when there is nothing to store.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.appends.is_empty() && self.timers.is_empty() && self.inbox.is_empty() && self.dead_letters.is_empty()
    }

    /// How many events it holds.
    #[must_use]
    pub fn event_count(&self) -> usize {
        self.appends.iter().map(|append| append.events.len()).sum()
    }
}

/// What a store says of a commit it took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Committed {
    /// The place of the commit's last event; [`Cursor::START`] when it held none. Whoever waits until a projection has
    /// reached it reads its own write.
    pub last: Cursor,
    /// The database's clock at the commit.
    pub now: DateTime<Utc>,
}

/// Why nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another writer was first. Load the stream again, decide again.
    #[error("stream {stream} is at version {actual}, expected {expected}")]
    Conflict {
        /// The stream in question (the first one found).
        stream: StreamId,
        /// What the writer believed.
        expected: Version,
        /// What is true.
        actual: Version,
    },
    /// The message was handled before. Drop it.
    #[error("message {message} was handled before by {consumer}")]
    Duplicate {
        /// The consumer that has it.
        consumer: String,
        /// The message.
        message: Uuid,
    },
    /// The store will never take this commit: its data is at fault. Leave the culprit out.
    #[error("the commit cannot be stored: {0}")]
    Refused(#[source] StoreError),
    /// The store did not answer. Whether the commit took place is unknown: load again, then decide again.
    #[error("the event store is unavailable")]
    Unavailable(#[source] StoreError),
}
