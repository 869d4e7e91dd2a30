//! Orders, one after the other or at a rate, and how long each took.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chassis::clock::Uuids;
use eventstore::IdSource as _;
use farmera_proto::orders::v1 as pb;
use farmera_proto::orders::v1::order::State;
use farmera_proto::orders::v1::orders_service_client::OrdersServiceClient;
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::Status;
use tonic::transport::Channel;

use crate::failure::Failure;
use crate::order::has_ended;

/// An order that takes longer is counted as an error.
const ORDER_LIMIT: Duration = Duration::from_secs(60);
/// Latencies are kept with three digits, in microseconds; longer ones count as this.
const MICROS_MAX: u64 = 60_000_000;
const DIGITS: u8 = 3;

/// What to do.
#[derive(Clone)]
pub(super) struct Load {
    pub(super) channels: Vec<Channel>,
    pub(super) products: Vec<String>,
    pub(super) orders: u64,
    pub(super) concurrency: u32,
    /// Open loop at so many orders per second; closed loop when there is none.
    pub(super) rate: Option<f64>,
    pub(super) declined: f64,
    pub(super) lines: usize,
}

/// What came of it.
pub(super) struct Measured {
    pub(super) elapsed: Duration,
    /// Microseconds from the (intended) start to the end.
    pub(super) latency: Histogram<u64>,
    pub(super) tally: Tally,
}

/// What came of some orders.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) completed: u64,
    /// Declined and undone, as they should be.
    pub(super) compensated: u64,
    /// Ended otherwise than they should, were refused, or did not end in time.
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
}

impl Load {
    /// Places every order and waits for all of them to end.
    pub(super) async fn drive(self, bar: &ProgressBar) -> Result<Measured, Failure> {
        let workers = u64::from(self.concurrency).min(self.orders);
        let load = Arc::new(self);
        let next = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        let mut latency = histogram()?;
        let started = Instant::now();
        for (_, channel) in (0..workers).zip(load.channels.iter().cycle()) {
            let client = OrdersServiceClient::new(channel.clone());
            let worker = Worker { load: Arc::clone(&load), client, next: Arc::clone(&next), bar: bar.clone(), started };
            tasks.spawn(worker.run(histogram()?));
        }
        let mut tally = Tally::default();
        while let Some(ended) = tasks.join_next().await {
            let (histogram, part) = ended.map_err(|error| Failure::Failed(format!("a client failed: {error}")))?;
            latency.add(&histogram).map_err(|error| Failure::Failed(error.to_string()))?;
            tally.completed += part.completed;
            tally.compensated += part.compensated;
            tally.errors += part.errors;
            tally.first_error = tally.first_error.or(part.first_error);
        }
        Ok(Measured { elapsed: started.elapsed(), latency, tally })
    }

    /// Declined orders are spread evenly: the tenth, the twentieth, … at a share of 0.1.
    #[expect(clippy::cast_precision_loss, reason = "orders are counted in millions, not in quadrillions")]
    fn is_declined(&self, index: u64) -> bool {
        let until = |count: u64| (count as f64 * self.declined).floor();
        until(index + 1) > until(index)
    }

    /// Neighbours in time take different products; an order takes neighbours in the catalogue.
    fn request(&self, index: u64) -> pb::PlaceOrderRequest {
        let first = usize::try_from(index).unwrap_or(0).wrapping_mul(31);
        let lines = (0..self.lines).filter_map(|line| {
            let product = self.products.get(first.wrapping_add(line) % self.products.len().max(1))?;
            Some(pb::PlaceOrderLine { product_id: product.clone(), quantity: 1 })
        });
        let id = Uuids.next_id().to_string();
        pb::PlaceOrderRequest {
            customer_id: id.clone(),
            request_id: id,
            lines: lines.collect(),
            payment_token: if self.is_declined(index) { "tok_declined" } else { "tok_success" }.to_owned(),
            email: "bench@customer.example".to_owned(),
        }
    }

    /// When an order should start: at once in a closed loop.
    #[expect(clippy::cast_precision_loss, reason = "orders are counted in millions, not in quadrillions")]
    fn intended(&self, started: Instant, index: u64) -> Option<Instant> {
        self.rate.map(|rate| started + Duration::from_secs_f64(index as f64 / rate))
    }
}

fn histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_bounds(1, MICROS_MAX, DIGITS).map_err(|error| Failure::Failed(error.to_string()))
}

struct Worker {
    load: Arc<Load>,
    client: OrdersServiceClient<Channel>,
    next: Arc<AtomicU64>,
    bar: ProgressBar,
    started: Instant,
}

impl Worker {
    async fn run(mut self, mut latency: Histogram<u64>) -> (Histogram<u64>, Tally) {
        let mut tally = Tally::default();
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.load.orders {
                return (latency, tally);
            }
            let request = self.load.request(index);
            let begun = match self.load.intended(self.started, index) {
                None => Instant::now(),
                // When all clients are busy it starts late, and its latency says so: no coordinated omission.
                Some(intended) => {
                    sleep_until(intended).await;
                    intended
                }
            };
            let ended = timeout(ORDER_LIMIT, one_order(&mut self.client, request)).await;
            let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(MICROS_MAX);
            latency.saturating_record(micros);
            tally.count(self.load.is_declined(index), ended.unwrap_or_else(|_| Err("did not end in time".to_owned())));
            self.bar.inc(1);
        }
    }
}

impl Tally {
    fn count(&mut self, declined: bool, ended: Result<pb::Order, String>) {
        let error = match ended {
            Ok(order) => match (order.state(), declined) {
                (State::Completed, false) => {
                    self.completed += 1;
                    return;
                }
                (State::Failed, true) => {
                    self.compensated += 1;
                    return;
                }
                (state, _) => {
                    let failure = order.failure.unwrap_or_default();
                    format!("order {} ended {}: {}", order.id, crate::order::state_name(state), failure.message)
                }
            },
            Err(error) => error,
        };
        self.errors += 1;
        self.first_error.get_or_insert(error);
    }
}

/// Places an order and follows it to its end.
async fn one_order(
    client: &mut OrdersServiceClient<Channel>,
    request: pb::PlaceOrderRequest,
) -> Result<pb::Order, String> {
    let told = |status: Status| format!("{:?}: {}", status.code(), status.message());
    let placed = client.place_order(request).await.map_err(told)?.into_inner().order.unwrap_or_default();
    let request = pb::WatchOrderRequest { order_id: placed.id, seen_version: placed.version };
    let mut changes = client.watch_order(request).await.map_err(told)?.into_inner();
    while let Some(change) = changes.message().await.map_err(told)? {
        match change.order {
            Some(order) if has_ended(order.state()) => return Ok(order),
            Some(_) | None => {}
        }
    }
    Err("the watch ended before the order did".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(declined: f64) -> Load {
        let products = (0..4).map(|number| format!("p{number}")).collect();
        Load { channels: Vec::new(), products, orders: 100, concurrency: 1, rate: Some(200.0), declined, lines: 3 }
    }

    #[test]
    fn the_share_of_declined_orders_is_met_exactly_and_always_the_same() {
        let declined = |share: f64| (0..100).filter(|index| load(share).is_declined(*index)).collect::<Vec<_>>();
        assert_eq!(declined(0.1), [9, 19, 29, 39, 49, 59, 69, 79, 89, 99]);
        assert_eq!(declined(0.0).len(), 0);
        assert_eq!(declined(1.0).len(), 100);
    }

    #[test]
    fn an_order_has_each_product_once() {
        for index in 0..100 {
            let mut products: Vec<_> = load(0.1).request(index).lines.into_iter().map(|line| line.product_id).collect();
            products.sort();
            products.dedup();
            assert_eq!(products.len(), 3);
        }
    }

    #[test]
    fn an_open_loop_starts_on_time_whatever_happened_before() {
        let started = Instant::now();
        assert_eq!(load(0.1).intended(started, 100), Some(started + Duration::from_millis(500)));
    }
}
