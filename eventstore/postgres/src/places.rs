//! Looks into the store, for operators: where the log ends, how far streams have come, which timers are armed.

use chrono::{DateTime, Utc};
use eventstore::{Category, Cursor, ReadError, StreamId, Version};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::PostgresStore;
use crate::batch::columns;
use crate::codec::{Xid8, to_i64, to_u64};
use crate::fault::read_error;
use crate::read::{category, names};

const BACK: &str = "
select tx, position
from event
order by event.tx desc, event.position desc
offset $1
limit 1";

const LAST_OF: &str = "
select tx, position
from event
where category = any($1::text[])
order by event.tx desc, event.position desc
limit 1";

/// One row, whatever there is.
const LAST_OF_UNTIL: &str = "
select newest.tx, newest.position, $2::xid8 >= pg_snapshot_xmax(pg_current_snapshot()) as is_beyond
from (select) as one
left join lateral (
    select tx, position
    from event
    where category = any($1::text[])
    and (event.tx, event.position) <= ($2::xid8, $3::bigint)
    order by event.tx desc, event.position desc
    limit 1
) as newest on true";

const VERSIONS: &str = "
select asked.stream_id, asked.category, newest.version
from unnest($1::uuid[], $2::text[]) as asked (stream_id, category)
cross join lateral (
    select version
    from event
    where event.stream_id = asked.stream_id
    and event.category = asked.category
    order by event.version desc
    limit 1
) as newest";

const TIMERS: &str = "
select stream_id, due, claimed_until
from timer
where category = $1
and ($2::timestamptz is null or (due, stream_id) > ($2, $3::uuid))
and (not $4 or due <= now())
order by due, stream_id
limit $5";

/// A timer that is armed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArmedTimer {
    /// Whom it wakes.
    pub stream: StreamId,
    /// When.
    pub due: DateTime<Utc>,
    /// Somebody is on it until then.
    pub claimed_until: Option<DateTime<Utc>>,
}

/// Why it is not known what comes before a place.
#[derive(Debug, thiserror::Error)]
pub enum NotReached {
    /// The log does not answer. Try again.
    #[error("the log cannot be read")]
    Log(#[from] ReadError),
    /// This database never came so far: the place is of another one, or of a past that was lost.
    #[error("the log never came so far")]
    Beyond,
}

impl PostgresStore {
    /// The place `back` events before the last one of the log; before everything when it has no more.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn before_end(&self, back: u64) -> Result<Cursor, ReadError> {
        let back = to_i64(back);
        let rows = self.read(|| sqlx::query(BACK).bind(back)).await?;
        rows.first().map_or(Ok(Cursor::START), cursor)
    }

    /// The place of the last event of these categories; `None` when there is none. Looks through the log from its end:
    /// fast for categories that are written all the time.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn last_of(&self, categories: &[Category]) -> Result<Option<Cursor>, ReadError> {
        let names = names(categories);
        let rows = self.read(|| sqlx::query(LAST_OF).bind(&names)).await?;
        rows.first().map(cursor).transpose()
    }

    /// The place of the last event of these categories that is not after `until`; `None` when there is none.
    ///
    /// # Errors
    /// [`NotReached`].
    pub async fn last_of_until(&self, categories: &[Category], until: Cursor) -> Result<Option<Cursor>, NotReached> {
        let (names, position) = (names(categories), to_i64(until.position));
        let rows = self.read(|| sqlx::query(LAST_OF_UNTIL).bind(&names).bind(Xid8(until.tx)).bind(position)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        if row.try_get("is_beyond").map_err(read_error)? {
            return Err(NotReached::Beyond);
        }
        let tx: Option<Xid8> = row.try_get("tx").map_err(read_error)?;
        let position: Option<i64> = row.try_get("position").map_err(read_error)?;
        Ok(tx.zip(position).map(|(tx, position)| Cursor { tx: tx.0, position: to_u64(position) }))
    }

    /// How far these streams have come; those without events are left out.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn versions(&self, streams: &[StreamId]) -> Result<Vec<(StreamId, Version)>, ReadError> {
        let (ids, names) = columns(streams.iter().copied());
        let categories: Vec<_> = streams.iter().map(|stream| stream.category).collect();
        let rows = self.read(|| sqlx::query(VERSIONS).bind(&ids).bind(&names)).await?;
        rows.iter().map(|row| place(row, &categories)).collect()
    }

    /// Timers of a category after this one, earliest first, at most `limit`; with `overdue`, only those that are due.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn armed_timers(
        &self,
        category: Category,
        after: Option<(DateTime<Utc>, Uuid)>,
        overdue: bool,
        limit: usize,
    ) -> Result<Vec<ArmedTimer>, ReadError> {
        let (due, id) = after.unzip();
        let limit = to_i64(limit as u64);
        let statement = || sqlx::query(TIMERS).bind(category.as_str()).bind(due).bind(id).bind(overdue).bind(limit);
        let rows = self.read(statement).await?;
        let timer = |row: &PgRow| -> Result<ArmedTimer, sqlx::Error> {
            Ok(ArmedTimer {
                stream: StreamId::new(category, row.try_get("stream_id")?),
                due: row.try_get("due")?,
                claimed_until: row.try_get("claimed_until")?,
            })
        };
        rows.iter().map(|row| timer(row).map_err(read_error)).collect()
    }
}

fn cursor(row: &PgRow) -> Result<Cursor, ReadError> {
    let tx: Xid8 = row.try_get("tx").map_err(read_error)?;
    Ok(Cursor { tx: tx.0, position: to_u64(row.try_get("position").map_err(read_error)?) })
}

pub(crate) fn place(row: &PgRow, categories: &[Category]) -> Result<(StreamId, Version), ReadError> {
    let category = category(row.try_get("category").map_err(read_error)?, categories)?;
    let stream = StreamId::new(category, row.try_get("stream_id").map_err(read_error)?);
    Ok((stream, Version::new(to_u64(row.try_get("version").map_err(read_error)?))))
}
