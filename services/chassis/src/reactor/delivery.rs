//! A message in hand, of one event or several: it is acknowledged once, when all of them are done.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_nats::jetstream::{AckKind, Message};
use tokio::time::Instant;
use tracing::debug;

use super::PROGRESS_INTERVAL;

/// A message and what is left to do of it.
pub(super) struct Delivery {
    message: Message,
    parts: Mutex<Parts>,
}

struct Parts {
    left: usize,
    /// One of them could not be handled now: all come again, and those that were handled are recognised.
    again: bool,
    /// When the broker was told last that this is in work.
    told: Instant,
}

impl Parts {
    /// One is done. What becomes of the whole, when it was the last: true when it is to come again.
    fn done(&mut self, again: bool) -> Option<bool> {
        self.left = self.left.saturating_sub(1);
        self.again |= again;
        (self.left == 0).then_some(self.again)
    }

    /// True when the broker should be told now that this is in work; once for all parts.
    fn is_due(&mut self, now: Instant) -> bool {
        // Whoever asks does so every interval: a little less, or every second time would be lost.
        let due = now.duration_since(self.told) >= PROGRESS_INTERVAL / 2;
        if due {
            self.told = now;
        }
        due
    }
}

impl Delivery {
    /// A message of so many events.
    pub(super) fn new(message: Message, count: usize) -> Self {
        Self { message, parts: Mutex::new(Parts { left: count, again: false, told: Instant::now() }) }
    }

    pub(super) fn message(&self) -> &Message {
        &self.message
    }

    /// One event is done, or is to come again. How the whole is acknowledged when it was the last; whoever is told so
    /// does it.
    pub(super) fn done(&self, again: bool) -> Option<AckKind> {
        let again = self.parts().done(again)?;
        if !again {
            return Some(AckKind::Ack);
        }
        let delay = super::redelivery_delay(self.message.info().map_or(1, |info| info.delivered));
        debug!(subject = %self.message.subject, ?delay, "a message is given back");
        Some(AckKind::Nak(Some(delay)))
    }

    /// Tells the broker that this is still in work. Not heard, it comes again while we work; those who handle it
    /// recognise it.
    pub(super) async fn progress(&self) {
        let due = self.parts().is_due(Instant::now());
        if due {
            drop(self.message.ack_with(AckKind::Progress).await);
        }
    }

    /// Never poisoned for good: every change is complete before the lock is let go.
    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(left: usize) -> Parts {
        Parts { left, again: false, told: Instant::now() }
    }

    #[test]
    fn a_message_is_acknowledged_once_when_its_last_event_is_done() {
        let mut parts = parts(3);
        assert_eq!([parts.done(false), parts.done(false), parts.done(false)], [None, None, Some(false)]);
    }

    #[test]
    fn one_event_that_is_to_come_again_brings_all_of_them_when_the_others_are_done() {
        let mut parts = parts(3);
        assert_eq!([parts.done(false), parts.done(true), parts.done(false)], [None, None, Some(true)]);
    }

    #[test]
    fn the_broker_is_told_once_for_all_events_of_a_message() {
        let mut parts = parts(2);
        let start = parts.told;
        assert!(!parts.is_due(start));
        let later = start + PROGRESS_INTERVAL;
        assert_eq!([parts.is_due(later), parts.is_due(later)], [true, false]);
        assert!(parts.is_due(later + PROGRESS_INTERVAL));
    }
}
