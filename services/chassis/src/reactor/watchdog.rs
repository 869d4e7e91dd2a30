//! A consumer that has messages and sends none is opened anew: the subscription is dead, whatever its client believes.

use std::time::Duration;

use tokio::time::timeout;
use tracing::{debug, warn};

use super::consumer::{self, Durable};

/// How often it is looked; two looks in a row without a message while some wait are one too many.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(2_500);
const STALLED_LOOKS: u32 = 2;
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// Watches one open subscription.
pub(super) struct Watchdog {
    durable: &'static str,
    consumer: Durable,
    patience: Patience,
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
    pub(super) fn new(durable: &'static str, consumer: Durable) -> Self {
        Self { durable, consumer, patience: Patience::default() }
    }

    /// A message came.
    pub(super) fn heard(&mut self) {
        self.patience.heard = true;
    }

    /// Looks at the consumer, and says whether to open it anew. A broker that does not answer is the connection's
    /// business.
    pub(super) async fn is_stalled(&mut self, in_work: usize) -> bool {
        let info = match timeout(ANSWER_DEADLINE, self.consumer.info()).await {
            Ok(Ok(info)) => info,
            Ok(Err(failed)) => {
                debug!(
                    consumer = self.durable,
                    error = &failed as &dyn std::error::Error,
                    "the consumer tells nothing"
                );
                return false;
            }
            Err(_) => return false,
        };
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
