use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use eventstore::ReadError;
use tokio::sync::watch;
use tracing::warn;
use uuid::Uuid;

use crate::SagaWaker;
use crate::waker::wake_all;

/// Where to find the sagas that have not ended: a service's read model, most likely.
pub trait OpenSagas: Send + Sync + 'static {
    /// The ids of open sagas above `after` in ascending order, at most `limit`. Those that only just moved may be
    /// left out, and should be: a saga that moves needs no help.
    ///
    /// # Errors
    /// [`ReadError`]; the same page is asked for again later.
    fn open(&self, after: Option<Uuid>, limit: usize) -> impl Future<Output = Result<Vec<Uuid>, ReadError>> + Send;
}

/// Limits of a [`Reconciler`]: one page at most with every interval.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReconcilerLimits {
    /// Sagas woken at the same time, at least 1.
    pub page_max: usize,
    /// How often a page is looked at.
    pub interval: Duration,
}

impl Default for ReconcilerLimits {
    fn default() -> Self {
        Self { page_max: 100, interval: Duration::from_secs(1) }
    }
}

/// What [`Reconciler::reconcile_once`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reconciled {
    /// Sagas that were looked at.
    pub looked_at: usize,
    /// Those of them that could not be woken.
    pub failed: usize,
    /// True when the round is over; the next call begins anew.
    pub round_ended: bool,
}

/// Walks over the open sagas, for ever and a page at a time, and wakes them: a saga whose timer was lost, whatever lost
/// it, goes on. A saga that needs nothing is not changed, but its timer is written anew.
///
/// This is not a recovery at start-up, and there is none: what a restart would repair is repaired all the time.
pub struct Reconciler<O, W> {
    open: O,
    waker: Arc<W>,
    limits: ReconcilerLimits,
    after: Option<Uuid>,
}

impl<O: OpenSagas, W: SagaWaker> Reconciler<O, W> {
    /// A reconciler of the sagas in `open`.
    #[must_use]
    pub fn new(open: O, waker: Arc<W>, limits: ReconcilerLimits) -> Self {
        Self { open, waker, limits, after: None }
    }

    /// Reconciles until `shutdown` says true or its sender is gone; never in the middle of a page.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        loop {
            if let Err(error) = self.reconcile_once().await {
                warn!(error = &error as &dyn Error, "open sagas cannot be read, will retry");
            }
            tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(self.limits.interval) => {}
            }
        }
    }

    /// Wakes the sagas of the next page.
    ///
    /// # Errors
    /// [`ReadError`]: the page could not be read. A saga that cannot be woken is no error, it is counted.
    pub async fn reconcile_once(&mut self) -> Result<Reconciled, ReadError> {
        let page = self.open.open(self.after, self.limits.page_max).await?;
        let round_ended = page.len() < self.limits.page_max.max(1);
        self.after = page.last().copied().filter(|_| !round_ended);
        metrics::counter!("farmera_saga_reconciled_total").increment(page.len() as u64);
        let looked_at = page.len();
        let failed = wake_all(&self.waker, page).await;
        Ok(Reconciled { looked_at, failed, round_ended })
    }
}
