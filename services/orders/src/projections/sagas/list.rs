//! Lists of sagas.
//!
//! What a query means is worked out beforehand ([`Bounds`]): which of three ways leads to its sagas (by id, by the index
//! of those that are not completed, or along the whole table by whatever index is best), and what else the database can tell. What it cannot tell
//! is looked at here, row by row. So every statement is fixed text, whatever the query.

use chrono::{DateTime, Utc};
use eventstore::ReadError;
use saga_runtime::OpenSagas;
use sqlx::postgres::PgPool;
use tonic::Status;
use uuid::Uuid;

use super::super::rows;
use super::Usual;
use super::statement::{Way, bind, statement};
use crate::operations::query::{Bounds, Query, Subject};

/// Rows read at a time when a query has to be looked at row by row.
const BATCH: usize = 5_000;

/// Reads `saga_view`.
#[derive(Clone)]
pub struct SagaList(pub(super) PgPool);

/// One saga as the read model has it.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Row {
    /// The saga.
    pub saga_id: Uuid,
    /// Its definition's name.
    pub definition: String,
    /// Its definition's version.
    pub definition_version: i32,
    /// Its order.
    pub order_id: Uuid,
    /// Who ordered.
    pub customer_id: Uuid,
    /// Where it stands: the number of `Saga.State`.
    pub state: i16,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// The version of its stream.
    pub version: i64,
    /// What the order comes to, minor units.
    pub amount: i64,
    /// Of this currency.
    pub currency: String,
    /// Money held.
    pub authorized: i64,
    /// Money taken.
    pub captured: i64,
    /// Goods held, at order value.
    pub reserved: i64,
    /// Goods held, units.
    pub reserved_units: i64,
    /// The step it is at.
    pub step: String,
    /// Which way: the number of `TimelineEntry.Lane`.
    pub lane: i16,
    /// How often that was asked for.
    pub attempt: i32,
    /// The code of its last error.
    pub error_code: String,
    /// Its last error.
    pub error: String,
    /// What it is sorted by; rows with the same key come by id.
    pub key: i64,
}

impl Row {
    /// What a query looks at.
    #[must_use]
    pub fn subject(&self) -> Subject<'_> {
        Subject {
            id: self.saga_id,
            order_id: self.order_id,
            customer_id: self.customer_id,
            definition: &self.definition,
            definition_version: u32::try_from(self.definition_version).unwrap_or(0),
            state: self.state,
            step: &self.step,
            error_code: &self.error_code,
            error: &self.error,
            started_at: self.started_at,
            updated_at: self.updated_at,
            amount: self.amount,
            exposure: self.authorized.saturating_add(self.captured).max(self.reserved),
            currency: &self.currency,
        }
    }
}

/// How sagas are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Last started first.
    Newest,
    /// First started first.
    Oldest,
    /// Last changed first.
    Updated,
    /// Longest unchanged first.
    Idle,
    /// Highest amount first.
    Amount,
}

/// A page: what is sorted how, and where it begins.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// The order.
    pub order: Order,
    /// After the saga with this key and id.
    pub after: Option<(i64, Uuid)>,
    /// At most so many.
    pub size: usize,
}

impl SagaList {
    /// Over the service's database.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self(pool)
    }

    /// The sagas that `query` admits at `now`: at most `page.size`, and whether there are more.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn find(&self, query: &Query, page: Page, now: DateTime<Utc>) -> Result<(Vec<Row>, bool), Status> {
        let bounds = Bounds::of(query, now);
        let mut found = Vec::new();
        if bounds.is_empty() {
            return Ok((found, false));
        }
        let mut after = page.after;
        let batch = if bounds.exact { page.size + 1 } else { BATCH };
        loop {
            let read = self.batch(&bounds, Page { after, size: batch, ..page }).await?;
            let is_last = read.len() < batch;
            after = read.last().map(|row| (row.key, row.saga_id));
            found.extend(read.into_iter().filter(|row| bounds.exact || query.admits(&row.subject(), now)));
            if is_last || found.len() > page.size {
                let has_more = found.len() > page.size;
                found.truncate(page.size);
                return Ok((found, has_more));
            }
        }
    }

    pub(super) async fn batch(&self, bounds: &Bounds, page: Page) -> Result<Vec<Row>, Status> {
        let query = sqlx::query_as::<_, Row>(statement(page.order, Way::of(bounds)))
            // Planned anew each time: with another query another way is best.
            .persistent(false)
            .bind(page.after.map(|(key, _)| key))
            .bind(page.after.map(|(_, id)| id));
        let limit = i64::try_from(page.size).unwrap_or(i64::MAX);
        rows(bind(query, bounds).bind(limit).fetch_all(&self.0)).await
    }

    /// How many dead letters wait in these lines (`payment/0199…`) of this service.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn letters_in(&self, lines: &[String]) -> Result<u64, Status> {
        let found: Vec<i64> = rows(
            sqlx::query_scalar(
                "select count(*)
                 from dead_letter
                 where status = 'waiting'
                   and key = any($1)",
            )
            .bind(lines)
            .fetch_all(&self.0),
        )
        .await?;
        Ok(found.first().and_then(|count| u64::try_from(*count).ok()).unwrap_or(0))
    }

    /// How long each step usually takes in each lane (the number of `TimelineEntry.Lane`).
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn usual(&self) -> Result<std::collections::HashMap<(String, i16), Usual>, Status> {
        super::usual::all(&self.0).await
    }
}

impl OpenSagas for SagaList {
    async fn open(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<Uuid>, ReadError> {
        // What moved within the last seconds needs no help.
        let found = sqlx::query_scalar::<_, Uuid>(
            "select saga_id
             from saga_view
             where state in (1, 2, 3)
               and ($1::uuid is null or saga_id > $1)
               and updated_at < now() - interval '5 seconds'
             order by saga_id
             limit $2",
        )
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.0);
        match tokio::time::timeout(super::super::DEADLINE, found).await {
            Ok(found) => found.map_err(|error| ReadError::Unavailable(error.into())),
            Err(late) => Err(ReadError::Unavailable(late.into())),
        }
    }
}
