//! Open writers anywhere on the server hold the log back, none is stepped over, and none of ours for longer than it may.
#![expect(clippy::expect_used, reason = "helpers of tests")]

mod support;

use std::time::{Duration, Instant};

use eventstore::memory::CountingIds;
use eventstore::{Actor, Append, Category, Cause, Commit, Cursor, EventId, EventStore, NewEvent, StreamId, Version};
use eventstore_postgres::{PostgresStore, ServerLimits, StoreOptions, session};
use farmera_local::TestServers;
use futures::future::join_all;
use sqlx::{Connection as _, PgConnection};
use support::Database;

const APPLE: Category = Category::new("apple");
/// What a session of ours may sit in a transaction for, in this test.
const IDLE: Duration = Duration::from_secs(1);

fn commit(number: u64) -> Commit {
    let id = CountingIds::id(1, number);
    let event = NewEvent {
        id: EventId(id),
        type_name: "Grown",
        schema_version: 1,
        payload: "{}".to_owned(),
        time: chrono::DateTime::UNIX_EPOCH,
        cause: Cause { correlation: id, causation: id, trace: None, actor: Actor::new("test") },
    };
    let stream = StreamId::new(APPLE, CountingIds::id(2, number));
    Commit { appends: vec![Append::new(stream, Version::NONE, None, vec![event])], ..Commit::default() }
}

/// Not about speed: the machine may be busy.
fn patient(database: &Database) -> PostgresStore {
    let options = StoreOptions { deadline: Duration::from_secs(60), ..StoreOptions::new(&database.service_url) };
    PostgresStore::connect(&options).expect("valid options")
}

/// Everything behind `cursor`; moves it.
async fn read(store: &PostgresStore, cursor: &mut Cursor) -> Vec<EventId> {
    let events = store.read_log(*cursor, &[APPLE], 1_000).await.expect("read");
    *cursor = events.last().map_or(*cursor, |event| event.cursor);
    events.into_iter().map(|event| event.id).collect()
}

async fn read_until(store: &PostgresStore, cursor: &mut Cursor, count: usize, limit: Duration) -> Vec<EventId> {
    let (started, mut seen) = (Instant::now(), Vec::new());
    while seen.len() < count {
        seen.extend(read(store, cursor).await);
        assert!(started.elapsed() < limit, "only {} of {count} events after {limit:?}", seen.len());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    seen
}

/// On a server of its own: its open writers would hold the other tests' logs back, too.
async fn databases() -> (farmera_local::Servers, Database, Database) {
    let start = || TestServers::start(|_| {}).expect("servers start");
    let servers = tokio::task::spawn_blocking(start).await.expect("not cancelled");
    let url = servers.admin_url();
    support::prepare(&url).await;
    for name in ["ours", "theirs"] {
        support::run(&url, &format!("create database {name} template test_template")).await;
    }
    let (ours, theirs) = (Database::at(&url, "ours"), Database::at(&url, "theirs"));
    (servers, ours, theirs)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_in_another_database_holds_the_log_back_and_nothing_is_lost() {
    let (_servers, ours, theirs) = databases().await;
    let (store, mut cursor) = (patient(&ours), Cursor::START);
    store.commit(commit(1)).await.expect("committed");
    read_until(&store, &mut cursor, 1, Duration::from_secs(20)).await;

    let mut open = theirs.connection().await;
    let mut stranger = open.begin().await.expect("begun");
    sqlx::query("select pg_current_xact_id()").execute(&mut *stranger).await.expect("it writes");
    let written = join_all((2..40).map(|number| store.commit(commit(number)))).await;
    assert!(written.iter().all(Result::is_ok));
    assert_eq!(read(&store, &mut cursor).await, [], "younger than a writer who is open");
    stranger.commit().await.expect("committed");
    assert_eq!(read_until(&store, &mut cursor, 38, Duration::from_secs(20)).await.len(), 38);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_sits_in_its_transaction_is_cut_off_and_the_log_goes_on() {
    let (_servers, ours, theirs) = databases().await;
    let (store, mut cursor) = (patient(&ours), Cursor::START);
    let limits = ServerLimits { idle_in_transaction: IDLE, ..ServerLimits::OPERATOR };
    for database in [&ours, &theirs] {
        let silent = session(&database.service_url, "silent", limits).expect("a URL");
        let mut silent = PgConnection::connect_with(&silent).await.expect("a connection");
        sqlx::raw_sql("begin; select pg_current_xact_id()").execute(&mut silent).await.expect("it writes");
        let number = cursor.position + 100;
        store.commit(commit(number)).await.expect("committed");
        // Some more than the limit: the machine may be busy.
        let seen = read_until(&store, &mut cursor, 1, IDLE + Duration::from_secs(5)).await;
        assert_eq!(seen, [EventId(CountingIds::id(1, number))]);
        assert!(sqlx::query("select 1").execute(&mut silent).await.is_err(), "the server closed it");
    }
}

/// Many writers, each in its own connection, committing in whatever order; one reader that keeps its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_beside_many_writers_sees_every_event_once_and_in_order() {
    const WRITERS: u64 = 8;
    const EACH: u64 = 40;
    let database = Database::new().await;
    let store = patient(&database);
    let write = |writer: u64| {
        let store = &store;
        async move {
            for number in 0..EACH {
                store.commit(commit(writer * 1_000 + number)).await.expect("committed");
            }
        }
    };
    let mut cursor = Cursor::START;
    let reading = read_until(&store, &mut cursor, (WRITERS * EACH) as usize, Duration::from_secs(60));
    let (_, seen) = tokio::join!(join_all((0..WRITERS).map(write)), reading);
    let mut sorted = seen.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!((sorted.len(), seen.len()), (320, 320));
    let again = store.read_log(Cursor::START, &[APPLE], 1_000).await.expect("read");
    assert_eq!(again.into_iter().map(|event| event.id).collect::<Vec<_>>(), seen, "nothing came late");
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_else_in_our_database_has_a_limit_too() {
    let database = Database::new().await;
    // The template's settings are not copied; a database that is migrated where it stands has them.
    support::run(&database.admin_url, include_str!("../../../migrations/eventstore/0007_limits.sql")).await;
    for mut connection in [database.connection().await, database.admin().await] {
        let limit: String = sqlx::query_scalar("select current_setting('idle_in_transaction_session_timeout')")
            .fetch_one(&mut connection)
            .await
            .expect("asked");
        assert_eq!(limit, "5s");
    }
}
