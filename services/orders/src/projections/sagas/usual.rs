//! How long steps usually take: a histogram per step and lane, and the begin of every step that is not settled yet.
//!
//! Logarithmic buckets, four to the octave: a quantile is told at most a fifth too high, in a few dozen rows per step.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnection, PgPool};
use tonic::Status;
use uuid::Uuid;

use super::super::rows;
use super::change::{Mark, lane_number};

const BUCKETS_PER_OCTAVE: f64 = 4.0;

/// The marks of a batch, in the order of the log.
#[derive(Default)]
pub(super) struct Marks {
    begun: HashMap<(Uuid, String, i16), DateTime<Utc>>,
    /// Settled here, begun in a batch before.
    settled: Vec<((Uuid, String, i16), DateTime<Utc>)>,
    counts: HashMap<(String, i16, i16), i64>,
    /// Sagas that are over: nothing of them is waited for any more.
    over: HashSet<Uuid>,
}

impl Marks {
    pub(super) fn take(&mut self, mark: Mark) {
        let key = (mark.saga_id, mark.step, lane_number(mark.lane));
        if !mark.settled {
            self.begun.entry(key).or_insert(mark.at);
            return;
        }
        match self.begun.remove(&key) {
            Some(begun) => self.count(&key.1, key.2, begun, mark.at),
            None => self.settled.push((key, mark.at)),
        }
    }

    pub(super) fn over(&mut self, saga_id: Uuid) {
        self.over.insert(saga_id);
    }

    fn count(&mut self, step: &str, lane: i16, begun: DateTime<Utc>, settled: DateTime<Utc>) {
        let micros = (settled - begun).num_microseconds().unwrap_or(i64::MAX).max(1);
        *self.counts.entry((step.to_owned(), lane, bucket(micros))).or_default() += 1;
    }

    /// Keeps them: those begun wait for their end, those settled are counted.
    pub(super) async fn write(mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if !self.settled.is_empty() {
            let found: Vec<(Uuid, String, i16, DateTime<Utc>)> = sqlx::query_as(
                "delete from step_begun as b
                 using unnest($1::uuid[], $2::text[], $3::smallint[]) as s (saga_id, step, lane)
                 where b.saga_id = s.saga_id and b.step = s.step and b.lane = s.lane
                 returning b.saga_id, b.step, b.lane, b.begun_at",
            )
            .bind(self.settled.iter().map(|((id, _, _), _)| *id).collect::<Vec<_>>())
            .bind(self.settled.iter().map(|((_, step, _), _)| step.clone()).collect::<Vec<_>>())
            .bind(self.settled.iter().map(|((_, _, lane), _)| *lane).collect::<Vec<_>>())
            .fetch_all(&mut *connection)
            .await?;
            let mut ends: HashMap<_, _> = std::mem::take(&mut self.settled).into_iter().collect();
            for (saga_id, step, lane, begun) in found {
                if let Some(end) = ends.remove(&(saga_id, step.clone(), lane)) {
                    self.count(&step, lane, begun, end);
                }
            }
        }
        self.forget(connection).await?;
        self.begin(connection).await?;
        self.add(connection).await
    }

    async fn forget(&mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.over.is_empty() {
            return Ok(());
        }
        self.begun.retain(|(saga_id, _, _), _| !self.over.contains(saga_id));
        sqlx::query("delete from step_begun where saga_id = any($1)")
            .bind(self.over.iter().copied().collect::<Vec<_>>())
            .execute(connection)
            .await?;
        Ok(())
    }

    async fn begin(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.begun.is_empty() {
            return Ok(());
        }
        // A step that is asked for once more was begun when it was first asked for.
        sqlx::query(
            "insert into step_begun (saga_id, step, lane, begun_at)
             select * from unnest($1::uuid[], $2::text[], $3::smallint[], $4::timestamptz[])
             on conflict (saga_id, step, lane) do nothing",
        )
        .bind(self.begun.keys().map(|(id, _, _)| *id).collect::<Vec<_>>())
        .bind(self.begun.keys().map(|(_, step, _)| step.clone()).collect::<Vec<_>>())
        .bind(self.begun.keys().map(|(_, _, lane)| *lane).collect::<Vec<_>>())
        .bind(self.begun.values().copied().collect::<Vec<_>>())
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn add(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.counts.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "insert into step_usual as u (step, lane, bucket, count)
             select * from unnest($1::text[], $2::smallint[], $3::smallint[], $4::bigint[])
             on conflict (step, lane, bucket) do update set count = u.count + excluded.count",
        )
        .bind(self.counts.keys().map(|(step, _, _)| step.clone()).collect::<Vec<_>>())
        .bind(self.counts.keys().map(|(_, lane, _)| *lane).collect::<Vec<_>>())
        .bind(self.counts.keys().map(|(_, _, bucket)| *bucket).collect::<Vec<_>>())
        .bind(self.counts.values().copied().collect::<Vec<_>>())
        .execute(connection)
        .await?;
        Ok(())
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a bucket is a rounded logarithm")]
fn bucket(micros: i64) -> i16 {
    ((micros as f64).log2() * BUCKETS_PER_OCTAVE).floor() as i16
}

/// The upper end of a bucket.
fn upper(bucket: i16) -> Duration {
    let micros = (f64::from(bucket + 1) / BUCKETS_PER_OCTAVE).exp2();
    Duration::try_from_secs_f64(micros / 1e6).unwrap_or(Duration::MAX)
}

/// How long a step usually takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usual {
    /// Half of them took at most this.
    pub p50: Duration,
    /// 99 of 100 took at most this.
    pub p99: Duration,
    /// How many this was learned from.
    pub count: u64,
}

/// What `buckets` (number, count; ascending) say; `None` without any.
fn usual(buckets: &[(i16, i64)]) -> Option<Usual> {
    let total: i64 = buckets.iter().map(|(_, count)| *count).sum();
    let quantile = |of_hundred: i64| {
        let wanted = (total.saturating_mul(of_hundred) + 99) / 100;
        let mut seen = 0;
        let found = buckets.iter().find(|(_, count)| {
            seen += count;
            seen >= wanted
        });
        found.map(|(bucket, _)| upper(*bucket))
    };
    Some(Usual { p50: quantile(50)?, p99: quantile(99)?, count: u64::try_from(total).ok()? })
}

/// What is usual for each step and lane (the number of `TimelineEntry.Lane`).
pub(super) async fn all(pool: &PgPool) -> Result<HashMap<(String, i16), Usual>, Status> {
    let found: Vec<(String, i16, i16, i64)> = rows(
        sqlx::query_as("select step, lane, bucket, count from step_usual order by step, lane, bucket").fetch_all(pool),
    )
    .await?;
    let of_step = found.chunk_by(|one, next| (&one.0, one.1) == (&next.0, next.1));
    Ok(of_step
        .filter_map(|chunk| {
            let first = chunk.first()?;
            let buckets: Vec<_> = chunk.iter().map(|(_, _, bucket, count)| (*bucket, *count)).collect();
            Some(((first.0.clone(), first.1), usual(&buckets)?))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_told_at_most_a_fifth_too_high() {
        for micros in [1, 7, 950, 4_200, 1_000_000, 3_600_000_000] {
            let told = upper(bucket(micros)).as_secs_f64() * 1e6;
            let ratio = told / f64::from(u32::try_from(micros).unwrap());
            assert!((1.0..1.2).contains(&ratio), "{micros} us told as {told}");
        }
    }

    #[test]
    fn half_are_below_the_median_and_one_in_a_hundred_above_p99() {
        let usual = usual(&[(10, 60), (20, 38), (40, 2)]).unwrap();
        assert_eq!((usual.p50, usual.p99, usual.count), (upper(10), upper(40), 100));
        assert_eq!(super::usual(&[]), None);
    }
}
