//! Orders through real gRPC, a real Postgres and a real nats-server.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use farmera::clients::Clients;
use farmera_proto::orders::v1 as pb;
use farmera_proto::orders::v1::order::State;
use farmera_proto::products::v1 as products;
use support::{catalogue, end_of, id, invariants_hold, order_of, place, replicated, until};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

fn field(status: &Status) -> String {
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    violations.first().map(|violation| violation.field.clone()).unwrap_or_default()
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

async fn refused(clients: &Clients, request: pb::PlaceOrderRequest) -> Status {
    place(clients, request).await.expect_err("this order must be refused")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_names_its_field_and_stores_nothing() {
    let stack = replicated().await;
    let clients = &stack.clients;
    let product = catalogue(clients).await.remove(0).id;
    let sound = || order_of(&product, 1, "tok_success");
    type Change<'a> = Box<dyn Fn(&mut pb::PlaceOrderRequest) + 'a>;
    let cases: Vec<(&str, Change<'_>)> = vec![
        ("lines", Box::new(|order| order.lines.clear())),
        ("lines", Box::new(|order| order.lines = vec![order.lines[0].clone(); 501])),
        ("lines[0].quantity", Box::new(|order| order.lines[0].quantity = 0)),
        ("lines[0].quantity", Box::new(|order| order.lines[0].quantity = 10_001)),
        ("lines[0].product_id", Box::new(|order| order.lines[0].product_id = id())),
        ("lines[0].product_id", Box::new(|order| order.lines[0].product_id = "apples".to_owned())),
        ("request_id", Box::new(|order| order.request_id = String::new())),
        ("customer_id", Box::new(|order| order.customer_id = "me".to_owned())),
        ("email", Box::new(|order| order.email = "nowhere".to_owned())),
        ("payment_token", Box::new(|order| order.payment_token = String::new())),
        ("request", Box::new(|order| order.payment_token = "x".repeat(300 * 1024))),
    ];
    for (expected, change) in cases {
        let mut request = sound();
        change(&mut request);
        let status = refused(clients, request).await;
        assert_eq!((status.code(), field(&status).as_str()), (Code::InvalidArgument, expected), "{}", status.message());
        assert_eq!(reason(&status), "INVALID_REQUEST");
    }
    let listed = clients.orders.clone().list_orders(pb::ListOrdersRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.orders.len(), 0, "nothing of a refused order is stored");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_products_mixed_currencies_and_overflow_are_refused() {
    let stack = replicated().await;
    let clients = &stack.clients;
    let known = catalogue(clients).await;
    let closed = products::SetActiveRequest { product_id: known[0].id.clone(), active: false };
    clients.products.clone().set_active(closed).await.unwrap();
    let status = refused(clients, order_of(&known[0].id, 1, "tok_success")).await;
    assert_eq!((status.code(), field(&status).as_str()), (Code::InvalidArgument, "lines[0].product_id"));

    let new = |currency: &str| products::CreateProductRequest {
        request_id: id(),
        farm_id: known[1].farm_id.clone(),
        name: format!("Saffron in {currency}"),
        price: Some(farmera_proto::common::v1::Money {
            currency_code: currency.to_owned(),
            minor_units: 1_000_000_000,
        }),
    };
    let yen = clients.products.clone().create_product(new("JPY")).await.unwrap().into_inner().product.unwrap();
    let mut mixed = order_of(&known[1].id, 1, "tok_success");
    mixed.lines.push(pb::PlaceOrderLine { product_id: yen.id, quantity: 1 });
    let status = refused(clients, mixed).await;
    assert_eq!((status.code(), field(&status).as_str()), (Code::InvalidArgument, "lines[1].product_id"));
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_is_the_same_order_and_another_payload_is_refused() {
    let stack = replicated().await;
    let clients = &stack.clients;
    let product = catalogue(clients).await.remove(0).id;
    let request = order_of(&product, 2, "tok_success");
    // At the same time: 64 tries, one order.
    let tries = (0..64).map(|_| place(clients, request.clone()));
    let placed: Vec<_> = futures::future::join_all(tries).await.into_iter().map(Result::unwrap).collect();
    assert!(placed.iter().all(|order| order.id == placed[0].id));
    assert_eq!(end_of(clients, &placed[0].id).await.state(), State::Completed);
    // Later, and even when the product is gone since.
    let closed = products::SetActiveRequest { product_id: product.clone(), active: false };
    clients.products.clone().set_active(closed).await.unwrap();
    assert_eq!(place(clients, request.clone()).await.unwrap().id, placed[0].id);

    let mut other = request;
    other.lines[0].quantity = 3;
    let reopened = products::SetActiveRequest { product_id: product, active: true };
    clients.products.clone().set_active(reopened).await.unwrap();
    let status = refused(clients, other).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
    invariants_hold(clients).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_product_is_never_oversold() {
    let stack = replicated().await;
    let clients = &stack.clients;
    let product = catalogue(clients).await.into_iter().min_by_key(|product| product.available).unwrap();
    let wanted = u32::try_from(product.available).unwrap() + 40;
    let orders = (0..wanted).map(|_| async {
        let order = place(clients, order_of(&product.id, 1, "tok_success")).await.unwrap();
        end_of(clients, &order.id).await.state()
    });
    let ends = futures::future::join_all(orders).await;
    let completed = ends.iter().filter(|state| **state == State::Completed).count();
    let failed = ends.iter().filter(|state| **state == State::Failed).count();
    assert_eq!((completed as u64, failed), (product.available, 40));
    invariants_hold(clients).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_is_idempotent_and_unknown_orders_are_not_found() {
    let stack = replicated().await;
    let clients = &stack.clients;
    let product = catalogue(clients).await.remove(0).id;
    let order = place(clients, order_of(&product, 1, "tok_success")).await.unwrap();
    until(clients, &order.id, &[State::Completed]).await;
    let cancel = || pb::CancelOrderRequest { order_id: order.id.clone(), reason: "changed my mind".to_owned() };
    for _ in 0..3 {
        clients.orders.clone().cancel_order(cancel()).await.unwrap();
    }
    let mut cancelled = until(clients, &order.id, &[State::Completed, State::Cancelled]).await;
    while cancelled.state() != State::Cancelled {
        let request = pb::GetOrderRequest { order_id: order.id.clone() };
        cancelled = clients.orders.clone().get_order(request).await.unwrap().into_inner().order.unwrap();
    }
    clients.orders.clone().cancel_order(cancel()).await.unwrap();
    let unknown = pb::GetOrderRequest { order_id: id() };
    let status = clients.orders.clone().get_order(unknown).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "ORDER_NOT_FOUND"));
    invariants_hold(clients).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_replicas_tell_the_same_of_an_order_that_one_accepted_and_the_other_cancelled() {
    let stack = replicated().await;
    let (one, other) = (&stack.clients, &stack.others[0]);
    let product = catalogue(one).await.remove(0).id;
    let order = place(one, order_of(&product, 1, "tok_success")).await.unwrap();
    let completed = until(one, &order.id, &[State::Completed]).await;

    let cancel = pb::CancelOrderRequest { order_id: order.id.clone(), reason: "changed my mind".to_owned() };
    other.orders.clone().cancel_order(cancel).await.unwrap();
    until(other, &order.id, &[State::Cancelled]).await;

    for clients in [one, other] {
        let request = pb::WatchOrderRequest { order_id: order.id.clone(), seen_version: completed.version };
        let mut changes = clients.orders.clone().watch_order(request).await.unwrap().into_inner();
        let mut told = Vec::new();
        while let Some(change) = changes.message().await.unwrap() {
            told.push(change.order.unwrap().state());
        }
        assert_eq!(told, [State::Cancelled], "the truth, and its end");
    }
    stack.stop().await;
}
