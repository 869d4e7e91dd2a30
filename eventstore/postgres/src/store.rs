use std::time::Duration;

use chrono::{DateTime, Utc};
use eventstore::{
    Category, Commit, CommitError, Committed, Cursor, DueTimers, EventStore, ReadError, Recorded, Snapshot,
    StoredDeadLetter, StreamId, TxId, Version,
};
use sqlx::PgPool;
use sqlx::postgres::PgRow;
use tokio::time::timeout;
use uuid::Uuid;

use crate::connections::{Connections, Statement};
use crate::fault::{StoreFault, commit_unavailable, read_error};
use crate::options::{OptionsError, StoreOptions};
use crate::sessions;

/// An [`EventStore`] on Postgres.
pub struct PostgresStore {
    pub(crate) connections: Connections,
    pub(crate) attempt_timeout: Duration,
    pub(crate) deadline: Duration,
    pool: PgPool,
}

impl PostgresStore {
    /// A store that connects when it is first used, so that a service can start while its database is away:
    /// [`EventStore::now`] tells when it is there.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`OptionsError`]: the configuration is at fault. Never the database: nothing is sent to it yet.
    pub fn connect(options: &StoreOptions) -> Result<Self, OptionsError> {
        options.check()?;
        let pool = sessions::pool(options.pool_connections_max, options.deadline);
        let pool = pool.connect_lazy_with(options.connect_options()?);
        Ok(Self {
            connections: Connections::new(options.own_connect_options()?, options.connections_max),
            attempt_timeout: options.attempt_timeout(),
            deadline: options.deadline,
            pool,
        })
    }

    /// A pool for the service's own tables: read models and their cursors. Apart from the store's own connections.
    /// Server-side time limits are set; a caller should still put a `timeout` around what it awaits, and prefer one
    /// statement to `begin` (sqlx issue 4393: a `begin` that is cancelled may leave a transaction open).
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Runs a statement that may be sent twice, within the deadline. A call that runs into it gives its connection up.
    pub(crate) async fn read<'q>(&self, statement: impl Fn() -> Statement<'q>) -> Result<Vec<PgRow>, ReadError> {
        match timeout(self.deadline, self.connections.read(statement)).await {
            Ok(rows) => rows.map_err(read_error),
            Err(_) => Err(ReadError::Unavailable(StoreFault::Deadline(self.deadline).into())),
        }
    }
}

#[async_trait::async_trait]
impl EventStore for PostgresStore {
    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        match timeout(self.deadline, self.commit_batch(commit)).await {
            Ok(result) => result,
            Err(_) => Err(commit_unavailable(StoreFault::Deadline(self.deadline))),
        }
    }

    async fn read_streams(&self, streams: &[(StreamId, Version)], limit: usize) -> Result<Vec<Recorded>, ReadError> {
        self.streams(streams, limit).await
    }

    async fn read_snapshots(&self, streams: &[StreamId]) -> Result<Vec<Snapshot>, ReadError> {
        self.snapshots(streams).await
    }

    async fn save_snapshots(&self, snapshots: &[Snapshot]) -> Result<(), ReadError> {
        self.keep(snapshots).await
    }

    async fn drop_snapshots(&self, category: Category, limit: usize) -> Result<usize, ReadError> {
        self.forget_snapshots(category, limit).await
    }

    async fn read_stream_backwards(&self, stream: StreamId, limit: usize) -> Result<Vec<Recorded>, ReadError> {
        self.stream_backwards(stream, limit).await
    }

    async fn read_log(&self, after: Cursor, categories: &[Category], limit: usize) -> Result<Vec<Recorded>, ReadError> {
        self.log(after, categories, limit).await
    }

    async fn outbox_pending(&self, after: TxId, age: Duration, limit: usize) -> Result<Vec<TxId>, ReadError> {
        self.pending(after, age, limit).await
    }

    async fn read_transactions(&self, txs: &[TxId], categories: &[Category]) -> Result<Vec<Recorded>, ReadError> {
        self.transactions(txs, categories).await
    }

    async fn outbox_published(&self, txs: &[TxId]) -> Result<(), ReadError> {
        self.published(txs).await
    }

    async fn claim_due_timers(
        &self,
        categories: &[Category],
        limit: usize,
        lease: Duration,
    ) -> Result<DueTimers, ReadError> {
        self.claim(categories, limit, lease).await
    }

    async fn inbox_seen(&self, consumer: &str, messages: &[Uuid]) -> Result<Vec<Uuid>, ReadError> {
        self.seen(consumer, messages).await
    }

    async fn dead_letters(&self, after: i64, limit: usize) -> Result<Vec<StoredDeadLetter>, ReadError> {
        self.letters(after, limit).await
    }

    async fn now(&self) -> Result<DateTime<Utc>, ReadError> {
        self.time().await
    }
}
