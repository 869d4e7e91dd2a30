//! A database that was put back to an older state: its service refuses to start until an operator has looked, and then
//! begins a new history. As a program, over a real Postgres and a real nats-server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use chassis::clock::Uuids;
use eventstore::{
    Actor, Aggregate as _, Append, Cause, Commit, DomainEvent as _, EventId, EventStore as _, IdSource as _, NewEvent,
    TxId, Version,
};
use eventstore_postgres::{PostgresStore, StoreOptions};
use farmera_local::{DatabaseSpec, Servers, TestServers};
use payment::domain::{Event, Payment};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(60);

/// Payment's database, migrated by the program itself, and a broker.
struct World {
    servers: Arc<Servers>,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let spec = DatabaseSpec::new("farmera_payment", "farmera_payment_owner", "farmera_payment");
        let start = || TestServers::start(|options| options.databases = vec![spec]).unwrap();
        let servers = Arc::new(tokio::task::spawn_blocking(start).await.unwrap());
        let world = Self { servers, folder: tempfile::tempdir().unwrap() };
        assert_eq!(world.farmera(&["migrate", "payment"]).await.0, 0);
        world
    }

    fn store(&self) -> PostgresStore {
        let url = self.servers.service_url("farmera_payment").unwrap();
        PostgresStore::connect(&StoreOptions::new(&url)).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_farmera"));
        command.args(arguments).env_clear().kill_on_drop(true);
        command.env("FARMERA_PAYMENT__DATABASE_URL", self.servers.service_url("farmera_payment").unwrap());
        command.env("FARMERA_PAYMENT__MIGRATION_URL", self.servers.owner_url("farmera_payment").unwrap());
        command.env("FARMERA_NATS_URL", self.servers.nats_url()).env("FARMERA_PAYMENT__SANDBOX", "true");
        command.env("FARMERA_GRPC_ADDRESS", "127.0.0.1:0").env("FARMERA_ADMIN_ADDRESS", "127.0.0.1:0");
        command
    }

    /// Exit code, and what it said.
    async fn farmera(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.command(arguments).output().await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), text)
    }

    /// One event that others hear of, in a stream of its own.
    async fn record(&self, stream: u128) {
        let event = Event::VoidedBefore { order_id: Uuid::from_u128(stream) };
        let id = Uuids.next_id();
        let event = NewEvent {
            id: EventId(id),
            type_name: event.type_name(),
            schema_version: 1,
            payload: serde_json::to_string(&event).unwrap(),
            time: self.store().now().await.unwrap(),
            cause: Cause { correlation: id, causation: id, trace: None, actor: Actor::new("test") },
        };
        let append = Append::new(Payment::stream(Uuid::from_u128(stream)), Version::NONE, None, vec![event]);
        self.store().commit(Commit { appends: vec![append], ..Commit::default() }).await.unwrap();
    }

    /// Has the service tell what waits in its outbox.
    async fn told(&self) -> Child {
        let service = self.command(&["run", "payment"]).stderr(Stdio::null()).spawn().unwrap();
        let (store, end) = (self.store(), Instant::now() + PATIENCE);
        while !store.outbox_pending(TxId::default(), Duration::ZERO, 1).await.unwrap().is_empty() {
            assert!(Instant::now() < end, "not everything was told");
            sleep(Duration::from_millis(50)).await;
        }
        service
    }

    async fn while_postgres_is_down(&self, act: impl FnOnce(&Servers) + Send + 'static) {
        let servers = Arc::clone(&self.servers);
        let done = tokio::task::spawn_blocking(move || {
            servers.kill_postgres();
            act(&servers);
            servers.start_postgres().unwrap();
        });
        done.await.unwrap();
    }

    fn copy(&self) -> PathBuf {
        self.folder.path().join("copy")
    }
}

async fn end(mut service: Child) {
    service.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_is_refused_until_an_operator_adopts_it_and_then_tells_a_new_history() {
    let world = World::new().await;
    world.record(1).await;
    end(world.told().await).await;
    let copy = world.copy();
    world.while_postgres_is_down(move |servers| servers.copy_postgres_data(&copy).unwrap()).await;
    assert_eq!(world.farmera(&["store", "lost", "payment"]).await.0, 0, "it is as it was");
    world.record(2).await;
    world.record(3).await;
    let mut running = world.told().await;

    // Put back while the service runs: it ends by itself.
    let copy = world.copy();
    world.while_postgres_is_down(move |servers| servers.restore_postgres_data(&copy).unwrap()).await;
    let ended = tokio::time::timeout(PATIENCE, running.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(1));

    // And does not start again.
    let (code, said) = world.farmera(&["run", "payment"]).await;
    assert_eq!(code, 2, "{said}");
    for expected in ["2 event(s) that were told are not in its log", "farmera store adopt", "restore.md"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let (code, said) = world.farmera(&["store", "lost", "payment"]).await;
    assert_eq!(code, 1, "{said}");
    for stream in [2, 3] {
        assert!(said.contains(&format!("payment/{}", Uuid::from_u128(stream))), "{said}");
    }

    let (code, said) = world.farmera(&["store", "adopt", "payment", "--reason", "a disk was lost"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("2 event(s) are left behind"), "{said}");
    let (code, said) = world.farmera(&["store", "adopt", "payment", "--reason", "again"]).await;
    assert_eq!(code, 1, "there is nothing to adopt: {said}");

    // The same stream as before the loss is told again: another event, of another history.
    world.record(2).await;
    end(world.told().await).await;
    let (code, said) = world.farmera(&["transport", "verify", "payment", "-o", "json"]).await;
    assert_eq!(code, 0, "{said}");
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    let counts = ["told", "held", "missing", "extra", "abandoned"].map(|name| report[0][name].as_u64().unwrap());
    assert_eq!(counts, [2, 4, 0, 0, 2], "the old history's messages are still there, and nobody's business: {said}");
}
