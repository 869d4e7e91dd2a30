//! Reads that both kinds of callers share.

use std::sync::Arc;
use std::time::Duration;

use chassis::problem;
use eventstore::{Aggregate as _, EventStore, ReadError, Recorded, StreamId, Version};
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::Status;
use uuid::Uuid;

use crate::domain::{Order, Rejection};
use crate::live::Live;
use crate::status::{DOMAIN, of_rejection};
use crate::view::View;

/// Events of one stream that are read for an answer. Sagas and orders have a few dozen.
const EVENTS_MAX: usize = 10_000;
const DEADLINE: Duration = Duration::from_secs(5);

/// Looks into the log.
#[derive(Clone)]
pub struct Reads {
    store: Arc<dyn EventStore>,
    live: Live,
}

impl Reads {
    /// Over this log; `live` knows the recent orders.
    #[must_use]
    pub fn new(store: Arc<dyn EventStore>, live: Live) -> Self {
        Self { store, live }
    }

    /// The events of some streams, a stream after another.
    ///
    /// # Errors
    /// UNAVAILABLE when the log cannot be read now.
    pub async fn events(&self, streams: &[StreamId]) -> Result<Vec<Recorded>, Status> {
        let from: Vec<_> = streams.iter().map(|stream| (*stream, Version::NONE)).collect();
        match timeout(DEADLINE, self.store.read_streams(&from, EVENTS_MAX)).await {
            Ok(Ok(events)) => Ok(events),
            Ok(Err(ReadError::Corrupt(reason))) => {
                tracing::error!(reason, "a stored row is corrupt");
                Err(problem::internal(DOMAIN))
            }
            Ok(Err(ReadError::Unavailable(_))) | Err(_) => {
                Err(problem::unavailable(DOMAIN, "the event store does not answer; try again"))
            }
        }
    }

    /// Orders as of now; unknown ones are left out.
    ///
    /// # Errors
    /// UNAVAILABLE when the log cannot be read now.
    pub async fn orders(&self, order_ids: &[Uuid]) -> Result<Vec<View>, Status> {
        let streams: Vec<_> = order_ids.iter().map(|id| Order::stream(*id)).collect();
        let events = self.events(&streams).await?;
        let views = events.chunk_by(|one, next| one.stream == next.stream).map(View::fold);
        let views: Result<Vec<_>, _> = views.collect();
        let views = views.map_err(|error| problem::undecodable(DOMAIN, error))?;
        Ok(views.into_iter().flatten().collect())
    }

    /// One order as of now.
    ///
    /// # Errors
    /// NOT_FOUND, or UNAVAILABLE.
    pub async fn order(&self, order_id: Uuid) -> Result<View, Status> {
        let found = self.orders(&[order_id]).await?.pop();
        found.ok_or_else(|| of_rejection(order_id, Rejection::NotFound))
    }

    /// Follows one order from now on.
    ///
    /// # Errors
    /// NOT_FOUND, or UNAVAILABLE.
    pub async fn follow(&self, order_id: Uuid) -> Result<watch::Receiver<View>, Status> {
        match self.live.follow(order_id) {
            Some(following) => Ok(following),
            None => Ok(self.live.keep(self.order(order_id).await?)),
        }
    }

    /// Looks into the log for what another replica may have written.
    pub async fn refresh(&self, order_id: Uuid) {
        if let Ok(view) = self.order(order_id).await {
            drop(self.live.keep(view));
        }
    }
}
