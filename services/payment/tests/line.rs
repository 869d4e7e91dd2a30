//! A card processor that goes away, and comes back, behind a real socket.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chassis::config::Secret;
use chassis::health::Health;
use chassis::reactor::NotHandled;
use chassis::shutdown::{Shutdown, Trigger};
use chrono::DateTime;
use eventstore::memory::{CountingIds, MemoryClock, MemoryStore};
use eventstore::worker::{Limits, Shell, Worker};
use eventstore::{Actor, Cause};
use money::{Currency, Money};
use payment::domain::{Reference, Request, Wish};
use payment::handler::Payments;
use payment::line::Line;
use payment::processor::{self, Processor};
use payment::provider::{Charge, Key, PaymentProvider, ProviderError};
use payment::sandbox::server::{Options, Provider, Weather};
use payment::settle::{Patience, Settled, Settler};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

const KEY: &str = "sk_test_1";

/// The processor itself.
struct Remote {
    journal: PathBuf,
    address: SocketAddr,
    trigger: Trigger,
    serving: JoinSet<std::io::Result<()>>,
}

impl Remote {
    async fn start(journal: PathBuf, address: SocketAddr) -> Self {
        let options =
            Options { journal: journal.clone(), key: Some(Secret::new(KEY)), weather: Weather::default(), seed: 11 };
        let provider = Provider::open(options).unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (trigger, shutdown) = Shutdown::new();
        let mut serving = JoinSet::new();
        serving.spawn(provider.serve(listener, shutdown));
        Self { journal, address, trigger, serving }
    }

    /// Nobody listens any more.
    async fn go(mut self) -> (PathBuf, SocketAddr) {
        self.trigger.trigger();
        self.serving.shutdown().await;
        (self.journal, self.address)
    }
}

/// The way to it, with a counter of the calls that were made.
struct Counted {
    processor: Processor,
    calls: AtomicUsize,
}

impl Counted {
    fn count(&self) -> &Processor {
        self.calls.fetch_add(1, Ordering::Relaxed);
        &self.processor
    }
}

#[async_trait]
impl PaymentProvider for Counted {
    async fn authorize(&self, key: &Key, amount: Money, token: &str) -> Result<Charge, ProviderError> {
        self.count().authorize(key, amount, token).await
    }

    async fn capture(&self, key: &Key, reference: &Reference) -> Result<Charge, ProviderError> {
        self.count().capture(key, reference).await
    }

    async fn void(&self, key: &Key, reference: &Reference) -> Result<Charge, ProviderError> {
        self.count().void(key, reference).await
    }

    async fn refund(&self, key: &Key, reference: &Reference) -> Result<Charge, ProviderError> {
        self.count().refund(key, reference).await
    }

    async fn lookup(&self, key: &Key) -> Result<Option<Charge>, ProviderError> {
        self.count().lookup(key).await
    }

    async fn list(&self, after: Option<&Reference>, limit: usize) -> Result<Vec<Charge>, ProviderError> {
        self.count().list(after, limit).await
    }
}

struct World {
    provider: Arc<Counted>,
    settler: Arc<Settler>,
    line: Arc<Line>,
    health: Health,
    _trigger: Trigger,
    _running: JoinSet<()>,
}

impl World {
    fn before(address: SocketAddr) -> Self {
        let options = processor::Options {
            url: format!("http://{address}").parse().unwrap(),
            key: Some(Secret::new(KEY)),
            timeout: Duration::from_secs(1),
            connections_max: 16,
        };
        let provider = Arc::new(Counted { processor: Processor::new(options).unwrap(), calls: AtomicUsize::new(0) });
        let store = Arc::new(MemoryStore::new(DateTime::default()));
        let shell = Shell {
            store: store.clone(),
            clock: Arc::new(MemoryClock::of(&store)),
            ids: Arc::new(CountingIds::new(0)),
            listeners: Vec::new(),
        };
        let (worker, handle) = Worker::new(Payments, shell, Limits::default());
        let (trigger, shutdown) = Shutdown::new();
        let health = Health::new();
        let patience = Patience { timeout: Duration::from_secs(1), tries_max: 4, concurrency_max: 16 };
        let line = Arc::new(Line::new(provider.clone(), patience.timeout, health.component("payment/provider")));
        let mut running = JoinSet::new();
        running.spawn(worker.run());
        running.spawn(Arc::clone(&line).run(shutdown));
        let settler = Arc::new(Settler::new(handle, Arc::clone(&line), patience));
        Self { provider, settler, line, health, _trigger: trigger, _running: running }
    }

    /// Holds money for a payment, and asks again whenever the request is given back, as the broker does.
    async fn pay(settler: Arc<Settler>, payment: u128) -> Settled {
        let wish = Wish::Authorize {
            customer_id: Uuid::from_u128(2),
            amount: Money::new(1250, Currency::EUR),
            token: "tok_success".to_owned(),
        };
        let (payment_id, message) = (Uuid::from_u128(payment), Uuid::from_u128(1_000 + payment));
        let request = Request { message, order_id: payment_id, wish };
        let actor = Actor::new("service:orders");
        let cause = Cause { correlation: payment_id, causation: message, trace: None, actor };
        loop {
            match settler.settle(payment_id, &request, &cause).await {
                Ok(settled) => return settled,
                Err(NotHandled::Later(_)) => sleep(Duration::from_millis(100)).await,
                Err(NotHandled::Poison(reason) | NotHandled::Stray(reason)) => unreachable!("{reason}"),
            }
        }
    }

    fn calls(&self) -> usize {
        self.provider.calls.load(Ordering::Relaxed)
    }

    async fn until(&self, holds: impl Fn(&str) -> bool) -> String {
        let seen = async {
            while !holds(&self.health.report()) {
                sleep(Duration::from_millis(20)).await;
            }
            self.health.report()
        };
        timeout(Duration::from_secs(30), seen).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_that_is_gone_is_told_by_health_and_asked_by_one_probe_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let remote = Remote::start(folder.path().join("journal"), "127.0.0.1:0".parse().unwrap()).await;
    let world = World::before(remote.address);
    assert_eq!(World::pay(Arc::clone(&world.settler), 1).await, Settled::Told);

    let (journal, address) = remote.go().await;
    let mut paying = JoinSet::new();
    for payment in 2..8 {
        paying.spawn(World::pay(Arc::clone(&world.settler), payment));
    }
    let report = world.until(|report| report.starts_with("[-]")).await;
    assert!(report.starts_with("[-]payment/provider the payment provider has not answered for "), "{report}");
    assert!(report.contains("onnect"), "it says what happened: {report}");

    // A call that was under way may come in yet. Then there are probes only, after 0.5, 1, 2 and 4 s.
    let before = world.calls();
    for _ in 0..50 {
        let books = world.line.books(None, 10).await;
        assert!(
            matches!(&books, Err(ProviderError::Unanswered(why)) if why.contains("has not answered for")),
            "{books:?}"
        );
    }
    sleep(Duration::from_secs(6)).await;
    let probes = world.calls() - before;
    assert!((1..=10).contains(&probes), "{probes} calls in six seconds, six payments wait");

    let back = Remote::start(journal, address).await;
    world.until(|report| report == "[+]payment/provider ok\n").await;
    assert!(!world.line.books(None, 10).await.unwrap().is_empty());
    while let Some(paid) = timeout(Duration::from_secs(20), paying.join_next()).await.unwrap() {
        assert!(matches!(paid.unwrap(), Settled::Told | Settled::Repeat(_)));
    }
    back.go().await;
}
