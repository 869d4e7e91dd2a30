//! A read model keeps up with a log that grows faster than its pause allows for, on a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/database.rs"]
mod database;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chassis::clock::StoreClock;
use chassis::health::Health;
use chassis::projection::{Follower, Projection, ProjectionError};
use chassis::shutdown::Shutdown;
use chrono::DateTime;
use database::database;
use eventstore::memory::CountingIds;
use eventstore::{
    Actor, Append, Category, Cause, Commit, Cursor, EventId, EventStore as _, NewEvent, Recorded, StreamId, TxId,
    Version,
};
use eventstore_postgres::{PostgresStore, StoreOptions};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

const ROWS: Category = Category::new("rows");
const PATIENCE: Duration = Duration::from_secs(30);

/// Notes how many events each of its transactions had, and takes its time between two.
struct Sizes(Arc<Mutex<Vec<usize>>>);

#[async_trait::async_trait]
impl Projection for Sizes {
    fn name(&self) -> &'static str {
        "sizes"
    }

    fn categories(&self) -> &'static [Category] {
        &[ROWS]
    }

    fn tables(&self) -> &'static [&'static str] {
        &[]
    }

    fn pause(&self) -> Duration {
        PATIENCE * 2
    }

    async fn apply(&self, _: &mut PgConnection, events: &[Recorded]) -> Result<(), ProjectionError> {
        self.0.lock().unwrap().push(events.len());
        Ok(())
    }
}

async fn write(store: &PostgresStore, stream: u64, events: u64) -> TxId {
    let stream = StreamId::new(ROWS, CountingIds::id(1, stream));
    let event = |number: u64| NewEvent {
        id: EventId(Uuid::new_v5(&stream.id, &number.to_be_bytes())),
        type_name: "Written",
        schema_version: 1,
        payload: r#""Written""#.to_owned(),
        time: DateTime::UNIX_EPOCH,
        cause: Cause { correlation: Uuid::nil(), causation: Uuid::nil(), trace: None, actor: Actor::new("test") },
    };
    let append = Append::new(stream, Version::NONE, None, (0..events).map(event).collect());
    store.commit(Commit { appends: vec![append], ..Commit::default() }).await.unwrap().last.tx
}

#[tokio::test]
async fn a_read_model_that_has_a_full_batch_before_it_does_not_pause() {
    let url = database("following").await;
    let store = Arc::new(PostgresStore::connect(&StoreOptions::new(&url)).unwrap());
    let mut last = TxId(0);
    for stream in 1..=17 {
        last = write(&store, stream, 1_000).await;
    }
    // Whoever else writes in this cluster may hold the log back for a moment.
    let whole = async {
        while store.read_log(Cursor { tx: last, position: 0 }, &[ROWS], 1).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, whole).await.unwrap();
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let (pool, clock) = (store.pool().clone(), Arc::new(StoreClock::new()));
    let component = Health::new().component("sizes");
    let (follower, _nudge, mut followed) = Follower::new(Sizes(Arc::clone(&sizes)), store, pool, clock, component);
    let (trigger, shutdown) = Shutdown::new();
    #[expect(clippy::disallowed_methods, reason = "the test ends it")]
    let task = tokio::spawn(follower.run(shutdown));

    assert!(followed.caught_up(last, PATIENCE).await, "it waited between two full batches");

    assert_eq!(*sizes.lock().unwrap(), [8_000, 8_000, 1_000], "what gathered is applied together");
    trigger.trigger();
    task.await.unwrap();
}
