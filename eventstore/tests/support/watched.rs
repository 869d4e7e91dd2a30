//! A store that counts, and that fails when it is told to.
#![allow(dead_code, clippy::allow_attributes, reason = "not every test file uses all of it")]

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use eventstore::memory::MemoryStore;
use eventstore::{
    Category, Commit, CommitError, Committed, Cursor, DueTimers, EventStore, ReadError, Recorded, Snapshot,
    StoredDeadLetter, StreamId, TxId, Version,
};
use uuid::Uuid;

/// What somebody else does first.
type First = Pin<Box<dyn Future<Output = ()> + Send>>;

enum Plan {
    First(First),
    Fail(CommitError),
    LoseAnswer,
    Conflicts(StreamId),
}

pub struct Watched {
    pub memory: Arc<MemoryStore>,
    commits: AtomicUsize,
    reads: AtomicUsize,
    events_read: AtomicUsize,
    saves_fail: AtomicBool,
    plan: Mutex<Option<Plan>>,
    before_read: Mutex<Option<(usize, First)>>,
}

impl Watched {
    pub fn new(memory: Arc<MemoryStore>) -> Arc<Self> {
        Arc::new(Self {
            memory,
            commits: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
            events_read: AtomicUsize::new(0),
            saves_fail: AtomicBool::new(false),
            plan: Mutex::new(None),
            before_read: Mutex::new(None),
        })
    }

    /// Commits that were asked for.
    pub fn commits(&self) -> usize {
        self.commits.load(Ordering::SeqCst)
    }

    /// Reads of streams that were asked for.
    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    /// Events that reads of streams returned.
    pub fn events_read(&self) -> usize {
        self.events_read.load(Ordering::SeqCst)
    }

    /// From now on snapshots cannot be saved.
    pub fn fail_saves(&self) {
        self.saves_fail.store(true, Ordering::SeqCst);
    }

    pub fn before_next_commit(&self, first: impl Future<Output = ()> + Send + 'static) {
        self.set(Plan::First(Box::pin(first)));
    }

    /// Somebody else does something before the read of streams with this number, counted from 1.
    pub fn before_read(&self, number: usize, first: impl Future<Output = ()> + Send + 'static) {
        *self.before_read.lock().expect("not poisoned") = Some((number, Box::pin(first)));
    }

    pub fn fail_next_commit(&self, error: CommitError) {
        self.set(Plan::Fail(error));
    }

    pub fn lose_next_answer(&self) {
        self.set(Plan::LoseAnswer);
    }

    pub fn conflict_always(&self, stream: StreamId) {
        self.set(Plan::Conflicts(stream));
    }

    fn set(&self, plan: Plan) {
        *self.plan.lock().expect("not poisoned") = Some(plan);
    }
}

#[async_trait::async_trait]
impl EventStore for Watched {
    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        let plan = self.plan.lock().expect("not poisoned").take();
        match plan {
            None => self.memory.commit(commit).await,
            Some(Plan::First(first)) => {
                first.await;
                self.memory.commit(commit).await
            }
            Some(Plan::Fail(error)) => Err(error),
            Some(Plan::LoseAnswer) => {
                self.memory.commit(commit).await?;
                Err(CommitError::Unavailable("the answer is lost".into()))
            }
            Some(Plan::Conflicts(stream)) => {
                self.conflict_always(stream);
                Err(CommitError::Conflict { stream, expected: Version::NONE, actual: Version::NONE })
            }
        }
    }

    async fn read_streams(&self, streams: &[(StreamId, Version)], limit: usize) -> Result<Vec<Recorded>, ReadError> {
        let number = self.reads.fetch_add(1, Ordering::SeqCst) + 1;
        let first = self.before_read.lock().expect("not poisoned").take_if(|(before, _)| *before == number);
        if let Some((_, first)) = first {
            first.await;
        }
        let events = self.memory.read_streams(streams, limit).await?;
        self.events_read.fetch_add(events.len(), Ordering::SeqCst);
        Ok(events)
    }

    async fn read_snapshots(&self, streams: &[StreamId]) -> Result<Vec<Snapshot>, ReadError> {
        self.memory.read_snapshots(streams).await
    }

    async fn save_snapshots(&self, snapshots: &[Snapshot]) -> Result<(), ReadError> {
        if self.saves_fail.load(Ordering::SeqCst) {
            return Err(ReadError::Unavailable("no room".into()));
        }
        self.memory.save_snapshots(snapshots).await
    }

    async fn drop_snapshots(&self, category: Category, limit: usize) -> Result<usize, ReadError> {
        self.memory.drop_snapshots(category, limit).await
    }

    async fn read_stream_backwards(&self, stream: StreamId, limit: usize) -> Result<Vec<Recorded>, ReadError> {
        self.memory.read_stream_backwards(stream, limit).await
    }

    async fn read_log(&self, after: Cursor, categories: &[Category], limit: usize) -> Result<Vec<Recorded>, ReadError> {
        self.memory.read_log(after, categories, limit).await
    }

    async fn outbox_pending(&self, after: TxId, age: Duration, limit: usize) -> Result<Vec<TxId>, ReadError> {
        self.memory.outbox_pending(after, age, limit).await
    }

    async fn read_transactions(&self, txs: &[TxId], categories: &[Category]) -> Result<Vec<Recorded>, ReadError> {
        self.memory.read_transactions(txs, categories).await
    }

    async fn outbox_published(&self, txs: &[TxId]) -> Result<(), ReadError> {
        self.memory.outbox_published(txs).await
    }

    async fn claim_due_timers(
        &self,
        categories: &[Category],
        limit: usize,
        lease: Duration,
    ) -> Result<DueTimers, ReadError> {
        self.memory.claim_due_timers(categories, limit, lease).await
    }

    async fn inbox_seen(&self, consumer: &str, messages: &[Uuid]) -> Result<Vec<Uuid>, ReadError> {
        self.memory.inbox_seen(consumer, messages).await
    }

    async fn dead_letters(&self, after: i64, limit: usize) -> Result<Vec<StoredDeadLetter>, ReadError> {
        self.memory.dead_letters(after, limit).await
    }

    async fn now(&self) -> Result<DateTime<Utc>, ReadError> {
        self.memory.now().await
    }
}
