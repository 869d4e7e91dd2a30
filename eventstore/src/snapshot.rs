//! States of long streams, written down so that loading need not fold from the beginning.
//!
//! A snapshot is a copy of what the log says, never a truth of its own: it may be lost or dropped at any time, and then
//! the stream is folded from its first event. It is believed only when the log confirms it: the stream holds the very event
//! of the snapshot's version, by its digest. A store that was restored to an earlier day, or a snapshot of another shape than this
//! program's, costs a longer fold and nothing else.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cache::AnyState;
use crate::{Aggregate, Digest, StreamId, Version};

/// How a state is written down and read back.
///
/// The number names the shape **and** the fold that led to it. Whoever changes what the state holds, or what an event
/// does to it, counts it up: snapshots of other numbers are ignored and replaced in time.
pub struct SnapshotShape<A> {
    number: u16,
    freeze: fn(&A) -> Result<String, serde_json::Error>,
    thaw: fn(&str) -> Result<A, serde_json::Error>,
}

impl<A> Clone for SnapshotShape<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for SnapshotShape<A> {}

impl<A> SnapshotShape<A> {
    /// The number.
    #[must_use]
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// The written form of a state.
    ///
    /// # Errors
    /// It has none.
    pub fn freeze(&self, state: &A) -> Result<String, serde_json::Error> {
        (self.freeze)(state)
    }

    /// The state of a written form.
    ///
    /// # Errors
    /// It is not one of this shape.
    pub fn thaw(&self, text: &str) -> Result<A, serde_json::Error> {
        (self.thaw)(text)
    }
}

impl<A: Serialize + DeserializeOwned> SnapshotShape<A> {
    /// The shape of this number (1 to 32,767): the state's serde form as JSON.
    #[must_use]
    pub const fn json(number: u16) -> Self {
        Self { number, freeze: |state| serde_json::to_string(state), thaw: |text| serde_json::from_str(text) }
    }
}

/// A state as it was at a version of its stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Whose.
    pub stream: StreamId,
    /// The version of the last event that is folded in.
    pub version: Version,
    /// The number of its [`SnapshotShape`].
    pub shape: u16,
    /// The digest of that event: by it the log confirms the snapshot. `None` for an event without one.
    pub head: Option<Digest>,
    /// The state, JSON text; at most [`Snapshot::BYTES_MAX`].
    pub state: String,
}

impl Snapshot {
    /// The largest state that is written down, in bytes. A state that grows beyond has no business with snapshots: it
    /// holds its history.
    pub const BYTES_MAX: usize = 4 * 1024 * 1024;
}

/// A state that is to be written down, not yet turned into text: that happens away from the commits.
pub struct Draft {
    pub(crate) stream: StreamId,
    pub(crate) version: Version,
    pub(crate) head: Option<Digest>,
    pub(crate) state: Box<dyn AnyState>,
}

/// Why a state cannot be written down. Nothing is lost: the stream is folded without it.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// Its aggregate has no snapshots.
    #[error("its aggregate has no snapshots")]
    NoShape,
    /// It has no JSON form.
    #[error("it has no JSON form")]
    NotJson(#[source] serde_json::Error),
    /// It is over [`Snapshot::BYTES_MAX`].
    #[error("it has {0} bytes")]
    TooLarge(usize),
}

impl Draft {
    /// Whose.
    #[must_use]
    pub const fn stream(&self) -> StreamId {
        self.stream
    }

    /// The state in its written form.
    ///
    /// # Errors
    /// [`DraftError`]: leave it.
    pub fn freeze(&self) -> Result<Snapshot, DraftError> {
        let (shape, text) = (*self.state).freeze().ok_or(DraftError::NoShape)?;
        let state = text.map_err(DraftError::NotJson)?;
        if state.len() > Snapshot::BYTES_MAX {
            return Err(DraftError::TooLarge(state.len()));
        }
        Ok(Snapshot { stream: self.stream, version: self.version, shape, head: self.head, state })
    }
}

/// `state` in its written form with its shape's number; `None` when its aggregate has no snapshots.
pub(crate) fn freeze<A: Aggregate>(state: &A) -> Option<(u16, Result<String, serde_json::Error>)> {
    A::SNAPSHOT.map(|shape| (shape.number, shape.freeze(state)))
}

/// The state in `snapshot`; `None` when it is of another shape or cannot be read.
pub(crate) fn thaw<A: Aggregate>(snapshot: &Snapshot) -> Option<Box<dyn AnyState>> {
    let shape = A::SNAPSHOT.filter(|shape| shape.number == snapshot.shape)?;
    let state = shape.thaw(&snapshot.state).ok()?;
    Some(Box::new(state))
}
