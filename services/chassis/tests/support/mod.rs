//! An outbox, relays over it, and a broker of one's own.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "each test file uses its part of it, and fails by panicking"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream;
use chassis::broker::Broker;
use chassis::clock::Uuids;
use chassis::config::Secret;
use chassis::envelope::{Outgoing, Said, told_event};
use chassis::health::Health;
use chassis::relay::{EventsPerMessage, Relay, RelayHandle, RelaySpec};
use eventstore::worker::CommitListener as _;
use eventstore::{
    Actor, Append, Category, Cause, Commit, DecodeError, EventId, EventStore as _, IdSource as _, NewEvent, Recorded,
    StreamId, Transport, TxId, Version,
};
use eventstore_postgres::{MIGRATOR, PostgresStore, StoreOptions};
use farmera_local::{DatabaseSpec, Servers, TestServers};
use sqlx::Connection as _;
use tokio::task::JoinHandle;
use uuid::Uuid;

pub const STREAM: &str = "FARMERA_ORDERS";
pub const APPLE: Category = Category::new("apple");
pub const SPEC: RelaySpec = RelaySpec { source: "/farmera/orchard", stream: STREAM, categories: &[APPLE], translate };
const PATIENCE: Duration = Duration::from_secs(60);

/// Every third event is nobody's business.
fn translate(event: &Recorded) -> Result<Option<Outgoing>, DecodeError> {
    let told = !event.version.get().is_multiple_of(3);
    Ok(told.then(|| Outgoing {
        subject: "farmera.orders.grown",
        message_type: "farmera.orders.v1.Grown",
        body: b"{}".to_vec(),
    }))
}

/// Servers with one service's database.
pub struct World {
    pub servers: Arc<Servers>,
    written: [AtomicU64; 8],
}

/// One process of the service, as far as the relay is concerned.
pub struct Replica {
    pub store: Arc<PostgresStore>,
    /// Of the part `relay` alone.
    pub health: Health,
    handle: RelayHandle,
    task: JoinHandle<()>,
}

impl World {
    pub async fn new() -> Self {
        Self::with_nats(&[]).await
    }

    /// With these lines in the nats-server's configuration.
    pub async fn with_nats(settings: &'static [&'static str]) -> Self {
        let start = || {
            TestServers::start(|options| {
                options.nats_settings = settings.iter().map(ToString::to_string).collect();
                options.databases = vec![DatabaseSpec::new("orchard", "orchard_owner", "orchard_service")];
            })
        };
        let servers = tokio::task::spawn_blocking(start).await.unwrap().unwrap();
        let mut owner = sqlx::PgConnection::connect(&servers.owner_url("orchard").unwrap()).await.unwrap();
        MIGRATOR.run(&mut owner).await.unwrap();
        owner.close().await.unwrap();
        Self { servers: Arc::new(servers), written: Default::default() }
    }

    pub fn store(&self) -> PostgresStore {
        PostgresStore::connect(&StoreOptions::new(self.servers.service_url("orchard").unwrap())).unwrap()
    }

    pub async fn broker(&self) -> Broker {
        let url = Secret::new(self.servers.nats_url());
        Broker::connect("orchard", &url, Health::new().component("nats")).await.unwrap()
    }

    #[expect(clippy::disallowed_methods, reason = "a replica that can be killed")]
    pub async fn replica(&self) -> Replica {
        let store = Arc::new(self.store());
        let transport: Arc<dyn Transport> = store.clone();
        let health = Health::new();
        let component = health.component("relay");
        let (relay, handle) = Relay::new(SPEC, transport, self.broker().await, component, EventsPerMessage::default());
        Replica { store, health, handle, task: tokio::spawn(relay.run()) }
    }

    /// Commits the next event of stream `number`. One writer at a time per stream.
    pub async fn commit(&self, replica: &Replica, number: usize) -> TxId {
        let version = self.written[number].fetch_add(1, Ordering::SeqCst);
        let event = NewEvent {
            id: EventId(Uuids.next_id()),
            type_name: "Grown",
            schema_version: 1,
            payload: "{}".to_owned(),
            time: replica.store.now().await.unwrap(),
            cause: Cause {
                correlation: Uuids.next_id(),
                causation: Uuids.next_id(),
                trace: None,
                actor: Actor::new("test"),
            },
        };
        let append = Append::new(stream(number), Version::new(version), None, vec![event]);
        let commit = Commit { appends: vec![append], ..Commit::default() };
        replica.store.commit(commit).await.unwrap().last.tx
    }

    /// Commits and hands over, as the worker does.
    pub async fn tell(&self, replica: &Replica, number: usize) {
        let tx = self.commit(replica, number).await;
        replica.hand_over(tx).await;
    }

    /// Stream `number` ends at `version` again.
    pub fn rewind(&self, number: usize, version: u64) {
        self.written[number].store(version, Ordering::SeqCst);
    }

    /// Waits until nothing is left in the outbox, and everything that was committed can be read from the broker.
    pub async fn settled(&self) -> Held {
        let store = self.store();
        let expected: usize =
            self.written.iter().map(|written| written.load(Ordering::SeqCst)).map(|n| (n - n / 3) as usize).sum();
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let left = store.outbox_pending(TxId::default(), Duration::ZERO, 10).await.unwrap();
                let held = self.held().await;
                if left.is_empty() && held.first.len() >= expected {
                    return held;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        match waited.await {
            Ok(held) => held,
            Err(_) => panic!("not everything was told: {expected} expected, {:?}", self.held().await),
        }
    }

    /// What the broker holds from the start of its stream.
    pub async fn held(&self) -> Held {
        let mut held = Held::default();
        let Ok(client) = async_nats::connect(self.servers.nats_url()).await else { return held };
        let jetstream = jetstream::new(client);
        let Ok(stream) = jetstream.get_stream(STREAM).await else { return held };
        let state = stream.cached_info().state.clone();
        for sequence in state.first_sequence.max(1)..=state.last_sequence {
            let Ok(message) = stream.get_raw_message(sequence).await else { continue };
            held.messages += 1;
            for said in Said::of(Some(&message.headers), &message.payload).readable() {
                let Some((event, _)) = told_event(&said) else { continue };
                held.told += 1;
                if held.first.insert(event.id, ()).is_none() {
                    held.order.entry(event.stream).or_default().push(event.version.get());
                }
            }
        }
        held
    }
}

/// What stands in the broker's stream.
#[derive(Debug, Default)]
pub struct Held {
    pub messages: usize,
    /// Events in them, however often.
    pub told: usize,
    first: BTreeMap<Uuid, ()>,
    /// The versions of each event stream as they came for the first time.
    order: BTreeMap<Uuid, Vec<u64>>,
}

impl Held {
    /// Distinct events.
    pub fn events(&self) -> usize {
        self.first.len()
    }

    /// Every event stream's messages came in the order of its versions.
    pub fn assert_in_order(&self) {
        for (stream, versions) in &self.order {
            assert!(versions.is_sorted(), "{stream}: {versions:?}");
        }
    }
}

impl Replica {
    pub async fn hand_over(&self, tx: TxId) {
        let events: Arc<[Recorded]> = self.store.read_transactions(&[tx], &[APPLE]).await.unwrap().into();
        let last = events.last().unwrap();
        let committed = eventstore::Committed { last: last.cursor, now: last.time };
        self.handle.committed(&events, committed);
    }

    /// Waits until its relay ends by itself.
    pub async fn ended(self) {
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }

    /// As a SIGKILL: whatever is in memory is gone.
    pub async fn kill(self) {
        self.task.abort();
        drop(self.task.await);
    }
}

pub fn stream(number: usize) -> StreamId {
    StreamId::new(APPLE, Uuid::from_u128(number as u128 + 1))
}

/// Kills the broker, does something to its files, starts it again.
pub async fn while_nats_is_down(servers: &Arc<Servers>, fault: impl FnOnce(&Servers) + Send + 'static) {
    let servers = Arc::clone(servers);
    let done = tokio::task::spawn_blocking(move || {
        servers.kill_nats();
        fault(&servers);
        servers.start_nats().unwrap();
    });
    done.await.unwrap();
}

/// Kills Postgres, does something to its files, starts it again.
pub async fn while_postgres_is_down(servers: &Arc<Servers>, act: impl FnOnce(&Servers) + Send + 'static) {
    let servers = Arc::clone(servers);
    let done = tokio::task::spawn_blocking(move || {
        servers.kill_postgres();
        act(&servers);
        servers.start_postgres().unwrap();
    });
    done.await.unwrap();
}
