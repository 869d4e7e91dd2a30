use std::time::Duration;

use chrono::{DateTime, Utc};
use eventstore::{ReadError, TxId};
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::postgres::types::PgInterval;
use uuid::Uuid;

use crate::PostgresStore;
use crate::codec::{Xid8, to_i64};
use crate::fault::read_error;

const PENDING: &str = "
select tx
from outbox
where tx > $1
and written_at <= now() - $2::interval
order by tx
limit $3";

const PUBLISHED: &str = "
delete from outbox
where tx = any($1::xid8[])";

const SEEN: &str = "
select message
from inbox
where consumer = $1
and message = any($2::uuid[])";

const NOW: &str = "select now() as now";

/// The small tables beside the log.
impl PostgresStore {
    pub(crate) async fn pending(&self, after: TxId, age: Duration, limit: usize) -> Result<Vec<TxId>, ReadError> {
        let limit = to_i64(limit.clamp(1, 1_000) as u64);
        let rows = self.read(|| sqlx::query(PENDING).bind(Xid8(after)).bind(interval(age)).bind(limit)).await?;
        column::<Xid8>(&rows).map(|txs| txs.into_iter().map(|tx| tx.0).collect())
    }

    /// Deleting again what is gone is harmless, so this may be sent twice like a read.
    pub(crate) async fn published(&self, txs: &[TxId]) -> Result<(), ReadError> {
        if txs.is_empty() {
            return Ok(());
        }
        // In one order: two sweepers that meet the same rows must not wait for each other in a circle.
        let mut txs = txs.to_vec();
        txs.sort_unstable();
        let txs: Vec<Xid8> = txs.into_iter().map(Xid8).collect();
        self.read(|| sqlx::query(PUBLISHED).bind(&txs)).await.map(drop)
    }

    pub(crate) async fn seen(&self, consumer: &str, messages: &[Uuid]) -> Result<Vec<Uuid>, ReadError> {
        column(&self.read(|| sqlx::query(SEEN).bind(consumer).bind(messages)).await?)
    }

    pub(crate) async fn time(&self) -> Result<DateTime<Utc>, ReadError> {
        let rows = self.read(|| sqlx::query(NOW)).await?;
        let row = rows.first().ok_or_else(|| ReadError::Corrupt("the database does not know the time".to_owned()))?;
        row.try_get(0).map_err(read_error)
    }
}

/// The first column.
pub(crate) fn column<'r, T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>>(
    rows: &'r [PgRow],
) -> Result<Vec<T>, ReadError> {
    rows.iter().map(|row| row.try_get(0).map_err(read_error)).collect()
}

/// To the microsecond; at most some 290,000 years.
pub(crate) fn interval(duration: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX) }
}
