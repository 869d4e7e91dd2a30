//! A client that goes away in the middle of its request leaves either all of it behind or nothing, and may ask again.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use farmera::clients::Clients;
use farmera_proto::orders::v1 as orders;
use farmera_proto::orders::v1::order::State;
use farmera_proto::products::v1 as products;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use support::{catalogue, end_of, id, invariants_hold, order_of, place, stack};
use tokio::time::timeout;

/// More await points than any request has.
const POLLS_MAX: usize = 200;
/// The same thing more than once: where a request is cut off depends on the other side, too.
const ROUNDS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(20);

/// Polls `future` `times` times, each time when it asked to be polled; true when it ended before that.
async fn poll_times<F: Future>(mut future: Pin<&mut F>, times: usize) -> bool {
    for _ in 0..times {
        let mut polled = false;
        let ended = poll_fn(|context| {
            if std::mem::replace(&mut polled, true) {
                return Poll::Ready(false);
            }
            match future.as_mut().poll(context) {
                Poll::Ready(_) => Poll::Ready(true),
                Poll::Pending => Poll::Pending,
            }
        });
        if ended.await {
            return true;
        }
    }
    false
}

/// Makes requests and drops each at another of its await points, until one is answered; then asks all of them again.
async fn dropped_everywhere<R: Clone, F, G>(
    request: impl Fn() -> R,
    ask: impl Fn(R) -> F,
    again: impl Fn(R) -> G,
) -> usize
where
    F: Future,
    G: Future<Output = ()>,
{
    let mut dropped = 0;
    for _ in 0..ROUNDS {
        for times in 0..POLLS_MAX {
            let asked = request();
            let answered = {
                let asking = pin!(ask(asked.clone()));
                let polled = timeout(PATIENCE, poll_times(asking, times)).await;
                polled.unwrap_or_else(|_| panic!("no answer after {times} polls"))
            };
            again(asked).await;
            if answered {
                break;
            }
            dropped += usize::from(times > 0);
        }
    }
    dropped
}

async fn orders_of(clients: &Clients, customer_id: &str) -> usize {
    let request =
        orders::ListOrdersRequest { page_size: 10, customer_id: customer_id.to_owned(), ..Default::default() };
    clients.orders.clone().list_orders(request).await.unwrap().into_inner().orders.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_anywhere_and_asks_again_has_one_order() {
    let stack = stack().await;
    let clients = &stack.clients;
    let product = catalogue(clients).await.remove(0).id;
    let dropped = dropped_everywhere(
        || order_of(&product, 1, "tok_success"),
        |request| place(clients, request),
        |request| async move {
            let order = place(clients, request.clone()).await.unwrap();
            assert_eq!(end_of(clients, &order.id).await.state(), State::Completed);
            assert_eq!(place(clients, request.clone()).await.unwrap().id, order.id);
            // The list lags; what is too many would be in the books, too, see below.
            assert!(orders_of(clients, &request.customer_id).await <= 1);
        },
    )
    .await;
    assert!(dropped > 0, "no request was dropped");
    invariants_hold(clients).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_that_was_added_by_a_client_that_went_away_is_added_once() {
    let stack = stack().await;
    let clients = &stack.clients;
    let product_id = catalogue(clients).await.remove(0).id;
    let get = || async {
        let request = products::GetProductRequest { product_id: product_id.clone() };
        clients.products.clone().get_product(request).await.unwrap().into_inner().product.unwrap().stocked
    };
    let add = |request: products::AddStockRequest| async move { clients.products.clone().add_stock(request).await };
    let (before, added) = (get().await, std::cell::Cell::new(0));
    let request = || {
        added.set(added.get() + 7);
        products::AddStockRequest { request_id: id(), product_id: product_id.clone(), quantity: 7 }
    };
    let dropped = dropped_everywhere(request, add, |request| async move {
        add(request).await.unwrap();
    })
    .await;
    assert!(dropped > 0, "no request was dropped");
    assert_eq!(get().await, before + added.get());
    stack.stop().await;
}

/// Begins to watch an order, and gives it up after so many looks or as soon as something was heard.
async fn watch_for_a_while(clients: &Clients, order_id: &str, looks: usize) -> Result<(), tonic::Status> {
    let (mut failed, request) = (Ok(()), orders::WatchOrderRequest { order_id: order_id.to_owned(), seen_version: 0 });
    let watching = async {
        let heard = match clients.orders.clone().watch_order(request).await {
            Ok(answer) => answer.into_inner().message().await.map(drop),
            Err(status) => Err(status),
        };
        failed = heard;
    };
    poll_times(pin!(watching), looks).await;
    failed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_gives_up_one_watch_after_another_keeps_its_connection() {
    const WATCHES: usize = 6_000;
    let stack = stack().await;
    let clients = &stack.clients;
    let product = catalogue(clients).await.remove(0).id;
    let order = place(clients, order_of(&product, 1, "tok_success")).await.unwrap();
    assert_eq!(end_of(clients, &order.id).await.state(), State::Completed);
    let watches = (0..WATCHES).map(|number| watch_for_a_while(clients, &order.id, number % 8));
    let watched = stream::iter(watches).buffer_unordered(500).try_collect::<()>().await;
    assert!(watched.is_ok(), "{watched:?}");
    stack.stop().await;
}
