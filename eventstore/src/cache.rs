use std::any::Any;
use std::collections::HashMap;

use chrono::{DateTime, Utc};
use foldhash::fast::RandomState;

use crate::{Aggregate, Digest, StreamId, Version, snapshot};

/// A state of some aggregate, its type forgotten.
pub(crate) trait AnyState: Any + Send + Sync {
    fn clone_box(&self) -> Box<dyn AnyState>;
    fn as_any(&self) -> &dyn Any;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
    /// Has its aggregate snapshots?
    fn is_snapshotted(&self) -> bool;
    /// Its written form, with the number of the shape.
    fn freeze(&self) -> Option<(u16, Result<String, serde_json::Error>)>;
}

impl<A: Aggregate> AnyState for A {
    fn clone_box(&self) -> Box<dyn AnyState> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }

    fn is_snapshotted(&self) -> bool {
        A::SNAPSHOT.is_some()
    }

    fn freeze(&self) -> Option<(u16, Result<String, serde_json::Error>)> {
        snapshot::freeze(self)
    }
}

/// What is known of a stream's row in the timer table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wake {
    /// Nothing: it may be armed or not.
    Unknown,
    /// There is no row.
    Asleep,
    /// There is a row, due then.
    At(DateTime<Utc>),
}

/// A folded stream.
pub(crate) struct Cached {
    pub(crate) state: Box<dyn AnyState>,
    pub(crate) version: Version,
    /// The digest of that version. While a unit holds events for the stream, that of the version before them.
    pub(crate) head: Option<Digest>,
    /// When its last event happened, as far as it was read: within a stream time never runs backwards, whatever clocks do.
    pub(crate) time: DateTime<Utc>,
    pub(crate) wake: Wake,
    /// The version of the stream's last snapshot, as far as this process knows.
    pub(crate) snapshot: Version,
}

impl Cached {
    /// A stream as it was loaded; `head` is the digest of its version, `snapshot` is the version of the snapshot that it began with.
    pub(crate) fn new(state: Box<dyn AnyState>, version: Version, head: Option<Digest>, snapshot: Version) -> Self {
        let wake = if version == Version::NONE { Wake::Asleep } else { Wake::Unknown };
        Self { state, version, head, time: DateTime::<Utc>::MIN_UTC, wake, snapshot }
    }

    /// The same, with the time of its last event.
    pub(crate) fn at(self, time: DateTime<Utc>) -> Self {
        Self { time, ..self }
    }
}

impl Clone for Cached {
    fn clone(&self) -> Self {
        // The method of the state inside the box: a call on the box itself would clone the box as an aggregate.
        let Self { version, head, time, wake, snapshot, .. } = *self;
        Self { state: (*self.state).clone_box(), version, head, time, wake, snapshot }
    }
}

/// Folded streams that were used lately, so that the next input for them needs no read.
///
/// Never wrong, only stale: whoever decides on a stale state is refused by the append's expected version, and the
/// entry is dropped. Bounded by two generations: when the young one is full it becomes the old one, and what was not
/// used in between is forgotten. That happens between units of work only, so it holds at most twice `capacity`
/// streams and those of one batch.
pub struct Cache {
    young: HashMap<StreamId, Cached, RandomState>,
    old: HashMap<StreamId, Cached, RandomState>,
    capacity: usize,
}

impl Cache {
    /// A cache for about `capacity` (at least 1) streams.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { young: HashMap::default(), old: HashMap::default(), capacity: capacity.max(1) }
    }

    /// How many streams it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// True when it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }

    pub(crate) fn contains(&mut self, stream: StreamId) -> bool {
        self.get_mut(stream).is_some()
    }

    pub(crate) fn get_mut(&mut self, stream: StreamId) -> Option<&mut Cached> {
        if let Some(cached) = self.old.remove(&stream) {
            self.insert(stream, cached);
        }
        self.young.get_mut(&stream)
    }

    pub(crate) fn rotate(&mut self) {
        if self.young.len() >= self.capacity {
            self.old = std::mem::take(&mut self.young);
        }
    }

    pub(crate) fn insert(&mut self, stream: StreamId, cached: Cached) {
        self.young.insert(stream, cached);
    }

    pub(crate) fn remove(&mut self, stream: StreamId) -> Option<Cached> {
        let young = self.young.remove(&stream);
        let old = self.old.remove(&stream);
        young.or(old)
    }
}
