use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::{
    Category, Commit, CommitError, Committed, Cursor, Recorded, Snapshot, StoredDeadLetter, StreamId, TxId, Version,
};

/// What lies beneath: the database driver's own error. Its text is for logs, not for callers.
pub type StoreError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store did not answer in time. Try again with backoff.
    #[error("the event store is unavailable")]
    Unavailable(#[source] StoreError),
    /// A stored row cannot be what this program wrote. Nothing is returned; an operator must look.
    #[error("a stored row is corrupt: {0}")]
    Corrupt(String),
}

/// A timer whose time has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DueTimer {
    /// Whom to wake.
    pub stream: StreamId,
    /// When it was due.
    pub due: DateTime<Utc>,
}

/// What [`EventStore::claim_due_timers`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DueTimers {
    /// The timers that are due, earliest first. They are claimed: nobody else gets them until the lease ends.
    pub due: Vec<DueTimer>,
    /// The database's clock at the claim; every `due` above is at or before it.
    pub now: DateTime<Utc>,
    /// When to look again at the latest: the earliest due time of those that were not claimed (in the past when `limit`
    /// left some out), or the end of a lease, of these or of another's claim: whoever holds it may die.
    pub next: Option<DateTime<Utc>>,
}

/// A store of events. See the crate's page for its promises; the `contract` suite proves them.
///
/// Every method has a deadline of its own and answers `Unavailable` when it passes.
#[async_trait::async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Stores everything in `commit`, or nothing.
    ///
    /// # Errors
    /// [`CommitError`] says whether to load again, to drop the message, to leave the culprit out, or to wait.
    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError>;

    /// Reads several streams at once, each after the version it is named with, oldest event first per stream.
    /// At most `limit` events (1..=100,000) in all: a full page may end in the middle of a stream, ask again from
    /// there. Streams come in the order of [`StreamId`]. Unknown streams are empty, not an error.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is returned then.
    async fn read_streams(&self, streams: &[(StreamId, Version)], limit: usize) -> Result<Vec<Recorded>, ReadError>;

    /// The snapshots of these streams, of those that have one. One that is ahead of its stream, or not of its history, is
    /// left out: the store was restored to an earlier day, and the snapshot tells of another future.
    ///
    /// A store may keep no snapshots at all: they only make loading quicker.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is returned then.
    async fn read_snapshots(&self, _streams: &[StreamId]) -> Result<Vec<Snapshot>, ReadError> {
        Ok(Vec::new())
    }

    /// Keeps these snapshots, one per stream. A newer one replaces an older one, never the reverse; of one version, the
    /// one of the higher shape stays. One that is ahead of its stream is replaced by any.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`]: some may be kept, which is harmless.
    async fn save_snapshots(&self, _snapshots: &[Snapshot]) -> Result<(), ReadError> {
        Ok(())
    }

    /// Drops the snapshots of a category, at most `limit` (1..=10,000), and says how many there were. Nothing changes
    /// but the time that the next loading takes.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`]; some may be dropped.
    async fn drop_snapshots(&self, _category: Category, _limit: usize) -> Result<usize, ReadError> {
        Ok(0)
    }

    /// Reads one stream backwards from its end: at most `limit` events (1..=1,000), newest first.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is returned then.
    async fn read_stream_backwards(&self, stream: StreamId, limit: usize) -> Result<Vec<Recorded>, ReadError>;

    /// Reads the log in commit order: events of `categories` after `after`, at most `limit` (1..=10,000).
    /// Events of transactions that may still be overtaken by an open one are left for the next call.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is returned then.
    async fn read_log(&self, after: Cursor, categories: &[Category], limit: usize) -> Result<Vec<Recorded>, ReadError>;

    /// Transactions after `after` whose events wait in the outbox and that are at least `age` old by the database's
    /// clock, oldest first, at most `limit` (1..=1,000).
    ///
    /// # Errors
    /// [`ReadError`]; nothing is returned then.
    async fn outbox_pending(&self, after: TxId, age: Duration, limit: usize) -> Result<Vec<TxId>, ReadError>;

    /// The events of these transactions that belong to `categories`, in commit order.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is returned then.
    async fn read_transactions(&self, txs: &[TxId], categories: &[Category]) -> Result<Vec<Recorded>, ReadError>;

    /// Takes these transactions out of the outbox: all their events have been acknowledged by the broker.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`]; they will be published again then, which is harmless.
    async fn outbox_published(&self, txs: &[TxId]) -> Result<(), ReadError>;

    /// Claims timers of `categories` that are due by the database's clock, at most `limit` (1..=1,000). A claimed timer
    /// is handed out again when it has neither been armed anew nor disarmed within `lease`.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is claimed then.
    async fn claim_due_timers(
        &self,
        categories: &[Category],
        limit: usize,
        lease: Duration,
    ) -> Result<DueTimers, ReadError>;

    /// Which of these messages `consumer` has handled.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is returned then.
    async fn inbox_seen(&self, consumer: &str, messages: &[uuid::Uuid]) -> Result<Vec<uuid::Uuid>, ReadError>;

    /// Dead letters after number `after`, oldest first, at most `limit` (1..=1,000).
    ///
    /// # Errors
    /// [`ReadError`]; nothing is returned then.
    async fn dead_letters(&self, after: i64, limit: usize) -> Result<Vec<StoredDeadLetter>, ReadError>;

    /// The database's clock.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] when the store does not answer: also the readiness check.
    async fn now(&self) -> Result<DateTime<Utc>, ReadError>;
}
