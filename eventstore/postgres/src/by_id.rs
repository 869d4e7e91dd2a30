//! One event by its id alone. No index leads from ids to events: it would cost every event a write. But ids say when
//! they were made ([RFC 9562], version 7), and the log is in the order of time, but for those who commit late and for
//! clocks that differ. So a stretch of the log around that time is looked through first, a wider one next, and the whole
//! log only for an id that says nothing or whose event was brought in from elsewhere.
//!
//! [RFC 9562]: https://www.rfc-editor.org/rfc/rfc9562

use chrono::{DateTime, TimeDelta, Utc};
use eventstore::{Category, ReadError, StreamId, TxId, Version};
use sqlx::Row as _;
use uuid::Uuid;

use crate::PostgresStore;
use crate::codec::Xid8;
use crate::fault::read_error;
use crate::places::place;

/// How far around the id's time is looked, one stretch after the other. The first holds what a clock that is right
/// writes; a second of a busy log is some ten thousand events.
const AROUND: [TimeDelta; 2] = [TimeDelta::seconds(1), TimeDelta::seconds(30)];

/// The first event of a transaction, or of the next one that has any.
const FROM: &str = "
select tx, time
from event
where (event.tx, event.position) >= ($1::xid8, 0)
order by event.tx, event.position
limit 1";

const LAST: &str = "
select tx
from event
order by event.tx desc, event.position desc
limit 1";

const FIND_WITHIN: &str = "
select stream_id, category, version
from event
where event.tx >= $2::xid8
and event.tx <= $3::xid8
and event_id = $1
limit 1";

/// Without an index: the whole log, in the worst case.
const FIND: &str = "
select stream_id, category, version
from event
where event_id = $1
limit 1";

impl PostgresStore {
    /// The stream and version of an event. Fast for ids that say when they were made (version 7), if the event was
    /// written then; slow for others.
    ///
    /// # Errors
    /// [`ReadError`]; `Unavailable` also when the log is too long to be looked through in time.
    pub async fn find_event(
        &self,
        event_id: Uuid,
        categories: &[Category],
    ) -> Result<Option<(StreamId, Version)>, ReadError> {
        if let (Some(made), Some(last)) = (made_at(event_id), self.last_tx().await?) {
            for around in AROUND {
                let from = self.first_from(made - around, last).await?;
                let to = self.first_from(made + around, last).await?;
                let statement = || sqlx::query(FIND_WITHIN).bind(event_id).bind(Xid8(from)).bind(Xid8(to));
                let rows = self.read(statement).await?;
                if let Some(row) = rows.first() {
                    return place(row, categories).map(Some);
                }
            }
        }
        let rows = self.read(|| sqlx::query(FIND).bind(event_id)).await?;
        rows.first().map(|row| place(row, categories)).transpose()
    }

    /// The first transaction whose events are of `time` or later; `last` when there is none. At most 64 looks, each at
    /// one entry of the log's index.
    async fn first_from(&self, time: DateTime<Utc>, last: TxId) -> Result<TxId, ReadError> {
        let (mut low, mut high) = (0, last.0);
        while low < high {
            let middle = low + (high - low) / 2;
            let rows = self.read(|| sqlx::query(FROM).bind(Xid8(TxId(middle)))).await?;
            let Some(row) = rows.first() else {
                high = middle;
                continue;
            };
            let tx: Xid8 = row.try_get("tx").map_err(read_error)?;
            let at: DateTime<Utc> = row.try_get("time").map_err(read_error)?;
            if at >= time {
                high = middle;
            } else {
                low = tx.0.0 + 1;
            }
        }
        Ok(TxId(high))
    }

    async fn last_tx(&self) -> Result<Option<TxId>, ReadError> {
        let rows = self.read(|| sqlx::query(LAST)).await?;
        let tx = |row: &sqlx::postgres::PgRow| row.try_get::<Xid8, _>("tx").map(|tx| tx.0).map_err(read_error);
        rows.first().map(tx).transpose()
    }
}

/// When an id was made, if it says so.
fn made_at(id: Uuid) -> Option<DateTime<Utc>> {
    if id.get_version_num() != 7 {
        return None;
    }
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_version_7_says_when_it_was_made_and_others_do_not() {
        let id: Uuid = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f".parse().unwrap();
        assert_eq!(made_at(id).unwrap().to_rfc3339(), "2022-02-22T19:22:22+00:00");
        assert_eq!(made_at(Uuid::from_u128(7)), None);
    }
}
