//! Bad weather: servers go away and come back, strangers talk nonsense. No order is lost.

#![expect(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use chassis::clock::Uuids;
use eventstore::IdSource as _;
use farmera_proto::orders::v1::order::State;
use support::{catalogue, end_of, invariants_hold, order_of, place, stack_with};

const IMPATIENT: [(&str, &str); 4] = [
    ("FARMERA_ORDERS__INVENTORY_TIMEOUT_MS", "1000"),
    ("FARMERA_ORDERS__PAYMENT_TIMEOUT_MS", "3000"),
    ("FARMERA_ORDERS__NOTIFICATION_TIMEOUT_MS", "1000"),
    ("FARMERA_PAYMENT__PROVIDER_TIMEOUT_MS", "500"),
];

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_were_accepted_while_nats_was_away_end_when_it_is_back() {
    let stack = stack_with(&IMPATIENT).await;
    let product = catalogue(&stack.clients).await.remove(0).id;
    stack.servers().kill_nats();
    let mut accepted = Vec::new();
    for _ in 0..20 {
        accepted.push(place(&stack.clients, order_of(&product, 1, "tok_success")).await.unwrap().id);
    }
    stack.servers().start_nats().unwrap();
    for order in &accepted {
        assert_eq!(end_of(&stack.clients, order).await.state(), State::Completed);
    }
    invariants_hold(&stack.clients).await;
    stack.stop().await;
}

/// With a patience of 300 ms, six attempts are used up after 10 s.
const LONGER_THAN_ANY_PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn while_a_question_has_not_left_patience_does_not_run() {
    let stack = stack_with(&[("FARMERA_ORDERS__INVENTORY_TIMEOUT_MS", "300")]).await;
    let product = catalogue(&stack.clients).await.remove(0).id;
    stack.servers().kill_nats();
    let mut accepted = Vec::new();
    for _ in 0..20 {
        accepted.push(place(&stack.clients, order_of(&product, 1, "tok_success")).await.unwrap().id);
    }
    tokio::time::sleep(LONGER_THAN_ANY_PATIENCE).await;
    stack.servers().start_nats().unwrap();
    for order in &accepted {
        let end = end_of(&stack.clients, order).await;
        assert_eq!(end.state(), State::Completed, "{:?}", end.failure);
    }
    invariants_hold(&stack.clients).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_whose_disk_is_lost_costs_time_and_no_order() {
    let stack = stack_with(&IMPATIENT).await;
    let products = catalogue(&stack.clients).await;
    let product = products.into_iter().max_by_key(|product| product.available).unwrap().id;
    for round in 0..2 {
        let placing = (0..150).map(|_| place(&stack.clients, order_of(&product, 1, "tok_success")));
        let accepted = futures::future::join_all(placing).await;
        stack.servers().kill_nats();
        stack.servers().wipe_nats_store().unwrap();
        stack.servers().start_nats().unwrap();
        for order in accepted {
            let end = end_of(&stack.clients, &order.unwrap().id).await;
            // Who asked in the bad moment as often as its policy allows gives up, and everything is undone.
            assert!(matches!(end.state(), State::Completed | State::Failed), "round {round}: {:?}", end.state());
        }
    }
    invariants_hold(&stack.clients).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_postgres_costs_time_and_no_order() {
    let stack = stack_with(&IMPATIENT).await;
    let product = catalogue(&stack.clients).await.remove(0).id;
    let mut accepted = Vec::new();
    for round in 0..3 {
        for _ in 0..20 {
            accepted.push(place(&stack.clients, order_of(&product, 1, "tok_success")).await.unwrap().id);
        }
        stack.servers().kill_postgres();
        // A client that asks now is told to come back, not left hanging, and not lied to.
        let status = until_refused(&stack.clients, &product, &mut accepted).await;
        assert_eq!(status.code(), tonic::Code::Unavailable, "round {round}: {}", status.message());
        stack.servers().start_postgres().unwrap();
        let retried = order_of(&product, 1, "tok_success");
        accepted.push(come_back(&stack.clients, retried).await);
    }
    for order in &accepted {
        assert_eq!(end_of(&stack.clients, order).await.state(), State::Completed);
    }
    invariants_hold(&stack.clients).await;
    stack.stop().await;
}

/// What the server's other processes answer before they notice that it was killed is durable, so it counts.
async fn until_refused(
    clients: &farmera::clients::Clients,
    product: &str,
    accepted: &mut Vec<String>,
) -> tonic::Status {
    for _ in 0..200 {
        match place(clients, order_of(product, 1, "tok_success")).await {
            Ok(order) => accepted.push(order.id),
            Err(status) => return status,
        }
    }
    panic!("the store is away, and orders are accepted");
}

/// A client that does as it is told: asks again with the same request id.
async fn come_back(
    clients: &farmera::clients::Clients,
    request: farmera_proto::orders::v1::PlaceOrderRequest,
) -> String {
    for _ in 0..200 {
        match place(clients, request.clone()).await {
            Ok(order) => return order.id,
            Err(status) => assert_eq!(status.code(), tonic::Code::Unavailable, "{}", status.message()),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the service did not come back");
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_on_the_wire_does_not_stop_its_neighbours() {
    let stack = stack_with(&IMPATIENT).await;
    let product = catalogue(&stack.clients).await.remove(0).id;
    let client = async_nats::connect(stack.servers().nats_url()).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    let subjects = [
        "farmera.orders.inventory_reservation_requested",
        "farmera.orders.payment_authorization_requested",
        "farmera.orders.notification_requested",
        "farmera.products.inventory_reserved",
        "farmera.payment.payment_authorized",
        "farmera.notification.notification_accepted",
    ];
    for subject in subjects {
        for body in [&b"\xff\xfe nonsense"[..], b"{}", b"", br#"{"sagaId":"x","orderId":7}"#] {
            jetstream.publish(subject, body.into()).await.unwrap().await.unwrap();
            jetstream.publish_with_headers(subject, envelope(), body.into()).await.unwrap().await.unwrap();
        }
    }
    for _ in 0..10 {
        let order = place(&stack.clients, order_of(&product, 1, "tok_success")).await.unwrap();
        assert_eq!(end_of(&stack.clients, &order.id).await.state(), State::Completed);
    }
    invariants_hold(&stack.clients).await;
    stack.stop().await;
}

/// Headers that are sound, for a body that is not.
fn envelope() -> async_nats::HeaderMap {
    let mut headers = async_nats::HeaderMap::new();
    let id = || Uuids.next_id().to_string();
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-type", "farmera.orders.v1.InventoryReservationRequested");
    headers.insert("ce-source", "/stranger");
    headers.insert("ce-id", id());
    headers.insert("ce-correlationid", id());
    headers.insert("ce-causationid", id());
    headers
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_payment_outcome_is_resolved_without_a_second_charge() {
    let stack = stack_with(&IMPATIENT).await;
    let product = catalogue(&stack.clients).await.remove(0).id;
    let tokens = ["tok_timeout_charged", "tok_timeout_not_charged", "tok_flaky"];
    let orders = tokens.iter().map(|token| async {
        let order = place(&stack.clients, order_of(&product, 1, token)).await.unwrap();
        end_of(&stack.clients, &order.id).await
    });
    for (order, token) in futures::future::join_all(orders).await.iter().zip(tokens) {
        assert_eq!(order.state(), State::Completed, "{token}: {:?}", order.failure);
    }
    invariants_hold(&stack.clients).await;
    stack.stop().await;
}
