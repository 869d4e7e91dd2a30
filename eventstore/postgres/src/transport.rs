use chrono::{DateTime, Utc};
use eventstore::{
    BACKLOG_COUNT_MAX, Backlog, BrokerMark, Category, ELDERS_MAX, ReadError, Recorded, StoreEpoch, StreamId, ToldEvent,
    Transport, TxId, Version,
};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::PostgresStore;
use crate::batch::columns;
use crate::codec::{Xid8, to_i64, to_u64};
use crate::fault::read_error;
use crate::outbox::column;
use crate::read::{all_recorded, event_columns};

/// Step by step backwards, by primary keys: what waits in the outbox is little, a stream may be long.
const ELDERS: &str = concat!(
    "
with recursive asked (stream_id, category, version) as (
    select * from unnest($1::uuid[], $2::text[], $3::int8[])
),
elder as (
    select event.*, 1 as steps
    from asked
    join event on event.stream_id = asked.stream_id
    and event.version = asked.version - 1
    and event.category = asked.category
    where exists (select from outbox where outbox.tx = event.tx)
    union all
    select event.*, elder.steps + 1
    from elder
    join event on event.stream_id = elder.stream_id
    and event.version = elder.version - 1
    and event.category = elder.category
    where elder.steps < $4
    and exists (select from outbox where outbox.tx = event.tx)
)
select ",
    event_columns!(),
    "
from elder as event
order by event.stream_id, event.category, event.version"
);

const TOLD_BELOW: &str = "
select least(
    pg_snapshot_xmin(pg_current_snapshot()),
    (select tx from outbox order by tx limit 1)
)";

const SETTLED_BELOW: &str = "select pg_snapshot_xmin(pg_current_snapshot())";

const BACKLOG: &str = "
select count(*) as transactions, min(written_at) as oldest_at, clock_timestamp() as looked_at
from (select written_at from outbox order by tx limit $1) as waiting";

const MARK: &str = "
select epoch, created_at, first_sequence, first_at, last_sequence, last_message, missing, handled, consumers
from broker_mark
where stream = $1";

const REMEMBER: &str = "
insert into broker_mark as known
    (stream, epoch, created_at, first_sequence, first_at, last_sequence, last_message, missing, handled, consumers)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
on conflict (stream) do update
set created_at = excluded.created_at,
    first_sequence = excluded.first_sequence,
    first_at = excluded.first_at,
    last_message = case
        when excluded.last_sequence > known.last_sequence then excluded.last_message else known.last_message
    end,
    last_sequence = greatest(excluded.last_sequence, known.last_sequence),
    missing = excluded.missing,
    handled = greatest(excluded.handled, known.handled),
    consumers = excluded.consumers,
    updated_at = now()
where known.epoch = excluded.epoch";

/// What is put into the outbox again waits from now on; what waits there goes on waiting. The row's lock lets one relay
/// begin the epoch; those that take transactions out of the outbox wait for it, and then
/// find their own epoch gone.
const BEGIN: &str = "
with begun as (
    update broker_mark
    set epoch = $2,
        created_at = $3,
        first_sequence = $4,
        first_at = $5,
        last_sequence = $6,
        last_message = $7,
        missing = $8,
        handled = $9,
        consumers = $10,
        updated_at = now()
    where stream = $1
    and epoch = $2 - 1
    returning handled
),
untold as (
    insert into outbox (tx, written_at)
    select distinct event.tx, clock_timestamp()
    from event
    where event.tx >= (select handled from begun)
    on conflict (tx) do nothing
)
select exists (select from begun)";

const TOLD: &str = "
with noted as (
    update broker_mark
    set last_message = case when $3 > last_sequence then $4 else last_message end,
        last_sequence = greatest(last_sequence, $3),
        updated_at = now()
    where stream = $1
    and epoch = $2
    returning stream
),
gone as (
    delete from outbox
    where tx = any($5::xid8[])
    and exists (select from noted)
)
select exists (select from noted)";

const UNKNOWN: &str = "
select told.event_id
from unnest($1::uuid[], $2::text[], $3::int8[], $4::uuid[]) as told (stream_id, category, version, event_id)
where not exists (
    select from event
    where event.stream_id = told.stream_id
    and event.version = told.version
    and event.category = told.category
)";

const EPOCH: &str = "
select
    (select epoch from store_epoch order by number desc limit 1) as epoch,
    (
        select newest.tx
        from (select tx from event order by tx desc, position desc limit 1) as newest
        where newest.tx >= pg_snapshot_xmax(pg_current_snapshot())
    ) as beyond";

/// Messages get other ids from now on, so that nothing the broker remembers of the other history swallows them.
const ADOPT: &str = "
with renewed as (
    update broker_mark
    set epoch = epoch + 1,
        updated_at = now()
)
insert into store_epoch (reason)
values ($1)
returning epoch";

impl PostgresStore {
    /// Begins another history: what was told by the one before and is not in this log is none of its business any more.
    /// Needs the database's owner. `reason` is kept, for whoever looks later.
    ///
    /// # Errors
    /// [`ReadError`]; look which history it tells before trying again.
    pub async fn begin_history(&self, reason: &str) -> Result<Uuid, ReadError> {
        let rows = self.read(|| sqlx::query(ADOPT).bind(reason)).await?;
        column(&rows)?.first().copied().ok_or_else(no_answer)
    }
}

#[async_trait::async_trait]
impl Transport for PostgresStore {
    async fn untold_elders(&self, streams: &[(StreamId, Version)]) -> Result<Vec<Recorded>, ReadError> {
        if streams.is_empty() {
            return Ok(Vec::new());
        }
        let (ids, names) = columns(streams.iter().map(|(stream, _)| *stream));
        let versions: Vec<i64> = streams.iter().map(|(_, version)| to_i64(version.get())).collect();
        let steps = i32::try_from(ELDERS_MAX).unwrap_or(i32::MAX);
        let statement = || sqlx::query(ELDERS).bind(&ids).bind(&names).bind(&versions).bind(steps);
        let categories: Vec<Category> = streams.iter().map(|(stream, _)| stream.category).collect();
        all_recorded(&self.read(statement).await?, &categories)
    }

    async fn told_below(&self) -> Result<TxId, ReadError> {
        let below: Vec<Xid8> = column(&self.read(|| sqlx::query(TOLD_BELOW)).await?)?;
        below.first().map(|tx| tx.0).ok_or_else(no_answer)
    }

    async fn settled_below(&self) -> Result<TxId, ReadError> {
        let below: Vec<Xid8> = column(&self.read(|| sqlx::query(SETTLED_BELOW)).await?)?;
        below.first().map(|tx| tx.0).ok_or_else(no_answer)
    }

    async fn backlog(&self) -> Result<Backlog, ReadError> {
        let rows = self.read(|| sqlx::query(BACKLOG).bind(i64::from(BACKLOG_COUNT_MAX))).await?;
        let row = rows.first().ok_or_else(no_answer)?;
        let transactions: i64 = row.try_get("transactions").map_err(read_error)?;
        Ok(Backlog {
            transactions: u32::try_from(transactions).unwrap_or(BACKLOG_COUNT_MAX),
            oldest_at: row.try_get("oldest_at").map_err(read_error)?,
            looked_at: row.try_get("looked_at").map_err(read_error)?,
        })
    }

    async fn broker_mark(&self, stream: &str) -> Result<Option<BrokerMark>, ReadError> {
        let rows = self.read(|| sqlx::query(MARK).bind(stream)).await?;
        rows.first().map(|row| mark(row).map_err(read_error)).transpose()
    }

    async fn remember_broker(&self, stream: &str, mark: &BrokerMark) -> Result<(), ReadError> {
        self.read(|| bound(REMEMBER, stream, mark)).await.map(drop)
    }

    async fn begin_broker_epoch(&self, stream: &str, mark: &BrokerMark) -> Result<bool, ReadError> {
        answer(&self.read(|| bound(BEGIN, stream, mark)).await?)
    }

    async fn told(
        &self,
        stream: &str,
        epoch: u32,
        newest: Option<(u64, String)>,
        txs: &[TxId],
    ) -> Result<bool, ReadError> {
        // In one order: two relays that meet the same rows must not wait for each other in a circle.
        let mut txs = txs.to_vec();
        txs.sort_unstable();
        let txs: Vec<Xid8> = txs.into_iter().map(Xid8).collect();
        let (sequence, message) = newest.unzip();
        let sequence = to_i64(sequence.unwrap_or_default());
        let epoch = to_i32(epoch);
        let statement = || sqlx::query(TOLD).bind(stream).bind(epoch).bind(sequence).bind(&message).bind(&txs);
        answer(&self.read(statement).await?)
    }

    async fn unknown_of(&self, told: &[ToldEvent]) -> Result<Vec<Uuid>, ReadError> {
        let streams: Vec<Uuid> = told.iter().map(|event| event.stream).collect();
        let categories: Vec<&str> = told.iter().map(|event| event.category.as_str()).collect();
        let versions: Vec<i64> = told.iter().map(|event| to_i64(event.version.get())).collect();
        let ids: Vec<Uuid> = told.iter().map(|event| event.id).collect();
        let statement = || sqlx::query(UNKNOWN).bind(&streams).bind(&categories).bind(&versions).bind(&ids);
        column(&self.read(statement).await?)
    }

    async fn store_epoch(&self) -> Result<StoreEpoch, ReadError> {
        let rows = self.read(|| sqlx::query(EPOCH)).await?;
        let row = rows.first().ok_or_else(no_answer)?;
        let epoch: Option<Uuid> = row.try_get(0).map_err(read_error)?;
        let beyond: Option<Xid8> = row.try_get(1).map_err(read_error)?;
        let epoch = epoch.ok_or_else(|| ReadError::Corrupt("the database names no store epoch".to_owned()))?;
        Ok(StoreEpoch { epoch, beyond: beyond.map(|tx| tx.0) })
    }
}

fn bound<'q>(statement: &'static str, stream: &'q str, mark: &'q BrokerMark) -> crate::connections::Statement<'q> {
    sqlx::query(statement)
        .bind(stream)
        .bind(to_i32(mark.epoch))
        .bind(mark.created_at)
        .bind(to_i64(mark.first_sequence))
        .bind(mark.first_at)
        .bind(to_i64(mark.last_sequence))
        .bind(&mark.last_message)
        .bind(to_i64(mark.missing))
        .bind(Xid8(mark.handled))
        .bind(&mark.consumers)
}

fn mark(row: &PgRow) -> Result<BrokerMark, sqlx::Error> {
    let first_at: Option<DateTime<Utc>> = row.try_get(3)?;
    let handled: Xid8 = row.try_get(7)?;
    Ok(BrokerMark {
        epoch: u32::try_from(row.try_get::<i32, _>(0)?).unwrap_or_default(),
        created_at: row.try_get(1)?,
        first_sequence: to_u64(row.try_get(2)?),
        first_at,
        last_sequence: to_u64(row.try_get(4)?),
        last_message: row.try_get(5)?,
        missing: to_u64(row.try_get(6)?),
        handled: handled.0,
        consumers: row.try_get(8)?,
    })
}

fn answer(rows: &[PgRow]) -> Result<bool, ReadError> {
    column(rows)?.first().copied().ok_or_else(no_answer)
}

fn no_answer() -> ReadError {
    ReadError::Corrupt("the database does not answer what it was asked".to_owned())
}

fn to_i32(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
