use eventstore::{Category, ReadError, Snapshot, StreamId, Version};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::PostgresStore;
use crate::batch::columns;
use crate::codec::{JsonText, to_i64, to_u64};
use crate::fault::read_error;
use crate::read::{category, digest};

/// Only what the log confirms: it holds the very event to which the snapshot belongs. A snapshot without a digest is of
/// an event without one, or of a program that stored none.
const READ: &str = "
select snapshot.category, snapshot.stream_id, snapshot.version, snapshot.shape, snapshot.state, event.digest
from unnest($1::uuid[], $2::text[]) as asked (stream_id, category)
join snapshot on snapshot.category = asked.category and snapshot.stream_id = asked.stream_id
join event
on event.stream_id = snapshot.stream_id
and event.version = snapshot.version
and event.category = snapshot.category
and snapshot.digest in ('', event.digest)";

const SAVE: &str = "
insert into snapshot (stream_id, category, version, shape, digest, state)
select stream_id, category, version, shape, digest, state
from unnest($1::uuid[], $2::text[], $3::int8[], $4::int2[], $5::bytea[], $6::json[])
as new (stream_id, category, version, shape, digest, state)
on conflict (category, stream_id) do update
set version = excluded.version,
    shape = excluded.shape,
    digest = excluded.digest,
    state = excluded.state,
    taken_at = now()
where (snapshot.version, snapshot.shape) < (excluded.version, excluded.shape)
or not exists (
    select from event
    where event.stream_id = snapshot.stream_id
    and event.version = snapshot.version
    and event.category = snapshot.category
    and snapshot.digest in ('', event.digest)
)";

/// In one order, so that a page has an end.
const UNCONFIRMED: &str = "
select snapshot.category, snapshot.stream_id, snapshot.version, event.version is null
from snapshot
left join event
on event.stream_id = snapshot.stream_id
and event.version = snapshot.version
and event.category = snapshot.category
where event.version is null
or snapshot.digest not in ('', event.digest)
order by snapshot.stream_id, snapshot.category
limit $1";

const DROP: &str = "
with dropped as (
    delete from snapshot
    where category = $1
    and stream_id = any(array(select stream_id from snapshot where category = $1 limit $2))
    returning 1
)
select count(*) from dropped";

/// A snapshot that the log does not confirm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unconfirmed {
    /// Its stream's category.
    pub category: String,
    /// Its stream's id.
    pub stream: Uuid,
    /// The version it says it is of.
    pub version: u64,
    /// True when the stream does not go that far; else another event stands there.
    pub ahead: bool,
}

impl PostgresStore {
    pub(crate) async fn snapshots(&self, streams: &[StreamId]) -> Result<Vec<Snapshot>, ReadError> {
        if streams.is_empty() {
            return Ok(Vec::new());
        }
        let (ids, names) = columns(streams.iter().copied());
        let rows = self.read(|| sqlx::query(READ).bind(&ids).bind(&names)).await?;
        let asked: Vec<Category> = streams.iter().map(|stream| stream.category).collect();
        rows.iter().map(|row| snapshot(row, &asked)).collect()
    }

    /// Saving again what is saved changes nothing, so this may be sent twice like a read.
    pub(crate) async fn keep(&self, snapshots: &[Snapshot]) -> Result<(), ReadError> {
        if snapshots.is_empty() {
            return Ok(());
        }
        let mut kept: Vec<&Snapshot> = snapshots.iter().collect();
        // In one order, so that two savers do not wait for each other in a circle; one per stream, the newest.
        kept.sort_by_key(|one| (one.stream, std::cmp::Reverse((one.version, one.shape))));
        kept.dedup_by_key(|one| one.stream);
        let (ids, names) = columns(kept.iter().map(|one| one.stream));
        let versions: Vec<i64> = kept.iter().map(|one| to_i64(one.version.get())).collect();
        let shapes: Vec<i16> = kept.iter().map(|one| i16::try_from(one.shape).unwrap_or(i16::MAX)).collect();
        let digests: Vec<&[u8]> =
            kept.iter().map(|one| one.head.as_ref().map_or(&[][..], |head| head.as_bytes())).collect();
        let states: Vec<JsonText<'_>> = kept.iter().map(|one| JsonText(&one.state)).collect();
        let statement =
            || sqlx::query(SAVE).bind(&ids).bind(&names).bind(&versions).bind(&shapes).bind(&digests).bind(&states);
        self.read(statement).await.map(drop)
    }

    /// Snapshots that the log does not confirm, at most `limit` (1..=10,000): harmless, but something has happened.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is returned then.
    pub async fn unconfirmed_snapshots(&self, limit: usize) -> Result<Vec<Unconfirmed>, ReadError> {
        let limit = to_i64(limit.clamp(1, 10_000) as u64);
        let rows = self.read(|| sqlx::query(UNCONFIRMED).bind(limit)).await?;
        let unconfirmed = |row: &PgRow| -> Result<Unconfirmed, sqlx::Error> {
            let (category, stream) = (row.try_get(0)?, row.try_get(1)?);
            let version = to_u64(row.try_get(2)?);
            Ok(Unconfirmed { category, stream, version, ahead: row.try_get(3)? })
        };
        rows.iter().map(|row| unconfirmed(row).map_err(read_error)).collect()
    }

    pub(crate) async fn forget_snapshots(&self, category: Category, limit: usize) -> Result<usize, ReadError> {
        let limit = to_i64(limit.clamp(1, 10_000) as u64);
        let rows = self.read(|| sqlx::query(DROP).bind(category.as_str()).bind(limit)).await?;
        let count: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0)).map_err(read_error)?;
        Ok(usize::try_from(count).unwrap_or_default())
    }
}

fn snapshot(row: &PgRow, asked: &[Category]) -> Result<Snapshot, ReadError> {
    let category = category(row.try_get(0).map_err(read_error)?, asked)?;
    decoded(row, category).map_err(read_error)
}

fn decoded(row: &PgRow, category: Category) -> Result<Snapshot, sqlx::Error> {
    let state: JsonText<'_> = row.try_get(4)?;
    Ok(Snapshot {
        stream: StreamId::new(category, row.try_get(1)?),
        version: Version::new(to_u64(row.try_get(2)?)),
        shape: u16::try_from(row.try_get::<i16, _>(3)?).unwrap_or_default(),
        head: digest(row.try_get(5)?)?,
        state: state.0.to_owned(),
    })
}
