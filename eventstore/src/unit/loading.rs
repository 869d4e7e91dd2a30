use chrono::{DateTime, Utc};

use super::Fold;
use crate::cache::AnyState;
use crate::snapshot::thaw;
use crate::{Aggregate, Digest, Need, Recorded, Snapshot, Version};

type Thaw = fn(&Snapshot) -> Option<Box<dyn AnyState>>;

/// How a stream becomes a state, its aggregate's type forgotten.
#[derive(Clone, Copy)]
pub(crate) struct Folding {
    pub(super) fold: Fold,
    /// Where its aggregate has snapshots.
    thaw: Option<Thaw>,
}

impl Folding {
    pub(super) fn of<A: Aggregate>() -> Self {
        Self { fold: super::fold::<A>, thaw: A::SNAPSHOT.map(|_| thaw::<A> as _) }
    }
}

/// A stream that is being folded, a page at a time.
pub(super) struct Loading {
    folding: Folding,
    state: Result<Option<Box<dyn AnyState>>, Need>,
    pub(super) version: Version,
    /// The digest of that version.
    pub(super) head: Option<Digest>,
    /// When that version happened; not known of a snapshot.
    pub(super) time: DateTime<Utc>,
    /// The version of the snapshot it began with.
    pub(super) snapshot: Version,
}

impl Loading {
    pub(super) fn new(folding: Folding) -> Self {
        Self {
            folding,
            state: Ok(None),
            version: Version::NONE,
            head: None,
            time: DateTime::<Utc>::MIN_UTC,
            snapshot: Version::NONE,
        }
    }

    pub(super) fn is_snapshotted(&self) -> bool {
        self.folding.thaw.is_some()
    }

    /// Begins with a snapshot instead of nothing; false when it cannot be read.
    pub(super) fn begin_with(&mut self, snapshot: &Snapshot) -> bool {
        let Some(state) = self.folding.thaw.and_then(|thaw| thaw(snapshot)) else { return false };
        self.state = Ok(Some(state));
        self.version = snapshot.version;
        self.head = snapshot.head;
        self.snapshot = snapshot.version;
        true
    }

    pub(super) fn feed(&mut self, events: &[Recorded]) {
        if let Ok(state) = &mut self.state {
            let folded = (self.folding.fold)(state.take(), events);
            self.state = folded.map(Some).map_err(Need::from);
        }
        if let Some(last) = events.last() {
            (self.version, self.head, self.time) = (last.version, last.digest, last.time);
        }
    }

    pub(super) fn end(self) -> Result<Box<dyn AnyState>, Need> {
        match self.state? {
            Some(state) => Ok(state),
            None => (self.folding.fold)(None, &[]).map_err(Need::from),
        }
    }
}
