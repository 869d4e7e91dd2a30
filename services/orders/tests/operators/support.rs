//! A database of the test's own, and orders at work in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chassis::projection::{Abreast, Nudge, Projection as _};
use chassis::scan::LogScan;
use chrono::{DateTime, Utc};
use eventstore::worker::{CommitListener, Limits, Shell, SubmitError, Worker, WorkerHandle};
use eventstore::{Actor, Category, Cause, Clock, Cursor, EventStore as _, IdSource, Recorded};
use eventstore_postgres::{MIGRATOR, PostgresStore, StoreOptions};
use farmera_local::TestServers;
use money::{Currency, Money};
use orders::domain::{Facts, Farm, Line};
use orders::grpc::Lists;
use orders::handler::{HandleError, Input, OrdersHandler, place_saga_id};
use orders::projections::orders::OrderProjection;
use orders::projections::sagas::{SagaList, SagaProjection};
use orders::sagas::{OrderProcess, Patience, library};
use saga::{Input as SagaInput, Library, Outcome, Rejection, StepName, UndoOutcome};
use saga_runtime::{Engine, HoldsInForce};
use sqlx::postgres::{PgPool, PgPoolOptions};
use uuid::Uuid;

/// Orders, in a database that nobody else uses.
pub struct Market {
    pub pool: PgPool,
    pub store: Arc<PostgresStore>,
    pub worker: WorkerHandle<OrdersHandler>,
    pub library: Arc<Library<OrderProcess>>,
    pub holds: HoldsInForce,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
}

struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> DateTime<Utc> {
        // Whole microseconds, as the store keeps them.
        #[expect(clippy::disallowed_methods, reason = "a test against a real database, whose clock is this one")]
        DateTime::from_timestamp_micros(Utc::now().timestamp_micros()).unwrap()
    }
}

impl Market {
    /// Opens it; its worker ends with the test.
    pub async fn open() -> Self {
        let (pool, url) = database().await;
        let store = Arc::new(PostgresStore::connect(&StoreOptions::new(url)).unwrap());
        let library = Arc::new(library(&[Patience::default()]).unwrap());
        let clock: Arc<dyn Clock> = Arc::new(WallClock);
        let ids: Arc<dyn IdSource> = Arc::new(chassis::clock::Uuids);
        let holds = HoldsInForce::new();
        let handler = OrdersHandler::new(Engine::new(Arc::clone(&library)).with_holds(holds.clone()));
        let listeners: Vec<Arc<dyn CommitListener>> = vec![Arc::new(holds.clone())];
        let shell = Shell { store: store.clone(), clock: Arc::clone(&clock), ids: Arc::clone(&ids), listeners };
        let (worker, handle) = Worker::new(handler, shell, Limits::default());
        #[expect(clippy::disallowed_methods, reason = "the test's runtime ends it")]
        tokio::spawn(worker.run());
        Self { pool, store, worker: handle, library, holds, clock, ids }
    }

    pub fn sagas(&self) -> SagaList {
        SagaList::new(self.pool.clone())
    }

    /// Lists that nobody waits for.
    pub fn lists(&self) -> Lists {
        let scan = LogScan::new(Arc::clone(&self.store));
        let (abreast, _) = Abreast::new(&SagaProjection, self.pool.clone(), scan, Nudge::default());
        Lists { abreast, pool: self.pool.clone() }
    }

    pub async fn submit(&self, saga_id: Uuid, input: Input) -> Result<(), HandleError> {
        let actor = Actor::new("service:test");
        let cause = Cause { correlation: saga_id, causation: self.ids.next_id(), trace: None, actor };
        match self.worker.submit(input, cause).await {
            Ok(_) => Ok(()),
            Err(SubmitError::Rejected(error)) => Err(error),
            Err(other) => panic!("{other}"),
        }
    }

    /// An order of `minor_units`; its saga.
    pub async fn place(&self, customer: u128, minor_units: i64) -> Uuid {
        self.place_as(self.ids.next_id(), customer, minor_units).await
    }

    /// The order has this id.
    pub async fn place_as(&self, order_id: Uuid, customer: u128, minor_units: i64) -> Uuid {
        let facts = Arc::new(facts(customer, minor_units));
        let saga_id = place_saga_id(order_id);
        self.submit(saga_id, Input::Place { order_id, facts, fingerprint: "f".to_owned() }).await.unwrap();
        saga_id
    }

    pub async fn input(&self, saga_id: Uuid, input: SagaInput<OrderProcess>) -> Result<(), HandleError> {
        self.submit(saga_id, Input::Saga { saga_id, input }).await
    }

    pub async fn reply(&self, saga_id: Uuid, step: &'static str, outcome: Outcome<()>) {
        self.input(saga_id, SagaInput::Reply { step: StepName::new(step), outcome }).await.unwrap();
    }

    pub async fn done(&self, saga_id: Uuid, step: &'static str) {
        self.reply(saga_id, step, Outcome::Done(None)).await;
    }

    pub async fn rejected(&self, saga_id: Uuid, step: &'static str, code: &str) {
        self.reply(saga_id, step, Outcome::Rejected(Rejection::new(code, "no"))).await;
    }

    pub async fn undone(&self, saga_id: Uuid, step: &'static str) {
        let reply = SagaInput::UndoReply { step: StepName::new(step), outcome: UndoOutcome::Done };
        self.input(saga_id, reply).await.unwrap();
    }

    /// The whole log of a category. Writers of other tests in this cluster may hold it back for a moment.
    pub async fn log(&self, category: &'static str) -> Vec<Recorded> {
        let whole = async {
            loop {
                let events = self.log_now(category).await;
                let count: i64 = sqlx::query_scalar("select count(*) from event where category = $1")
                    .bind(category)
                    .fetch_one(&self.pool)
                    .await
                    .unwrap();
                if i64::try_from(events.len()).unwrap() == count {
                    return events;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), whole).await.expect("the log is read to its end")
    }

    async fn log_now(&self, category: &'static str) -> Vec<Recorded> {
        let mut events: Vec<Recorded> = Vec::new();
        loop {
            let after = events.last().map_or(Cursor::START, |event| event.cursor);
            let page = self.store.read_log(after, &[Category::new(category)], 10_000).await.unwrap();
            if page.is_empty() {
                return events;
            }
            events.extend(page);
        }
    }

    /// Brings the read models up to date, `batch` events at a time, from nothing.
    pub async fn project(&self, batch: usize) {
        sqlx::query("truncate saga_view, saga_ended, saga_held, step_begun, step_usual, order_view")
            .execute(&self.pool)
            .await
            .unwrap();
        let mut connection = self.pool.acquire().await.unwrap();
        for events in self.log("saga").await.chunks(batch) {
            SagaProjection.apply(&mut connection, events).await.unwrap();
        }
        for events in self.log("order").await.chunks(batch) {
            OrderProjection.apply(&mut connection, events).await.unwrap();
        }
    }
}

/// A database with orders' tables, and its URL.
pub async fn database() -> (PgPool, String) {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let name = format!("operators_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let url = tokio::task::spawn_blocking(|| TestServers::shared().expect("the test servers start").admin_url());
    let admin_url = url.await.unwrap();
    let admin = PgPoolOptions::new().max_connections(1).connect(&admin_url).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("create database {name}"))).execute(&admin).await.unwrap();
    let (server, _) = admin_url.rsplit_once('/').unwrap();
    let url = format!("{server}/{name}");
    let pool = PgPoolOptions::new().max_connections(4).connect(&url).await.unwrap();
    MIGRATOR.run(&pool).await.unwrap();
    orders::migrator().run(&pool).await.unwrap();
    (pool, url)
}

pub fn facts(customer: u128, minor_units: i64) -> Facts {
    let farm = Farm { id: Uuid::from_u128(3), name: "Hof".to_owned(), email: "hof@example.org".to_owned() };
    let price = Money::new(minor_units / 2, Currency::EUR);
    let line = Line { product_id: Uuid::from_u128(2), name: "Apples".to_owned(), quantity: 2, unit_price: price, farm };
    Facts {
        customer_id: Uuid::from_u128(customer),
        email: "ana@example.org".to_owned(),
        payment_token: "tok_success".to_owned(),
        lines: vec![line],
        total: Money::new(minor_units, Currency::EUR),
    }
}
