//! However much is asked for, what `sagactl` holds in memory at a time stays the same.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

#[path = "support/stack.rs"]
mod stack;
mod support;

use std::process::Stdio;

use farmera_proto::orders::v1 as orders;
use farmera_proto::products::v1 as products;
use futures::future::join_all;
use stack::Ground;
use support::operator::id;
use tokio::io::AsyncReadExt as _;

const ORDERS: usize = 1_000;
/// At the same time.
const TOGETHER: usize = 100;
/// More than a pipe and the program's own buffer hold: as long as so much is left, the program waits for its reader.
const LEFT: usize = 128 * 1024;

/// Many orders, all of them to their ends.
async fn place_many(ground: &Ground) {
    let clients = &ground.stack.clients;
    let request = products::ListProductsRequest { page_size: 100, page_token: String::new() };
    let all = clients.products.clone().list_products(request).await.unwrap().into_inner().products;
    let order = |number: usize| {
        let product = &all[number % all.len()];
        orders::PlaceOrderRequest {
            request_id: id(),
            customer_id: id(),
            lines: vec![orders::PlaceOrderLine { product_id: product.id.clone(), quantity: 1 }],
            payment_token: "tok_success".to_owned(),
            email: "ana@example.org".to_owned(),
        }
    };
    for _ in 0..ORDERS / TOGETHER {
        let placed = (0..TOGETHER).map(|number| {
            let (mut client, request) = (clients.orders.clone(), order(number));
            async move { client.place_order(request).await.unwrap() }
        });
        join_all(placed).await;
    }
    let ended = ["saga", "count", "-q", "state = ENDED", "-o", "json"];
    ground
        .until(&ended, |said| {
            said.out.contains(&format!("\"count\": \"{ORDERS}\""))
                || said.out.contains(&format!("\"count\":\"{ORDERS}\""))
        })
        .await;
}

/// The most memory that the program had, KiB, shortly before its end; and how many lines it wrote.
async fn peak(ground: &Ground, arguments: &[&str]) -> (u64, usize) {
    let all = ground.well(arguments).await;
    assert!(all.len() > 2 * LEFT, "{} bytes are too few to tell", all.len());
    let mut child = ground.command(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    output.read_exact(&mut vec![0; all.len() - LEFT]).await.unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id().unwrap())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    output.read_to_end(&mut Vec::new()).await.unwrap();
    assert!(child.wait().await.unwrap().success());
    (peak.trim().trim_end_matches(" kB").parse().unwrap(), all.lines().count())
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_times_the_rows_do_not_take_ten_times_the_memory() {
    let ground = Ground::start(&[]).await;
    place_many(&ground).await;
    let few = peak(&ground, &["event", "grep", "-o", "jsonl", "--limit", "1500"]).await;
    for many in [&["event", "export"][..], &["event", "grep", "-o", "jsonl"]] {
        let (peak, lines) = peak(&ground, many).await;
        println!("{many:?}: {peak} KiB for {lines} lines, {} KiB for {}", few.0, few.1);
        assert!(lines >= 10 * few.1, "{lines} lines");
        assert!(2 * peak < 3 * few.0, "{many:?}: {peak} KiB for {lines} lines, {} KiB for {}", few.0, few.1);
    }
    let (peak, lines) = peak(&ground, &["saga", "list", "-o", "jsonl", "--limit", "0"]).await;
    println!("saga list: {peak} KiB for {lines} lines");
    assert!(lines == ORDERS && 2 * peak < 3 * few.0, "saga list: {peak} KiB, {} KiB for events", few.0);
    ground.stop().await;
}
