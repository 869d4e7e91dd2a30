//! Operators at work beside running orders. By hand, on a release build:
//!
//! ```text
//! cargo test --release --workspace --test beside -- --ignored --nocapture
//! ```

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of a test")]

#[path = "support/stack.rs"]
mod stack;
mod support;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use farmera_proto::orders::v1 as orders;
use farmera_proto::products::v1 as products;
use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use orders::order::State;
use stack::Ground;
use support::operator::id;

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
    let watch = orders::WatchOrderRequest { order_id: placed.id.clone(), seen_version: placed.version };
    let mut changes = client.watch_order(watch).await.unwrap().into_inner();
    let mut last = State::Unspecified;
    // To its very end: streams that are given up in great numbers cost the connection.
    while let Some(change) = changes.message().await.unwrap() {
        last = change.order.unwrap_or_default().state();
    }
    assert_eq!(last, State::Completed);
    placed.id
}

/// From an order's intended start to its end.
type Span = (Instant, Instant);

fn p99<'a>(orders: impl Iterator<Item = &'a Span>) -> Duration {
    let mut times: Vec<_> = orders.map(|(intended, ended)| ended.duration_since(*intended)).collect();
    times.sort();
    times[times.len() * 99 / 100]
}

/// Orders that are placed at the rate.
async fn drive(ground: &Ground, products: &[String]) -> Vec<Span> {
    let begun = Instant::now();
    let running: FuturesUnordered<_> = (0..ORDERS)
        .map(|number| async move {
            let intended = begun + Duration::from_secs_f64(f64::from(number) / RATE);
            tokio::time::sleep_until(intended.into()).await;
            one(ground, &products[number as usize % products.len()]).await;
            (intended, Instant::now())
        })
        .collect();
    running.collect().await
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

/// Pauses all of them and lets them go on, again and again, at the highest rate; notes when that was.
async fn operate(ground: &Ground, applied: &Mutex<Vec<Span>>) {
    for act in ["pause", "unpause"].into_iter().cycle() {
        let state = if act == "pause" { "saga = cancel-order and state = RUNNING" } else { "state = PAUSED" };
        // The read model may be a moment behind.
        let all = |said: &support::Said| said.out.trim() == SAGAS.to_string();
        ground.until(&["saga", "count", "-q", state, "-o", "name"], all).await;
        let begun = Instant::now();
        let plan = ground.json(&["saga", act, "-q", state, "--reason", "measured", "--plan"]).await;
        let planned = begun.elapsed();
        let hash = plan["hash"].as_str().unwrap().to_owned();
        applied.lock().unwrap().push((Instant::now(), Instant::now() + Duration::from_secs(3_600)));
        ground.well(&["saga", act, "--apply", &hash, "--rate", "500/s"]).await;
        applied.lock().unwrap().last_mut().unwrap().1 = Instant::now();
        println!("{act}: planned in {planned:.1?}, applied in {:.1?}", begun.elapsed().saturating_sub(planned));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "places twenty thousand orders and measures; by hand"]
async fn a_large_operation_does_not_hold_running_orders_up() {
    let ground = Ground::start(&[("FARMERA_ORDERS__APPROVAL_ABOVE", "1000000")]).await;
    let products = products(&ground).await;
    waiting(&ground, &products).await;
    drive(&ground, &products).await;
    let alone = drive(&ground, &products).await;
    let applied = Mutex::new(Vec::new());
    let beside = tokio::select! {
        beside = drive(&ground, &products) => beside,
        () = operate(&ground, &applied) => unreachable!("it goes on and on"),
    };
    let applied = applied.into_inner().unwrap();
    let meets = |(begun, ended): &&Span| applied.iter().any(|(from, to)| begun < to && from < ended);
    let met = beside.iter().filter(meets).count();
    let (alone, beside) = (p99(alone.iter()), p99(beside.iter().filter(meets)));
    let ratio = beside.as_secs_f64() / alone.as_secs_f64();
    println!("p99 of orders at {RATE}/s: {alone:.1?} alone, {beside:.1?} of the {met} beside it: {ratio:.2} times");
    assert!(ratio <= 2.0, "{ratio:.2} times");
    ground.stop().await;
}
