//! The loop of a relay: what may go goes, what is done is noted, what waits is swept.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use eventstore::{ReadError, Recorded, StreamId, Transport, TxId, Version};
use faults::{Plant, Point};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};
use tracing::{error, info, warn};

use super::batches::gather;
use super::condition::{Cause, Condition};
use super::lanes::{Elders, Lanes, Parcel, Step};
use super::outlet::{At, Done, Outlet, PAGE, Page};
use super::{
    EventsPerMessage, HANDOFFS_MAX, Handoff, LOOK_INTERVAL, RelayHandle, RelaySpec, SWEEP_AGE, UNACKNOWLEDGED_MAX,
};
use crate::broker::Broker;
use crate::envelope::Stamp;
use crate::health::Component;
use crate::transport::memory::{LookError, Memory};

const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is tried to begin.
const OPEN_INTERVAL: Duration = Duration::from_millis(100);
/// Published transactions wait this long, or until there are [`MARKS_MAX`], to leave the outbox together.
const MARK_DELAY: Duration = Duration::from_millis(50);
const MARKS_MAX: usize = 512;
const DONE_AT_ONCE_MAX: usize = 256;

/// The relay of one service.
pub struct Relay {
    outlet: Arc<Outlet>,
    condition: Condition,
    events_per_message: EventsPerMessage,
    handoffs: mpsc::Receiver<Handoff>,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    lanes: Lanes,
    marks: Vec<TxId>,
    mark_at: Instant,
    /// The newest message that was acknowledged since the last mark.
    newest: Option<(u64, String)>,
    /// The broker's epoch and the sequence that the store has noted last for this process.
    noted: Option<(u32, u64)>,
    /// The last memory of the broker that was looked at, and the connection to it.
    at: Option<At>,
    /// True while that is known to hold; else publishing would only lose messages.
    open: bool,
    /// True once the store was found to be older than what it has told: nothing goes any more.
    refused: bool,
    /// `None` while a look is under way.
    memory: Option<Memory>,
    look_at: Instant,
    /// Where the sweep goes on, of transactions of which age; `None` between sweeps.
    sweep: Option<(TxId, Duration)>,
    paging: bool,
    /// The next sweep takes everything.
    sweep_all: bool,
    swept: usize,
}

impl Relay {
    /// A relay and the handle to reach it.
    #[must_use]
    pub fn new(
        spec: RelaySpec,
        store: Arc<dyn Transport>,
        broker: Broker,
        component: Component,
        events_per_message: EventsPerMessage,
    ) -> (Self, RelayHandle) {
        let (sender, handoffs) = mpsc::channel(HANDOFFS_MAX);
        let relay = Self {
            outlet: Arc::new(Outlet { spec, store, broker }),
            condition: Condition::new(spec.stream, component, Instant::now()),
            events_per_message,
            handoffs,
            work: FuturesUnordered::new(),
            lanes: Lanes::default(),
            marks: Vec::new(),
            mark_at: Instant::now(),
            newest: None,
            noted: None,
            at: None,
            open: false,
            refused: false,
            memory: Some(Memory::new(spec.stream)),
            look_at: Instant::now(),
            sweep: None,
            paging: false,
            sweep_all: true,
            swept: 0,
        };
        (relay, RelayHandle(sender))
    }

    /// Publishes until the last handle is gone, or until the store is found to be older than what it has told: then
    /// the service is to end.
    pub async fn run(mut self) {
        let mut tick = interval(SWEEP_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut handoffs = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = sleep_until(self.mark_at), if !self.marks.is_empty() => self.mark().await,
                _ = tick.tick() => self.tick(&mut tick),
                Some(done) = self.work.next(), if !self.work.is_empty() => self.done_and_more(done),
                count = self.handoffs.recv_many(&mut handoffs, 64), if self.has_room() => {
                    if count == 0 {
                        break;
                    }
                    handoffs.drain(..).for_each(|handoff| self.take(handoff));
                }
            }
            if self.refused {
                return;
            }
            self.act();
        }
        while let Some(done) = self.work.next().await {
            self.done(done);
            self.sweep = None;
            self.act();
        }
        self.mark().await;
    }

    fn has_room(&self) -> bool {
        self.lanes.len() < UNACKNOWLEDGED_MAX && self.work.len() < 2 * UNACKNOWLEDGED_MAX
    }

    /// Acknowledgements come in bursts.
    fn done_and_more(&mut self, done: Done) {
        self.done(done);
        for _ in 0..DONE_AT_ONCE_MAX {
            let Some(Some(done)) = self.work.next().now_or_never() else { return };
            self.done(done);
        }
    }

    /// Looks at the broker when it is time, and sweeps.
    fn tick(&mut self, tick: &mut Interval) {
        let connects = self.outlet.broker.connects();
        if !self.outlet.broker.is_connected() {
            self.condition.closed(Cause::NotConnected);
        }
        if !self.outlet.broker.is_connected() || self.at.is_some_and(|at| at.connects != connects) {
            self.open = false;
        }
        if self.condition.is_due(Instant::now()) {
            let outlet = Arc::clone(&self.outlet);
            self.work.push(async move { Done::Backlog(outlet.store.backlog().await) }.boxed());
        }
        if !self.open {
            self.sweep_all = true;
            tick.reset_after(OPEN_INTERVAL);
        }
        if self.outlet.broker.is_connected() && (!self.open || self.look_at <= Instant::now()) {
            self.look();
        }
        if self.open && self.sweep.is_none() && !self.paging {
            let age = if std::mem::take(&mut self.sweep_all) { Duration::ZERO } else { SWEEP_AGE };
            self.sweep = Some((TxId::default(), age));
        }
    }

    fn look(&mut self) {
        let Some(mut memory) = self.memory.take() else { return };
        let (outlet, connects) = (Arc::clone(&self.outlet), self.outlet.broker.connects());
        let newest = self.at.map(|at| at.stamp.broker_epoch).zip(self.newest.clone());
        memory.note(self.noted);
        let looking = async move {
            let looked = memory.look(&outlet.broker, &*outlet.store, newest).await;
            let found = match looked {
                Ok(mark) => outlet.store.store_epoch().await.map_err(LookError::from).map(|store| At {
                    stamp: Stamp { store_epoch: store.epoch, broker_epoch: mark.epoch },
                    connects,
                    above: mark.last_sequence,
                    bytes_max: outlet.bytes_max(),
                }),
                Err(failed) => Err(failed),
            };
            Done::Looked { memory, found }
        };
        self.work.push(looking.boxed());
    }

    fn looked(&mut self, found: Result<At, LookError>) {
        self.look_at = Instant::now() + LOOK_INTERVAL;
        match found {
            Ok(at) => {
                if self.at.is_some_and(|known| known.stamp != at.stamp) {
                    // What was acknowledged before is not known to be there any more.
                    self.lanes.forget();
                    self.marks.clear();
                    self.newest = None;
                    self.sweep_all = true;
                }
                self.at = Some(at);
                self.open = true;
                self.condition.open();
            }
            Err(LookError::Older(older)) => {
                error!(%older, "a store that was put back must not go on as if it were not");
                self.condition.closed(Cause::Unseen(older.to_string()));
                self.open = false;
                self.refused = true;
            }
            Err(failed @ (LookError::Broker(_) | LookError::Store(_))) => {
                warn!(error = &failed as &dyn std::error::Error, "cannot see what the broker holds; trying again");
                self.condition.closed(Cause::Unseen(failed.to_string()));
                self.open = false;
            }
        }
    }

    fn take(&mut self, handoff: Handoff) {
        let (true, Some(at)) = (self.open, self.at) else { return }; // it is in the outbox
        match handoff {
            Handoff::Repeat(mut sealed) => {
                at.stamp.stamp(&mut sealed);
                let outlet = Arc::clone(&self.outlet);
                let repeating = async move {
                    // Best effort: whoever misses it asks again.
                    drop(outlet.publish(sealed).await);
                    Done::Repeated
                };
                self.work.push(repeating.boxed());
            }
            Handoff::Commit(events, tx) => {
                if faults::planted(Plant::OutboxBeforeAck) {
                    self.marks.push(tx);
                }
                let (parcels, complete) = self.outlet.parcels(tx, &events, at.stamp);
                self.lanes.take(tx, parcels, complete);
            }
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Sent { parcels, at, stored } => self.sent(parcels, at, stored),
            Done::Repeated => {}
            Done::Backlog(found) => self.condition.looked(found.ok(), Instant::now()),
            Done::Elders { at, asked, found } => self.elders(at, &asked, found),
            Done::Page { age, found } => self.page(age, found),
            Done::Looked { memory, found } => {
                self.memory = Some(memory);
                self.looked(found);
            }
        }
    }

    fn sent(&mut self, parcels: Vec<Parcel>, at: At, stored: Result<Option<(u64, String)>, Cause>) {
        let holds = self.at.is_some_and(|now| now.stamp == at.stamp);
        let acknowledged = stored.is_ok();
        match stored {
            Ok(newest) if holds => {
                let last = |newest: &Option<(u64, String)>| newest.as_ref().map(|(sequence, _)| *sequence);
                if last(&newest) > last(&self.newest) {
                    self.newest = newest;
                }
            }
            Ok(_) => {}
            Err(cause) => {
                self.condition.failed(cause, Instant::now());
                // Whatever is the matter: nothing goes before it was looked what the broker holds.
                self.open = false;
            }
        }
        parcels.into_iter().for_each(|parcel| self.lanes.sent(parcel, acknowledged && holds));
    }

    fn elders(&mut self, at: At, asked: &[(StreamId, Version)], found: Result<Vec<Recorded>, ReadError>) {
        let holds = self.at.is_some_and(|now| now.stamp == at.stamp);
        let by_stream: HashMap<StreamId, &[Recorded]> = match &found {
            Ok(found) => found.chunk_by(|one, next| one.stream == next.stream).filter_map(keyed).collect(),
            Err(_) => HashMap::new(),
        };
        for (stream, _) in asked {
            let elders = match by_stream.get(stream) {
                _ if !holds || found.is_err() => Elders::Unclear,
                Some(elders) => self.outlet.elders(elders, at.stamp),
                None => Elders::Told,
            };
            self.lanes.elders(*stream, elders);
        }
    }

    fn page(&mut self, age: Duration, found: Result<Page, ReadError>) {
        self.paging = false;
        let (Some(at), Ok(page)) = (self.at, found) else {
            (self.sweep, self.sweep_all) = (None, true);
            return;
        };
        let mut events = page.events.as_slice();
        for tx in &page.txs {
            let end = events.iter().position(|event| event.cursor.tx != *tx).unwrap_or(events.len());
            let (of_tx, rest) = events.split_at(end);
            events = rest;
            let (parcels, complete) = self.outlet.parcels(*tx, of_tx, at.stamp);
            if !complete {
                self.condition.failed(Cause::Untellable, Instant::now());
            }
            self.swept += usize::from(self.lanes.take(*tx, parcels, complete) && complete);
        }
        let last = page.txs.last().filter(|_| page.txs.len() >= PAGE);
        self.sweep = last.map(|last| (*last, age));
        if self.sweep.is_none() && self.swept > 0 {
            faults::reach(Point::SweepAfter);
            info!(count = self.swept, "took up transactions that waited in the outbox");
            metrics::counter!("farmera_relay_swept_total").increment(self.swept as u64);
            self.swept = 0;
        }
    }

    /// Starts whatever may start now.
    fn act(&mut self) {
        let (mut ready, mut asked) = (Vec::new(), Vec::new());
        // Nothing is decided without having looked; a relay that is not open sends nothing.
        let at = self.at.unwrap_or(At::NOWHERE);
        for step in self.lanes.steps() {
            match step {
                Step::Send(parcel) => ready.push(parcel),
                Step::Ask(stream, version) => asked.push((stream, version)),
            }
        }
        for parcels in gather(ready, self.events_per_message.0, at.bytes_max) {
            self.work.push(Arc::clone(&self.outlet).send(parcels, at).boxed());
        }
        if !asked.is_empty() {
            let outlet = Arc::clone(&self.outlet);
            let asking = async move {
                let found = outlet.store.untold_elders(&asked).await;
                Done::Elders { at, asked, found }
            };
            self.work.push(asking.boxed());
        }
        for tx in self.lanes.whole() {
            if self.marks.is_empty() {
                self.mark_at = Instant::now() + MARK_DELAY;
            }
            self.marks.push(tx);
            if self.marks.len() >= MARKS_MAX {
                self.mark_at = Instant::now();
            }
        }
        if self.lanes.failed() {
            // Soon, not at once: what fails for ever must not keep us busy.
            self.sweep_all = true;
            self.look_at = Instant::now();
        }
        if let Some((after, age)) = self.sweep
            && !self.paging
            && self.open
            && self.lanes.len() < UNACKNOWLEDGED_MAX / 2
        {
            self.paging = true;
            let outlet = Arc::clone(&self.outlet);
            let paging = async move { Done::Page { age, found: outlet.page(after, age).await } };
            self.work.push(paging.boxed());
        }
    }

    async fn mark(&mut self) {
        let txs = std::mem::take(&mut self.marks);
        let Some(at) = self.at else { return };
        let outlet = &self.outlet;
        match outlet.store.told(outlet.spec.stream, at.stamp.broker_epoch, self.newest.clone(), &txs).await {
            Ok(true) => {
                let sequence = self.newest.as_ref().map(|(sequence, _)| *sequence);
                self.noted = self.noted.max(sequence.map(|sequence| (at.stamp.broker_epoch, sequence)));
                faults::reach(Point::OutboxAfter);
            }
            // Another relay found that the broker has lost something.
            Ok(false) => self.look_at = Instant::now(),
            Err(failed) => warn!(
                error = &failed as &dyn std::error::Error,
                "published messages stay in the outbox and will go out again"
            ),
        }
    }
}

fn keyed(events: &[Recorded]) -> Option<(StreamId, &[Recorded])> {
    events.first().map(|first| (first.stream, events))
}
