//! `farmera verify` and the refusal of newer schemas, as a program, on databases whose owner did something.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, and so do its helpers"
)]

use std::path::Path;

use eventstore::{
    Actor, Aggregate as _, Append, Cause, Commit, DomainEvent as _, EventId, EventStore as _, NewEvent, Version,
};
use eventstore_postgres::{PostgresStore, StoreOptions};
use farmera_local::{DatabaseSpec, Servers, TestServers};
use payment::domain::{Event, Payment};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::process::Command;
use uuid::Uuid;

/// Payment's database with its roles, migrated by the program itself, and three streams of four events.
struct World {
    servers: Servers,
    folder: tempfile::TempDir,
}

const STREAMS: u128 = 3;
const EVENTS: u64 = 4;

impl World {
    async fn new() -> Self {
        let spec = DatabaseSpec::new("farmera_payment", "farmera_payment_owner", "farmera_payment");
        let start = || TestServers::start(|options| options.databases = vec![spec]).unwrap();
        let servers = tokio::task::spawn_blocking(start).await.unwrap();
        let world = Self { servers, folder: tempfile::tempdir().unwrap() };
        assert_eq!(world.farmera(&["migrate", "payment"]).await.0, 0);
        let store = world.store();
        for stream in 1..=STREAMS {
            let events = (0..EVENTS).map(|number| event(stream, number)).collect();
            let append = Append::new(Payment::stream(Uuid::from_u128(stream)), Version::NONE, None, events);
            store.commit(Commit { appends: vec![append], ..Commit::default() }).await.unwrap();
        }
        world
    }

    fn store(&self) -> PostgresStore {
        let url = self.servers.service_url("farmera_payment").unwrap();
        PostgresStore::connect(&StoreOptions::new(&url)).unwrap()
    }

    /// Exit code, standard output, standard error.
    async fn farmera(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_farmera"));
        command.args(arguments).env_clear();
        command.env("FARMERA_PAYMENT__DATABASE_URL", self.servers.service_url("farmera_payment").unwrap());
        command.env("FARMERA_PAYMENT__MIGRATION_URL", self.servers.owner_url("farmera_payment").unwrap());
        command.env("FARMERA_NATS_URL", self.servers.nats_url()).env("FARMERA_PAYMENT__SANDBOX", "true");
        command.env("FARMERA_GRPC_ADDRESS", "127.0.0.1:0").env("FARMERA_ADMIN_ADDRESS", "127.0.0.1:0");
        let output = command.output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// `kind version` of each finding, and the exit code.
    async fn verify(&self, arguments: &[&str]) -> (i32, Vec<String>) {
        let all: Vec<&str> = ["verify", "payment", "-o", "json"].iter().chain(arguments).copied().collect();
        let (code, out, err) = self.farmera(&all).await;
        let report: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
        let findings = report["findings"].as_array().unwrap();
        assert_eq!(report["findings_total"], findings.len());
        let told = |finding: &Value| format!("{} {}", finding["kind"].as_str().unwrap(), finding["version"]);
        (code, findings.iter().map(told).collect())
    }

    /// As the owner: the service's role could not.
    async fn tamper(&self, sql: &str) {
        let url = self.servers.owner_url("farmera_payment").unwrap();
        let mut owner = PgConnection::connect(&url).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut owner).await.unwrap();
        owner.close().await.unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

fn event(stream: u128, number: u64) -> NewEvent {
    let event = Event::VoidedBefore { order_id: Uuid::from_u128(u128::from(number)) };
    let id = Uuid::from_u128(stream << 64 | u128::from(number));
    NewEvent {
        id: EventId(id),
        type_name: event.type_name(),
        schema_version: 1,
        payload: serde_json::to_string(&event).unwrap(),
        time: chrono::DateTime::UNIX_EPOCH,
        cause: Cause { correlation: id, causation: id, trace: None, actor: Actor::new("test") },
    }
}

fn whose(stream: u128) -> String {
    format!("where stream_id = '{}'", Uuid::from_u128(stream))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_owner_changes_is_found_and_what_only_a_checkpoint_can_show_is_found_against_one() {
    let world = World::new().await;
    let heads = world.path("heads");
    assert_eq!(world.verify(&["--save", &heads]).await, (0, vec![]));
    assert_eq!(world.verify(&["--against", &heads]).await, (0, vec![]));
    let longer = Append::new(Payment::stream(Uuid::from_u128(9)), Version::NONE, None, vec![event(9, 0)]);
    world.store().commit(Commit { appends: vec![longer], ..Commit::default() }).await.unwrap();
    assert_eq!(world.verify(&["--against", &heads]).await, (0, vec![]), "new events are not against it");

    world.tamper(&format!("delete from event {} and version = 4", whose(1))).await;
    assert_eq!(world.verify(&[]).await, (0, vec![]), "within the database a cut end does not show");
    assert_eq!(world.verify(&["--against", &heads]).await, (1, vec!["truncated 4".to_owned()]));
    world.tamper(&format!("delete from event {}", whose(1))).await;
    assert_eq!(world.verify(&["--against", &heads]).await, (1, vec!["gone 4".to_owned()]));

    world.tamper(&format!("delete from event {}", whose(3))).await;
    let other = (0..EVENTS).map(|number| event(3, 100 + number)).collect();
    let forged = Append::new(Payment::stream(Uuid::from_u128(3)), Version::NONE, None, other);
    world.store().commit(Commit { appends: vec![forged], ..Commit::default() }).await.unwrap();
    assert_eq!(world.verify(&[]).await, (0, vec![]), "a rewritten chain fits itself");
    let found = vec!["gone 4".to_owned(), "rewritten 4".to_owned()];
    assert_eq!(world.verify(&["--against", &heads]).await, (1, found.clone()));

    world.tamper(&format!("update event set payload = '{{\"Unheard\":{{}}}}' {} and version = 2", whose(2))).await;
    let (code, kinds) = world.verify(&[]).await;
    assert_eq!((code, kinds), (1, vec!["changed 2".to_owned(), "undecodable 2".to_owned()]));
    let late = world.path("late");
    let (code, out, err) = world.farmera(&["verify", "payment", "--save", &late, "--limit", "1"]).await;
    assert_eq!(code, 1);
    assert!(out.contains("and 1 more"), "{out}");
    assert!(err.contains("no checkpoint was saved") && !Path::new(&late).exists(), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_edited_checkpoint_is_refused() {
    let world = World::new().await;
    let heads = world.path("heads");
    assert_eq!(world.farmera(&["verify", "payment", "--save", &heads]).await.0, 0);
    let text = std::fs::read_to_string(&heads).unwrap();
    std::fs::write(&heads, text.replacen("\"version\":4", "\"version\":3", 1)).unwrap();
    let (code, _, err) = world.farmera(&["verify", "payment", "--against", &heads]).await;
    assert_eq!(code, 2);
    assert!(err.contains("the file was changed") && err.lines().count() == 1, "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_program_is_left_alone_and_one_of_an_older_is_sent_to_migrate() {
    let world = World::new().await;
    world.tamper("update _sqlx_migrations set version = 999 where version = 2").await;
    let stream = format!("payment/{}", Uuid::from_u128(1));
    for command in [
        &["verify", "payment"][..],
        &["migrate", "payment"],
        &["run", "payment"],
        &["parked", "payment"],
        &["transport", "verify", "payment"],
        &["transport", "rebuild", "payment"],
        &["projection", "list", "payment"],
        &["projection", "rebuild", "payment", "payment_view"],
        &["dlq", "list", "--service", "payment"],
        &["stream", "show", "payment", &stream],
        &["stream", "export", "payment"],
        &["stream", "import", "payment", "/dev/null"],
        &["store", "lost", "payment"],
        &["store", "adopt", "payment", "--reason", "a test"],
    ] {
        let (code, _, err) = world.farmera(command).await;
        assert_eq!(code, 2, "{command:?}: {err}");
        assert!(err.contains("error: payment: the database was migrated by a newer program"), "{command:?}: {err}");
        assert!(err.contains("migration 0999"), "{command:?}: {err}");
    }
    world.tamper("delete from _sqlx_migrations where version = 999").await;
    let (code, _, err) = world.farmera(&["verify", "payment"]).await;
    assert_eq!(code, 2);
    assert!(err.trim_end().ends_with("run `farmera migrate payment`"), "{err}");
}
