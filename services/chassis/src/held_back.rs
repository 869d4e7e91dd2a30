//! How long the log has been held back by a transaction that somebody left open.
//!
//! Readers of the log stop below the oldest transaction that has written and is still open, in whichever database of the
//! server: a younger one must not be stepped over. Ours are cut off by the server within seconds
//! ([`crate::database::ServerLimits`]); somebody else's are not ours to cut off, but the alarm is. No right is needed to
//! see it: a snapshot names that transaction.

use std::time::{Duration, Instant};

/// The transaction that holds the log back, and since when it was seen to.
#[derive(Debug, Default)]
pub struct HeldBack(Option<(u64, Instant)>);

impl HeldBack {
    /// Takes note of a snapshot: its oldest open transaction, and the next to come. How long, by now, the log has been
    /// held back; zero when everything before the snapshot is over.
    pub fn look(&mut self, now: Instant, oldest: u64, next: u64) -> Duration {
        if oldest >= next {
            self.0 = None;
            return Duration::ZERO;
        }
        match self.0 {
            Some((known, since)) if known == oldest => now.saturating_duration_since(since),
            Some(_) | None => {
                self.0 = Some((oldest, now));
                Duration::ZERO
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_and_the_same_transaction_holds_the_log_back() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut held_back = HeldBack::default();
        assert_eq!(held_back.look(at(0), 7, 7), Duration::ZERO, "nothing is open");
        assert_eq!(held_back.look(at(1), 7, 9), Duration::ZERO);
        assert_eq!(held_back.look(at(4), 7, 30), Duration::from_secs(3));
        assert_eq!(held_back.look(at(5), 12, 40), Duration::ZERO, "another one");
        assert_eq!(held_back.look(at(6), 41, 41), Duration::ZERO, "and that is over, too");
    }
}
