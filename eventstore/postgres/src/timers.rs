use std::time::Duration;

use chrono::{DateTime, Utc};
use eventstore::{Category, DueTimer, DueTimers, ReadError, StreamId};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::PostgresStore;
use crate::codec::to_i64;
use crate::fault::read_error;
use crate::outbox::interval;
use crate::read::{category, names};

/// Claims and looks ahead in one statement. Rows that somebody else is claiming at this moment are skipped.
///
/// The first row always comes and carries the time and when to look again: the earliest of what is ready but over the
/// limit, what is due later, and the ends of all leases, ours included (whoever holds one may die).
const CLAIM: &str = "
with ready as (
    select stream_id, category, due
    from timer
    where due <= now()
    and (claimed_until is null or claimed_until <= now())
    and category = any($1::text[])
    order by due, stream_id, category
    limit $2
    for update skip locked
),
claimed as (
    update timer
    set claimed_until = now() + $3::interval
    from ready
    where timer.stream_id = ready.stream_id
    and timer.category = ready.category
    returning timer.stream_id, timer.category, timer.due
),
later as (
    (
        select due as at
        from timer
        where due > now()
        and category = any($1::text[])
        order by due
        limit 1
    )
    union all
    (
        select min(claimed_until)
        from timer
        where due <= now()
        and claimed_until > now()
        and category = any($1::text[])
    )
    union all
    (
        select due
        from timer
        where due <= now()
        and (claimed_until is null or claimed_until <= now())
        and category = any($1::text[])
        and (select count(*) from ready) >= $2
        and not exists (
            select from ready
            where ready.stream_id = timer.stream_id
            and ready.category = timer.category
        )
        order by due
        limit 1
    )
    union all
    (
        select now() + $3::interval
        from claimed
        limit 1
    )
)
select
    now() as now,
    (select min(at) from later) as next,
    claimed.stream_id,
    claimed.category,
    claimed.due
from (values (1)) as always
left join claimed on true
order by claimed.due, claimed.stream_id, claimed.category";

impl PostgresStore {
    pub(crate) async fn claim(
        &self,
        categories: &[Category],
        limit: usize,
        lease: Duration,
    ) -> Result<DueTimers, ReadError> {
        let limit = to_i64(limit.clamp(1, 1_000) as u64);
        let names = names(categories);
        // Sent again on a new connection when the answer is lost: what the first one claimed comes back when its lease
        // ends.
        let rows = self.read(|| sqlx::query(CLAIM).bind(&names).bind(limit).bind(interval(lease))).await?;
        let first = rows.first().ok_or_else(|| ReadError::Corrupt("a claim without an answer".to_owned()))?;
        let now: DateTime<Utc> = first.try_get("now").map_err(read_error)?;
        let next: Option<DateTime<Utc>> = first.try_get("next").map_err(read_error)?;
        let due = rows.iter().filter_map(|row| timer(row, categories).transpose()).collect::<Result<_, _>>()?;
        Ok(DueTimers { due, now, next })
    }
}

fn timer(row: &PgRow, asked: &[Category]) -> Result<Option<DueTimer>, ReadError> {
    let id: Option<Uuid> = row.try_get("stream_id").map_err(read_error)?;
    let Some(id) = id else { return Ok(None) };
    let category = category(row.try_get("category").map_err(read_error)?, asked)?;
    Ok(Some(DueTimer { stream: StreamId::new(category, id), due: row.try_get("due").map_err(read_error)? }))
}
