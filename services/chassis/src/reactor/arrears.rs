//! Whether what comes in is handled at all: where messages wait and none is handled, the service does not do its work,
//! whatever its parts believe of themselves. One message that cannot be handled now, while others are, is no such thing.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

/// A consumer is not well when messages have waited for longer than this and none was handled.
pub(super) const STUCK_AFTER: Duration = Duration::from_secs(20);
/// Whoever could not look for so long, for want of a broker, knows nothing of what was handled meanwhile.
const BLIND_AFTER: Duration = Duration::from_secs(10);

/// What one consumer owes.
#[derive(Debug)]
pub(super) struct Arrears {
    durable: &'static str,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When something was handled last, here or by another replica, or nothing waited.
    well_at: Instant,
    looked_at: Instant,
    /// The last message at the broker before which all are acknowledged, by whomever.
    floor: u64,
    /// Messages that wait.
    waiting: u64,
    /// Why one was not handled, last.
    failed: Option<String>,
    stuck: bool,
}

impl Arrears {
    /// Nothing is known to wait.
    pub(super) fn new(durable: &'static str, now: Instant) -> Self {
        let state = State { well_at: now, looked_at: now, floor: 0, waiting: 0, failed: None, stuck: false };
        Self { durable, state: Mutex::new(state) }
    }

    /// A message was handled, or parked.
    pub(super) fn handled(&self, now: Instant) {
        let mut state = self.state();
        state.well_at = now;
        state.failed = None;
    }

    /// A message could not be handled now.
    pub(super) fn failed(&self, reason: String) {
        self.state().failed = Some(reason);
    }

    /// What the broker says: all up to `floor` are acknowledged, and so many wait. Why this is not well, if it is not.
    pub(super) fn looked(&self, floor: u64, waiting: u64, now: Instant) -> Option<String> {
        let mut state = self.state();
        let was_blind = now.saturating_duration_since(state.looked_at) > BLIND_AFTER;
        state.looked_at = now;
        if waiting == 0 || floor != state.floor || was_blind {
            (state.floor, state.well_at) = (floor, now);
        }
        state.waiting = waiting;
        let reason = state.reason(now);
        let standing = if waiting == 0 { Duration::ZERO } else { now.saturating_duration_since(state.well_at) };
        metrics::gauge!("farmera_consumer_standstill_seconds", "consumer" => self.durable).set(standing.as_secs_f64());
        match (&reason, state.stuck) {
            (Some(reason), false) => warn!(consumer = self.durable, reason, "messages wait and none is handled"),
            (None, true) => info!(consumer = self.durable, "messages are handled again"),
            (Some(_), true) | (None, false) => {}
        }
        state.stuck = reason.is_some();
        reason
    }

    /// Why this is not well, as far as is known; `None` when it is.
    pub(super) fn reason(&self, now: Instant) -> Option<String> {
        self.state().reason(now)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn reason(&self, now: Instant) -> Option<String> {
        let standing = now.saturating_duration_since(self.well_at);
        if self.waiting == 0 || standing <= STUCK_AFTER {
            return None;
        }
        let because = self.failed.as_ref().map(|failed| format!(": {failed}")).unwrap_or_default();
        let (waiting, seconds) = (self.waiting, standing.as_secs());
        Some(format!("no message has been handled for {seconds} s, and {waiting} wait{because}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_is_stuck_when_messages_wait_and_none_is_handled_by_anybody() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let arrears = Arrears::new("orders-payment", start);
        let looked = |floor, waiting, seconds: std::ops::Range<u64>| {
            let looks = seconds.step_by(5).map(|second| arrears.looked(floor, waiting, at(second)));
            looks.last().flatten()
        };
        assert_eq!(looked(7, 0, 0..60), None, "nothing waits");
        assert_eq!(looked(7, 3, 60..75), None, "they have only come");
        arrears.failed("the event store does not answer".to_owned());
        let stuck = looked(7, 3, 75..91);
        let expected = "no message has been handled for 35 s, and 3 wait: the event store does not answer";
        assert_eq!(stuck.as_deref(), Some(expected));
        assert_eq!(arrears.reason(at(90)), stuck);
        assert_eq!(looked(8, 2, 92..93), None, "another replica has handled one");
        assert!(looked(8, 2, 95..121).is_some());
        arrears.handled(at(121));
        assert_eq!(looked(8, 2, 122..135), None, "one was handled here, an older one is not");
        assert_eq!(looked(8, 2, 600..601), None, "the broker was away: nobody knows what was handled meanwhile");
        assert!(looked(8, 2, 605..626).is_some());
        assert_eq!(looked(9, 0, 630..631), None);
    }
}
