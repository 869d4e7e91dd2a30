use std::time::Duration;

use eventstore::{Blocked, DeadLetter, DeadLetters, LetterState, ReadError, StoredDeadLetter};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::PostgresStore;
use crate::codec::{JsonText, to_i64, to_u64};
use crate::connections::Statement;
use crate::fault::read_error;
use crate::outbox::interval;

const LETTERS: &str = "
select
    id, parked_at, consumer, message, subject, headers, body, reason, letter.key, sequence, attempts, last_error,
    status, ended_at, ended_by, note,
    exists (
        select from blocked
        where blocked.consumer = letter.consumer
        and blocked.key = letter.key
        and blocked.redrive
    ) as redriving
from dead_letter as letter
where id > $1
order by id
limit $2";

/// Keys of their own begin with `#`; `$` is the character after it.
const BLOCKED: &str = "
select
    array(select key from blocked where consumer = $1 and key >= '$' order by key limit $2) as keys,
    (select count(*) from (select from blocked where consumer = $1 limit 10000) as counted) as lines";

/// The count goes up with every letter, see [`RELEASED`].
const PARK_BEHIND: &str = "
with line as (
    update blocked
    set generation = generation + 1
    where consumer = $1
    and key = $2
    returning key
),
parked as (
    insert into dead_letter (consumer, key, message, sequence, subject, headers, body, reason)
    select $1, key, $3, $4, $5, $6, $7, $8
    from line
    on conflict (consumer, message) do update
    set status = 'waiting', parked_at = now(), reason = excluded.reason, ended_at = null, ended_by = null, note = null
    where dead_letter.status = 'redriven'
)
select exists (select from line) as blocked";

/// The one line that is claimed, and its head.
const CLAIM: &str = "
with next as (
    select consumer, key
    from blocked
    where consumer = $1
    and redrive
    and (claimed_until is null or claimed_until <= now())
    order by key
    limit 1
    for update skip locked
),
claimed as (
    update blocked
    set claimed_until = now() + $2::interval
    from next
    where blocked.consumer = next.consumer
    and blocked.key = next.key
    returning blocked.consumer, blocked.key
)
select
    id, parked_at, consumer, message, subject, headers, body, reason, letter.key, sequence, attempts, last_error,
    status, ended_at, ended_by, note, true as redriving
from claimed
join dead_letter as letter using (consumer, key)
where status = 'waiting'
order by sequence, id
limit 1";

/// Ends a letter, and with the last one its line: but not when the line's count is another than the one that belongs to
/// what was seen, for then a letter has come in this instant. The line is claimed no more in either case.
macro_rules! end {
    ($ended_by:literal, $note:literal) => {
        concat!(
            "
with line as (
    select blocked.consumer, blocked.key, blocked.generation, blocked.asked_by
    from dead_letter as letter
    join blocked using (consumer, key)
    where letter.id = $1
    and letter.status = 'waiting'
),
ended as (
    update dead_letter
    set status = $2, ended_at = now(), ended_by = ",
            $ended_by,
            ", note = ",
            $note,
            "
    from line
    where dead_letter.id = $1
    and dead_letter.status = 'waiting'
    returning dead_letter.id
),
rest as (
    select
    from line
    join dead_letter as letter using (consumer, key)
    where letter.status = 'waiting'
    and letter.id <> $1
    limit 1
),
released as (
    delete from blocked
    using line
    where blocked.consumer = line.consumer
    and blocked.key = line.key
    and blocked.generation = line.generation
    and not exists (select from rest)
),
kept as (
    update blocked
    set claimed_until = null
    from line
    where blocked.consumer = line.consumer
    and blocked.key = line.key
    and exists (select from rest)
)
select exists (select from ended) as ended"
        )
    };
}

const REDRIVEN: &str = end!("line.asked_by", "null");
const DISCARDED: &str = end!("$3", "$4");

const FAILED_AGAIN: &str = "
with failed as (
    update dead_letter
    set attempts = attempts + 1, last_error = $2
    where id = $1
    returning consumer, key
)
update blocked
set redrive = false, claimed_until = null
from failed
where blocked.consumer = failed.consumer
and blocked.key = failed.key";

const REDRIVE_LATER: &str = "
with failed as (
    update dead_letter
    set attempts = attempts + 1, last_error = $2
    where id = $1
    returning consumer, key
)
update blocked
set claimed_until = now() + $3::interval
from failed
where blocked.consumer = failed.consumer
and blocked.key = failed.key";

const ASK_REDRIVE: &str = "
update blocked
set redrive = true, claimed_until = null, asked_by = $2
from dead_letter as letter
where letter.id = $1
and letter.status = 'waiting'
and blocked.consumer = letter.consumer
and blocked.key = letter.key
returning letter.id";

impl PostgresStore {
    pub(crate) async fn letters(&self, after: i64, limit: usize) -> Result<Vec<StoredDeadLetter>, ReadError> {
        let limit = to_i64(limit.clamp(1, 1_000) as u64);
        let rows = self.read(|| sqlx::query(LETTERS).bind(after).bind(limit)).await?;
        rows.iter().map(|row| letter(row).map_err(read_error)).collect()
    }

    /// A statement whose first column says whether it has met what it was meant for.
    async fn met<'q>(&self, statement: impl Fn() -> Statement<'q>) -> Result<bool, ReadError> {
        let rows = self.read(statement).await?;
        rows.first().map_or(Ok(false), |row| row.try_get(0).map_err(read_error))
    }
}

/// What changes something here may be sent twice, like a read.
#[async_trait::async_trait]
impl DeadLetters for PostgresStore {
    async fn blocked(&self, consumer: &str, limit: usize) -> Result<Blocked, ReadError> {
        let limit = to_i64(limit.clamp(1, 100_000) as u64);
        let rows = self.read(|| sqlx::query(BLOCKED).bind(consumer).bind(limit)).await?;
        let Some(row) = rows.first() else { return Ok(Blocked::default()) };
        let lines = to_u64(row.try_get("lines").map_err(read_error)?);
        Ok(Blocked { keys: row.try_get("keys").map_err(read_error)?, lines })
    }

    async fn park_behind(&self, letter: DeadLetter) -> Result<bool, ReadError> {
        let park = || {
            sqlx::query(PARK_BEHIND)
                .bind(&letter.consumer)
                .bind(line_of(&letter))
                .bind(&letter.message)
                .bind(to_i64(letter.sequence))
                .bind(&letter.subject)
                .bind(JsonText(&letter.headers))
                .bind(&letter.body)
                .bind(&letter.reason)
        };
        self.met(park).await
    }

    async fn claim_redrive(&self, consumer: &str, lease: Duration) -> Result<Option<StoredDeadLetter>, ReadError> {
        let rows = self.read(|| sqlx::query(CLAIM).bind(consumer).bind(interval(lease))).await?;
        rows.first().map(letter).transpose().map_err(read_error)
    }

    async fn redriven(&self, id: i64) -> Result<(), ReadError> {
        self.met(|| sqlx::query(REDRIVEN).bind(id).bind("redriven")).await.map(drop)
    }

    async fn failed_again(&self, id: i64, reason: &str) -> Result<(), ReadError> {
        self.read(|| sqlx::query(FAILED_AGAIN).bind(id).bind(reason)).await.map(drop)
    }

    async fn redrive_later(&self, id: i64, delay: Duration, reason: &str) -> Result<(), ReadError> {
        self.read(|| sqlx::query(REDRIVE_LATER).bind(id).bind(reason).bind(interval(delay))).await.map(drop)
    }

    async fn ask_redrive(&self, id: i64, by: &str) -> Result<bool, ReadError> {
        self.read(|| sqlx::query(ASK_REDRIVE).bind(id).bind(by)).await.map(|rows| !rows.is_empty())
    }

    async fn discard(&self, id: i64, by: &str, reason: &str) -> Result<bool, ReadError> {
        self.met(|| sqlx::query(DISCARDED).bind(id).bind("discarded").bind(by).bind(reason)).await
    }
}

/// The line a letter stands in: its key's, or one of its own.
pub(crate) fn line_of(letter: &DeadLetter) -> String {
    letter.key.clone().unwrap_or_else(|| format!("#{}", letter.message))
}

fn letter(row: &PgRow) -> Result<StoredDeadLetter, sqlx::Error> {
    let headers: JsonText<'_> = row.try_get("headers")?;
    let line: String = row.try_get("key")?;
    let attempts: i32 = row.try_get("attempts")?;
    Ok(StoredDeadLetter {
        id: row.try_get("id")?,
        parked_at: row.try_get("parked_at")?,
        letter: DeadLetter {
            consumer: row.try_get("consumer")?,
            message: row.try_get("message")?,
            key: Some(line).filter(|line| !line.starts_with('#')),
            sequence: to_u64(row.try_get("sequence")?),
            subject: row.try_get("subject")?,
            headers: headers.0.to_owned(),
            body: row.try_get("body")?,
            reason: row.try_get("reason")?,
        },
        attempts: u32::try_from(attempts).unwrap_or_default(),
        last_error: row.try_get("last_error")?,
        state: state(row)?,
    })
}

fn state(row: &PgRow) -> Result<LetterState, sqlx::Error> {
    let text = |column| row.try_get::<Option<String>, _>(column).map(Option::unwrap_or_default);
    let at = || row.try_get("ended_at");
    let status: String = row.try_get("status")?;
    Ok(match status.as_str() {
        "redriven" => LetterState::Redriven { at: at()?, by: text("ended_by")? },
        "discarded" => LetterState::Discarded { at: at()?, by: text("ended_by")?, reason: text("note")? },
        "waiting" if row.try_get("redriving")? => LetterState::Redriving,
        "waiting" => LetterState::Waiting,
        other => return Err(sqlx::Error::Decode(format!("a letter is {other}").into())),
    })
}
