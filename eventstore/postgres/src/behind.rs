use std::time::Duration;

use eventstore::{Category, Cursor, ReadError};
use sqlx::Row as _;

use crate::PostgresStore;
use crate::codec::{Xid8, to_i64, to_u64};
use crate::fault::read_error;
use crate::read::names;

/// Events counted at most: what is more than this is "at least".
const COUNT_MAX: u64 = 10_000_000;

const BEHIND: &str = "
select count(*) as events, greatest(extract(epoch from clock_timestamp() - min(time)), 0)::float8 as seconds
from (
    select time
    from event
    where (event.tx, event.position) > ($1::xid8, $2::int8)
    and event.category = any($3::text[])
    order by event.tx, event.position
    limit $4
) as later";

/// How much of the log comes after a place in it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Behind {
    /// Committed events, at most 10,000,000.
    pub events: u64,
    /// How old the oldest of them is.
    pub age: Duration,
}

impl PostgresStore {
    /// How much of the log, in these categories, a reader who stands at `after` has before it. Reads as many index
    /// entries as it counts: for operators, not for a loop.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`]: it takes longer than the deadline allows, or there is no database.
    pub async fn behind(&self, after: Cursor, categories: &[Category]) -> Result<Behind, ReadError> {
        let (names, position) = (names(categories), to_i64(after.position));
        let statement = || sqlx::query(BEHIND).bind(Xid8(after.tx)).bind(position).bind(&names).bind(to_i64(COUNT_MAX));
        let rows = self.read(statement).await?;
        let Some(row) = rows.first() else { return Ok(Behind::default()) };
        let seconds: Option<f64> = row.try_get("seconds").map_err(read_error)?;
        let events = to_u64(row.try_get("events").map_err(read_error)?);
        Ok(Behind { events, age: Duration::from_secs_f64(seconds.unwrap_or_default()) })
    }
}
