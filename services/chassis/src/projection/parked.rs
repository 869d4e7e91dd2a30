//! Streams that a read model cannot follow now.
//!
//! An event that the program does not understand parks its stream, for this read model: a row says from which version
//! on nothing of it is applied. All other streams go on, the cursor moves. Whoever comes to understand the event, a newer
//! program or this one once the event is mended, takes the stream up: what was passed over is applied, in order, and the
//! row goes. So nothing is skipped, it is put off.
//!
//! Rows change only under the lock of the projection's cursor, which every batch takes: two replicas, of different
//! versions even, agree on what is parked.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use eventstore::{Category, Cursor, DecodeError, EventStore, Recorded, StreamId, TxId, Version};
use sqlx::postgres::PgConnection;
use tracing::{error, info};
use uuid::Uuid;

use super::{Projection, ProjectionError};

/// Streams that are tried with one look.
const LOOK_STREAMS_MAX: i64 = 100;
/// Events that are taken up in one transaction.
const PAGE: usize = 500;

/// A stream that a read model of some service cannot follow now.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, sqlx::FromRow)]
pub struct ParkedStream {
    /// The read model.
    pub consumer: String,
    /// The stream's category.
    pub category: String,
    /// The stream's id.
    pub stream_id: Uuid,
    /// The first event that is not applied.
    pub version: i64,
    /// How many events are not applied by now.
    pub skipped: i64,
    /// Since when.
    pub parked_at: DateTime<Utc>,
    /// When it was last tried to take it up.
    pub looked_at: DateTime<Utc>,
    /// What is wrong with that event.
    pub reason: String,
}

/// The parked streams of a service's database, those first that wait longest; at most `limit`.
///
/// # Errors
/// The database refuses or does not answer.
pub async fn parked_streams(connection: &mut PgConnection, limit: u32) -> Result<Vec<ParkedStream>, sqlx::Error> {
    sqlx::query_as(
        "select consumer, category, stream_id, version, skipped, parked_at, looked_at, reason
         from parked_stream
         order by parked_at, consumer, stream_id
         limit $1",
    )
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await
}

/// Where a batch stops for some streams: from that version on nothing is applied, for the reason that is given.
#[derive(Default)]
pub(super) struct Stops(HashMap<StreamId, (Version, String)>);

impl Stops {
    /// Notes what `error` means for `events`: an event of a newer program stops every stream with an event of that kind,
    /// so that a batch is not tried once per stream. False when that was known: the projection is at fault.
    pub(super) fn learn(&mut self, error: &DecodeError, events: &[Recorded]) -> bool {
        let alike = |event: &&Recorded| {
            let this = event.stream == error.stream && event.version == error.version;
            let kind = event.stream.category == error.stream.category
                && event.type_name == error.type_name
                && event.schema_version == error.schema_version;
            this || (error.is_newer() && kind)
        };
        let mut learned = false;
        for event in events.iter().filter(alike) {
            let known = self.0.get(&event.stream).is_some_and(|(version, _)| *version <= event.version);
            if !known {
                self.0.insert(event.stream, (event.version, error.told()));
                learned = true;
            }
        }
        learned
    }

    /// Says so when `count` streams have stopped.
    pub(super) fn tell(&self, consumer: &'static str, count: usize) {
        let first = self.0.iter().next().filter(|_| count > 0);
        if let Some((stream, (_, reason))) = first {
            error!(consumer, count, %stream, reason, "a read model goes on without streams that it cannot follow");
        }
    }

    fn stop(&self, event: &Recorded) -> bool {
        self.0.get(&event.stream).is_some_and(|(version, _)| event.version >= *version)
    }
}

/// What of a batch is applied, and what is passed over.
#[derive(Default)]
pub(super) struct Sieved<'a> {
    pub(super) events: Cow<'a, [Recorded]>,
    /// How many events of streams that were parked before.
    pub(super) more: HashMap<StreamId, i64>,
    /// How many events of streams that stop here.
    pub(super) stopped: HashMap<StreamId, i64>,
}

impl Sieved<'_> {
    /// How many streams stop here.
    pub(super) fn stopped(&self) -> usize {
        self.stopped.len()
    }
}

/// Parts `events` of streams that are parked, or stop here, from the others.
pub(super) fn sieve<'a>(events: &'a [Recorded], parked: &HashSet<StreamId>, stops: &Stops) -> Sieved<'a> {
    if parked.is_empty() && stops.0.is_empty() {
        return Sieved { events: Cow::Borrowed(events), more: HashMap::new(), stopped: HashMap::new() };
    }
    let (mut kept, mut more, mut stopped) = (Vec::new(), HashMap::new(), HashMap::new());
    for event in events {
        if parked.contains(&event.stream) {
            *more.entry(event.stream).or_default() += 1;
        } else if stops.stop(event) {
            *stopped.entry(event.stream).or_default() += 1;
        } else {
            kept.push(event.clone());
        }
    }
    Sieved { events: Cow::Owned(kept), more, stopped }
}

/// The parked streams of a projection. The lock of its cursor is held.
pub(super) async fn of(
    connection: &mut PgConnection,
    projection: &dyn Projection,
) -> Result<HashSet<StreamId>, sqlx::Error> {
    let rows: Vec<(Uuid, String)> = sqlx::query_as("select stream_id, category from parked_stream where consumer = $1")
        .bind(projection.name())
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().filter_map(|(id, category)| Some(StreamId::new(named(projection, &category)?, id))).collect())
}

fn named(projection: &dyn Projection, category: &str) -> Option<Category> {
    projection.categories().iter().copied().find(|known| known.as_str() == category)
}

/// Notes what was passed over: streams that stop here are parked, those that were parked have more to take up.
pub(super) async fn note(
    connection: &mut PgConnection,
    consumer: &str,
    stops: &Stops,
    sieved: &Sieved<'_>,
) -> Result<(), sqlx::Error> {
    let (more, stopped): (Vec<_>, Vec<_>) = (sieved.more.iter().collect(), sieved.stopped.iter().collect());
    if !more.is_empty() {
        sqlx::query(
            "update parked_stream as parked
             set skipped = parked.skipped + more.skipped
             from unnest($2::uuid[], $3::text[], $4::bigint[]) as more (stream_id, category, skipped)
             where parked.consumer = $1 and parked.stream_id = more.stream_id and parked.category = more.category",
        )
        .bind(consumer)
        .bind(more.iter().map(|(stream, _)| stream.id).collect::<Vec<_>>())
        .bind(more.iter().map(|(stream, _)| stream.category.as_str()).collect::<Vec<_>>())
        .bind(more.iter().map(|(_, skipped)| **skipped).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
    }
    if stopped.is_empty() {
        return Ok(());
    }
    let stop = |stream: &StreamId| stops.0.get(stream).map_or((1, String::new()), |(v, why)| (number(*v), why.clone()));
    let (versions, reasons): (Vec<_>, Vec<_>) = stopped.iter().map(|(stream, _)| stop(stream)).unzip();
    sqlx::query(
        "insert into public.parked_stream (consumer, stream_id, category, version, skipped, reason)
         select $1, stream_id, category, version, skipped, reason
         from unnest($2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::text[])
             as stopped (stream_id, category, version, skipped, reason)",
    )
    .bind(consumer)
    .bind(stopped.iter().map(|(stream, _)| stream.id).collect::<Vec<_>>())
    .bind(stopped.iter().map(|(stream, _)| stream.category.as_str()).collect::<Vec<_>>())
    .bind(versions)
    .bind(stopped.iter().map(|(_, skipped)| **skipped).collect::<Vec<_>>())
    .bind(reasons)
    .execute(connection)
    .await?;
    Ok(())
}

/// Says how many streams of a projection are parked.
pub(super) fn measure(consumer: &'static str, parked: usize) {
    metrics::gauge!("farmera_parked_streams", "consumer" => consumer).set(parked as f64);
}

/// A stream to take up, and the version to take it up from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Waiting {
    pub(super) stream: StreamId,
    version: Version,
}

/// The parked streams that were not looked at for the longest time.
pub(super) async fn waiting(
    connection: &mut PgConnection,
    projection: &dyn Projection,
) -> Result<Vec<Waiting>, sqlx::Error> {
    let rows: Vec<(Uuid, String, i64)> = sqlx::query_as(
        "select stream_id, category, version
         from parked_stream
         where consumer = $1
         order by looked_at, stream_id
         limit $2",
    )
    .bind(projection.name())
    .bind(LOOK_STREAMS_MAX)
    .fetch_all(connection)
    .await?;
    let waiting = rows.into_iter().filter_map(|(id, category, version)| {
        let stream = StreamId::new(named(projection, &category)?, id);
        Some(Waiting { stream, version: Version::new(u64::try_from(version).unwrap_or(1)) })
    });
    Ok(waiting.collect())
}

/// What became of a stream that was to be taken up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TakenUp {
    /// It is followed again, or another replica was faster.
    Whole,
    /// A page of it is applied, the next one waits.
    Part(Waiting),
    /// The event that parked it is still not understood, or another one behind it is not.
    Not,
}

/// Takes a stream up as far as this program understands it, a page at a time, each in a transaction of its own.
pub(super) async fn take_up(
    connection: &mut PgConnection,
    store: &dyn EventStore,
    projection: &dyn Projection,
    waiting: Waiting,
) -> Result<TakenUp, ProjectionError> {
    match apply_page(connection, store, projection, waiting, None).await {
        Err(ProjectionError::Decode(error)) if error.stream == waiting.stream => {
            sqlx::query("rollback").execute(&mut *connection).await?;
            if error.version > waiting.version {
                // What comes before it is understood.
                apply_page(connection, store, projection, waiting, Some(&error)).await?;
            } else {
                looked(connection, projection.name(), waiting.stream).await?;
            }
            Ok(TakenUp::Not)
        }
        other => other,
    }
}

async fn apply_page(
    connection: &mut PgConnection,
    store: &dyn EventStore,
    projection: &dyn Projection,
    waiting: Waiting,
    stop: Option<&DecodeError>,
) -> Result<TakenUp, ProjectionError> {
    let consumer = projection.name();
    sqlx::query("begin").execute(&mut *connection).await?;
    let cursor = lock(connection, consumer).await?;
    if version_of(connection, consumer, waiting.stream).await? != Some(waiting.version) {
        sqlx::query("rollback").execute(connection).await?;
        return Ok(TakenUp::Whole);
    }
    let after = Version::new(waiting.version.get().saturating_sub(1));
    let page = store.read_streams(&[(waiting.stream, after)], PAGE).await?;
    // What the cursor has not reached yet comes by the ordinary way.
    let passed: Vec<Recorded> = page.iter().filter(|event| event.cursor <= cursor).cloned().collect();
    let understood = |event: &&Recorded| stop.is_none_or(|error| event.version < error.version);
    let events: Vec<Recorded> = passed.iter().filter(understood).cloned().collect();
    if !events.is_empty() {
        projection.apply(connection, &events).await?;
    }
    let next = Waiting { version: waiting.version.plus(events.len()), ..waiting };
    let taken_up = match stop {
        Some(_) => TakenUp::Not,
        None if passed.len() == PAGE => TakenUp::Part(next),
        None => TakenUp::Whole,
    };
    match taken_up {
        TakenUp::Whole => remove(connection, consumer, waiting.stream).await?,
        TakenUp::Part(_) | TakenUp::Not => {
            let reason = stop.map(DecodeError::told);
            advance(connection, consumer, next, events.len(), reason).await?;
        }
    }
    sqlx::query("commit").execute(connection).await?;
    info!(consumer, stream = %waiting.stream, events = events.len(), ?taken_up, "took up events of a parked stream");
    Ok(taken_up)
}

/// How many streams of a projection are parked.
pub(super) async fn count(connection: &mut PgConnection, consumer: &str) -> Result<usize, sqlx::Error> {
    let parked: i64 = sqlx::query_scalar("select count(*) from parked_stream where consumer = $1")
        .bind(consumer)
        .fetch_one(connection)
        .await?;
    Ok(usize::try_from(parked).unwrap_or(0))
}

async fn lock(connection: &mut PgConnection, consumer: &str) -> Result<Cursor, sqlx::Error> {
    let (tx, position): (String, i64) =
        sqlx::query_as("select tx::text, position from projection where name = $1 for update")
            .bind(consumer)
            .fetch_one(connection)
            .await?;
    Ok(Cursor { tx: TxId(tx.parse().unwrap_or(0)), position: u64::try_from(position).unwrap_or(0) })
}

async fn version_of(
    connection: &mut PgConnection,
    consumer: &str,
    stream: StreamId,
) -> Result<Option<Version>, sqlx::Error> {
    let version: Option<i64> = sqlx::query_scalar(
        "select version from parked_stream where consumer = $1 and stream_id = $2 and category = $3",
    )
    .bind(consumer)
    .bind(stream.id)
    .bind(stream.category.as_str())
    .fetch_optional(connection)
    .await?;
    Ok(version.map(|version| Version::new(u64::try_from(version).unwrap_or(0))))
}

async fn remove(connection: &mut PgConnection, consumer: &str, stream: StreamId) -> Result<(), sqlx::Error> {
    sqlx::query("delete from parked_stream where consumer = $1 and stream_id = $2 and category = $3")
        .bind(consumer)
        .bind(stream.id)
        .bind(stream.category.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// The stream stays parked, further on.
async fn advance(
    connection: &mut PgConnection,
    consumer: &str,
    to: Waiting,
    applied: usize,
    reason: Option<String>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update parked_stream
         set version = $4, skipped = greatest(skipped - $5, 0), reason = coalesce($6, reason), looked_at = now()
         where consumer = $1 and stream_id = $2 and category = $3",
    )
    .bind(consumer)
    .bind(to.stream.id)
    .bind(to.stream.category.as_str())
    .bind(number(to.version))
    .bind(i64::try_from(applied).unwrap_or(i64::MAX))
    .bind(reason)
    .execute(connection)
    .await?;
    Ok(())
}

async fn looked(connection: &mut PgConnection, consumer: &str, stream: StreamId) -> Result<(), sqlx::Error> {
    sqlx::query("update parked_stream set looked_at = now() where consumer = $1 and stream_id = $2 and category = $3")
        .bind(consumer)
        .bind(stream.id)
        .bind(stream.category.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

fn number(version: Version) -> i64 {
    i64::try_from(version.get()).unwrap_or(i64::MAX)
}
