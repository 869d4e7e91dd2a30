//! A service's log as operators look at it: the whole of it, stream by stream, its end, its timers, its outbox.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use eventstore::{Backlog, Category, Cursor, ReadError, Recorded, StreamId, Transport as _, TxId, Version};
use eventstore_postgres::PostgresStore;
use uuid::Uuid;

pub use eventstore_postgres::{ArmedTimer, Behind, NotReached, ScanPlace};

/// Reads a log in ways that no service needs for its work.
#[derive(Clone)]
pub struct LogScan(Arc<PostgresStore>);

impl LogScan {
    /// Over this store.
    #[must_use]
    pub fn new(store: Arc<PostgresStore>) -> Self {
        Self(store)
    }

    /// The events after `after` in the order of their streams (by id, then by version), at most `limit` (1..=10,000).
    /// `categories` are all that the log may hold.
    ///
    /// # Errors
    /// [`ReadError`]; `Corrupt` also for an event of another category.
    pub async fn page(
        &self,
        after: &ScanPlace,
        categories: &[Category],
        limit: usize,
    ) -> Result<Vec<Recorded>, ReadError> {
        self.0.scan(after, Uuid::max(), categories, limit).await
    }

    /// The place `back` events before the last one of the log.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn before_end(&self, back: u64) -> Result<Cursor, ReadError> {
        self.0.before_end(back).await
    }

    /// The place of the last event of these categories; `None` when there is none.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn last_of(&self, categories: &[Category]) -> Result<Option<Cursor>, ReadError> {
        self.0.last_of(categories).await
    }

    /// The place of the last event of these categories that is not after `until`; `None` when there is none.
    ///
    /// # Errors
    /// [`NotReached`].
    pub async fn last_of_until(&self, categories: &[Category], until: Cursor) -> Result<Option<Cursor>, NotReached> {
        self.0.last_of_until(categories, until).await
    }

    /// How much of the log comes after a place.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn behind(&self, after: Cursor, categories: &[Category]) -> Result<Behind, ReadError> {
        self.0.behind(after, categories).await
    }

    /// The stream and version of an event. Fast for ids that say when they were made (version 7), slow for others: no
    /// index leads there.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn find(
        &self,
        event_id: Uuid,
        categories: &[Category],
    ) -> Result<Option<(StreamId, Version)>, ReadError> {
        self.0.find_event(event_id, categories).await
    }

    /// How far these streams have come; those without events are left out.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn versions(&self, streams: &[StreamId]) -> Result<Vec<(StreamId, Version)>, ReadError> {
        self.0.versions(streams).await
    }

    /// The events of one correlation in these transactions, in the order of the log, at most `limit` (1..=10,000).
    /// `categories` are all that the log may hold.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn correlated(
        &self,
        transactions: &[TxId],
        correlation: Uuid,
        categories: &[Category],
        limit: usize,
    ) -> Result<Vec<Recorded>, ReadError> {
        self.0.correlated(transactions, correlation, categories, limit).await
    }

    /// How many transactions wait to be published, and since when the oldest does.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn outbox(&self) -> Result<Backlog, ReadError> {
        self.0.backlog().await
    }

    /// Timers of a category after this one, earliest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn timers(
        &self,
        category: Category,
        after: Option<(DateTime<Utc>, Uuid)>,
        overdue: bool,
        limit: usize,
    ) -> Result<Vec<ArmedTimer>, ReadError> {
        self.0.armed_timers(category, after, overdue, limit).await
    }
}
