//! What is true after a connection broke, an answer was lost, the server was killed.
#![expect(clippy::expect_used, reason = "helpers of tests")]

mod support;
#[path = "support/wire.rs"]
mod wire;

use std::time::{Duration, Instant};

use eventstore::memory::CountingIds;
use eventstore::{
    Actor, Append, Category, Cause, Commit, CommitError, Cursor, EventId, EventStore, InboxEntry, NewEvent, ReadError,
    StreamId, TimerChange, Version,
};
use eventstore_postgres::{PostgresStore, StoreOptions};
use farmera_local::TestServers;
use futures::future::join_all;
use support::Database;
use wire::{Fault, Wire};

const APPLE: Category = Category::new("apple");
/// Long enough for a busy machine, short enough to wait for.
const DEADLINE: Duration = Duration::from_secs(2);

fn stream(number: u64) -> StreamId {
    StreamId::new(APPLE, CountingIds::id(1, number))
}

fn commit(number: u64) -> Commit {
    let event = |index| NewEvent {
        id: EventId(CountingIds::id(2, number * 10 + index)),
        type_name: "Grown",
        schema_version: 1,
        payload: "{}".to_owned(),
        time: chrono::DateTime::UNIX_EPOCH,
        cause: Cause {
            correlation: CountingIds::id(3, number),
            causation: CountingIds::id(4, number),
            trace: None,
            actor: Actor::new("test"),
        },
    };
    Commit {
        appends: vec![Append::new(stream(number), Version::NONE, None, vec![event(0), event(1)])],
        timers: vec![TimerChange::Arm { stream: stream(number), due: chrono::DateTime::UNIX_EPOCH }],
        inbox: vec![InboxEntry { consumer: "test".to_owned(), message: CountingIds::id(5, number) }],
        dead_letters: vec![],
    }
}

async fn through_a_wire() -> (Database, Wire, PostgresStore) {
    let database = Database::new().await;
    let wire = Wire::to(&database.service_url).await;
    let mut options = StoreOptions::new(wire.url(&database.service_url));
    options.deadline = DEADLINE;
    let store = PostgresStore::connect(&options).expect("valid options");
    // The statements are prepared: what is sent next is the commit itself.
    store.commit(commit(1)).await.expect("committed");
    (database, wire, store)
}

async fn versions(store: &PostgresStore, number: u64) -> Vec<u64> {
    let events = store.read_streams(&[(stream(number), Version::NONE)], 10).await.expect("read");
    events.iter().map(|event| event.version.get()).collect()
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_found() {
    let (_database, wire, store) = through_a_wire().await;
    wire.set(Fault::LoseAnswer);
    let committed = store.commit(commit(2)).await.expect("it took place");
    let events = store.read_streams(&[(stream(2), Version::NONE)], 10).await.expect("read");
    assert_eq!(events.len(), 2);
    assert_eq!(events.last().map(|event| event.cursor), Some(committed.last));
}

#[tokio::test]
async fn a_commit_that_never_arrived_is_sent_again() {
    let (_database, wire, store) = through_a_wire().await;
    wire.set(Fault::LoseRequest);
    let committed = store.commit(commit(2)).await.expect("it takes place");
    assert!(committed.last > Cursor::START);
    assert_eq!(versions(&store, 2).await, [1, 2]);
}

#[tokio::test]
async fn a_lost_answer_to_a_commit_that_another_writer_had_overtaken_is_a_conflict() {
    let (database, wire, store) = through_a_wire().await;
    let mut other = commit(2);
    other.inbox.clear();
    let mut events = other.appends[0].events().to_vec();
    events[0].id = EventId(CountingIds::id(9, 9));
    other.appends = vec![Append::new(stream(2), Version::NONE, None, events)];
    database.store().commit(other).await.expect("committed");
    wire.set(Fault::LoseAnswer);
    let mut late = commit(2);
    late.inbox.clear();
    let error = store.commit(late).await.expect_err("overtaken");
    assert!(matches!(error, CommitError::Conflict { .. }), "{error:?}");
    assert_eq!(versions(&store, 2).await, [1, 2]);
}

#[tokio::test]
async fn a_lost_answer_to_a_commit_without_events_ends_well() {
    let (_database, wire, store) = through_a_wire().await;
    let disarm = || Commit { timers: vec![TimerChange::Disarm { stream: stream(1) }], ..Commit::default() };
    store.commit(disarm()).await.expect("disarmed; and the statement is prepared");
    wire.set(Fault::LoseAnswer);
    store.commit(disarm()).await.expect("disarmed, perhaps twice");

    let handled = |number| {
        let inbox = vec![InboxEntry { consumer: "test".to_owned(), message: CountingIds::id(5, number) }];
        Commit { inbox, ..Commit::default() }
    };
    store.commit(handled(7)).await.expect("handled; and the statement is prepared");
    wire.set(Fault::LoseAnswer);
    let error = store.commit(handled(8)).await.expect_err("handled, but whose row it is cannot be told");
    assert!(matches!(error, CommitError::Duplicate { .. }), "{error:?}");
}

#[tokio::test]
async fn a_read_whose_answer_is_lost_is_repeated() {
    let (_database, wire, store) = through_a_wire().await;
    for fault in [Fault::LoseAnswer, Fault::LoseRequest] {
        wire.set(fault);
        assert_eq!(versions(&store, 1).await, [1, 2]);
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_costs_a_deadline_and_not_the_connection_after_it() {
    let (_database, wire, store) = through_a_wire().await;
    wire.set(Fault::Silence);
    let start = Instant::now();
    let error = store.commit(commit(2)).await.expect_err("no answer");
    assert!(matches!(error, CommitError::Unavailable(_)), "{error:?}");
    let error = store.now().await.expect_err("no answer");
    assert!(matches!(error, ReadError::Unavailable(_)), "{error:?}");
    assert!(start.elapsed() < 3 * DEADLINE, "{:?}", start.elapsed());

    wire.set(Fault::None);
    store.now().await.expect("a new connection");
    // The first attempt did arrive; whoever tries again learns that.
    let error = store.commit(commit(2)).await.expect_err("handled before");
    assert!(matches!(error, CommitError::Duplicate { .. }), "{error:?}");
    assert_eq!(versions(&store, 2).await, [1, 2]);
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_broken_connection_behind() {
    let (_database, wire, store) = through_a_wire().await;
    for number in 2..20 {
        wire.set(Fault::Silence);
        let gone = tokio::time::timeout(Duration::from_millis(20), store.commit(commit(number))).await;
        assert!(gone.is_err(), "nobody answers");
        wire.set(Fault::None);
        store.now().await.expect("an answer to this question, not to the one before");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_costs_no_call_after_its_return() {
    let servers = tokio::task::spawn_blocking(|| TestServers::start(|_| {})).await.expect("run").expect("started");
    support::prepare(&servers.admin_url()).await;
    support::run(&servers.admin_url(), "create database killed template test_template").await;
    let store = Database::at(&servers.admin_url(), "killed").store();
    store.commit(commit(1)).await.expect("committed");
    // Eight connections, all of which are going to be stale.
    join_all((0..8).map(|_| store.now())).await.into_iter().for_each(|now| assert!(now.is_ok(), "{now:?}"));

    servers.kill_postgres();
    let error = store.now().await.expect_err("nobody there");
    assert!(matches!(error, ReadError::Unavailable(_)), "{error:?}");
    let error = store.commit(commit(2)).await.expect_err("nobody there");
    assert!(matches!(error, CommitError::Unavailable(_)), "{error:?}");

    tokio::task::block_in_place(|| servers.start_postgres()).expect("started");
    let (nows, commits) = tokio::join!(
        join_all((0..8).map(|_| store.now())),
        join_all((10..18).map(|number| store.commit(commit(number))))
    );
    nows.into_iter().for_each(|now| assert!(now.is_ok(), "{now:?}"));
    commits.into_iter().for_each(|committed| assert!(committed.is_ok(), "{committed:?}"));
    assert_eq!(versions(&store, 1).await, [1, 2]);
    tokio::task::block_in_place(|| servers.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_went_stale_unnoticed_cost_no_call() {
    let servers = tokio::task::spawn_blocking(|| TestServers::start(|_| {})).await.expect("run").expect("started");
    support::prepare(&servers.admin_url()).await;
    support::run(&servers.admin_url(), "create database stale template test_template").await;
    let store = Database::at(&servers.admin_url(), "stale").store();
    store.commit(commit(1)).await.expect("committed");
    join_all((0..8).map(|_| store.now())).await.into_iter().for_each(|now| assert!(now.is_ok(), "{now:?}"));

    servers.kill_postgres();
    tokio::task::block_in_place(|| servers.start_postgres()).expect("started");
    let (nows, commits) = tokio::join!(
        join_all((0..4).map(|_| store.now())),
        join_all((10..14).map(|number| store.commit(commit(number))))
    );
    nows.into_iter().for_each(|now| assert!(now.is_ok(), "{now:?}"));
    commits.into_iter().for_each(|committed| assert!(committed.is_ok(), "{committed:?}"));
    tokio::task::block_in_place(|| servers.stop());
}

#[tokio::test]
async fn a_store_starts_while_its_database_is_away() {
    let options = StoreOptions::new("postgres://somebody:s3cret@127.0.0.1:9/nothing");
    let store = PostgresStore::connect(&options).expect("nothing is sent yet");
    let error = store.now().await.expect_err("nobody there");
    let text = format!("{error:?} {error}");
    assert!(matches!(error, ReadError::Unavailable(_)) && !text.contains("s3cret"), "{text}");
}
