//! Whole logs out and in, for tools: streams in the order of their key, and events that keep who they are.

use std::time::Duration;

use eventstore::{Category, ReadError, Recorded, StoreError, StreamId, TxId, Version};
use sqlx::Row;
use tokio::time::timeout;
use uuid::Uuid;

use crate::PostgresStore;
use crate::batch::columns;
use crate::codec::{JsonText, Xid8, to_i64};
use crate::connections::RunError;
use crate::fault::{Fault, StoreFault, read_error};
use crate::read::{all_recorded, event_columns};

const SCAN: &str = concat!(
    "
select ",
    event_columns!(),
    "
from event
where (event.stream_id, event.version, event.category) > ($1::uuid, $2::int8, $3::text)
and event.stream_id <= $4::uuid
order by event.stream_id, event.version, event.category
limit $5"
);

const THESE: &str = concat!(
    "
select ",
    event_columns!(),
    "
from unnest($1::uuid[], $2::text[], $3::int8[]) as asked (stream_id, category, version)
join event
on event.stream_id = asked.stream_id
and event.version = asked.version
and event.category = asked.category"
);

const HORIZON: &str = "
select
    pg_snapshot_xmin(pg_current_snapshot()) as settled,
    pg_snapshot_xmax(pg_current_snapshot()) as next,
    exists (select from event where tx >= pg_snapshot_xmax(pg_current_snapshot())) as beyond";

const BRING_IN: &str = "
with written as (
    insert into event (
        version, time, stream_id, event_id, correlation_id, causation_id,
        schema_version, category, type, actor, trace, payload, digest
    )
    select *
    from unnest(
        $1::int8[], $2::timestamptz[], $3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[],
        $7::int2[], $8::text[], $9::text[], $10::text[], $11::text[], $12::json[], $13::bytea[]
    )
    returning tx
),
outboxed as (
    insert into outbox (tx)
    select tx
    from written
    where $14
    limit 1
)
select count(*) from written";

/// How far the log is settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Horizon {
    /// Every transaction before this one has ended: what it wrote is visible now or never.
    pub settled: TxId,
    /// The next transaction of the cluster at this moment; none of today's has a higher number.
    pub next: TxId,
    /// True when the log holds events of transactions that this cluster has not had yet: the database was restored from
    /// a dump, and readers of the log will not see these events for a long time.
    pub beyond: bool,
}

/// A place in a scan: after this event. Streams come by id; within one id by version, then category.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScanPlace {
    /// The stream's id.
    pub id: Uuid,
    /// The event's version.
    pub version: Version,
    /// The stream's category.
    pub category: String,
}

impl ScanPlace {
    /// Before every event of the streams with `id`; the nil id: before everything.
    #[must_use]
    pub fn before(id: Uuid) -> Self {
        Self { id, version: Version::NONE, category: String::new() }
    }

    /// Right after `event`.
    #[must_use]
    pub fn after(event: &Recorded) -> Self {
        Self { id: event.stream.id, version: event.version, category: event.stream.category.as_str().to_owned() }
    }
}

/// Why events were not brought in. None of them was.
#[derive(Debug, thiserror::Error)]
pub enum BringInError {
    /// One of the versions is taken. Compare again.
    #[error("a version that was free is taken")]
    Taken,
    /// The database will never take these events.
    #[error("the database refuses the events")]
    Refused(#[source] StoreError),
    /// The database did not answer: whether they are there is not known. Compare again.
    #[error("the database does not answer")]
    Unavailable(#[source] StoreError),
}

/// For tools.
impl PostgresStore {
    /// How far the log is settled at this moment.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn horizon(&self) -> Result<Horizon, ReadError> {
        let rows = self.read(|| sqlx::query(HORIZON)).await?;
        let row = rows.first().ok_or_else(|| ReadError::Corrupt("the database knows no transactions".to_owned()))?;
        let tx = |column| row.try_get::<Xid8, _>(column).map(|tx| tx.0).map_err(read_error);
        Ok(Horizon { settled: tx("settled")?, next: tx("next")?, beyond: row.try_get("beyond").map_err(read_error)? })
    }

    /// The events after `after` up to the streams with the id `last`, at most `limit` (1..=10,000), in the order of
    /// [`ScanPlace`]. `categories` are all that the log may hold.
    ///
    /// # Errors
    /// [`ReadError`]; `Corrupt` also for an event of another category.
    pub async fn scan(
        &self,
        after: &ScanPlace,
        last: Uuid,
        categories: &[Category],
        limit: usize,
    ) -> Result<Vec<Recorded>, ReadError> {
        let (version, limit) = (to_i64(after.version.get()), to_i64(limit.clamp(1, 10_000) as u64));
        let statement = || sqlx::query(SCAN).bind(after.id).bind(version).bind(&after.category).bind(last).bind(limit);
        all_recorded(&self.read(statement).await?, categories)
    }

    /// Those of these events that exist, in no order.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn these(&self, keys: &[(StreamId, Version)]) -> Result<Vec<Recorded>, ReadError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let (ids, names) = columns(keys.iter().map(|(stream, _)| *stream));
        let versions: Vec<i64> = keys.iter().map(|(_, version)| to_i64(version.get())).collect();
        let rows = self.read(|| sqlx::query(THESE).bind(&ids).bind(&names).bind(&versions)).await?;
        let categories: Vec<Category> = keys.iter().map(|(stream, _)| stream.category).collect();
        all_recorded(&rows, &categories)
    }

    /// Stores events as they are, ids, times and digests included, at new places of the log; all or none. They are told
    /// to nobody unless `publish`. The caller has seen that each goes on where its stream ends; that no version is
    /// written twice is the database's business.
    ///
    /// # Errors
    /// [`BringInError`].
    pub async fn bring_in(&self, events: &[Recorded], publish: bool) -> Result<(), BringInError> {
        if events.is_empty() {
            return Ok(());
        }
        let rows = Rows::of(events);
        let run = self.connections.run(rows.bind(publish));
        match timeout(self.deadline, run).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RunError::NotSent(error))) => Err(BringInError::Unavailable(error.into())),
            Ok(Err(RunError::Sent(error))) => Err(match Fault::of(error) {
                Fault::Taken => BringInError::Taken,
                Fault::Refused(error) => BringInError::Refused(error.into()),
                Fault::Again(error) | Fault::Unknown(error) | Fault::Unavailable(error) => {
                    BringInError::Unavailable(error.into())
                }
            }),
            Err(_) => Err(BringInError::Unavailable(unanswered(self.deadline))),
        }
    }
}

fn unanswered(deadline: Duration) -> StoreError {
    StoreFault::Deadline(deadline).into()
}

/// The columns of `event` that an event brings with it.
struct Rows<'a> {
    versions: Vec<i64>,
    times: Vec<chrono::DateTime<chrono::Utc>>,
    streams: Vec<Uuid>,
    ids: Vec<Uuid>,
    correlations: Vec<Uuid>,
    causations: Vec<Uuid>,
    schema_versions: Vec<i16>,
    categories: Vec<&'a str>,
    types: Vec<&'a str>,
    actors: Vec<&'a str>,
    traces: Vec<Option<&'a str>>,
    payloads: Vec<JsonText<'a>>,
    digests: Vec<&'a [u8]>,
}

impl<'a> Rows<'a> {
    fn of(events: &'a [Recorded]) -> Self {
        Self {
            versions: events.iter().map(|event| to_i64(event.version.get())).collect(),
            times: events.iter().map(|event| event.time).collect(),
            streams: events.iter().map(|event| event.stream.id).collect(),
            ids: events.iter().map(|event| event.id.0).collect(),
            correlations: events.iter().map(|event| event.cause.correlation).collect(),
            causations: events.iter().map(|event| event.cause.causation).collect(),
            schema_versions: events
                .iter()
                .map(|event| i16::try_from(event.schema_version).unwrap_or(i16::MAX))
                .collect(),
            categories: events.iter().map(|event| event.stream.category.as_str()).collect(),
            types: events.iter().map(|event| event.type_name.as_str()).collect(),
            actors: events.iter().map(|event| event.cause.actor.as_str()).collect(),
            traces: events.iter().map(|event| event.cause.trace.as_ref().map(|trace| trace.0.as_str())).collect(),
            payloads: events.iter().map(|event| JsonText(&event.payload)).collect(),
            digests: events
                .iter()
                .map(|event| event.digest.as_ref().map_or(&[][..], |digest| &digest.as_bytes()[..]))
                .collect(),
        }
    }

    fn bind<'q>(&'q self, publish: bool) -> crate::connections::Statement<'q> {
        sqlx::query(BRING_IN)
            .bind(&self.versions)
            .bind(&self.times)
            .bind(&self.streams)
            .bind(&self.ids)
            .bind(&self.correlations)
            .bind(&self.causations)
            .bind(&self.schema_versions)
            .bind(&self.categories)
            .bind(&self.types)
            .bind(&self.actors)
            .bind(&self.traces)
            .bind(&self.payloads)
            .bind(&self.digests)
            .bind(publish)
    }
}
