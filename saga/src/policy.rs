use std::num::NonZeroU32;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// How often a request without a definite answer is made, and how long to wait in between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryPolicy {
    /// How often it is asked in all, the first time included: 1 to [`Self::ATTEMPTS_MAX`].
    pub attempts_max: NonZeroU32,
    /// The wait after the first attempt; doubles with each. From 1 ms, whole milliseconds count.
    pub backoff_first: Duration,
    /// The longest wait; at least `backoff_first`, at most [`Self::BACKOFF_MAX`].
    pub backoff_max: Duration,
}

impl RetryPolicy {
    /// The most attempts a definition may grant.
    pub const ATTEMPTS_MAX: u32 = 1_000;
    /// The longest wait a definition may order.
    pub const BACKOFF_MAX: Duration = Duration::from_hours(30 * 24);

    /// A policy; `attempts_max` 0 is taken for 1.
    #[must_use]
    pub const fn new(attempts_max: u32, backoff_first: Duration, backoff_max: Duration) -> Self {
        let attempts_max = match NonZeroU32::new(attempts_max) {
            Some(attempts_max) => attempts_max,
            None => NonZeroU32::MIN,
        };
        Self { attempts_max, backoff_first, backoff_max }
    }

    /// When to ask again after `used` attempts (from 1); `None` when the policy is used up.
    pub(crate) fn retry_at(self, used: u32, seed: u64, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        (used < self.attempts_max.get()).then(|| later(now, self.backoff(used, seed)))
    }

    /// Between half and all of the doubled wait, `seed` says where.
    fn backoff(self, used: u32, seed: u64) -> Duration {
        let doubled = self.backoff_first.saturating_mul(1 << used.saturating_sub(1).min(30));
        let whole = u64::try_from(doubled.min(self.backoff_max).as_millis()).unwrap_or(u64::MAX).max(1);
        let half = whole / 2;
        Duration::from_millis(whole - seed % (half + 1))
    }
}

impl Default for RetryPolicy {
    /// Ten attempts, 200 ms to 30 s apart: a restart of the participant goes unnoticed.
    fn default() -> Self {
        Self::new(10, Duration::from_millis(200), Duration::from_secs(30))
    }
}

/// Where in its span a wait falls: FNV-1a over saga, step and attempt.
///
/// Jitter has to differ between sagas, so that a thousand that timed out in the same outage do not come back in the
/// same millisecond. It has not to be random: a hash spreads as well, keeps decisions pure, and lets a replay compute
/// the very same history.
pub(crate) fn jitter(saga_id: Uuid, step: &str, attempt: u32) -> u64 {
    let bytes = saga_id.as_bytes().iter().chain(step.as_bytes()).copied().chain(attempt.to_le_bytes());
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash ^ (hash >> 32)
}

/// `now` and whole milliseconds of `span`: what stores keep in microseconds comes back unchanged.
pub(crate) fn later(now: DateTime<Utc>, span: Duration) -> DateTime<Utc> {
    let span = i64::try_from(span.as_millis()).ok().and_then(TimeDelta::try_milliseconds).unwrap_or(TimeDelta::MAX);
    now.checked_add_signed(span).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAGA: Uuid = Uuid::from_u128(7);

    #[test]
    fn a_backoff_doubles_up_to_its_maximum_and_falls_in_the_upper_half() {
        let policy = RetryPolicy::new(100, Duration::from_millis(100), Duration::from_secs(1));
        for (used, whole) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1_000), (99, 1_000)] {
            for attempt in 0..200 {
                let wait = policy.backoff(used, jitter(SAGA, "reserve", attempt)).as_millis();
                assert!((whole / 2..=whole).contains(&wait), "{wait} ms after {used} attempts");
            }
        }
    }

    #[test]
    fn sagas_that_fail_together_come_back_apart() {
        let policy = RetryPolicy::new(2, Duration::from_secs(10), Duration::from_secs(10));
        let waits: std::collections::HashSet<_> =
            (0..1_000).map(|saga| policy.backoff(1, jitter(Uuid::from_u128(saga), "reserve", 1))).collect();
        assert!(waits.len() > 850, "only {} different waits", waits.len());
    }

    #[test]
    fn a_policy_of_one_attempt_is_used_up_by_it() {
        let once = RetryPolicy::new(1, Duration::from_millis(1), Duration::from_millis(1));
        assert_eq!(once.retry_at(1, 0, DateTime::UNIX_EPOCH), None);
    }
}
