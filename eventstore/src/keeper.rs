//! Writes snapshots down beside the batch loop, never in its way.

use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::{Draft, EventStore, Snapshot};

/// Drafts that wait at most. When there are more the newcomers are dropped: their streams will grow again.
const DRAFTS_MAX: usize = 64;

/// The other end of a [`Keeper`].
pub(crate) struct Drafts(mpsc::Sender<Draft>);

impl Drafts {
    /// Hands a draft over without waiting; drops it when too many wait already.
    pub(crate) fn offer(&self, draft: Draft) {
        if let Err(refused) = self.0.try_send(draft) {
            debug!(stream = %refused.into_inner().stream(), "too many snapshots wait; this one is left out");
            count("left_out", 1);
        }
    }
}

/// Saves what it is offered, all that waits with one statement. Whatever fails is only slower.
pub(crate) struct Keeper {
    store: Arc<dyn EventStore>,
    drafts: mpsc::Receiver<Draft>,
}

impl Keeper {
    pub(crate) fn new(store: Arc<dyn EventStore>) -> (Self, Drafts) {
        let (sender, drafts) = mpsc::channel(DRAFTS_MAX);
        (Self { store, drafts }, Drafts(sender))
    }

    /// Until the other end is gone.
    pub(crate) async fn run(mut self) {
        let mut drafts = Vec::new();
        while self.drafts.recv_many(&mut drafts, DRAFTS_MAX).await > 0 {
            let snapshots: Vec<Snapshot> = drafts.drain(..).filter_map(|draft| freeze(&draft)).collect();
            match self.store.save_snapshots(&snapshots).await {
                Ok(()) => count("saved", snapshots.len()),
                Err(error) => {
                    warn!(error = &error as &dyn std::error::Error, "snapshots are not saved");
                    count("failed", snapshots.len());
                }
            }
        }
    }
}

fn freeze(draft: &Draft) -> Option<Snapshot> {
    match draft.freeze() {
        Ok(snapshot) => Some(snapshot),
        Err(error) => {
            warn!(error = &error as &dyn std::error::Error, stream = %draft.stream(), "a state cannot be written down");
            count("failed", 1);
            None
        }
    }
}

/// What became of snapshots: `saved`, `left_out`, `failed`, `used`, `ignored`.
pub(crate) fn count(outcome: &'static str, snapshots: usize) {
    metrics::counter!("farmera_snapshots_total", "outcome" => outcome).increment(snapshots as u64);
}
