//! The in-memory store: every promise of the real one, for tests and for the simulator.

mod data;
mod ids;
mod letters;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    Blocked, Category, Clock, Commit, CommitError, Committed, Cursor, DeadLetter, DeadLetters, DueTimers, EventStore,
    ReadError, Recorded, Snapshot, StoredDeadLetter, StreamId, TxId, Version,
};
use data::Data;
pub use ids::CountingIds;

/// A store that forgets everything when it is dropped. Its clock stands still until a test moves it.
///
/// Commits are serial, so its log has no open writers and every event is visible at once.
#[derive(Debug)]
pub struct MemoryStore {
    data: Mutex<Data>,
}

impl MemoryStore {
    /// An empty store whose clock says `start`.
    #[must_use]
    pub fn new(start: DateTime<Utc>) -> Self {
        Self { data: Mutex::new(Data::new(start)) }
    }

    /// Moves the store's clock on.
    pub fn advance(&self, by: Duration) {
        let mut data = self.lock();
        data.now = later(data.now, by);
    }

    /// Sets the store's clock; it may also go back, as a real one may.
    pub fn set_time(&self, now: DateTime<Utc>) {
        self.lock().now = now;
    }

    /// What time it is here.
    #[must_use]
    pub fn time(&self) -> DateTime<Utc> {
        self.lock().now
    }

    /// All events, in commit order.
    #[must_use]
    pub fn events(&self) -> Vec<Recorded> {
        self.lock().log().to_vec()
    }

    /// When `stream` will be woken.
    #[must_use]
    pub fn armed(&self, stream: StreamId) -> Option<DateTime<Utc>> {
        self.lock().armed(stream)
    }

    /// [`EventStore::commit`], at once: for simulators, which have no runtime.
    ///
    /// # Errors
    /// As there.
    pub fn commit_now(&self, commit: Commit) -> Result<Committed, CommitError> {
        self.lock().commit(commit)
    }

    /// [`EventStore::read_streams`], at once.
    #[must_use]
    pub fn read_streams_now(&self, streams: &[(StreamId, Version)], limit: usize) -> Vec<Recorded> {
        self.lock().read_streams(streams, limit)
    }

    /// [`EventStore::read_stream_backwards`], at once.
    #[must_use]
    pub fn read_stream_backwards_now(&self, stream: StreamId, limit: usize) -> Vec<Recorded> {
        self.lock().read_stream_backwards(stream, limit)
    }

    /// [`EventStore::outbox_pending`], at once.
    #[must_use]
    pub fn outbox_pending_now(&self, after: TxId, age: Duration, limit: usize) -> Vec<TxId> {
        self.lock().outbox_pending(after, age, limit)
    }

    /// [`EventStore::read_transactions`], at once.
    #[must_use]
    pub fn read_transactions_now(&self, txs: &[TxId], categories: &[Category]) -> Vec<Recorded> {
        self.lock().read_transactions(txs, categories)
    }

    /// [`EventStore::outbox_published`], at once.
    pub fn outbox_published_now(&self, txs: &[TxId]) {
        self.lock().outbox_published(txs);
    }

    /// [`EventStore::claim_due_timers`], at once.
    #[must_use]
    pub fn claim_due_timers_now(&self, categories: &[Category], limit: usize, lease: Duration) -> DueTimers {
        self.lock().claim_due_timers(categories, limit, lease)
    }

    /// Never poisoned for good: every change is complete before the lock is let go.
    fn lock(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `time` and `by` more; stays where it is when that is beyond all calendars.
pub(crate) fn later(time: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    chrono::Duration::from_std(by).ok().and_then(|by| time.checked_add_signed(by)).unwrap_or(time)
}

#[async_trait::async_trait]
impl EventStore for MemoryStore {
    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        self.lock().commit(commit)
    }

    async fn read_streams(&self, streams: &[(StreamId, Version)], limit: usize) -> Result<Vec<Recorded>, ReadError> {
        Ok(self.lock().read_streams(streams, limit))
    }

    async fn read_snapshots(&self, streams: &[StreamId]) -> Result<Vec<Snapshot>, ReadError> {
        Ok(self.lock().read_snapshots(streams))
    }

    async fn save_snapshots(&self, snapshots: &[Snapshot]) -> Result<(), ReadError> {
        self.lock().save_snapshots(snapshots);
        Ok(())
    }

    async fn drop_snapshots(&self, category: Category, limit: usize) -> Result<usize, ReadError> {
        Ok(self.lock().drop_snapshots(category, limit))
    }

    async fn read_stream_backwards(&self, stream: StreamId, limit: usize) -> Result<Vec<Recorded>, ReadError> {
        Ok(self.lock().read_stream_backwards(stream, limit))
    }

    async fn read_log(&self, after: Cursor, categories: &[Category], limit: usize) -> Result<Vec<Recorded>, ReadError> {
        Ok(self.lock().read_log(after, categories, limit))
    }

    async fn outbox_pending(&self, after: TxId, age: Duration, limit: usize) -> Result<Vec<TxId>, ReadError> {
        Ok(self.lock().outbox_pending(after, age, limit))
    }

    async fn read_transactions(&self, txs: &[TxId], categories: &[Category]) -> Result<Vec<Recorded>, ReadError> {
        Ok(self.lock().read_transactions(txs, categories))
    }

    async fn outbox_published(&self, txs: &[TxId]) -> Result<(), ReadError> {
        self.lock().outbox_published(txs);
        Ok(())
    }

    async fn claim_due_timers(
        &self,
        categories: &[Category],
        limit: usize,
        lease: Duration,
    ) -> Result<DueTimers, ReadError> {
        Ok(self.lock().claim_due_timers(categories, limit, lease))
    }

    async fn inbox_seen(&self, consumer: &str, messages: &[Uuid]) -> Result<Vec<Uuid>, ReadError> {
        Ok(self.lock().inbox_seen(consumer, messages))
    }

    async fn dead_letters(&self, after: i64, limit: usize) -> Result<Vec<StoredDeadLetter>, ReadError> {
        Ok(self.lock().letters.list(after, limit))
    }

    async fn now(&self) -> Result<DateTime<Utc>, ReadError> {
        Ok(self.time())
    }
}

#[async_trait::async_trait]
impl DeadLetters for MemoryStore {
    async fn blocked(&self, consumer: &str, limit: usize) -> Result<Blocked, ReadError> {
        Ok(self.lock().letters.blocked(consumer, limit))
    }

    async fn park_behind(&self, letter: DeadLetter) -> Result<bool, ReadError> {
        let mut data = self.lock();
        let now = data.now;
        Ok(data.letters.park_behind(letter, now))
    }

    async fn claim_redrive(&self, consumer: &str, lease: Duration) -> Result<Option<StoredDeadLetter>, ReadError> {
        let mut data = self.lock();
        let now = data.now;
        Ok(data.letters.claim(consumer, lease, now))
    }

    async fn redriven(&self, id: i64) -> Result<(), ReadError> {
        let mut data = self.lock();
        let now = data.now;
        data.letters.redriven(id, now);
        Ok(())
    }

    async fn failed_again(&self, id: i64, reason: &str) -> Result<(), ReadError> {
        self.lock().letters.failed_again(id, reason);
        Ok(())
    }

    async fn redrive_later(&self, id: i64, delay: Duration, reason: &str) -> Result<(), ReadError> {
        let mut data = self.lock();
        let now = data.now;
        data.letters.redrive_later(id, delay, reason, now);
        Ok(())
    }

    async fn ask_redrive(&self, id: i64, by: &str) -> Result<bool, ReadError> {
        Ok(self.lock().letters.ask_redrive(id, by))
    }

    async fn discard(&self, id: i64, by: &str, reason: &str) -> Result<bool, ReadError> {
        let mut data = self.lock();
        let now = data.now;
        Ok(data.letters.discard(id, by, reason, now))
    }
}

/// The clock of a [`MemoryStore`].
#[derive(Clone, Debug)]
pub struct MemoryClock(Arc<MemoryStore>);

impl MemoryClock {
    /// Says what `store` says.
    #[must_use]
    pub fn of(store: &Arc<MemoryStore>) -> Self {
        Self(Arc::clone(store))
    }
}

impl Clock for MemoryClock {
    fn now(&self) -> DateTime<Utc> {
        self.0.time()
    }
}

/// A clock that stands still.
#[derive(Clone, Copy, Debug)]
pub struct FixedClock(pub DateTime<Utc>);

impl Clock for FixedClock {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }
}
