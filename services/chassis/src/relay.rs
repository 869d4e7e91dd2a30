//! Committed events out to JetStream.
//!
//! # Theory of operation
//!
//! A commit leaves one row in the outbox, naming its transaction. The process that committed hands the events over in
//! memory ([`RelayHandle`]) and they are published at once, in commit order, without waiting one for another. When the
//! broker has acknowledged every message of a transaction, its row goes, many rows in one statement.
//!
//! Whatever that misses (a crash, a broker that was away, a full queue) is still in the outbox, and the sweep publishes
//! it: at the start everything, later what has waited longer than [`SWEEP_AGE`]. Any replica may sweep. Messages may go
//! out twice and, after a crash, behind their younger siblings: receivers tell duplicates and order by themselves.
//!
//! Bounded: at most [`HANDOFFS_MAX`] commits wait in memory and [`UNACKNOWLEDGED_MAX`] await acknowledgement; what is
//! beyond that is left to the sweep.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::PublishAckFuture;
use eventstore::worker::CommitListener;
use eventstore::{Category, Committed, DecodeError, EventStore, ReadError, Recorded, TxId};
use faults::{Plant, Point};
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _, future};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{debug, error, info, warn};

use crate::broker::{Broker, BrokerError};
use crate::envelope::{Outgoing, Sealed, seal};
use crate::health::Component;

/// Commits that may wait in memory.
pub const HANDOFFS_MAX: usize = 4_096;
/// Commits whose messages may be unacknowledged at a time.
pub const UNACKNOWLEDGED_MAX: usize = 2_048;
/// How long a commit may wait in the outbox before the sweep takes it for forgotten.
pub const SWEEP_AGE: Duration = Duration::from_secs(3);
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is tried to begin.
const OPEN_INTERVAL: Duration = Duration::from_millis(100);
const SWEEP_TRANSACTIONS: usize = 256;
/// Published transactions wait this long, or until there are [`MARKS_MAX`], to leave the outbox together.
const MARK_DELAY: Duration = Duration::from_millis(50);
const MARKS_MAX: usize = 512;

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

/// The way out: what is said, and to whom.
struct Outlet {
    spec: RelaySpec,
    store: Arc<dyn EventStore>,
    broker: Broker,
}

/// The relay of one service.
pub struct Relay {
    outlet: Outlet,
    component: Component,
    handoffs: mpsc::Receiver<Handoff>,
    unacknowledged: FuturesUnordered<future::BoxFuture<'static, (Option<TxId>, bool)>>,
    marks: Vec<TxId>,
    mark_at: Instant,
    /// True while the stream is known to be there; before, publishing would only lose messages.
    open: bool,
}

/// Why a sweep stopped before its end. It is tried again.
#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Store(#[from] ReadError),
    #[error("the broker did not acknowledge every message")]
    Unacknowledged,
}

impl Outlet {
    /// Publishes what waits in the outbox for at least `age`, oldest first. Says how many transactions it were.
    async fn sweep_once(&self, age: Duration) -> Result<usize, SweepError> {
        let mut swept = 0;
        loop {
            let txs = self.store.outbox_pending(age, SWEEP_TRANSACTIONS).await?;
            let Some(last) = txs.last().copied() else { return Ok(swept) };
            let events = self.store.read_transactions(&txs, self.spec.categories).await?;
            faults::reach(Point::SweepBefore);
            let mut acks = Vec::new();
            let mut untold = Vec::new();
            for event in &events {
                match self.sealed(event) {
                    Ok(Some(sealed)) => acks.push(self.publish(sealed).await.ok_or(SweepError::Unacknowledged)?),
                    Ok(None) => {}
                    Err(Untellable) => untold.push(event.cursor.tx),
                }
            }
            let acknowledged = future::join_all(acks.into_iter().map(IntoFuture::into_future)).await;
            if acknowledged.iter().any(Result::is_err) {
                return Err(SweepError::Unacknowledged);
            }
            faults::reach(Point::SweepAfter);
            let told: Vec<TxId> = txs.iter().copied().filter(|tx| !untold.contains(tx)).collect();
            self.store.outbox_published(&told).await?;
            swept += told.len();
            if txs.len() < SWEEP_TRANSACTIONS || told.is_empty() {
                return Ok(swept);
            }
            debug!(swept, last = last.0, "sweeping");
        }
    }

    async fn publish(&self, sealed: Sealed) -> Option<PublishAckFuture> {
        metrics::counter!("farmera_relay_published_total").increment(1);
        let published = self.broker.jetstream.publish_with_headers(sealed.subject, sealed.headers, sealed.body.into());
        match published.await {
            Ok(ack) => Some(ack),
            Err(failed) => {
                warn!(error = &failed as &dyn std::error::Error, "cannot publish");
                None
            }
        }
    }

    fn sealed(&self, event: &Recorded) -> Result<Option<Sealed>, Untellable> {
        match (self.spec.translate)(event) {
            Ok(outgoing) => Ok(outgoing.map(|outgoing| seal(self.spec.source, outgoing, event))),
            Err(failed) => {
                error!(error = &failed as &dyn std::error::Error, "an event cannot be told to others by this program");
                Err(Untellable)
            }
        }
    }
}

/// An event of a newer program. Its transaction stays in the outbox until a program comes that knows it.
struct Untellable;

impl Relay {
    /// A relay and the handle to reach it.
    #[must_use]
    pub fn new(
        spec: RelaySpec,
        store: Arc<dyn EventStore>,
        broker: Broker,
        component: Component,
    ) -> (Self, RelayHandle) {
        let (sender, handoffs) = mpsc::channel(HANDOFFS_MAX);
        let relay = Self {
            outlet: Outlet { spec, store, broker },
            component,
            handoffs,
            unacknowledged: FuturesUnordered::new(),
            marks: Vec::new(),
            mark_at: Instant::now(),
            open: false,
        };
        (relay, RelayHandle(sender))
    }

    /// Publishes until the last handle is gone.
    pub async fn run(mut self) {
        let mut sweep = interval(SWEEP_INTERVAL);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut handoffs = Vec::new();
        loop {
            tokio::select! {
                biased;
                Some(done) = self.unacknowledged.next(), if !self.unacknowledged.is_empty() => self.acknowledged(done),
                () = sleep_until(self.mark_at), if !self.marks.is_empty() => self.mark().await,
                _ = sweep.tick() => {
                    self.try_sweep().await;
                    if !self.outlet.broker.is_connected() {
                        sweep.reset_after(OPEN_INTERVAL);
                    }
                }
                count = self.handoffs.recv_many(&mut handoffs, 64), if self.unacknowledged.len() < UNACKNOWLEDGED_MAX => {
                    if count == 0 {
                        break;
                    }
                    for handoff in handoffs.drain(..) {
                        self.publish_handoff(handoff).await;
                    }
                }
            }
        }
        self.finish().await;
    }

    /// Sweeps if the broker is there: everything when it was away until now, else what has waited too long.
    async fn try_sweep(&mut self) {
        if !self.outlet.broker.is_connected() {
            self.open = false;
            return;
        }
        let age = if self.open { SWEEP_AGE } else { Duration::ZERO };
        let swept = async {
            if !self.open {
                self.outlet.broker.ensure_stream(self.outlet.spec.stream).await?;
            }
            self.outlet.sweep_once(age).await
        };
        match swept.await {
            Ok(count) => {
                if count > 0 {
                    info!(count, "published transactions that were left in the outbox");
                    metrics::counter!("farmera_relay_swept_total").increment(count as u64);
                }
                self.component.up();
                self.open = true;
            }
            Err(failed) => {
                warn!(
                    error = &failed as &dyn std::error::Error,
                    "cannot publish what waits in the outbox; trying again"
                );
                self.component.down(failed.to_string());
                self.open = false;
            }
        }
    }

    async fn publish_handoff(&mut self, handoff: Handoff) {
        if !self.open || !self.outlet.broker.is_connected() {
            return; // it is in the outbox
        }
        let (tx, sealed) = match handoff {
            Handoff::Repeat(sealed) => (None, vec![sealed]),
            Handoff::Commit(events, tx) => {
                let categories = self.outlet.spec.categories;
                let ours = events.iter().filter(|event| categories.contains(&event.stream.category));
                let sealed: Result<Vec<_>, Untellable> =
                    ours.filter_map(|event| self.outlet.sealed(event).transpose()).collect();
                let Ok(sealed) = sealed else { return };
                (Some(tx), sealed)
            }
        };
        if let Some(tx) = tx.filter(|_| faults::planted(Plant::OutboxBeforeAck)) {
            self.acknowledged((Some(tx), true));
        }
        let mut acks = Vec::with_capacity(sealed.len());
        for sealed in sealed {
            faults::reach(Point::PublishBefore);
            match self.outlet.publish(sealed).await {
                Some(ack) => {
                    faults::reach(Point::PublishAfter);
                    acks.push(ack);
                }
                None => return,
            }
        }
        faults::reach(Point::PubAckBefore);
        let all = future::join_all(acks.into_iter().map(IntoFuture::into_future));
        self.unacknowledged.push(all.map(move |acks| (tx, acks.iter().all(Result::is_ok))).boxed());
    }

    fn acknowledged(&mut self, (tx, all): (Option<TxId>, bool)) {
        match tx {
            Some(tx) if all => {
                faults::reach(Point::PubAckAfter);
                if self.marks.is_empty() {
                    self.mark_at = Instant::now() + MARK_DELAY;
                }
                self.marks.push(tx);
                if self.marks.len() >= MARKS_MAX {
                    self.mark_at = Instant::now();
                }
            }
            Some(_) | None if all => {}
            Some(_) | None => warn!("the broker did not acknowledge a message; the sweep will publish it again"),
        }
    }

    async fn mark(&mut self) {
        let txs = std::mem::take(&mut self.marks);
        match self.outlet.store.outbox_published(&txs).await {
            Ok(()) => faults::reach(Point::OutboxAfter),
            Err(failed) => warn!(
                error = &failed as &dyn std::error::Error,
                "published messages stay in the outbox and will go out again"
            ),
        }
    }

    async fn finish(mut self) {
        while let Some(done) = self.unacknowledged.next().await {
            self.acknowledged(done);
        }
        self.mark().await;
    }
}
