//! The shells that every service stands on, over a real Postgres and a real nats-server: what catches the bugs that
//! would be planted there. Each test waits for something that comes after what it looks at, so that it is over at once
//! when the bug is there.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::HeaderMap;
use chassis::broker::Broker;
use chassis::clock::Uuids;
use chassis::config::Secret;
use chassis::envelope::{Incoming, Outgoing};
use chassis::health::Health;
use chassis::projection::{Follower, Projection, ProjectionError};
use chassis::reactor::{self, ConsumerSpec, NotHandled, React};
use chassis::relay::{EventsPerMessage, Relay, RelaySpec};
use chassis::shutdown::{Shutdown, Trigger};
use eventstore::memory::{FixedClock, MemoryStore};
use eventstore::worker::CommitListener as _;
use eventstore::{
    Actor, Append, Category, Cause, Commit, Committed, DeadLetter, DecodeError, EventId, EventStore as _,
    IdSource as _, NewEvent, Recorded, StreamId, TxId, Version,
};
use eventstore_postgres::{MIGRATOR, PostgresStore, StoreOptions};
use farmera_local::{DatabaseSpec, Servers, TestServers};
use sqlx::{Connection as _, PgConnection};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(20);
const APPLE: Category = Category::new("apple");
const STREAM: &str = "FARMERA_ORDERS";
const SUBJECT: &str = "farmera.orders.order_placed";
const TYPE: &str = "farmera.orders.v1.OrderPlaced";
/// No JetStream stream listens here: nobody acknowledges.
const NOWHERE: &str = "nowhere.order_placed";

fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x0199_0000_0001_7000_8000_0000_0000_0000 + number)
}

/// The tree whose apples are told where nobody listens.
fn far_tree() -> StreamId {
    StreamId::new(APPLE, id(100))
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Servers, with a database for events.
struct World {
    servers: Servers,
    store: Arc<PostgresStore>,
}

impl World {
    async fn new() -> Self {
        let start = || {
            TestServers::start(|options| {
                options.databases = vec![DatabaseSpec::new("orchard", "orchard_owner", "orchard_service")];
            })
        };
        let servers = tokio::task::spawn_blocking(start).await.unwrap().unwrap();
        let mut owner = PgConnection::connect(&servers.owner_url("orchard").unwrap()).await.unwrap();
        MIGRATOR.run(&mut owner).await.unwrap();
        let options = StoreOptions::new(servers.service_url("orchard").unwrap());
        Self { servers, store: Arc::new(PostgresStore::connect(&options).unwrap()) }
    }

    /// The first apple of a tree.
    async fn grow(&self, tree: StreamId) -> Committed {
        let cause = Cause { correlation: id(1), causation: Uuids.next_id(), trace: None, actor: Actor::new("test") };
        let event = NewEvent {
            id: EventId(Uuids.next_id()),
            type_name: "Grown",
            schema_version: 1,
            payload: "{}".to_owned(),
            time: self.store.now().await.unwrap(),
            cause,
        };
        let appends = vec![Append::new(tree, Version::new(0), None, vec![event])];
        self.store.commit(Commit { appends, ..Commit::default() }).await.unwrap()
    }

    async fn waits_in_outbox(&self, committed: Committed) -> bool {
        let waiting = self.store.outbox_pending(TxId::default(), Duration::ZERO, 10).await.unwrap();
        waiting.contains(&committed.last.tx)
    }
}

async fn broker(servers: &Servers) -> Broker {
    let url = Secret::new(servers.nats_url());
    let broker = Broker::connect("orchard", &url, Health::new().component("nats")).await.unwrap();
    broker.client.flush().await.unwrap();
    broker
}

fn translate(event: &Recorded) -> Result<Option<Outgoing>, DecodeError> {
    let subject = if event.stream == far_tree() { NOWHERE } else { SUBJECT };
    Ok(Some(Outgoing { subject, message_type: TYPE, body: b"{}".to_vec() }))
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "the runtime of the test ends the relay")]
async fn a_transaction_leaves_the_outbox_when_it_is_acknowledged() {
    let world = World::new().await;
    let spec = RelaySpec { source: "/farmera/orchard", stream: STREAM, categories: &[APPLE], translate };
    let component = Health::new().component("relay");
    let (relay, handle) =
        Relay::new(spec, world.store.clone(), broker(&world.servers).await, component, EventsPerMessage::default());
    tokio::spawn(relay.run());
    let tell = async |tree: StreamId| {
        let committed = world.grow(tree).await;
        let events: Arc<[Recorded]> =
            world.store.read_transactions(&[committed.last.tx], &[APPLE]).await.unwrap().into();
        handle.committed(&events, committed);
        committed
    };
    let first = tell(StreamId::new(APPLE, id(1))).await;
    until("what is acknowledged leaves", async || !world.waits_in_outbox(first).await).await;

    let lost = tell(far_tree()).await;
    let second = tell(StreamId::new(APPLE, id(2))).await;
    until("what is acknowledged leaves", async || !world.waits_in_outbox(second).await).await;
    assert!(world.waits_in_outbox(lost).await, "nobody has acknowledged it");
}

/// Puts off the first message, cannot stand poison, notes all others.
struct Ear {
    store: Arc<MemoryStore>,
    put_off: Mutex<bool>,
    heard: Mutex<Vec<String>>,
}

#[async_trait::async_trait]
impl React for Ear {
    async fn react(&self, message: Incoming) -> Result<(), NotHandled> {
        let said = String::from_utf8(message.body.to_vec()).unwrap();
        if said.contains("poison") {
            return Err(NotHandled::Poison("nobody can digest this".to_owned()));
        }
        if said.contains("busy") && !std::mem::replace(&mut self.put_off.lock().unwrap(), true) {
            return Err(NotHandled::Later("not now".to_owned()));
        }
        self.heard.lock().unwrap().push(said);
        Ok(())
    }

    async fn park(&self, letter: DeadLetter) -> Result<(), NotHandled> {
        let commit = Commit { dead_letters: vec![letter], ..Commit::default() };
        self.store.commit(commit).await.map(drop).map_err(|error| NotHandled::Later(error.to_string()))
    }
}

/// A reactor, and who publishes to it.
struct Listening {
    broker: Broker,
    ear: Arc<Ear>,
    _trigger: Trigger,
    /// Last: the server goes with it.
    _servers: Servers,
}

impl Listening {
    #[expect(clippy::disallowed_methods, reason = "the runtime of the test ends the reactor")]
    async fn new() -> Self {
        const SPEC: ConsumerSpec = ConsumerSpec { stream: STREAM, durable: "test-orders", subjects: &[SUBJECT] };
        let start = || TestServers::start(|options| options.databases = vec![]);
        let servers = tokio::task::spawn_blocking(start).await.unwrap().unwrap();
        let broker = broker(&servers).await;
        broker.ensure_stream(STREAM).await.unwrap();
        let store = Arc::new(MemoryStore::new(chrono::DateTime::UNIX_EPOCH));
        let ear = Arc::new(Ear { store: store.clone(), put_off: Mutex::default(), heard: Mutex::default() });
        let (trigger, shutdown) = Shutdown::new();
        let component = Health::new().component("ear");
        tokio::spawn(reactor::run(SPEC, broker.clone(), store, ear.clone(), component, shutdown));
        Self { broker, ear, _trigger: trigger, _servers: servers }
    }

    /// A sound message of one order.
    async fn tell(&self, said: &'static str) {
        let mut headers = HeaderMap::new();
        headers.insert("ce-specversion", "1.0");
        headers.insert("ce-id", Uuid::new_v5(&id(1), said.as_bytes()).to_string());
        headers.insert("ce-source", "/farmera/orders");
        headers.insert("ce-type", TYPE);
        headers.insert("ce-subject", format!("order/{}", id(1)));
        headers.insert("ce-correlationid", id(1).to_string());
        headers.insert("ce-causationid", id(1).to_string());
        let published = self.broker.jetstream.publish_with_headers(SUBJECT, headers, said.into());
        published.await.unwrap().await.unwrap();
    }

    fn heard(&self) -> Vec<String> {
        self.ear.heard.lock().unwrap().clone()
    }

    async fn kept(&self) -> usize {
        self.ear.store.dead_letters(0, 10).await.unwrap().len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_not_handled_comes_again() {
    let listening = Listening::new().await;
    listening.tell("busy").await;
    until("it comes again", async || listening.heard() == ["busy"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_nobody_can_handle_is_kept() {
    let listening = Listening::new().await;
    listening.tell("poison").await;
    listening.tell("what follows").await;
    until("what follows has come", async || listening.kept().await == 2 || !listening.heard().is_empty()).await;
    assert_eq!((listening.kept().await, listening.heard().len()), (2, 0), "it is kept, and what follows behind it");
}

/// Counts the apples of each tree; fails once after it has written.
#[derive(Default)]
struct Apples {
    failed: Mutex<bool>,
}

#[async_trait::async_trait]
impl Projection for Apples {
    fn name(&self) -> &'static str {
        "apples"
    }

    fn categories(&self) -> &'static [Category] {
        &[APPLE]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["apple_view"]
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(1)
    }

    async fn apply(&self, connection: &mut PgConnection, events: &[Recorded]) -> Result<(), ProjectionError> {
        for event in events {
            sqlx::query("insert into apple_view (tree) values ($1)")
                .bind(event.stream.id)
                .execute(&mut *connection)
                .await?;
        }
        if !std::mem::replace(&mut *self.failed.lock().unwrap(), true) {
            return Err(sqlx::Error::PoolTimedOut.into());
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "the runtime of the test ends the follower")]
async fn a_batch_that_failed_halfway_is_applied_again() {
    let world = World::new().await;
    let mut owner = PgConnection::connect(&world.servers.owner_url("orchard").unwrap()).await.unwrap();
    let table = "create table apple_view (tree uuid primary key); grant all on apple_view to orchard_service";
    sqlx::raw_sql(table).execute(&mut owner).await.unwrap();
    world.grow(StreamId::new(APPLE, id(1))).await;
    let pool = sqlx::PgPool::connect(&world.servers.service_url("orchard").unwrap()).await.unwrap();
    let clock = Arc::new(FixedClock(chrono::DateTime::UNIX_EPOCH));
    let component = Health::new().component("apples");
    let (follower, nudge, mut followed) =
        Follower::new(Apples::default(), world.store.clone(), pool.clone(), clock, component);
    let (_trigger, shutdown) = Shutdown::new();
    tokio::spawn(follower.run(shutdown));
    let second = world.grow(StreamId::new(APPLE, id(2))).await;
    nudge.committed(&Vec::new().into(), second);
    assert!(followed.caught_up(second.last.tx, PATIENCE).await, "it goes on");
    let applied: i64 = sqlx::query_scalar("select count(*) from apple_view").fetch_one(&pool).await.unwrap();
    assert_eq!(applied, 2, "the first apple is there, too");
}
