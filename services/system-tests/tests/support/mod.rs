//! What the tests of the whole share.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test file uses its part of it, and fails by panicking"
)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chassis::clock::Uuids;
use eventstore::IdSource as _;
use farmera::clients::Clients;
use farmera::up::{Options, Stack};
use farmera_proto::orders::v1 as orders;
use farmera_proto::orders::v1::order::State;
use farmera_proto::products::v1 as products;
use tokio::time::timeout;
use tonic::Status;

/// An order that has not ended by then never will.
pub const END_LIMIT: Duration = Duration::from_secs(60);

/// As in production: what one replica remembers, another has changed.
const REPLICAS: usize = 2;

/// Everything, running, for one test.
pub async fn stack() -> Stack {
    stack_with(&[]).await
}

/// Everything, every service twice.
pub async fn replicated() -> Stack {
    start(REPLICAS, &[]).await
}

/// Everything, with variables for the services.
pub async fn stack_with(variables: &[(&str, &str)]) -> Stack {
    start(1, variables).await
}

async fn start(replicas: usize, variables: &[(&str, &str)]) -> Stack {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let state = farmera_local::project_root().join(format!(".farmera/system-{}-{number}", std::process::id()));
    chassis::telemetry::init_logs("warn");
    let mut options = Options::throwaway(state);
    options.replicas = replicas;
    options.variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Stack::start(options).await.unwrap()
}

/// A fresh id.
pub fn id() -> String {
    Uuids.next_id().to_string()
}

/// Every product of the catalogue.
pub async fn catalogue(clients: &Clients) -> Vec<products::Product> {
    let request = products::ListProductsRequest { page_size: 1_000, page_token: String::new() };
    clients.products.clone().list_products(request).await.unwrap().into_inner().products
}

/// An order of `quantity` units of a product.
pub fn order_of(product_id: &str, quantity: u32, token: &str) -> orders::PlaceOrderRequest {
    orders::PlaceOrderRequest {
        request_id: id(),
        customer_id: id(),
        lines: vec![orders::PlaceOrderLine { product_id: product_id.to_owned(), quantity }],
        payment_token: token.to_owned(),
        email: "ana@example.org".to_owned(),
    }
}

/// Places an order.
pub async fn place(clients: &Clients, request: orders::PlaceOrderRequest) -> Result<orders::Order, Status> {
    Ok(clients.orders.clone().place_order(request).await?.into_inner().order.unwrap())
}

/// Watches an order until it is in one of `states`, over whatever breaks in between.
pub async fn until(clients: &Clients, order_id: &str, states: &[State]) -> orders::Order {
    let watched = async {
        let mut seen_version = 0;
        loop {
            let request = orders::WatchOrderRequest { order_id: order_id.to_owned(), seen_version };
            if let Ok(answer) = clients.orders.clone().watch_order(request).await {
                let mut changes = answer.into_inner();
                while let Ok(Some(change)) = changes.message().await {
                    let order = change.order.unwrap();
                    assert!(order.version >= seen_version, "an older order was told: {order:?} after {seen_version}");
                    seen_version = order.version;
                    if states.contains(&order.state()) {
                        return order;
                    }
                }
            }
            // The service is away: asking again at once would only burn the CPU that it needs to come back.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    match timeout(END_LIMIT, watched).await {
        Ok(order) => order,
        Err(_) => panic!("order {order_id} did not get to {states:?}"),
    }
}

/// Waits for its end.
pub async fn end_of(clients: &Clients, order_id: &str) -> orders::Order {
    until(clients, order_id, &[State::Completed, State::Failed, State::Cancelled]).await
}

/// Everything that can be seen from outside is as it must be.
pub async fn invariants_hold(clients: &Clients) {
    let judged = farmera::invariants::settle(clients, END_LIMIT).await.unwrap();
    assert!(judged.all_hold(), "{:#?}", judged.verdicts);
}
