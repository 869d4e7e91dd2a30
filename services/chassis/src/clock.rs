//! Time and ids: the one place where they are made.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use eventstore::{Clock, IdSource};
use uuid::Uuid;

/// The store's clock as this process knows it: the process's monotonic clock, set by what the store last said.
///
/// A wall clock that jumps does not move it; it is off by at most a round trip to the database. Before the store was
/// heard for the first time it shows the wall clock of the process's start.
pub struct StoreClock {
    started: Instant,
    /// Store time at `started`, microseconds since 1970.
    base_micros: AtomicI64,
}

impl StoreClock {
    /// A clock that has not heard from the store yet.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn new() -> Self {
        Self { started: Instant::now(), base_micros: AtomicI64::new(Utc::now().timestamp_micros()) }
    }

    fn elapsed_micros(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

impl Default for StoreClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for StoreClock {
    fn now(&self) -> DateTime<Utc> {
        let base = DateTime::from_timestamp_micros(self.base_micros.load(Ordering::Relaxed)).unwrap_or_default();
        base + TimeDelta::microseconds(self.elapsed_micros())
    }

    fn observe(&self, store_now: DateTime<Utc>) {
        self.base_micros.store(store_now.timestamp_micros() - self.elapsed_micros(), Ordering::Relaxed);
    }
}

/// Ids in production: UUIDv7, so that what is made together lies together in an index.
#[derive(Clone, Copy, Debug, Default)]
pub struct Uuids;

impl IdSource for Uuids {
    #[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
    fn next_id(&self) -> Uuid {
        Uuid::now_v7()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_follows_the_store_and_not_the_wall() {
        let clock = StoreClock::new();
        let store_now = DateTime::from_timestamp(1_000_000_000, 0).unwrap();
        clock.observe(store_now);
        assert!(clock.now() - store_now < TimeDelta::seconds(10));
        assert!(clock.now() >= store_now);
    }
}
