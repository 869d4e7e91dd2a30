//! Operators at work beside running orders. By hand, on a release build:
//!
//! ```text
//! cargo test --release --workspace --test beside -- --ignored --nocapture
//! ```

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of a test")]

#[path = "support/stack.rs"]
mod stack;
mod support;

use std::time::{Duration, Instant};

use farmera_proto::orders::v1 as orders;
use farmera_proto::products::v1 as products;
use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use orders::order::State;
use stack::{Ground, id};

/// Sagas that an operator has to do with.
const SAGAS: usize = 10_000;
/// Orders a second, whatever becomes of the earlier ones, and how many of them.
const RATE: f64 = 200.0;
const ORDERS: u32 = 4_000;
const TOGETHER: usize = 100;

fn order(product: &str) -> orders::PlaceOrderRequest {
    orders::PlaceOrderRequest {
        request_id: id(),
        customer_id: id(),
        lines: vec![orders::PlaceOrderLine { product_id: product.to_owned(), quantity: 1 }],
        payment_token: "tok_success".to_owned(),
        email: "ana@example.org".to_owned(),
    }
}

/// Places an order and follows it to its end.
async fn one(ground: &Ground, product: &str) -> String {
    let mut client = ground.stack.clients.orders.clone();
    let placed = client.place_order(order(product)).await.unwrap().into_inner().order.unwrap();
    let watch = orders::WatchOrderRequest { order_id: placed.id.clone() };
    let mut changes = client.watch_order(watch).await.unwrap().into_inner();
    let mut last = State::Unspecified;
    // To its very end: streams that are given up in great numbers cost the connection.
    while let Some(change) = changes.message().await.unwrap() {
        last = change.order.unwrap_or_default().state();
    }
    assert_eq!(last, State::Completed);
    placed.id
}

/// The 99th percentile of orders that are placed at the rate, from their intended start to their end.
async fn p99(ground: &Ground, products: &[String]) -> Duration {
    let begun = Instant::now();
    let running: FuturesUnordered<_> = (0..ORDERS)
        .map(|number| async move {
            let intended = begun + Duration::from_secs_f64(f64::from(number) / RATE);
            tokio::time::sleep_until(intended.into()).await;
            one(ground, &products[number as usize % products.len()]).await;
            intended.elapsed()
        })
        .collect();
    let mut times: Vec<_> = running.collect().await;
    times.sort();
    times[times.len() * 99 / 100]
}

/// Products of which enough is there.
async fn products(ground: &Ground) -> Vec<String> {
    let mut client = ground.stack.clients.products.clone();
    let request = products::ListProductsRequest { page_size: 100, page_token: String::new() };
    let listed = client.list_products(request).await.unwrap().into_inner().products;
    for product in &listed {
        let request =
            products::AddStockRequest { request_id: id(), product_id: product.id.clone(), quantity: 1_000_000 };
        client.add_stock(request).await.unwrap();
    }
    listed.into_iter().map(|product| product.id).collect()
}

/// Sagas that are under way and stay where they are: what undoes an order waits at a hold.
async fn waiting(ground: &Ground, products: &[String]) {
    let set = ["hold", "set", "cancel-order/refund-payment", "--for", "2h", "--reason", "measured", "--plan"];
    let hash = ground.json(&set).await["hash"].as_str().unwrap().to_owned();
    ground.well(&["hold", "set", "--apply", &hash]).await;
    for _ in 0..SAGAS / TOGETHER {
        let placed = (0..TOGETHER).map(|number| one(ground, &products[number % products.len()]));
        let ids = join_all(placed).await;
        let cancelled = ids.into_iter().map(|order_id| {
            let mut client = ground.stack.clients.orders.clone();
            let request = orders::CancelOrderRequest { order_id, reason: "measured".to_owned() };
            async move { client.cancel_order(request).await.unwrap() }
        });
        join_all(cancelled).await;
    }
    let all_wait = |said: &support::Said| said.out.trim() == SAGAS.to_string();
    ground.until(&["saga", "count", "-q", "saga = cancel-order and state = RUNNING", "-o", "name"], all_wait).await;
}

/// Pauses all of them and lets them go on, again and again, at the highest rate.
async fn operate(ground: &Ground) {
    for act in ["pause", "unpause"].into_iter().cycle() {
        let state = if act == "pause" { "saga = cancel-order and state = RUNNING" } else { "state = PAUSED" };
        // The read model may be a moment behind.
        let all = |said: &support::Said| said.out.trim() == SAGAS.to_string();
        ground.until(&["saga", "count", "-q", state, "-o", "name"], all).await;
        let begun = Instant::now();
        let plan = ground.json(&["saga", act, "-q", state, "--reason", "measured", "--plan"]).await;
        let planned = begun.elapsed();
        let hash = plan["hash"].as_str().unwrap().to_owned();
        ground.well(&["saga", act, "--apply", &hash, "--rate", "5000/s"]).await;
        println!("{act}: planned in {planned:.1?}, applied in {:.1?}", begun.elapsed().saturating_sub(planned));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "places twenty thousand orders and measures; by hand"]
async fn a_large_operation_does_not_hold_running_orders_up() {
    let ground = Ground::start(&[("FARMERA_ORDERS__APPROVAL_ABOVE", "1000000")]).await;
    let products = products(&ground).await;
    waiting(&ground, &products).await;
    let warm = p99(&ground, &products).await;
    let alone = p99(&ground, &products).await;
    let beside = tokio::select! {
        beside = p99(&ground, &products) => beside,
        () = operate(&ground) => unreachable!("it goes on and on"),
    };
    let ratio = beside.as_secs_f64() / alone.as_secs_f64();
    println!(
        "p99 of orders at {RATE}/s: {warm:.1?} warming up, {alone:.1?} alone, {beside:.1?} beside: {ratio:.2} times"
    );
    assert!(ratio <= 2.0, "{ratio:.2} times");
    ground.stop().await;
}
