//! A consumer that has messages and sends none is opened anew: the subscription is dead, whatever its client believes. So
//! is one that the broker does not know any more: it may have lost it while it was away.

use std::time::Duration;

use async_nats::jetstream::consumer::Info;
use async_nats::jetstream::context::{ConsumerInfoError, ConsumerInfoErrorKind};
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::consumer::{self, Durable};
use crate::broker::Broker;

/// How often it is looked; two looks in a row without a message while some wait are one too many.
const LOOK_INTERVAL: Duration = Duration::from_millis(2_500);
const STALLED_LOOKS: u32 = 2;
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// Watches one open subscription.
pub(super) struct Watchdog {
    durable: &'static str,
    consumer: Durable,
    broker: Broker,
    /// The connection that the consumer was seen with last.
    connects: u64,
    look_at: Instant,
    patience: Patience,
}

/// What a look at the consumer shows.
pub(super) enum Seen {
    /// It was not time to look, or the broker does not answer: the connection's business.
    Nothing,
    /// How the work stands: all messages up to `floor` are acknowledged, so many wait or are in work.
    Work { floor: u64, waiting: u64 },
    /// It is to be opened anew.
    Stalled,
}

/// What was seen between looks.
#[derive(Default)]
struct Patience {
    heard: bool,
    lagging: u32,
}

impl Patience {
    /// True when messages have waited for [`STALLED_LOOKS`] looks while nothing came and nothing was in work.
    fn is_over(&mut self, pending: u64, in_work: usize) -> bool {
        let lags = !self.heard && in_work == 0 && pending > 0;
        self.heard = false;
        self.lagging = if lags { self.lagging + 1 } else { 0 };
        self.lagging >= STALLED_LOOKS
    }
}

impl Watchdog {
    /// Of a subscription that was opened when the connection was the one numbered `connects`, or has since.
    pub(super) fn new(durable: &'static str, consumer: Durable, broker: Broker, connects: u64) -> Self {
        let look_at = Instant::now() + LOOK_INTERVAL;
        Self { durable, consumer, broker, connects, look_at, patience: Patience::default() }
    }

    /// A message came.
    pub(super) fn heard(&mut self) {
        self.patience.heard = true;
    }

    /// Looks at the consumer when it is time, at once on a new connection.
    pub(super) async fn look(&mut self, in_work: usize) -> Seen {
        let connects = self.broker.connects();
        let is_due = connects != self.connects || self.look_at <= Instant::now();
        if !is_due || !self.broker.is_connected() {
            return Seen::Nothing;
        }
        self.look_at = Instant::now() + LOOK_INTERVAL;
        let info = match timeout(ANSWER_DEADLINE, self.consumer.get_info()).await {
            Ok(Ok(info)) => info,
            Ok(Err(failed)) if self.is_gone(&failed) => return Seen::Stalled,
            Ok(Err(_)) | Err(_) => return Seen::Nothing,
        };
        self.connects = connects;
        if info.created != self.consumer.cached_info().created {
            warn!(consumer = self.durable, "the consumer was made anew: listening again from the start");
            return Seen::Stalled;
        }
        if self.is_silent(&info, in_work) {
            return Seen::Stalled;
        }
        Seen::Work {
            floor: info.ack_floor.stream_sequence,
            waiting: info.num_pending.saturating_add(info.num_ack_pending as u64),
        }
    }

    /// True when the broker does not know the consumer any more.
    fn is_gone(&self, failed: &ConsumerInfoError) -> bool {
        let gone = matches!(failed.kind(), ConsumerInfoErrorKind::NotFound | ConsumerInfoErrorKind::StreamNotFound);
        if gone {
            warn!(consumer = self.durable, "the broker has lost the consumer: listening again from the start");
        } else {
            debug!(consumer = self.durable, error = failed as &dyn std::error::Error, "the consumer tells nothing");
        }
        gone
    }

    /// True when messages wait and none come.
    fn is_silent(&mut self, info: &Info, in_work: usize) -> bool {
        metrics::gauge!("farmera_consumer_pending", "consumer" => self.durable).set(info.num_pending as f64);
        metrics::gauge!("farmera_consumer_unacknowledged", "consumer" => self.durable).set(info.num_ack_pending as f64);
        if info.num_ack_pending >= consumer::UNACKNOWLEDGED_MAX {
            warn!(consumer = self.durable, "as many messages are unacknowledged as may be: nothing more comes in");
            metrics::counter!("farmera_consumer_at_cap_total", "consumer" => self.durable).increment(1);
        }
        let stalled = self.patience.is_over(info.num_pending, in_work);
        if stalled {
            warn!(consumer = self.durable, pending = info.num_pending, "messages wait and none come: listening anew");
            metrics::counter!("farmera_consumer_stalls_total", "consumer" => self.durable).increment(1);
        }
        stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_that_wait_in_silence_are_a_stall() {
        let mut patience = Patience::default();
        assert!(!patience.is_over(7, 0), "they may have come this instant");
        assert!(patience.is_over(7, 0));
        patience.heard = true;
        assert!(!patience.is_over(7, 0), "one came");
        assert!(!patience.is_over(7, 0));
        assert!(!patience.is_over(7, 1), "one is in work");
        assert!(!patience.is_over(0, 0), "none wait");
        assert!(!patience.is_over(7, 0));
    }
}
