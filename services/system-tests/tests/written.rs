//! A writer reads what it wrote, at whichever replica it asks; and hears it when a list lags.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::time::{Duration, Instant};

use farmera::clients::Clients;
use farmera::up::Stack;
use farmera_proto::orders::v1 as orders;
use farmera_proto::saga::v1 as saga;
use farmera_proto::saga::v1::operator_service_client::OperatorServiceClient;
use saga::saga::State;
use sqlx::{Connection as _, PgConnection};
use support::{catalogue, end_of, id, order_of, replicated, stack};
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

/// A list that waits is asked no longer than the limit says, and a machine at work takes its time.
const LATE: Duration = Duration::from_secs(4);

async fn place(clients: &Clients, product: &str) -> orders::PlaceOrderResponse {
    let request = order_of(product, 1, "tok_success");
    clients.orders.clone().place_order(request).await.expect("a sound order").into_inner()
}

async fn listed(clients: &Clients, request: orders::ListOrdersRequest) -> orders::ListOrdersResponse {
    clients.orders.clone().list_orders(request).await.expect("a sound request").into_inner()
}

async fn sagas(clients: &Clients, request: saga::ListSagasRequest) -> saga::ListSagasResponse {
    clients.sagas.clone().list_sagas(request).await.expect("a sound request").into_inner()
}

fn of(written_token: &str) -> orders::ListOrdersRequest {
    orders::ListOrdersRequest { written_token: written_token.to_owned(), ..Default::default() }
}

fn sagas_of(written_token: &str) -> saga::ListSagasRequest {
    saga::ListSagasRequest { written_token: written_token.to_owned(), ..Default::default() }
}

/// The order in lists of orders, lists of sagas and counts, as they hold what the token stands for.
async fn is_there(clients: &Clients, order: &orders::Order, written_token: &str, state: orders::order::State) {
    let page = listed(clients, of(written_token)).await;
    let found = page.orders.iter().find(|listed| listed.id == order.id).expect("it is in the list of orders");
    assert!(!page.lags && (state == orders::order::State::Unspecified || found.state() == state), "{found:?}");
    let page = sagas(clients, sagas_of(written_token)).await;
    assert!(!page.lags && page.sagas.iter().any(|saga| saga.order_id == order.id), "{page:?}");
    let query = format!("order = {}", order.id);
    let request = saga::CountSagasRequest { query, written_token: written_token.to_owned(), ..Default::default() };
    let counted = clients.sagas.clone().count_sagas(request).await.expect("a sound request").into_inner();
    assert!(!counted.lags && counted.count >= 1, "{counted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_wrote_finds_it_in_every_list_of_either_replica_at_once() {
    let stack = replicated().await;
    let replicas = [&stack.clients, stack.others.first().expect("a second replica")];
    let product = catalogue(&stack.clients).await.remove(0).id;
    for turn in 0..12_usize {
        let (writer, reader) = (replicas[turn % 2], replicas[turn / 2 % 2]);
        let placed = place(writer, &product).await;
        let order = placed.order.expect("an order");
        is_there(reader, &order, &placed.written_token, orders::order::State::Unspecified).await;
        // Without a token of one's own: as of now.
        let next = place(writer, &product).await.order.expect("an order");
        let page = listed(reader, orders::ListOrdersRequest { as_of_now: true, ..Default::default() }).await;
        assert!(!page.lags && page.orders.first().is_some_and(|newest| newest.id == next.id), "{page:?}");
        let page = sagas(reader, saga::ListSagasRequest { as_of_now: true, ..Default::default() }).await;
        assert!(!page.lags && page.sagas.iter().any(|saga| saga.order_id == next.id), "{page:?}");
    }
    // What was there already has a token, too; and what changes has one for the change.
    let request = order_of(&product, 1, "tok_success");
    for _ in 0..2 {
        let placed = replicas[0].orders.clone().place_order(request.clone()).await.expect("a sound order").into_inner();
        let order = placed.order.expect("an order");
        is_there(replicas[1], &order, &placed.written_token, orders::order::State::Unspecified).await;
    }
    let order = place(replicas[0], &product).await.order.expect("an order");
    end_of(replicas[0], &order.id).await;
    for replica in replicas {
        let cancel = orders::CancelOrderRequest { order_id: order.id.clone(), reason: "why".to_owned() };
        let cancelled = replica.orders.clone().cancel_order(cancel).await.expect("it is completed").into_inner();
        let page = listed(replicas[1], of(&cancelled.written_token)).await;
        let found = page.orders.iter().find(|listed| listed.id == order.id).expect("it is listed");
        assert!(!found.cancel_saga_id.is_empty(), "{found:?}");
    }
    stack.stop().await;
}

/// Applies `act` to one saga; the operation when it is over.
async fn apply(clients: &Clients, act: saga::act::Kind, saga_id: &str) -> saga::Operation {
    let channel = farmera::clients::channel(&clients.endpoints.orders).expect("a URL");
    let mut operator = OperatorServiceClient::new(channel);
    fn by_ana<T>(message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("x-farmera-actor", "ana".parse().expect("a name"));
        request
    }
    let selection = saga::Selection { saga_ids: vec![saga_id.to_owned()], ..Default::default() };
    let act = saga::Act { kind: act.into(), ..Default::default() };
    let plan = saga::CreatePlanRequest { act: Some(act), selection: Some(selection), reason: "why".to_owned() };
    let operation = loop {
        let planned = operator.create_plan(by_ana(plan.clone())).await.expect("a plan").into_inner();
        let apply = saga::ApplyPlanRequest { hash: planned.plan.expect("a plan").hash, ..Default::default() };
        match operator.apply_plan(by_ana(apply)).await {
            Ok(applied) => break applied.into_inner().operation,
            // The saga has gone on since the plan.
            Err(status) => assert_eq!(status.code(), Code::Aborted, "{status:?}"),
        }
    };
    let watch = saga::WatchOperationRequest { operation_id: operation.expect("an operation").id };
    let mut changes = operator.watch_operation(by_ana(watch)).await.expect("it is watched").into_inner();
    let mut last = None;
    while let Some(change) = changes.message().await.expect("it goes on") {
        last = change.operation;
    }
    last.expect("it was told of")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_act_is_seen_in_lists_as_soon_as_it_is_done() {
    let stack = stack().await;
    let product = catalogue(&stack.clients).await.remove(0).id;
    let clients = &stack.clients;
    // The card processor does not answer for a while: the saga is soon where it stays.
    let order = order_of(&product, 1, "tok_timeout_not_charged");
    let order = clients.orders.clone().place_order(order).await.expect("a sound order").into_inner();
    let saga_id = order.order.expect("an order").saga_id;
    for (act, state) in [(saga::act::Kind::Pause, State::Paused), (saga::act::Kind::Unpause, State::Running)] {
        let mut operation = apply(clients, act, &saga_id).await;
        // The saga has gone on since the plan.
        while operation.failed == 1 {
            operation = apply(clients, act, &saga_id).await;
        }
        let page = sagas(clients, sagas_of(&operation.written_token)).await;
        let found = page.sagas.iter().find(|saga| saga.id == saga_id).expect("it is listed");
        assert!(!page.lags && found.state() == state, "{act:?}: {found:?}");
    }
    stack.stop().await;
}

/// A transaction of a stranger's, in the same cluster, that nobody ends: read models cannot go past it.
async fn hold_back(stack: &Stack) -> PgConnection {
    let mut stranger = PgConnection::connect(&stack.servers().admin_url()).await.expect("the cluster");
    sqlx::query("begin").execute(&mut stranger).await.expect("a transaction");
    sqlx::query("select pg_current_xact_id()").execute(&mut stranger).await.expect("an id of its own");
    stranger
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_lags_comes_after_a_second_and_says_so() {
    let stack = stack().await;
    let product = catalogue(&stack.clients).await.remove(0).id;
    let before = place(&stack.clients, &product).await;
    is_there(
        &stack.clients,
        &before.order.expect("an order"),
        &before.written_token,
        orders::order::State::Unspecified,
    )
    .await;
    let stranger = hold_back(&stack).await;
    let placed = place(&stack.clients, &product).await;
    let order = placed.order.expect("an order");
    let begun = Instant::now();
    let page = listed(&stack.clients, of(&placed.written_token)).await;
    let waited = begun.elapsed();
    assert!(page.lags && !page.orders.is_empty(), "{page:?}");
    assert!((chassis::projection::WAIT_MAX..LATE).contains(&waited), "{waited:?}");
    assert!(page.orders.iter().all(|listed| listed.id != order.id), "it is not there yet");
    let page = sagas(&stack.clients, saga::ListSagasRequest { as_of_now: true, ..Default::default() }).await;
    assert!(page.lags, "{page:?}");
    // What was written before is there, and is not waited for.
    let begun = Instant::now();
    assert!(!listed(&stack.clients, of(&before.written_token)).await.lags);
    assert!(begun.elapsed() < chassis::projection::WAIT_MAX, "{:?}", begun.elapsed());

    drop(stranger);
    is_there(&stack.clients, &order, &placed.written_token, orders::order::State::Unspecified).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_made_up_or_is_of_another_database_is_refused() {
    let stack = stack().await;
    let far = eventstore::Cursor { tx: eventstore::TxId(1 << 60), position: 1 };
    let written = |service| chassis::projection::token(service, far);
    for (token, code) in [
        (id(), Code::InvalidArgument),
        (written("payment"), Code::InvalidArgument),
        (written("orders"), Code::FailedPrecondition),
    ] {
        let refused = stack.clients.orders.clone().list_orders(of(&token)).await.expect_err("no such place");
        assert_eq!(refused.code(), code, "{refused:?}");
        let too = stack.clients.sagas.clone().list_sagas(sagas_of(&token)).await.expect_err("no such place");
        assert_eq!((too.code(), too.message()), (code, refused.message()));
        let details = refused.get_error_details();
        let fields = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
        let is_named = fields.iter().any(|violation| violation.field == "written_token");
        assert_eq!(is_named, code == Code::InvalidArgument, "{refused:?}");
    }
    stack.stop().await;
}
