use eventstore::audit::StoredRow;
use eventstore::{Cursor, ReadError};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::PostgresStore;
use crate::codec::{JsonText, Xid8, to_i64, to_u64};
use crate::fault::read_error;

/// In the order of the primary key, so that memory is bounded by what one stream id has. What is later than all open
/// transactions of its own snapshot cannot have been written here.
const PAGE: &str = "
select
    category,
    stream_id,
    version,
    tx,
    position,
    tx >= pg_snapshot_xmax(pg_current_snapshot()),
    event_id,
    type,
    schema_version,
    time,
    correlation_id,
    causation_id,
    actor,
    trace,
    payload,
    digest
from event
where (stream_id, version, category) > ($1, $2, $3)
order by stream_id, version, category
limit $4";

/// What the planner thinks; -1 when it has never looked.
const ABOUT: &str = "
select reltuples::int8
from pg_class
where oid = 'event'::regclass";

/// Reading everything, to see whether it is as it was written.
impl PostgresStore {
    /// Events as they stand in the table, after `last` in the order of [`eventstore::audit::Audit`], at most `limit`
    /// (1..=10,000). Whatever is committed meanwhile is seen or not.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is returned then.
    pub async fn audit_page(&self, last: Option<&StoredRow>, limit: usize) -> Result<Vec<StoredRow>, ReadError> {
        let (stream, version, category) =
            last.map_or((Uuid::nil(), 0, ""), |row| (row.stream, to_i64(row.version), row.category.as_str()));
        let limit = to_i64(limit.clamp(1, 10_000) as u64);
        let statement = || sqlx::query(PAGE).bind(stream).bind(version).bind(category).bind(limit);
        self.read(statement).await?.iter().map(|row| stored(row).map_err(read_error)).collect()
    }

    /// About how many events there are, for a progress bar; `None` when nobody has counted yet.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn about_events(&self) -> Result<Option<u64>, ReadError> {
        let rows = self.read(|| sqlx::query(ABOUT)).await?;
        let about: Option<i64> = rows.first().map(|row| row.try_get(0)).transpose().map_err(read_error)?;
        Ok(about.and_then(|about| u64::try_from(about).ok()))
    }
}

fn stored(row: &PgRow) -> Result<StoredRow, sqlx::Error> {
    let tx: Xid8 = row.try_get(3)?;
    let payload: JsonText<'_> = row.try_get(14)?;
    Ok(StoredRow {
        category: row.try_get(0)?,
        stream: row.try_get(1)?,
        version: to_u64(row.try_get(2)?),
        cursor: Cursor { tx: tx.0, position: to_u64(row.try_get(4)?) },
        from_the_future: row.try_get(5)?,
        id: row.try_get(6)?,
        type_name: row.try_get(7)?,
        schema_version: row.try_get(8)?,
        time: row.try_get(9)?,
        correlation: row.try_get(10)?,
        causation: row.try_get(11)?,
        actor: row.try_get(12)?,
        trace: row.try_get(13)?,
        payload: payload.0.to_owned(),
        digest: row.try_get(15)?,
    })
}
