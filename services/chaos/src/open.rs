//! Orders that are on their way: so many at a time at most. A slow machine is asked for less, not for the same at once
//! later; so what is judged is whether orders end, not whether this machine is as fast as that one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use farmera::order::has_ended;
use farmera_proto::orders::v1 as pb;
use farmera_proto::orders::v1::orders_query_service_client::OrdersQueryServiceClient;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tonic::transport::Channel;
use uuid::Uuid;

/// How often it is asked which of them have ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
const LOOK_LIMIT: Duration = Duration::from_secs(5);
const IDS_PER_QUESTION: usize = 200;

/// A place among the orders on their way. It is free again when dropped.
pub type Place = OwnedSemaphorePermit;

/// The orders on their way.
pub struct Open {
    places: Arc<Semaphore>,
    accepted: mpsc::Sender<(Uuid, Place)>,
    _watch: JoinSet<()>,
}

impl Open {
    /// `max` at a time; `replicas` tell by turns which have ended.
    #[must_use]
    pub fn start(replicas: Vec<OrdersQueryServiceClient<Channel>>, max: usize) -> Self {
        let (accepted, heard) = mpsc::channel(max.max(1));
        let mut watch = JoinSet::new();
        watch.spawn(look(replicas, heard));
        Self { places: Arc::new(Semaphore::new(max)), accepted, _watch: watch }
    }

    /// Waits for a place.
    pub async fn place(&self) -> Option<Place> {
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// Where accepted orders are told, each with its place: it is free when the order has ended.
    #[must_use]
    pub fn accepted(&self) -> mpsc::Sender<(Uuid, Place)> {
        self.accepted.clone()
    }
}

async fn look(replicas: Vec<OrdersQueryServiceClient<Channel>>, mut heard: mpsc::Receiver<(Uuid, Place)>) {
    let mut open = BTreeMap::new();
    let mut turns = replicas.iter().cycle();
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            accepted = heard.recv() => match accepted {
                Some((order, place)) => drop(open.insert(order, place)),
                None => return,
            },
            _ = ticks.tick() => {
                let ids: Vec<String> = open.keys().map(Uuid::to_string).collect();
                let Some(mut orders) = turns.next().cloned() else { return };
                for some in ids.chunks(IDS_PER_QUESTION) {
                    let question = pb::GetOrdersRequest { order_ids: some.to_vec() };
                    // A service that is being killed does not answer; the next look asks again.
                    let Ok(Ok(answer)) = timeout(LOOK_LIMIT, orders.get_orders(question)).await else { break };
                    for order in answer.into_inner().orders.iter().filter(|order| has_ended(order.state())) {
                        drop(order.id.parse().ok().and_then(|id: Uuid| open.remove(&id)));
                    }
                }
            }
        }
    }
}
