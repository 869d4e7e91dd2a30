//! What operators do to sagas, and what a newer program makes of them: in real processes over a real Postgres.

#![expect(clippy::unwrap_used, reason = "a helper of tests may fail as a test does")]

mod support;

use std::time::Duration;

use chassis::clock::Uuids;
use chassis::config::Env;
use eventstore::{
    Actor, Append, Cause, Commit, DomainEvent as _, EventId, EventStore as _, IdSource as _, NewEvent, TimerChange,
    Version,
};
use eventstore_postgres::{PostgresStore, StoreOptions};
use farmera::clients::Clients;
use farmera::surroundings::Surroundings;
use farmera::{check_upgrade, saga as sagas};
use farmera_proto::orders::v1::Order;
use farmera_proto::orders::v1::order::State;
use saga::hold::{HoldEvent, HoldTarget, ReleasePlan};
use saga::{ByHand, Holds};
use support::{catalogue, end_of, invariants_hold, order_of, place, stack, until};
use tokio::time::timeout;

fn payment() -> HoldTarget {
    HoldTarget::Participant("payment".to_owned())
}

/// Stores an event about holds as another process would, and wakes whoever carries out releases.
async fn another_process_says(store: &PostgresStore, event: &HoldEvent) {
    let stream = Holds::only_stream();
    let stored = store.read_streams(&[(stream, Version::NONE)], 100).await.unwrap();
    let now = store.now().await.unwrap();
    let cause =
        Cause { correlation: Holds::ID, causation: Uuids.next_id(), trace: None, actor: Actor::new("operator:ana") };
    let event = NewEvent {
        id: EventId(Uuids.next_id()),
        type_name: event.type_name(),
        schema_version: event.event_type().version(),
        payload: serde_json::to_string(event).unwrap(),
        time: now,
        cause,
    };
    let (expected, previous) = stored.last().map_or((Version::NONE, None), |last| (last.version, last.digest));
    let appends = vec![Append::new(stream, expected, previous, vec![event])];
    let timers = vec![TimerChange::Arm { stream, due: now }];
    store.commit(Commit { appends, timers, ..Commit::default() }).await.unwrap();
}

/// Orders until one waits at the hold: another process learns of it within a moment.
async fn held_order(clients: &Clients, product: &str) -> Order {
    let until_held = async {
        loop {
            let order = place(clients, order_of(product, 1, "tok_success")).await.unwrap();
            let states = [State::ProductReserved, State::Confirmed, State::Completed];
            let order = until(clients, &order.id, &states).await;
            let saga = sagas::get(clients, &order.saga_id).await.unwrap();
            if saga.timeline.iter().any(|entry| entry.event == "StepHeld") {
                return order;
            }
        }
    };
    timeout(support::END_LIMIT, until_held).await.unwrap()
}

async fn checked(env: &Env) -> (usize, usize, usize) {
    let report = check_upgrade::check(env, 10).await.unwrap();
    (report.same, report.different, report.undecodable)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_heeded_by_every_process_and_its_release_lets_orders_go() {
    let stack = stack().await;
    let clients = &stack.clients;
    let env = Surroundings { state: Some(stack.addresses.state.clone()) }.env().unwrap();
    let url = env.of_service("orders").secret("DATABASE_URL", "a database").unwrap();
    let store = PostgresStore::connect(&StoreOptions::new(url.expose())).unwrap();
    let product = catalogue(clients).await.remove(0).id;
    let by_hand = || ByHand { actor: Actor::new("operator:ana"), reason: "payment is down".to_owned() };
    let plan = ReleasePlan { canary: 1, rate_per_second: 50, failures_max: 3 };
    let at = store.now().await.unwrap();
    let placed = HoldEvent::Placed { target: payment(), by_hand: by_hand(), until: None, plan, at };
    another_process_says(&store, &placed).await;
    let order = held_order(clients, &product).await;

    // The list of open sagas follows the log. More than this one may be open: one that was confirmed a moment before the
    // hold waits with its capture.
    let is_listed = async {
        loop {
            let (same, different, undecodable) = checked(&env).await;
            assert_eq!((different, undecodable), (0, 0), "the same program goes on as it did");
            if same > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(support::END_LIMIT, is_listed).await.unwrap();
    let impatient = env.clone().with("FARMERA_ORDERS__PAYMENT_TIMEOUT_MS".to_owned(), "1234".to_owned());
    let (same, different, undecodable) = checked(&impatient).await;
    assert!((same, different) == (0, 0) && undecodable > 0, "one with other definitions does not");

    let at = store.now().await.unwrap();
    let released = HoldEvent::ReleaseStarted { target: payment(), plan, by_hand: Some(by_hand()), at };
    another_process_says(&store, &released).await;
    assert_eq!(end_of(clients, &order.id).await.state(), State::Completed);
    let after = place(clients, order_of(&product, 1, "tok_success")).await.unwrap();
    assert_eq!(end_of(clients, &after.id).await.state(), State::Completed);
    invariants_hold(clients).await;
    stack.stop().await;
}
