//! Delivery: what is accepted goes out.
//!
//! # Theory of operation
//!
//! A notification is born claimed: its timer is armed to the end of a lease ([`LEASE`]), and the process that committed
//! it is handed the events in memory ([`Handoff`]) and delivers at once. So the common case costs no claim and no read.
//! Whatever that misses (a crash, a full queue, a slow mail server) and every retry is found by its timer: the store
//! hands out what is due, for a lease, and one query reads what there is to tell.
//!
//! Delivery goes in goes ([`Post::go`]): many mails, one write. The outcomes of a go are recorded before the next one
//! begins; while the store is away nothing goes out. A notification whose lease may not last for a go is left to its
//! timer.

pub mod mail;
pub mod mailbox;
pub mod post;
pub mod smtp;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chassis::health::Component;
use chassis::shutdown::Shutdown;
use chrono::{DateTime, TimeDelta, Utc};
use eventstore::worker::{CommitListener, SubmitError, WorkerHandle};
use eventstore::{
    Actor, Aggregate as _, Cause, Clock, Committed, DecodeError, DomainEvent as _, EventStore, ReadError, Recorded,
    Version,
};
use futures::future::join_all;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, error, warn};

use crate::domain::{ACCEPTED, Notification, NotificationEvent};
use crate::handler::{HandleError, Input, LEASE, NotificationHandler};
use post::{GO_DEADLINE, Pending, Post, Tried};

/// Notifications that may wait in memory; the timers know of the rest.
const HANDED_MAX: usize = 4_096;
/// Notifications taken up together.
const BATCH_MAX: usize = 256;
/// Due timers are looked for this often: another replica may have armed them.
const POLL: Duration = Duration::from_secs(1);
/// All events of a batch; a notification has 21 at most.
const EVENTS_MAX: usize = 100_000;
const RECORD_BACKOFF_FIRST: Duration = Duration::from_millis(100);
const RECORD_BACKOFF_MAX: Duration = Duration::from_secs(2);
/// After the shutdown was asked for, what is in memory is delivered for this long; the timers know of the rest.
const DRAIN: Duration = Duration::from_secs(3);
/// Of the lease, what is kept back for recording the outcome.
const LEASE_MARGIN: Duration = Duration::from_secs(2);

/// A notification that was just accepted.
struct Handed {
    events: Arc<[Recorded]>,
    index: usize,
}

/// Hands accepted notifications to the deliverer of this process. Give it to the worker as a listener.
#[derive(Clone)]
pub struct Handoff(mpsc::Sender<Handed>);

impl CommitListener for Handoff {
    fn committed(&self, events: &Arc<[Recorded]>, _committed: Committed) {
        for (index, event) in events.iter().enumerate() {
            let accepted = event.stream.category == Notification::CATEGORY && event.type_name == ACCEPTED;
            if accepted && self.0.try_send(Handed { events: Arc::clone(events), index }).is_err() {
                debug!("delivery is behind; timers will find what is not handed over");
                return;
            }
        }
    }
}

/// What was handed over, to be given to [`Deliverer::new`].
pub struct HandedOver(mpsc::Receiver<Handed>);

/// Both ends of the way from the worker to the deliverer.
#[must_use]
pub fn handoff() -> (Handoff, HandedOver) {
    let (sender, receiver) = mpsc::channel(HANDED_MAX);
    (Handoff(sender), HandedOver(receiver))
}

/// Delivers what is accepted.
pub struct Deliverer {
    post: Post,
    store: Arc<dyn EventStore>,
    clock: Arc<dyn Clock>,
    worker: WorkerHandle<NotificationHandler>,
    handed: mpsc::Receiver<Handed>,
    component: Component,
}

/// The outcome could not be recorded before the end. A later process finds out what was delivered.
#[derive(Debug)]
struct Unrecorded;

impl Deliverer {
    /// A deliverer; run it.
    #[must_use]
    pub fn new(
        post: Post,
        store: Arc<dyn EventStore>,
        clock: Arc<dyn Clock>,
        worker: WorkerHandle<NotificationHandler>,
        handed: HandedOver,
        component: Component,
    ) -> Self {
        Self { post, store, clock, worker, handed: handed.0, component }
    }

    /// Delivers until `shutdown`, between two goes.
    pub async fn run(mut self, mut shutdown: Shutdown) {
        self.component.up();
        let mut look_at = Instant::now();
        let mut handed = Vec::new();
        let mut ended = Ok(());
        while ended.is_ok() && !shutdown.is_triggered() {
            tokio::select! {
                () = shutdown.triggered() => {}
                count = self.handed.recv_many(&mut handed, BATCH_MAX) => match count {
                    0 => return, // the worker is gone: it only goes before us when it fails
                    _ => ended = self.deliver_handed(&mut handed, &mut shutdown).await,
                },
                () = sleep_until(look_at) => match self.deliver_due(&mut shutdown).await {
                    Ok((pause, recorded)) => {
                        look_at = Instant::now() + pause;
                        ended = recorded;
                    }
                    Err(failed) => {
                        self.waits(&failed);
                        look_at = Instant::now() + POLL;
                    }
                }
            }
        }
        if ended.is_ok() {
            self.drain(&mut handed, &mut shutdown).await;
        }
        self.post.close().await;
    }

    async fn drain(&mut self, handed: &mut Vec<Handed>, shutdown: &mut Shutdown) {
        let until = Instant::now() + DRAIN;
        while Instant::now() < until {
            while let Ok(next) = self.handed.try_recv() {
                handed.push(next);
                if handed.len() >= BATCH_MAX {
                    break;
                }
            }
            if handed.is_empty() || self.deliver_handed(handed, shutdown).await.is_err() {
                return;
            }
        }
    }

    async fn deliver_handed(&self, handed: &mut Vec<Handed>, shutdown: &mut Shutdown) -> Result<(), Unrecorded> {
        let mut queue = VecDeque::with_capacity(handed.len());
        for Handed { events, index } in handed.drain(..) {
            let Some(event) = events.get(index) else { continue };
            match pending(std::slice::from_ref(event), begin_by(event.time)) {
                Ok(Found::Pending(pending)) => queue.push_back(pending),
                Ok(Found::Nothing(_)) => {}
                Err(failed) => unreadable(&failed),
            }
        }
        self.deliver(queue, shutdown).await
    }

    /// Delivers what is due by its timer. Says when to look again.
    async fn deliver_due(&self, shutdown: &mut Shutdown) -> Result<(Duration, Result<(), Unrecorded>), ReadError> {
        let claimed = self.store.claim_due_timers(&[Notification::CATEGORY], BATCH_MAX, LEASE).await?;
        self.clock.observe(claimed.now);
        self.component.up();
        if claimed.due.is_empty() {
            return Ok((pause(claimed.now, claimed.next), Ok(())));
        }
        let streams: Vec<_> = claimed.due.iter().map(|timer| (timer.stream, Version::NONE)).collect();
        let events = self.store.read_streams(&streams, EVENTS_MAX).await?;
        let (mut queue, mut idle) = (VecDeque::new(), Vec::new());
        for events in events.chunk_by(|left, right| left.stream == right.stream) {
            match pending(events, begin_by(claimed.now)) {
                Ok(Found::Pending(pending)) => queue.push_back(pending),
                Ok(Found::Nothing(tried)) => idle.push(tried),
                Err(failed) => unreadable(&failed),
            }
        }
        if let Err(unrecorded) = self.record(idle, shutdown).await {
            return Ok((POLL, Err(unrecorded)));
        }
        Ok((pause(claimed.now, claimed.next), self.deliver(queue, shutdown).await))
    }

    async fn deliver(&self, mut queue: VecDeque<Pending>, shutdown: &mut Shutdown) -> Result<(), Unrecorded> {
        loop {
            let now = self.clock.now();
            queue.retain(|pending| now <= pending.begin_by);
            if queue.is_empty() {
                return Ok(());
            }
            match self.post.go(&mut queue).await {
                Ok(tried) => self.record(tried, shutdown).await?,
                Err(failed) => {
                    error!(error = &failed as &dyn std::error::Error, "a go of deliveries was cut off");
                    return Ok(());
                }
            }
        }
    }

    /// Records outcomes, again and again while the store does not answer.
    async fn record(&self, mut tried: Vec<Tried>, shutdown: &mut Shutdown) -> Result<(), Unrecorded> {
        let mut backoff = RECORD_BACKOFF_FIRST;
        loop {
            let submitted: Vec<_> = tried.iter().map(|tried| self.submit(tried)).collect();
            let mut recorded = join_all(submitted).await.into_iter();
            tried.retain(|_| recorded.next() == Some(Recording::Later));
            if tried.is_empty() {
                return Ok(());
            }
            if shutdown.is_triggered() {
                warn!(count = tried.len(), "outcomes of deliveries could not be recorded; who starts next finds out");
                return Err(Unrecorded);
            }
            self.component.down("outcomes of deliveries cannot be recorded");
            tokio::select! {
                () = shutdown.triggered() => {}
                () = sleep(backoff) => {}
            }
            backoff = RECORD_BACKOFF_MAX.min(backoff * 2);
        }
    }

    async fn submit(&self, tried: &Tried) -> Recording {
        let input = Input::NoteTry { id: tried.id, results: tried.results.clone() };
        match self.worker.submit(input, tried.cause.clone()).await {
            Ok(_) | Err(SubmitError::Duplicate) => Recording::Done,
            Err(SubmitError::Unavailable(_) | SubmitError::Stopping) => Recording::Later,
            Err(SubmitError::Rejected(HandleError::Need(failed))) => refused(tried, &failed),
            Err(SubmitError::Rejected(HandleError::Rejected(failed))) => refused(tried, &failed),
            Err(failed @ (SubmitError::Unstorable(_) | SubmitError::Parked(_))) => refused(tried, &failed),
        }
    }

    fn waits(&self, failed: &ReadError) {
        self.component.down(failed.to_string());
        warn!(error = failed as &dyn std::error::Error, "delivery waits for the event store");
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Recording {
    /// It is known, or never will be.
    Done,
    /// Try again.
    Later,
}

fn refused(tried: &Tried, failed: &(dyn std::error::Error + 'static)) -> Recording {
    error!(notification = %tried.id, error = failed, "the outcome of a delivery cannot be recorded");
    Recording::Done
}

/// What a stream says there is to do.
enum Found {
    Pending(Pending),
    /// Nothing any more; its timer is to go.
    Nothing(Tried),
}

fn pending(events: &[Recorded], begin_by: DateTime<Utc>) -> Result<Found, DecodeError> {
    let mut state = Notification::default();
    for event in events {
        state = eventstore::Aggregate::evolve(state, &NotificationEvent::from_recorded(event)?);
    }
    let first = events.first();
    let id = first.map(|event| event.stream.id).unwrap_or_default();
    let cause = cause(first);
    Ok(match state {
        Notification::Accepted(accepted) => Found::Pending(Pending {
            id,
            accepted_at: first.map(|event| event.time).unwrap_or_default(),
            news: accepted.news,
            open: accepted.open,
            cause,
            begin_by,
        }),
        Notification::Absent | Notification::Delivered(_) | Notification::Failed(_) => {
            Found::Nothing(Tried { id, results: Vec::new(), cause })
        }
    })
}

/// The outcome belongs to whatever led to the notification.
fn cause(accepted: Option<&Recorded>) -> Cause {
    Cause {
        correlation: accepted.map(|event| event.cause.correlation).unwrap_or_default(),
        causation: accepted.map(|event| event.id.0).unwrap_or_default(),
        trace: accepted.and_then(|event| event.cause.trace.clone()),
        actor: Actor::new("service:notification"),
    }
}

/// Until when a go may begin for what is ours since `since`.
fn begin_by(since: DateTime<Utc>) -> DateTime<Utc> {
    let usable = LEASE.saturating_sub(GO_DEADLINE).saturating_sub(LEASE_MARGIN);
    since + TimeDelta::from_std(usable).unwrap_or_default()
}

fn pause(now: DateTime<Utc>, next: Option<DateTime<Utc>>) -> Duration {
    next.map_or(POLL, |next| (next - now).to_std().unwrap_or(Duration::ZERO).min(POLL))
}

fn unreadable(failed: &DecodeError) {
    error!(error = failed as &dyn std::error::Error, "a notification cannot be read and is not delivered");
}

#[cfg(test)]
mod tests;
