//! Two replicas tell the same story: whoever watches an order sees the truth first, and never an older one after it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chassis::shutdown::{Shutdown, Trigger};
use eventstore::memory::MemoryStore;
use farmera_proto::orders::v1 as pb;
use farmera_proto::orders::v1::order::State;
use futures::{Stream, StreamExt as _};
use orders::grpc::{Reads, Watching};
use orders::handler::{Input, cancel_saga_id, place_saga_id};
use orders::live::Live;
use orders::sagas::{
    AUTHORIZE_PAYMENT, CAPTURE_PAYMENT, COMMIT_INVENTORY, NOTIFY, NOTIFY_REFUNDED, REFUND_PAYMENT, RESERVE_INVENTORY,
    RESTOCK_INVENTORY,
};
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::support::{ORDER, World, beside};

/// What makes an order happen, step by step.
const PLACED: [&str; 5] = [RESERVE_INVENTORY, AUTHORIZE_PAYMENT, CAPTURE_PAYMENT, COMMIT_INVENTORY, NOTIFY];
/// An answer that has not come by then never does.
const LIMIT: Duration = Duration::from_secs(10);

/// A process of orders with those who watch there.
struct Replica {
    world: World,
    watching: Watching,
    _end: Trigger,
}

type Changes = Pin<Box<dyn Stream<Item = Result<pb::WatchOrderResponse, Status>> + Send>>;

impl Replica {
    fn over(store: &Arc<MemoryStore>) -> (Self, impl Future<Output = ()> + use<>) {
        let live = Live::default();
        let (world, working) = World::heard_by(Arc::clone(store), vec![Arc::new(live.clone())]);
        let (reads, reading) = Reads::new(Arc::clone(store) as _);
        let (end, shutdown) = Shutdown::new();
        let watching = Watching { reads, live, shutdown };
        let running = async {
            tokio::join!(working, reading);
        };
        (Self { world, watching, _end: end }, running)
    }

    async fn watch(&self, seen: u64) -> Result<Changes, Status> {
        Ok(Box::pin(self.watching.watch(ORDER, seen).await?))
    }

    async fn complete(&self) {
        for step in PLACED {
            self.world.done(place_saga_id(ORDER), step).await;
        }
    }

    async fn cancel(&self) {
        self.world.submit(Input::Cancel { order_id: ORDER, reason: "changed my mind".to_owned() }).await.unwrap();
        for step in [REFUND_PAYMENT, RESTOCK_INVENTORY, NOTIFY_REFUNDED] {
            self.world.done(cancel_saga_id(ORDER), step).await;
        }
    }
}

/// Tells a story of two replicas over one log.
fn two<'a, F: Future<Output = ()> + 'a>(
    story: impl FnOnce(Replica, Replica) -> F + 'a,
) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    let (first, _) = World::new();
    let (one, run_one) = Replica::over(&first.store);
    let (other, run_other) = Replica::over(&first.store);
    let both = async {
        tokio::join!(run_one, run_other);
    };
    Box::pin(beside(both, story(one, other)))
}

async fn next(changes: &mut Changes) -> Option<pb::Order> {
    let answer = timeout(LIMIT, changes.next()).await.unwrap_or_else(|_| panic!("no answer in time"));
    answer.map(|answer| answer.unwrap().order.unwrap())
}

/// Everything that is told until the end.
async fn all(mut changes: Changes) -> Vec<pb::Order> {
    let mut told = Vec::new();
    while let Some(order) = next(&mut changes).await {
        told.push(order);
    }
    told
}

#[tokio::test]
async fn an_order_that_another_replica_cancelled_is_not_told_as_completed() {
    two(|one, other| async move {
        one.world.place().await;
        let watched = one.watch(0).await.unwrap();
        one.complete().await;
        assert_eq!(all(watched).await.last().unwrap().state(), State::Completed);
        other.cancel().await;
        let told = all(one.watch(0).await.unwrap()).await;
        let states: Vec<State> = told.iter().map(pb::Order::state).collect();
        assert_eq!(states, [State::Cancelled]);
    })
    .await;
}

#[tokio::test]
async fn who_watches_on_at_another_replica_sees_nothing_older() {
    two(|one, other| async move {
        one.world.place().await;
        // The other replica has known the order since it was young, for somebody else who watches there.
        let mut early = other.watch(0).await.unwrap();
        assert_eq!(next(&mut early).await.unwrap().version, 1);
        one.complete().await;
        let seen = all(one.watch(0).await.unwrap()).await.last().unwrap().version;
        let told = all(other.watch(seen).await.unwrap()).await;
        assert!(!told.is_empty() && told.iter().all(|order| order.version >= seen), "{seen}: {told:?}");
    })
    .await;
}

#[tokio::test]
async fn every_change_is_told_once_in_order_whoever_makes_it() {
    two(|one, other| async move {
        one.world.place().await;
        let mut watched = other.watch(0).await.unwrap();
        let mut told = vec![next(&mut watched).await.unwrap()];
        for (number, step) in PLACED.into_iter().enumerate() {
            // Each replica hears of every second answer.
            let replica = if number % 2 == 0 { &one } else { &other };
            replica.world.done(place_saga_id(ORDER), step).await;
        }
        told.extend(all(watched).await);
        assert!(told.is_sorted_by(|before, after| before.version < after.version), "{told:?}");
        assert_eq!(told.last().unwrap().state(), State::Completed);
    })
    .await;
}

#[tokio::test]
async fn a_version_that_never_was_is_refused() {
    two(|one, _other| async move {
        one.world.place().await;
        let refused = one.watch(7).await.err().unwrap();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn an_order_is_forgotten_with_its_last_watcher() {
    two(|one, _other| async move {
        one.world.place().await;
        let (first, second) = (one.watch(0).await.unwrap(), one.watch(0).await.unwrap());
        drop(first);
        assert!(!one.watching.live.is_idle());
        drop(second);
        assert!(one.watching.live.is_idle());
    })
    .await;
}
