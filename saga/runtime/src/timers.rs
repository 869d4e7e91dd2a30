use std::error::Error;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use eventstore::{Aggregate, Category, Clock, EventStore, ReadError};
use faults::Point;
use saga::{Process, Saga};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

use crate::SagaWaker;
use crate::waker::wake_all;

/// Timers that could not be claimed for longer than this stand still.
pub const STANDSTILL_MAX: Duration = Duration::from_secs(10);

/// Limits of a [`TimerLoop`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerLimits {
    /// Timers claimed and fired at the same time: 1 to 1,000.
    pub claimed_max: usize,
    /// How long a claim keeps others away; then the timer fires again, should it still be armed. Longer than a commit
    /// ever takes: a second firing is harmless, but it is work.
    pub lease: Duration,
    /// The longest sleep. Timers that others arm meanwhile are found that late at most.
    pub poll_interval: Duration,
    /// The shortest sleep, unless there is a backlog.
    pub poll_interval_min: Duration,
    /// The sleep after an error.
    pub backoff: Duration,
}

impl Default for TimerLimits {
    fn default() -> Self {
        Self {
            claimed_max: 256,
            lease: Duration::from_secs(10),
            poll_interval: Duration::from_secs(1),
            poll_interval_min: Duration::from_millis(10),
            backoff: Duration::from_secs(1),
        }
    }
}

/// What [`TimerLoop::fire_once`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fired {
    /// Timers that were claimed.
    pub claimed: usize,
    /// Those of them whose saga could not be woken; they come back after the lease.
    pub failed: usize,
    /// How long nothing will be due, as far as was seen; `None` when nothing else is armed.
    pub quiet_for: Option<Duration>,
}

/// Fires the timers of sagas when they are due by the store's clock. Any number of replicas may run one: a claim gives
/// each timer to one of them, and a firing is idempotent should a claim run out.
pub struct TimerLoop<P, W> {
    store: Arc<dyn EventStore>,
    clock: Arc<dyn Clock>,
    waker: Arc<W>,
    limits: TimerLimits,
    tell: Tell,
    process: PhantomData<fn() -> P>,
}

/// Who is told why timers stand still; `None` when they do not.
type Tell = Box<dyn Fn(Option<String>) + Send + Sync>;

impl<P: Process, W: SagaWaker> TimerLoop<P, W> {
    /// A loop over the timers in `store`. `clock` is the one its worker decides by: it hears from every claim what
    /// time it is in the store, so that what is due there is due here, too.
    #[must_use]
    pub fn new(store: Arc<dyn EventStore>, clock: Arc<dyn Clock>, waker: Arc<W>, limits: TimerLimits) -> Self {
        Self { store, clock, waker, limits, tell: Box::new(|_| {}), process: PhantomData }
    }

    /// Tells `tell` after every round whether timers can be claimed; if they have not been for longer than
    /// [`STANDSTILL_MAX`], why.
    #[must_use]
    pub fn telling(mut self, tell: impl Fn(Option<String>) + Send + Sync + 'static) -> Self {
        self.tell = Box::new(tell);
        self
    }

    /// Fires until `shutdown` says true or its sender is gone; never in the middle of a round.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let mut claimed_at = Instant::now();
        loop {
            let pause = match self.fire_once().await {
                Ok(fired) => {
                    claimed_at = Instant::now();
                    (self.tell)(None);
                    self.pause(fired)
                }
                Err(error) => {
                    warn!(error = &error as &dyn Error, "timers cannot be claimed, will retry");
                    self.stand_still(claimed_at.elapsed(), &error);
                    self.limits.backoff
                }
            };
            tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Claims what is due and wakes whom it belongs to.
    ///
    /// # Errors
    /// [`ReadError`]: nothing was claimed. A saga that cannot be woken is no error, it is counted.
    pub async fn fire_once(&self) -> Result<Fired, ReadError> {
        let categories: [Category; 1] = [Saga::<P>::CATEGORY];
        faults::reach(Point::TimerClaimBefore);
        let timers = self.store.claim_due_timers(&categories, self.limits.claimed_max, self.limits.lease).await?;
        if !timers.due.is_empty() {
            faults::reach(Point::TimerClaimAfter);
        }
        self.clock.observe(timers.now);
        let overdue = timers.due.first().map_or(Duration::ZERO, |timer| span(timer.due, timers.now));
        metrics::gauge!("farmera_timer_overdue_seconds").set(overdue.as_secs_f64());
        metrics::counter!("farmera_timer_fired_total").increment(timers.due.len() as u64);
        let failed = wake_all(&self.waker, timers.due.iter().map(|timer| timer.stream.id)).await;
        if !timers.due.is_empty() {
            faults::reach(Point::TimerFireAfter);
        }
        let quiet_for = timers.next.map(|next| span(timers.now, next));
        Ok(Fired { claimed: timers.due.len(), failed, quiet_for })
    }

    /// Whatever was due since then is overdue, and nobody can say what was.
    fn stand_still(&self, since: Duration, error: &ReadError) {
        metrics::gauge!("farmera_timer_overdue_seconds").set(since.as_secs_f64());
        if since > STANDSTILL_MAX {
            (self.tell)(Some(format!("no timer could be claimed for {} s: {error}", since.as_secs())));
        }
    }

    fn pause(&self, fired: Fired) -> Duration {
        let limits = &self.limits;
        if fired.claimed >= limits.claimed_max && fired.failed == 0 {
            return Duration::ZERO;
        }
        fired.quiet_for.unwrap_or(limits.poll_interval).clamp(limits.poll_interval_min, limits.poll_interval)
    }
}

fn span(from: DateTime<Utc>, to: DateTime<Utc>) -> Duration {
    (to - from).to_std().unwrap_or(Duration::ZERO)
}
