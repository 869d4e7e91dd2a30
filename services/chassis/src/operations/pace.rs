//! How fast an operation goes: first the canary alone, then so many a second.

use std::time::Duration;

/// Between two batches.
pub const TICK: Duration = Duration::from_millis(100);

/// Where an operation stands, as far as its pace is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// At most so many a second.
    pub rate: u32,
    /// First so many alone.
    pub canary: u32,
    /// It stops when more than this many have failed.
    pub failures_max: u32,
    /// How many were seen to.
    pub done: u32,
    /// How many of them failed.
    pub failed: u32,
    /// How many there are.
    pub total: u32,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Take so many.
    Take(u32),
    /// Every item was seen to.
    Done,
    /// Stop, and why.
    Stop(String),
}

impl Pace {
    /// What comes next; `ticks` counts the batches since the operation was taken up, so that slow rates come out even.
    #[must_use]
    pub fn next(self, ticks: u64) -> Next {
        if self.failed > 0 && self.done <= self.canary {
            return Next::Stop(format!("one of the first {} failed", self.canary));
        }
        if self.failed > self.failures_max {
            return Next::Stop(format!("{} failed, {} were allowed", self.failed, self.failures_max));
        }
        if self.done >= self.total {
            return Next::Done;
        }
        let left = self.total - self.done;
        let per_second = u64::from(self.rate.max(1));
        let of = |ticks: u64| ticks.saturating_mul(per_second) / 10;
        let allowed = u32::try_from(of(ticks + 1) - of(ticks)).unwrap_or(u32::MAX).min(left);
        if self.done < self.canary {
            return Next::Take(allowed.min(self.canary - self.done));
        }
        // Failures are noticed between batches: never take so many that the limit could be passed by far.
        Next::Take(allowed.min(500))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { rate: 50, canary: 0, failures_max: 2, done: 0, failed: 0, total: 100 };

    fn taken(pace: Pace, ticks: std::ops::Range<u64>) -> u32 {
        ticks
            .map(|tick| match pace.next(tick) {
                Next::Take(count) => count,
                Next::Done | Next::Stop(_) => 0,
            })
            .sum()
    }

    #[test]
    fn a_second_takes_as_many_as_the_rate_says() {
        for rate in [1, 3, 7, 10, 50, 99] {
            assert_eq!(taken(Pace { rate, ..PACE }, 0..10), rate.min(100), "{rate} a second");
        }
    }

    #[test]
    fn the_canary_goes_alone_and_must_not_fail() {
        let pace = Pace { canary: 3, ..PACE };
        assert_eq!(pace.next(0), Next::Take(3));
        assert_eq!(Pace { done: 2, ..pace }.next(1), Next::Take(1));
        assert!(matches!(Pace { done: 3, failed: 1, ..pace }.next(2), Next::Stop(_)));
        assert_eq!(Pace { done: 4, failed: 1, ..pace }.next(2), Next::Take(5));
    }

    #[test]
    fn it_stops_when_more_fail_than_are_allowed_and_ends_with_the_last() {
        assert_eq!(Pace { done: 10, failed: 2, ..PACE }.next(0), Next::Take(5));
        assert!(matches!(Pace { done: 10, failed: 3, ..PACE }.next(0), Next::Stop(_)));
        assert_eq!(Pace { done: 100, failed: 2, ..PACE }.next(0), Next::Done);
        assert_eq!(Pace { done: 98, ..PACE }.next(0), Next::Take(2));
    }
}
