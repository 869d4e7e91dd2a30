use std::time::Duration;

use chrono::{DateTime, Utc};
use eventstore::{Commit, CommitError, Committed, Cursor};
use faults::{Plant, Point};
use sqlx::Row;
use sqlx::postgres::PgRow;
use tokio::time::{sleep, timeout};

use crate::PostgresStore;
use crate::batch::{Batch, Parts};
use crate::codec::{Xid8, to_u64};
use crate::connections::RunError;
use crate::fault::{Fault, StoreFault, commit_unavailable};

/// The parts of a commit's statement, each with its share of the parameters. Every part of the text costs time each
/// time the statement runs, even when it has nothing to do; so there are three statements, see [`Parts`].
///
/// An obstacle (a stream that is not at its expected version, a message that was handled before) lets every insert select
/// nothing: with two replicas that is fair weather, and no error of the database. What is taken at the very moment is left
/// to the primary keys.
///
/// The columns of the events are unnested in the select list, side by side and row by row: in `from`, each would first be
/// written down as a whole (a seventh of what an event costs).
macro_rules! events {
    (obstacles: $more_obstacles:literal) => {
        concat!(
            "
with head (stream_id, category, expected) as (
    select * from unnest($1::uuid[], $2::text[], $3::int8[])
),
obstacle as (
    select 1
    from head
    where array(
        select event.version
        from event
        where event.stream_id = head.stream_id
        and event.version >= head.expected
        and event.category = head.category
        order by event.version
        limit 2
    ) <> array_remove(array[head.expected], 0)",
            $more_obstacles,
            "
),
written as (
    insert into event (
        version, time, stream_id, event_id, correlation_id, causation_id,
        schema_version, category, type, actor, trace, payload, digest
    )
    select
        unnest($4::int8[]), unnest($5::timestamptz[]), unnest($6::uuid[]), unnest($7::uuid[]), unnest($8::uuid[]),
        unnest($9::uuid[]), unnest($10::int2[]), unnest($11::text[]), unnest($12::text[]), unnest($13::text[]),
        unnest($14::text[]), unnest($15::json[]), unnest($16::bytea[])
    where not exists (select from obstacle)
    returning tx, position
),
outboxed as (
    insert into outbox (tx)
    select tx
    from written
    limit 1
)"
        )
    };
}

macro_rules! timers {
    () => {
        ",
armed as (
    insert into timer (stream_id, category, due)
    select *
    from unnest($17::uuid[], $18::text[], $19::timestamptz[])
    where not exists (select from obstacle)
    on conflict (stream_id, category) do update
    set due = excluded.due, claimed_until = null
),
disarmed as (
    delete from timer
    using unnest($20::uuid[], $21::text[]) as gone (stream_id, category)
    where timer.stream_id = gone.stream_id
    and timer.category = gone.category
    and not exists (select from obstacle)
)"
    };
}

macro_rules! messages {
    () => {
        ",
handled as (
    insert into inbox (consumer, message)
    select *
    from unnest($22::text[], $23::uuid[])
    where not exists (select from obstacle)
),
letter as (
    select distinct on (consumer, message) *
    from unnest(
        $24::text[], $25::text[], $26::text[], $27::int8[], $28::text[], $29::json[], $30::bytea[], $31::text[]
    ) as letter (consumer, message, key, sequence, subject, headers, body, reason)
    where not exists (select from obstacle)
    and not exists (
        select from dead_letter as known
        where known.consumer = letter.consumer
        and known.message = letter.message
        and known.status = 'discarded'
    )
),
blocking as (
    insert into blocked (consumer, key)
    select distinct consumer, key
    from letter
    order by consumer, key
    on conflict (consumer, key) do update
    set generation = blocked.generation + 1
),
parked as (
    insert into dead_letter (consumer, message, key, sequence, subject, headers, body, reason)
    select *
    from letter
    order by consumer, message
    on conflict (consumer, message) do update
    set status = 'waiting', parked_at = now(), reason = excluded.reason, ended_at = null, ended_by = null, note = null
    where dead_letter.status = 'redriven'
)"
    };
}

macro_rules! answer {
    () => {
        "
select
    exists (select from obstacle) as obstacle,
    (select tx from written limit 1) as tx,
    (select max(position) from written) as position,
    now() as now"
    };
}

const COMMIT_EVENTS: &str = concat!(events!(obstacles: ""), answer!());

const COMMIT_EVENTS_AND_TIMERS: &str = concat!(events!(obstacles: ""), timers!(), answer!());

const COMMIT_ALL: &str = concat!(
    events!(obstacles: "
    union all
    select 1
    from unnest($22::text[], $23::uuid[]) as done (consumer, message)
    join inbox using (consumer, message)"),
    timers!(),
    messages!(),
    answer!()
);

const fn statement(parts: Parts) -> &'static str {
    match parts {
        Parts::Events => COMMIT_EVENTS,
        Parts::EventsAndTimers => COMMIT_EVENTS_AND_TIMERS,
        Parts::All => COMMIT_ALL,
    }
}

/// How often a commit is sent at most. One is the rule; more only when the connection broke or a deadlock was cut.
const ATTEMPTS_MAX: u32 = 4;

/// Grows with each attempt: 10, 20, 40 ms. Without chance: a single process has one writer, and two processes that
/// meet again are parted by the database's own locks.
const PAUSE: Duration = Duration::from_millis(10);

enum Attempt {
    Stored(Committed),
    /// Nothing was written; something stands in the way.
    Obstacle,
}

impl PostgresStore {
    /// Sends the commit until it is known to be stored or not, within the caller's deadline.
    pub(crate) async fn commit_batch(&self, commit: Commit) -> Result<Committed, CommitError> {
        commit.check().map_err(|reason| CommitError::Refused(reason.into()))?;
        let mut batch = Batch::new(commit);
        if faults::planted(Plant::ExpectedVersionIgnored) {
            self.expect_what_is_there(&mut batch).await?;
        }
        if faults::planted(Plant::InboxOutsideTransaction) {
            self.note_as_handled(&mut batch).await?;
        }
        let mut lost = 0;
        for attempt in 0..ATTEMPTS_MAX {
            let fault = match self.attempt(&batch).await {
                Ok(Attempt::Stored(committed)) => return Ok(committed),
                Ok(Attempt::Obstacle) => Fault::Taken,
                Err(fault) => fault,
            };
            match fault {
                Fault::Taken if faults::planted(Plant::SwallowConflict) => {
                    return Ok(Committed { last: Cursor::START, now: DateTime::UNIX_EPOCH });
                }
                Fault::Taken if lost > 0 && !faults::planted(Plant::LostAnswerIsConflict) => {
                    return self.own_or_obstacle(&batch).await;
                }
                Fault::Taken => return Err(self.find_obstacle(&batch).await),
                Fault::Refused(error) => return Err(CommitError::Refused(error.into())),
                Fault::Unavailable(error) => return Err(commit_unavailable(error)),
                Fault::Again(error) => tracing::debug!(%error, attempt, "two commits stood in each other's way"),
                Fault::Unknown(error) => {
                    tracing::warn!(%error, attempt, "the answer to a commit was lost");
                    lost += 1;
                    if faults::planted(Plant::LostAnswerIsConflict) {
                        continue;
                    }
                    if let Some(committed) = self.find_own(&batch).await? {
                        return Ok(committed);
                    }
                }
            }
            sleep(PAUSE * 2_u32.pow(attempt)).await;
        }
        let reason = if lost > 0 { StoreFault::Unresolved(lost) } else { StoreFault::Contention(ATTEMPTS_MAX) };
        Err(commit_unavailable(reason))
    }

    async fn attempt(&self, batch: &Batch) -> Result<Attempt, Fault> {
        faults::reach(Point::CommitBefore);
        let run = self.connections.run(batch.bind(sqlx::query(statement(batch.parts()))));
        let rows = match timeout(self.attempt_timeout, run).await {
            Ok(Ok(rows)) => rows,
            Ok(Err(RunError::NotSent(error))) => return Err(Fault::Unavailable(error)),
            Ok(Err(RunError::Sent(error))) => return Err(Fault::of(error)),
            Err(_) => return Err(Fault::Unknown(lost_answer())),
        };
        faults::reach(Point::CommitAfter);
        let row = rows.first().ok_or(Fault::Unknown(sqlx::Error::RowNotFound))?;
        if row.try_get("obstacle").map_err(Fault::Unknown)? {
            return Ok(Attempt::Obstacle);
        }
        committed(row).map(Attempt::Stored).map_err(Fault::Unknown)
    }
}

/// From columns `tx`, `position` and `now`.
pub(crate) fn committed(row: &PgRow) -> Result<Committed, sqlx::Error> {
    let tx: Option<Xid8> = row.try_get("tx")?;
    let position: Option<i64> = row.try_get("position")?;
    let now: DateTime<Utc> = row.try_get("now")?;
    let last = match (tx, position) {
        (Some(Xid8(tx)), Some(position)) => Cursor { tx, position: to_u64(position) },
        (None | Some(_), _) => Cursor::START,
    };
    Ok(Committed { last, now })
}

fn lost_answer() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::from(std::io::ErrorKind::TimedOut))
}
