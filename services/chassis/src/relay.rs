//! Committed events out to JetStream.
//!
//! # Theory of operation
//!
//! A commit leaves one row in the outbox, naming its transaction. The process that committed hands the events over in
//! memory ([`RelayHandle`]) and they are published at once. When the broker has acknowledged every message of a
//! transaction, its row goes, many rows in one statement. Whatever that misses (a crash, a broker that was away, a full
//! queue) is still in the outbox, and the sweep publishes it: everything after a pause, later what has waited longer
//! than [`SWEEP_AGE`]. Any replica may sweep.
//!
//! **Order.** A message goes only when everything before it in its event stream is known to be on the broker: this
//! process saw it acknowledged, or its transaction has left the outbox. Neither can become untrue, so no lease is
//! needed, a paused process does no harm, and it holds for any number of replicas. While one process writes a stream
//! it knows by itself; otherwise one question for all streams of a batch goes to the outbox, and what still waits there,
//! whoever wrote it, is published first (twice at worst). A message that fails holds back the streams it tells of only.
//!
//! **Together.** What may go at the same time on one subject leaves as one message, with at most one event of a stream.
//! Nobody waits for company.
//!
//! **Loss.** The broker may forget what it acknowledged: [`crate::transport::memory`] notices, on every connection and
//! every [`LOOK_INTERVAL`], and puts transactions into the outbox again; what was decided before is then void.
//!
//! **Health.** Once a second it is looked how long the oldest row of the outbox has waited: longer than
//! [`condition::STUCK_AFTER`] is too long, whatever the broker says of itself ([`condition`]).
//!
//! Bounded: at most [`HANDOFFS_MAX`] commits wait in memory and [`UNACKNOWLEDGED_MAX`] await acknowledgement; what is
//! beyond that is left to the sweep.

mod batches;
pub mod condition;
mod flow;
mod lanes;
mod outlet;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use eventstore::worker::CommitListener;
use eventstore::{Category, Committed, DecodeError, Recorded, TxId};
use tokio::sync::mpsc;
use tracing::debug;

use crate::envelope::batch::EVENTS_MAX;
use crate::envelope::{Outgoing, Sealed};

pub use flow::Relay;

/// Commits that may wait in memory.
pub const HANDOFFS_MAX: usize = 4_096;
/// Commits whose messages may be unacknowledged at a time.
pub const UNACKNOWLEDGED_MAX: usize = 2_048;
/// How long a commit may wait in the outbox before the sweep takes it for forgotten.
pub const SWEEP_AGE: Duration = Duration::from_secs(3);
/// How often it is looked whether the broker still holds what it acknowledged.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// How many events a message holds at most: 1 to [`EVENTS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventsPerMessage(usize);

impl Default for EventsPerMessage {
    fn default() -> Self {
        Self(EVENTS_MAX)
    }
}

impl FromStr for EventsPerMessage {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let count = text.parse().map_err(|_| ())?;
        if (1..=EVENTS_MAX).contains(&count) { Ok(Self(count)) } else { Err(()) }
    }
}

/// What a service tells others about a stored event; `None` when it is nobody's business. Pure.
pub type Translate = fn(&Recorded) -> Result<Option<Outgoing>, DecodeError>;

/// What a service tells the world.
#[derive(Clone, Copy, Debug)]
pub struct RelaySpec {
    /// Its name as a CloudEvents source: `/farmera/orders`.
    pub source: &'static str,
    /// Its JetStream stream.
    pub stream: &'static str,
    /// Categories with events that others may hear of.
    pub categories: &'static [Category],
    /// What they hear.
    pub translate: Translate,
}

enum Handoff {
    Commit(Arc<[Recorded]>, TxId),
    Repeat(Sealed),
}

/// Where committed events are handed over. The relay ends when the last handle is gone and all is published.
#[derive(Clone)]
pub struct RelayHandle(mpsc::Sender<Handoff>);

impl CommitListener for RelayHandle {
    fn committed(&self, events: &Arc<[Recorded]>, committed: Committed) {
        if self.0.try_send(Handoff::Commit(Arc::clone(events), committed.last.tx)).is_err() {
            debug!("the relay's queue is full; the sweep will publish this commit");
        }
    }
}

impl RelayHandle {
    /// Publishes an answer once more, for whoever asked again. Best effort: who misses it asks again.
    pub fn repeat(&self, sealed: Sealed) {
        if self.0.try_send(Handoff::Repeat(sealed)).is_err() {
            debug!("the relay's queue is full; a repeated answer is dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_holds_one_to_sixty_four_events() {
        let read = |text: &str| text.parse::<EventsPerMessage>().map(|EventsPerMessage(count)| count);
        assert_eq!(["1", "64"].map(read), [Ok(1), Ok(EVENTS_MAX)]);
        assert!(["0", "65", "-1", "many", ""].map(read).iter().all(Result::is_err));
    }
}
