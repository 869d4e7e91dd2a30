use eventstore::{
    Actor, Category, Cause, Cursor, Digest, EventId, ReadError, Recorded, StreamId, TraceContext, TxId, Version,
};
use faults::Plant;
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::PostgresStore;
use crate::batch::columns;
use crate::codec::{JsonText, Xid8, to_i64, to_u64};
use crate::fault::read_error;

/// What [`recorded`] reads, in this order.
macro_rules! event_columns {
    () => {
        "event.tx, event.position, event.version, event.time, event.stream_id, event.event_id, event.correlation_id,
        event.causation_id, event.schema_version, event.category, event.type, event.actor, event.trace, event.payload,
        event.digest"
    };
}

pub(crate) use event_columns;

/// One index range per stream, in the order of the streams: a lateral join with a limit inside can only be carried out
/// stream by stream. The order is checked as the rows are read.
const READ_STREAMS: &str = concat!(
    "
select event.*
from (
    select *
    from unnest($1::uuid[], $2::text[], $3::int8[]) as asked (stream_id, category, after)
    order by stream_id, category collate \"C\"
) as asked
cross join lateral (
    select ",
    event_columns!(),
    "
    from event
    where event.stream_id = asked.stream_id
    and event.version > asked.after
    and event.category = asked.category
    order by event.version
    limit $4
) as event
limit $4"
);

const READ_STREAM_BACKWARDS: &str = concat!(
    "
select ",
    event_columns!(),
    "
from event
where event.stream_id = $1
and event.category = $2
order by event.version desc
limit $3"
);

/// One statement, so one snapshot: the rows and the oldest open transaction are of the same moment.
const READ_LOG: &str = concat!(
    "
select ",
    event_columns!(),
    "
from event
where (event.tx, event.position) > ($1::xid8, $2::int8)
and event.tx < pg_snapshot_xmin(pg_current_snapshot())
and event.category = any($3::text[])
order by event.tx, event.position
limit $4"
);

/// The bug [`Plant::CursorOnPosition`].
const READ_LOG_BY_POSITION: &str = concat!(
    "
select ",
    event_columns!(),
    "
from event
where ($1::xid8 is not null and event.position > $2::int8)
and event.tx < pg_snapshot_xmin(pg_current_snapshot())
and event.category = any($3::text[])
order by event.position
limit $4"
);

/// The bug [`Plant::NoOpenTransactionBarrier`].
const READ_LOG_UNBARRED: &str = concat!(
    "
select ",
    event_columns!(),
    "
from event
where (event.tx, event.position) > ($1::xid8, $2::int8)
and event.category = any($3::text[])
order by event.tx, event.position
limit $4"
);

fn read_log() -> &'static str {
    if faults::planted(Plant::CursorOnPosition) {
        READ_LOG_BY_POSITION
    } else if faults::planted(Plant::NoOpenTransactionBarrier) {
        READ_LOG_UNBARRED
    } else {
        READ_LOG
    }
}

/// No look at open transactions: these are named by outbox rows that were visible, so all their events are.
const READ_TRANSACTIONS: &str = concat!(
    "
select ",
    event_columns!(),
    "
from event
where event.tx = any($1::xid8[])
and event.category = any($2::text[])
order by event.tx, event.position"
);

/// The index of the log leads to the transactions; of each, the events of one correlation are few.
const READ_CORRELATED: &str = concat!(
    "
select ",
    event_columns!(),
    "
from event
where event.tx = any($1::xid8[])
and event.correlation_id = $2
and event.category = any($3::text[])
order by event.tx, event.position
limit $4"
);

impl PostgresStore {
    pub(crate) async fn streams(
        &self,
        streams: &[(StreamId, Version)],
        limit: usize,
    ) -> Result<Vec<Recorded>, ReadError> {
        if streams.is_empty() {
            return Ok(Vec::new());
        }
        let limit = to_i64(limit.clamp(1, 100_000) as u64);
        let (ids, names) = columns(streams.iter().map(|(stream, _)| *stream));
        let after: Vec<i64> = streams.iter().map(|(_, after)| to_i64(after.get())).collect();
        let statement = || sqlx::query(READ_STREAMS).bind(&ids).bind(&names).bind(&after).bind(limit);
        let rows = self.read(statement).await?;
        let events = all_recorded(&rows, &streams.iter().map(|(stream, _)| stream.category).collect::<Vec<_>>())?;
        if events.is_sorted_by_key(|event| (event.stream, event.version)) {
            Ok(events)
        } else {
            Err(ReadError::Corrupt("the database returned streams out of order".to_owned()))
        }
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
        if transactions.is_empty() {
            return Ok(Vec::new());
        }
        let (names, limit) = (names(categories), to_i64(limit.clamp(1, 10_000) as u64));
        let transactions: Vec<Xid8> = transactions.iter().copied().map(Xid8).collect();
        let statement = || sqlx::query(READ_CORRELATED).bind(&transactions).bind(correlation).bind(&names).bind(limit);
        all_recorded(&self.read(statement).await?, categories)
    }

    pub(crate) async fn stream_backwards(&self, stream: StreamId, limit: usize) -> Result<Vec<Recorded>, ReadError> {
        let limit = to_i64(limit.clamp(1, 1_000) as u64);
        let statement =
            || sqlx::query(READ_STREAM_BACKWARDS).bind(stream.id).bind(stream.category.as_str()).bind(limit);
        all_recorded(&self.read(statement).await?, &[stream.category])
    }

    pub(crate) async fn log(
        &self,
        after: Cursor,
        categories: &[Category],
        limit: usize,
    ) -> Result<Vec<Recorded>, ReadError> {
        let limit = to_i64(limit.clamp(1, 10_000) as u64);
        let names = names(categories);
        let position = to_i64(after.position);
        let statement = || sqlx::query(read_log()).bind(Xid8(after.tx)).bind(position).bind(&names).bind(limit);
        all_recorded(&self.read(statement).await?, categories)
    }

    pub(crate) async fn transactions(&self, txs: &[TxId], categories: &[Category]) -> Result<Vec<Recorded>, ReadError> {
        if txs.is_empty() {
            return Ok(Vec::new());
        }
        let names = names(categories);
        let txs: Vec<Xid8> = txs.iter().copied().map(Xid8).collect();
        let statement = || sqlx::query(READ_TRANSACTIONS).bind(&txs).bind(&names);
        all_recorded(&self.read(statement).await?, categories)
    }
}

pub(crate) fn names(categories: &[Category]) -> Vec<&'static str> {
    categories.iter().map(|category| category.as_str()).collect()
}

/// The category of this name, of those that were asked for.
pub(crate) fn category(name: &str, asked: &[Category]) -> Result<Category, ReadError> {
    let found = asked.iter().copied().find(|category| category.as_str() == name);
    found.ok_or_else(|| ReadError::Corrupt(format!("category {name} was not asked for")))
}

pub(crate) fn all_recorded(rows: &[PgRow], asked: &[Category]) -> Result<Vec<Recorded>, ReadError> {
    rows.iter().map(|row| recorded(row, asked)).collect()
}

fn recorded(row: &PgRow, asked: &[Category]) -> Result<Recorded, ReadError> {
    let category = category(row.try_get(9).map_err(read_error)?, asked)?;
    let stream = StreamId::new(category, row.try_get(4).map_err(read_error)?);
    decoded(row, stream).map_err(read_error)
}

fn decoded(row: &PgRow, stream: StreamId) -> Result<Recorded, sqlx::Error> {
    let tx: Xid8 = row.try_get(0)?;
    let payload: JsonText<'_> = row.try_get(13)?;
    Ok(Recorded {
        stream,
        cursor: Cursor { tx: tx.0, position: to_u64(row.try_get(1)?) },
        version: Version::new(to_u64(row.try_get(2)?)),
        time: row.try_get(3)?,
        id: EventId(row.try_get(5)?),
        cause: Cause {
            correlation: row.try_get(6)?,
            causation: row.try_get(7)?,
            actor: Actor::new(row.try_get::<&str, _>(11)?),
            trace: row.try_get::<Option<String>, _>(12)?.map(TraceContext),
        },
        schema_version: u16::try_from(row.try_get::<i16, _>(8)?).unwrap_or_default(),
        type_name: row.try_get(10)?,
        payload: payload.0.to_owned(),
        digest: digest(row.try_get(14)?)?,
    })
}

/// Rows from before there were digests have an empty one.
pub(crate) fn digest(bytes: &[u8]) -> Result<Option<Digest>, sqlx::Error> {
    match bytes {
        [] => Ok(None),
        bytes => {
            Digest::from_bytes(bytes).map(Some).ok_or_else(|| sqlx::Error::Decode("a digest of another length".into()))
        }
    }
}
