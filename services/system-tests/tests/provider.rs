//! Orders are paid through a provider of its own process, which misbehaves and is killed. Its journal, which no table of
//! ours has a part in, has one charge for each completed order and none for the others.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use farmera::clients::Clients;
use farmera_proto::orders::v1 as orders;
use farmera_proto::orders::v1::order::State;
use farmera_proto::payment::v1 as pb;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use payment::sandbox::server::{Tally, read_journal, tally};
use support::{END_LIMIT, catalogue, end_of, invariants_hold, order_of, place, stack_with, until};
use tokio::time::timeout;
use tonic::{Code, Status};

const TOKENS: [&str; 6] = [
    "tok_success",
    "tok_declined",
    "tok_insufficient_funds",
    "tok_timeout_charged",
    "tok_timeout_not_charged",
    "tok_flaky",
];
const ORDERS: usize = 90;
const KILLS: usize = 3;
/// One completed order in so many is cancelled afterwards.
const CANCELLED_EVERY: usize = 5;

/// Next to this test in the target folder: `make test` builds the whole workspace.
fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let found = test.ancestors().map(|folder| folder.join("farmera")).find(|path| path.is_file());
    found.expect("the farmera binary is not built: cargo build --package farmera")
}

struct Provider {
    child: Child,
    address: String,
}

impl Provider {
    fn start(journal: &Path, listen: &str) -> Self {
        let weather = ["--latency-ms=2", "--error-rate=0.05", "--lose-request-rate=0.02", "--lose-reply-rate=0.06"];
        let mut child = Command::new(binary())
            .args(["sandbox-provider", "--listen", listen, "--seed=3", "--spend-key-rate=0.05", "--duplicate-rate=0.1"])
            .args(weather)
            .arg("--journal")
            .arg(journal)
            .env("FARMERA_SANDBOX_PROVIDER__KEY", "sk_test_system")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.strip_prefix("ready http://").expect("it says where it is");
        Self { child, address: address.split_whitespace().next().unwrap().to_owned() }
    }

    /// SIGKILL, and the same again on the same address.
    fn restart(&mut self, journal: &Path) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        *self = Self::start(journal, &self.address.clone());
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Asks until the service has time: what is asked here may be asked twice.
async fn answered<T, A: Future<Output = Result<T, Status>>>(ask: impl Fn() -> A) -> T {
    let asked = async {
        loop {
            match ask().await {
                Err(status) if status.code() == Code::Unavailable => {}
                answer => return answer.unwrap(),
            }
        }
    };
    timeout(END_LIMIT, asked).await.expect("an answer in time")
}

/// Places an order, waits for its end, and cancels some of those that were completed.
async fn order(clients: &Clients, product: &str, index: usize) -> orders::Order {
    let token = TOKENS.get(index % TOKENS.len()).unwrap();
    let request = order_of(product, 1, token);
    let placed = answered(|| place(clients, request.clone())).await;
    let ended = end_of(clients, &placed.id).await;
    if ended.state() != State::Completed || !index.is_multiple_of(CANCELLED_EVERY) {
        return ended;
    }
    let cancel = orders::CancelOrderRequest { order_id: placed.id.clone(), reason: "changed my mind".to_owned() };
    answered(|| {
        let (mut orders, cancel) = (clients.orders.clone(), cancel.clone());
        async move { orders.cancel_order(cancel).await }
    })
    .await;
    until(clients, &placed.id, &[State::Cancelled]).await
}

async fn payments_of(clients: &Clients, order_id: &str) -> Vec<pb::Payment> {
    let request = pb::ListPaymentsRequest { order_id: order_id.to_owned(), ..pb::ListPaymentsRequest::default() };
    let listed = answered(|| {
        let (mut payments, request) = (clients.payment.clone(), request.clone());
        async move { payments.list_payments(request).await }
    });
    listed.await.into_inner().payments
}

#[tokio::test(flavor = "multi_thread")]
async fn the_providers_journal_has_one_charge_for_each_completed_order_and_none_for_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.ndjson");
    let mut provider = Provider::start(&journal, "127.0.0.1:0");
    let stack = stack_with(&[
        ("FARMERA_PAYMENT__PROVIDER_URL", &format!("http://{}", provider.address)),
        ("FARMERA_PAYMENT__PROVIDER_KEY", "sk_test_system"),
        ("FARMERA_PAYMENT__PROVIDER_TIMEOUT_MS", "1000"),
    ])
    .await;
    let clients = &stack.clients;
    let product = catalogue(clients).await.into_iter().max_by_key(|product| product.available).unwrap().id;

    let mut running: FuturesUnordered<_> = (0..ORDERS).map(|index| order(clients, &product, index)).collect();
    let mut ended = Vec::new();
    while let Some(order) = running.next().await {
        ended.push(order);
        if ended.len().is_multiple_of(ORDERS / (KILLS + 1)) && ended.len() < ORDERS {
            provider.restart(&journal);
        }
    }
    drop(running);
    invariants_hold(clients).await;

    let entries = read_journal(&journal).unwrap();
    let tallies = tally(&entries);
    let mut completed = 0;
    for order in &ended {
        let mut sum = Tally::default();
        for payment in payments_of(clients, &order.id).await {
            let own = tallies.get(&payment.id.parse().unwrap()).copied().unwrap_or_default();
            sum.captured += own.captured;
            sum.held += own.held;
            sum.taken += own.taken;
        }
        let total = order.total.as_ref().unwrap().minor_units;
        match order.state() {
            State::Completed => {
                completed += 1;
                assert_eq!((sum.captured, sum.held, sum.taken), (1, 0, total), "order {}", order.id);
            }
            State::Failed | State::Cancelled => {
                assert!(sum.captured <= 1, "order {}", order.id);
                assert_eq!((sum.held, sum.taken), (0, 0), "order {}", order.id);
            }
            State::Unspecified | State::Pending | State::ProductReserved | State::Confirmed => {
                panic!("order {} has not ended", order.id)
            }
        }
    }
    assert!(completed >= ORDERS / 4, "{completed} of {ORDERS} orders completed");
    assert!(tallies.values().all(|tally| tally.authorized <= 1), "a card was charged twice");
    stack.stop().await;
}
