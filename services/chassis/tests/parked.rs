//! Read models of an older program meet events of a newer one, on a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/database.rs"]
mod database;

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use chassis::clock::StoreClock;
use chassis::health::Health;
use chassis::projection::{Followed, Follower, Nudge, Projection, ProjectionError, Rebuild, Report};
use chassis::shutdown::{Shutdown, Trigger};
use chrono::DateTime;
use database::database;
use eventstore::memory::CountingIds;
use eventstore::worker::CommitListener as _;
use eventstore::{
    Actor, Append, Category, Cause, Commit, Committed, Cursor, DomainEvent, EventId, EventStore, NewEvent, Recorded,
    StreamId, TxId, Version,
};
use eventstore_postgres::{PostgresStore, StoreOptions};
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnection, PgPool};
use tokio::task::JoinHandle;
use uuid::Uuid;

const LETTERS: Category = Category::new("letters");
const PATIENCE: Duration = Duration::from_secs(20);

/// What the older program knows.
#[derive(Clone, Serialize, Deserialize)]
enum Old {
    Written { number: i64 },
}

eventstore::event_types! {
    Old {
        Self::Written { .. } => "Written";
    }
}

/// What the newer one knows.
#[derive(Clone, Serialize, Deserialize)]
enum New {
    Written { number: i64 },
    FromTheFuture { number: i64 },
}

eventstore::event_types! {
    New {
        Self::Written { .. } => "Written";
        Self::FromTheFuture { .. } => "FromTheFuture";
    }
}

trait Numbered {
    fn number(&self) -> i64;
}

impl Numbered for Old {
    fn number(&self) -> i64 {
        let Self::Written { number } = self;
        *number
    }
}

impl Numbered for New {
    fn number(&self) -> i64 {
        match self {
            Self::Written { number } | Self::FromTheFuture { number } => *number,
        }
    }
}

/// Keeps the numbers of each stream in the order in which it was told of them.
struct Shelf<E>(PhantomData<fn() -> E>);

#[async_trait::async_trait]
impl<E: DomainEvent + Numbered> Projection for Shelf<E> {
    fn name(&self) -> &'static str {
        "shelf"
    }

    fn categories(&self) -> &'static [Category] {
        &[LETTERS]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["shelf"]
    }

    fn pause(&self) -> Duration {
        Duration::ZERO
    }

    /// Writes as it reads: what comes before an event that is not understood must not stay behind.
    async fn apply(&self, connection: &mut PgConnection, events: &[Recorded]) -> Result<(), ProjectionError> {
        for event in events {
            let number = E::from_recorded(event)?.number();
            sqlx::query(
                "insert into shelf (id, numbers) values ($1, array[$2])
                 on conflict (id) do update set numbers = shelf.numbers || excluded.numbers",
            )
            .bind(event.stream.id)
            .bind(number)
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }
}

/// A process that follows.
struct Process {
    followed: Followed,
    nudge: Nudge,
    trigger: Trigger,
    task: JoinHandle<()>,
}

impl Process {
    async fn end(self) {
        self.trigger.trigger();
        self.task.await.unwrap();
    }
}

struct World {
    store: Arc<PostgresStore>,
    pool: PgPool,
    url: String,
}

impl World {
    async fn new(name: &'static str) -> Self {
        let url = database(name).await;
        let store = PostgresStore::connect(&StoreOptions::new(&url)).unwrap();
        let pool = store.pool().clone();
        sqlx::query("create table shelf (id uuid primary key, numbers bigint[] not null)")
            .execute(&pool)
            .await
            .unwrap();
        Self { store: Arc::new(store), pool, url }
    }

    /// Appends numbered events to a stream; those of `future` are of a type of the newer program.
    async fn write(&self, stream: u64, numbers: std::ops::RangeInclusive<i64>, future: &[i64]) -> TxId {
        let id = stream_id(stream);
        let last = self.store.read_stream_backwards(id, 1).await.unwrap().pop();
        let (expected, digest) = last.map_or((Version::NONE, None), |last| (last.version, last.digest));
        let events = numbers.map(|number| {
            let type_name = if future.contains(&number) { "FromTheFuture" } else { "Written" };
            event(stream, number, type_name)
        });
        let append = Append::new(id, expected, digest, events.collect());
        self.store.commit(Commit { appends: vec![append], ..Commit::default() }).await.unwrap().last.tx
    }

    fn start<E: DomainEvent + Numbered>(&self) -> Process {
        let component = Health::new().component("shelf");
        let shelf = Shelf::<E>(PhantomData);
        let clock = Arc::new(StoreClock::new());
        let (follower, nudge, followed) = Follower::new(shelf, self.store.clone(), self.pool.clone(), clock, component);
        let (trigger, shutdown) = Shutdown::new();
        #[expect(clippy::disallowed_methods, reason = "the process ends it")]
        let task = tokio::spawn(follower.run(shutdown));
        Process { followed, nudge, trigger, task }
    }

    /// Waits until `process` has followed the log to `tx`.
    async fn followed(&self, process: &mut Process, tx: TxId) {
        let last = Cursor { tx, position: 0 };
        process.nudge.committed(&Arc::from([]), Committed { last, now: DateTime::UNIX_EPOCH });
        assert!(process.followed.caught_up(tx, PATIENCE).await, "the log is not followed");
    }

    /// Runs a program until it has followed the log to its end, and has looked after what is parked.
    async fn run<E: DomainEvent + Numbered>(&self, tx: TxId) {
        let mut process = self.start::<E>();
        self.followed(&mut process, tx).await;
        // It looks after parked streams behind its first batch. Once it has followed this one, it has looked.
        let tx = self.write(999, 1..=1, &[]).await;
        self.followed(&mut process, tx).await;
        process.end().await;
        sqlx::query("delete from shelf where id = $1").bind(stream_id(999).id).execute(&self.pool).await.unwrap();
    }

    async fn rebuild<E: DomainEvent + Numbered>(&self) -> Report {
        let shelf = Shelf::<E>(PhantomData);
        Rebuild { projection: &shelf, url: &self.url, batch: 2, progress: &|_| () }.switch().await.unwrap()
    }

    async fn shelf(&self) -> BTreeMap<Uuid, Vec<i64>> {
        let rows: Vec<(Uuid, Vec<i64>)> =
            sqlx::query_as("select id, numbers from shelf").fetch_all(&self.pool).await.unwrap();
        rows.into_iter().collect()
    }

    async fn parked(&self) -> Vec<(Uuid, i64, i64)> {
        sqlx::query_as("select stream_id, version, skipped from parked_stream where consumer = 'shelf' order by 1")
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }
}

fn stream_id(stream: u64) -> StreamId {
    StreamId::new(LETTERS, CountingIds::id(1, stream))
}

fn event(stream: u64, number: i64, type_name: &'static str) -> NewEvent {
    NewEvent {
        id: EventId(Uuid::new_v5(&stream_id(stream).id, &number.to_be_bytes())),
        type_name,
        schema_version: 1,
        payload: format!(r#"{{"{type_name}":{{"number":{number}}}}}"#),
        time: DateTime::UNIX_EPOCH,
        cause: Cause { correlation: Uuid::nil(), causation: Uuid::nil(), trace: None, actor: Actor::new("test") },
    }
}

fn shelf(rows: &[(u64, std::ops::RangeInclusive<i64>)]) -> BTreeMap<Uuid, Vec<i64>> {
    rows.iter().map(|(stream, numbers)| (stream_id(*stream).id, numbers.clone().collect())).collect()
}

#[tokio::test]
async fn a_stream_of_a_newer_program_is_parked_alone_and_taken_up_without_a_gap() {
    let world = World::new("parked_alone").await;
    world.write(1, 1..=3, &[2]).await;
    let tx = world.write(2, 1..=2, &[]).await;
    world.run::<Old>(tx).await;
    assert_eq!(world.shelf().await, shelf(&[(1, 1..=1), (2, 1..=2)]));
    assert_eq!(world.parked().await, [(stream_id(1).id, 2, 2)], "from version 2 on, two events");

    world.write(1, 4..=4, &[]).await;
    let tx = world.write(2, 3..=3, &[]).await;
    world.run::<Old>(tx).await;
    assert_eq!(world.shelf().await, shelf(&[(1, 1..=1), (2, 1..=3)]), "neighbours go on");
    assert_eq!(world.parked().await, [(stream_id(1).id, 2, 3)], "what is put off is counted");

    world.run::<New>(tx).await;
    assert_eq!(world.shelf().await, shelf(&[(1, 1..=4), (2, 1..=3)]), "nothing is skipped, nothing is doubled");
    assert_eq!(world.parked().await, []);
}

#[tokio::test]
async fn an_older_and_a_newer_program_may_follow_the_same_log_at_the_same_time() {
    let world = World::new("parked_mixed").await;
    let tx = world.write(1, 1..=3, &[2]).await;
    let mut old = world.start::<Old>();
    world.followed(&mut old, tx).await;
    // The newer one takes the stream up behind the back of the older one, which goes on as if it had known.
    world.run::<New>(tx).await;
    assert_eq!(world.parked().await, []);
    let tx = world.write(1, 4..=5, &[]).await;
    world.followed(&mut old, tx).await;
    let tx = world.write(1, 6..=7, &[7]).await;
    world.followed(&mut old, tx).await;
    old.end().await;
    assert_eq!(world.shelf().await, shelf(&[(1, 1..=6)]));
    assert_eq!(world.parked().await, [(stream_id(1).id, 7, 1)]);

    world.run::<New>(tx).await;
    assert_eq!(world.shelf().await, shelf(&[(1, 1..=7)]));
}

#[tokio::test]
async fn many_streams_are_parked_and_a_long_one_is_taken_up_a_page_at_a_time() {
    let world = World::new("parked_many").await;
    for stream in 1..=150 {
        world.write(stream, 1..=2, &[2]).await;
    }
    world.write(200, 1..=1_200, &[1, 1_100]).await;
    let tx = world.write(201, 1..=1, &[]).await;
    world.run::<Old>(tx).await;
    assert_eq!(world.parked().await.len(), 151);
    assert_eq!(world.shelf().await.len(), 151, "all but the one that begins with an unknown event");

    // A look takes up a hundred streams, those first that waited longest.
    for _ in 0..2 {
        world.run::<New>(tx).await;
    }
    assert_eq!(world.parked().await, []);
    let of_long = world.shelf().await.remove(&stream_id(200).id);
    assert_eq!(of_long, Some((1..=1_200).collect()));
}

#[tokio::test]
async fn a_rebuild_parks_what_it_does_not_understand_as_the_live_one_does() {
    let world = World::new("parked_rebuilt").await;
    world.write(1, 1..=4, &[3]).await;
    world.write(2, 1..=2, &[]).await;
    let tx = world.write(3, 1..=3, &[1]).await;
    let mut process = world.start::<Old>();
    world.followed(&mut process, tx).await;
    process.end().await;
    let before = (world.shelf().await, world.parked().await);
    assert_eq!(before.1, [(stream_id(1).id, 3, 2), (stream_id(3).id, 1, 3)]);

    let report = world.rebuild::<Old>().await;
    assert_eq!((report.parked, report.differences, report.switched), (2, 0, true));
    assert_eq!((world.shelf().await, world.parked().await), before, "the same, and parked at the same places");
    let tx = world.write(1, 5..=5, &[]).await;
    let mut process = world.start::<Old>();
    world.followed(&mut process, tx).await;
    process.end().await;
    assert_eq!(
        world.parked().await,
        [(stream_id(1).id, 3, 3), (stream_id(3).id, 1, 3)],
        "the live one goes on from there"
    );

    // Whoever understands them all takes them up with the rebuild.
    let report = world.rebuild::<New>().await;
    assert_eq!((report.parked, report.differences), (0, 2), "{report:?}");
    assert_eq!(world.parked().await, []);
    assert_eq!(world.shelf().await, shelf(&[(1, 1..=5), (2, 1..=2), (3, 1..=3)]));
}

#[tokio::test]
async fn a_damaged_event_parks_its_stream_until_it_is_mended() {
    let world = World::new("parked_damaged").await;
    let tx = world.write(1, 1..=3, &[]).await;
    let damage = |payload: &'static str| {
        let mend = sqlx::query("update event set payload = $1::json where stream_id = $2 and version = 2");
        mend.bind(payload).bind(stream_id(1).id)
    };
    damage(r#"{"Written":{"number":"two"}}"#).execute(&world.pool).await.unwrap();
    world.run::<Old>(tx).await;
    assert_eq!(world.shelf().await, shelf(&[(1, 1..=1)]));
    damage(r#"{"Written":{"number":2}}"#).execute(&world.pool).await.unwrap();
    world.run::<Old>(tx).await;
    assert_eq!(world.shelf().await, shelf(&[(1, 1..=3)]));
}
