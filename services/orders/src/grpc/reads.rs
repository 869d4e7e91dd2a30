//! Reads that both kinds of callers share.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chassis::coalesce::Coalescer;
use chassis::problem;
use eventstore::{Aggregate as _, EventStore, ReadError, Recorded, StreamId, TxId, Version};
use tokio::time::timeout;
use tonic::Status;
use uuid::Uuid;

use crate::domain::{Order, Rejection};
use crate::status::{DOMAIN, of_rejection};
use crate::view::View;

/// Events of one stream that are read for an answer. Sagas and orders have a few dozen.
const EVENTS_MAX: usize = 10_000;
/// Orders that share a query: whoever asks while one is under way is answered by the next.
const SHARED_MAX: usize = 256;
const DEADLINE: Duration = Duration::from_secs(5);

/// What an order did after a version.
type Answer = Result<Vec<Recorded>, Status>;

/// Looks into the log.
#[derive(Clone)]
pub struct Reads {
    store: Arc<dyn EventStore>,
    single: Coalescer<(Uuid, Version), Answer>,
}

impl Reads {
    /// Over this log; the future must run for it.
    pub fn new(store: Arc<dyn EventStore>) -> (Self, impl Future<Output = ()> + Send) {
        let shared = Arc::clone(&store);
        let (single, run) = Coalescer::new(SHARED_MAX, move |wanted| answer_all(Arc::clone(&shared), wanted));
        (Self { store, single }, run)
    }

    /// The events of some streams, a stream after another.
    ///
    /// # Errors
    /// UNAVAILABLE when the log cannot be read now.
    pub async fn events(&self, streams: &[StreamId]) -> Result<Vec<Recorded>, Status> {
        let from: Vec<_> = streams.iter().map(|stream| (*stream, Version::NONE)).collect();
        read(&*self.store, &from).await
    }

    /// True while this transaction waits to be told.
    ///
    /// # Errors
    /// UNAVAILABLE when the outbox cannot be read now.
    pub async fn is_untold(&self, tx: TxId) -> Result<bool, Status> {
        match timeout(DEADLINE, chassis::correlation::is_untold(&*self.store, tx)).await {
            Ok(Ok(is_untold)) => Ok(is_untold),
            Ok(Err(_)) | Err(_) => Err(problem::unavailable(DOMAIN, "the event store does not answer; try again")),
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
        self.order_after(order_id, None).await
    }

    /// One order as of now; what is known of it already is not read again.
    ///
    /// # Errors
    /// NOT_FOUND, or UNAVAILABLE.
    pub async fn order_after(&self, order_id: Uuid, known: Option<View>) -> Result<View, Status> {
        let after = known.as_ref().map_or(Version::NONE, |view| view.version);
        let asked = self.single.ask((order_id, after)).await;
        let events = asked.map_err(|stopped| problem::unavailable(DOMAIN, stopped.to_string()))??;
        let view = View::fold_on(known, &events).map_err(|error| problem::undecodable(DOMAIN, error))?;
        view.ok_or_else(|| of_rejection(order_id, Rejection::NotFound))
    }
}

/// Answers many questions about single orders with as few queries as there are full pages.
async fn answer_all(store: Arc<dyn EventStore>, wanted: Vec<(Uuid, Version)>) -> Vec<Answer> {
    let mut from: BTreeMap<StreamId, Version> = BTreeMap::new();
    for (order_id, after) in &wanted {
        let least = from.entry(Order::stream(*order_id)).or_insert(*after);
        *least = (*least).min(*after);
    }
    let mut found: HashMap<Uuid, Vec<Recorded>> = HashMap::new();
    loop {
        let asked: Vec<_> = from.iter().map(|(stream, after)| (*stream, *after)).collect();
        let page = match read(&*store, &asked).await {
            Ok(page) => page,
            Err(status) => return vec![Err(status); wanted.len()],
        };
        let more = page.last().filter(|_| page.len() >= EVENTS_MAX).map(|last| (last.stream, last.version));
        page.into_iter().for_each(|event| found.entry(event.stream.id).or_default().push(event));
        let Some((stream, version)) = more else { break };
        from = from.split_off(&stream);
        from.insert(stream, version);
    }
    let answer = |(order_id, after): (Uuid, Version)| {
        let events = found.get(&order_id).map(Vec::as_slice).unwrap_or_default();
        Ok(events.iter().filter(|event| event.version > after).cloned().collect())
    };
    wanted.into_iter().map(answer).collect()
}

async fn read(store: &dyn EventStore, from: &[(StreamId, Version)]) -> Result<Vec<Recorded>, Status> {
    match timeout(DEADLINE, store.read_streams(from, EVENTS_MAX)).await {
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
