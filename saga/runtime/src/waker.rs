use std::error::Error;
use std::future::Future;
use std::sync::Arc;

use faults::Point;
use tokio::task::JoinSet;
use tracing::warn;
use uuid::Uuid;

/// A saga could not be woken now. Nothing is lost: it stays armed and is tried again.
pub type WakeError = Box<dyn Error + Send + Sync + 'static>;

/// The way to a service's worker: submits an input that leads to [`Engine::wake`](crate::Engine::wake).
pub trait SagaWaker: Send + Sync + 'static {
    /// Wakes the saga `saga_id`, and waits until what follows is durable.
    ///
    /// # Errors
    /// [`WakeError`] is logged; the saga is woken again later.
    fn wake(&self, saga_id: Uuid) -> impl Future<Output = Result<(), WakeError>> + Send;
}

/// Wakes all of `sagas` at the same time, so that the worker finds them in one batch, and counts those that were not.
pub(crate) async fn wake_all<W: SagaWaker>(waker: &Arc<W>, sagas: impl IntoIterator<Item = Uuid>) -> usize {
    let mut wakes = JoinSet::new();
    for saga_id in sagas {
        let waker = Arc::clone(waker);
        wakes.spawn(async move {
            faults::reach(Point::TimerFireBefore);
            (saga_id, waker.wake(saga_id).await)
        });
    }
    let mut failed = 0;
    while let Some(woken) = wakes.join_next().await {
        match woken {
            Ok((_, Ok(()))) => {}
            Ok((saga_id, Err(error))) => {
                failed += 1;
                warn!(%saga_id, error = &*error as &dyn Error, "a saga could not be woken, will try again");
            }
            Err(error) => {
                failed += 1;
                warn!(error = &error as &dyn Error, "waking a saga ended in a panic, will try again");
            }
        }
    }
    failed
}
