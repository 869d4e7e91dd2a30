//! A definition that was changed and kept its version, while sagas run that are bound to it as it was: its program does
//! not start. As a program, over a real Postgres and a real nats-server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Stdio;
use std::time::Duration;

use chassis::clock::Uuids;
use eventstore::{
    Actor, Aggregate as _, Append, Cause, Commit, DomainEvent as _, EventId, EventStore as _, IdSource as _, NewEvent,
    Version,
};
use eventstore_postgres::{PostgresStore, StoreOptions};
use farmera_local::{DatabaseSpec, Servers, TestServers};
use money::{Currency, Money};
use orders::domain::{Facts, Farm, Line};
use orders::sagas::{OrderFacts, OrderProcess, Patience, place_order};
use saga::{Saga, SagaEvent};
use sqlx::PgPool;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(60);
const SAGA: Uuid = Uuid::from_u128(0x0199_0000_0001_7000_8000_0000_0000_0007);

/// Orders' database, migrated by the program itself, and a broker.
struct World {
    servers: Servers,
}

impl World {
    async fn new() -> Self {
        let spec = DatabaseSpec::new("farmera_orders", "farmera_orders_owner", "farmera_orders");
        let start = || TestServers::start(|options| options.databases = vec![spec]).unwrap();
        let world = Self { servers: tokio::task::spawn_blocking(start).await.unwrap() };
        let migrated = world.command(&["migrate", "orders"]).output().await.unwrap();
        assert!(migrated.status.success(), "{migrated:?}");
        world
    }

    fn url(&self) -> String {
        self.servers.service_url("farmera_orders").unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_farmera"));
        command.args(arguments).env_clear().kill_on_drop(true).stdin(Stdio::null());
        command.env("FARMERA_ORDERS__DATABASE_URL", self.url());
        command.env("FARMERA_ORDERS__MIGRATION_URL", self.servers.owner_url("farmera_orders").unwrap());
        command.env("FARMERA_NATS_URL", self.servers.nats_url()).env("FARMERA_LOG", "error");
        command.env("FARMERA_GRPC_ADDRESS", "127.0.0.1:0").env("FARMERA_ADMIN_ADDRESS", "127.0.0.1:0");
        command
    }

    /// An order's saga begins, as the released program would have begun it.
    async fn begin_saga(&self) {
        let store = PostgresStore::connect(&StoreOptions::new(self.url())).unwrap();
        let definition = place_order(Patience::default()).unwrap().id().clone();
        let (input, deadline, parent) = (order().into(), None, None);
        let event = SagaEvent::<OrderProcess>::Started { definition, input, deadline, parent };
        let event = NewEvent {
            id: EventId(Uuids.next_id()),
            type_name: event.type_name(),
            schema_version: event.event_type().version(),
            payload: serde_json::to_string(&event).unwrap(),
            time: store.now().await.unwrap(),
            cause: Cause { correlation: SAGA, causation: SAGA, trace: None, actor: Actor::new("test") },
        };
        let append = Append::new(Saga::<OrderProcess>::stream(SAGA), Version::NONE, None, vec![event]);
        store.commit(Commit { appends: vec![append], ..Commit::default() }).await.unwrap();
    }

    /// The program runs until its read model knows of the open saga.
    async fn run_until_seen(&self) {
        let mut service = self.command(&["run", "orders"]).stderr(Stdio::null()).spawn().unwrap();
        let (pool, end) = (PgPool::connect(&self.url()).await.unwrap(), Instant::now() + PATIENCE);
        let seen = || sqlx::query_scalar::<_, i64>("select count(*) from saga_view").fetch_one(&pool);
        while seen().await.unwrap() == 0 {
            assert!(Instant::now() < end, "the saga was not seen");
            assert_eq!(service.try_wait().unwrap(), None, "it does not run");
            sleep(Duration::from_millis(50)).await;
        }
        service.kill().await.unwrap();
    }
}

fn order() -> OrderFacts {
    let farm = Farm { id: Uuid::from_u128(3), name: "Hof".to_owned(), email: "hof@example.org".to_owned() };
    let price = Money::new(250, Currency::EUR);
    let line = Line { product_id: Uuid::from_u128(2), name: "Apples".to_owned(), quantity: 2, unit_price: price, farm };
    let facts = Facts {
        customer_id: Uuid::from_u128(1),
        email: "ana@example.org".to_owned(),
        payment_token: "tok_success".to_owned(),
        lines: vec![line],
        total: Money::new(500, Currency::EUR),
    };
    OrderFacts::new(Uuid::from_u128(9), facts)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_with_a_changed_definition_does_not_start_while_open_sagas_are_bound_to_it_as_it_was() {
    let world = World::new().await;
    world.begin_saga().await;
    world.run_until_seen().await;
    // Another patience is another definition, and the version is the same.
    let mut changed = world.command(&["run", "orders"]);
    changed.env("FARMERA_ORDERS__PAYMENT_TIMEOUT_MS", "7000");
    let refused = timeout(PATIENCE, changed.output()).await.unwrap().unwrap();
    let line = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{line}");
    let recorded = place_order(Patience::default()).unwrap().id().hash;
    let expected = format!(
        "error: orders cannot run: place-order v1 was changed, but 1 open sagas or more are bound to it as it was ({recorded}): \
         give it a new version and keep this one\n"
    );
    assert_eq!(line, expected);
    // Nothing was replaced: the program that has it as it was still starts, and knows the saga.
    world.run_until_seen().await;
}
