//! Two processes on one database.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod support;

use eventstore::memory::CountingIds;
use eventstore::{
    Actor, Append, Category, Cause, Commit, CommitError, EventId, EventStore, InboxEntry, NewEvent, StreamId,
    TimerChange, Version,
};
use eventstore_postgres::PostgresStore;
use futures::future::join_all;
use support::Database;

const APPLE: Category = Category::new("apple");

fn stream(number: u64) -> StreamId {
    StreamId::new(APPLE, CountingIds::id(1, number))
}

fn append(stream: StreamId, expected: Version, id: EventId) -> Append {
    let event = NewEvent {
        id,
        type_name: "Grown",
        schema_version: 1,
        payload: "{}".to_owned(),
        time: chrono::DateTime::UNIX_EPOCH,
        cause: Cause { correlation: id.0, causation: id.0, trace: None, actor: Actor::new("test") },
    };
    Append::new(stream, expected, None, vec![event])
}

/// Appends one event to each stream, again and again, until all have taken it together.
async fn insist(store: &PostgresStore, streams: &[StreamId], id: EventId) -> u32 {
    let mut expected = vec![Version::NONE; streams.len()];
    for conflicts in 0.. {
        let appends = streams.iter().zip(&expected).map(|(stream, expected)| append(*stream, *expected, id));
        match store.commit(Commit { appends: appends.collect(), ..Commit::default() }).await {
            Ok(_) => return conflicts,
            Err(CommitError::Conflict { stream, actual, .. }) => {
                let mut places = streams.iter().zip(&mut expected);
                *places.find(|(other, _)| **other == stream).expect("one of ours").1 = actual;
            }
            Err(error @ (CommitError::Duplicate { .. } | CommitError::Refused(_) | CommitError::Unavailable(_))) => {
                panic!("{error:?}")
            }
        }
    }
    0
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_that_race_on_one_stream_leave_it_dense_and_complete() {
    let database = Database::new().await;
    let stores = [database.store(), database.store()];
    let writers = (0..40_u64).map(|number| {
        let store = &stores[number as usize % 2];
        async move { insist(store, &[stream(1)], EventId(CountingIds::id(2, number))).await }
    });
    let conflicts: u32 = join_all(writers).await.into_iter().sum();
    let events = stores[0].read_streams(&[(stream(1), Version::NONE)], 100).await.expect("read");
    let versions: Vec<u64> = events.iter().map(|event| event.version.get()).collect();
    assert_eq!(versions, (1..=40).collect::<Vec<_>>());
    let mut ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 40);
    assert!(conflicts > 0, "they did race");
}

/// Each batch names its streams in an order of its own; the store writes them in one.
#[tokio::test(flavor = "multi_thread")]
async fn batches_that_meet_the_same_streams_do_not_deadlock() {
    let database = Database::new().await;
    let stores = [database.store(), database.store()];
    let writers = (0..24_u64).map(|number| {
        let store = &stores[number as usize % 2];
        let mut streams: Vec<StreamId> = (1..=6).map(stream).collect();
        streams.rotate_left(number as usize % 6);
        if number % 4 > 1 {
            streams.reverse();
        }
        async move { insist(store, &streams, EventId(CountingIds::id(2, number))).await }
    });
    join_all(writers).await;
    for number in 1..=6 {
        let events = stores[0].read_streams(&[(stream(number), Version::NONE)], 100).await.expect("read");
        assert_eq!(events.len(), 24);
    }
    let mut admin = database.admin().await;
    let deadlocks: i64 =
        sqlx::query_scalar("select deadlocks from pg_stat_database where datname = current_database()")
            .fetch_one(&mut admin)
            .await
            .expect("a count");
    assert_eq!(deadlocks, 0);
}

/// One message at two consumers' replicas at the same time, each with its own events.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_handled_by_two_at_once_is_handled_once() {
    let database = Database::new().await;
    let stores = [database.store(), database.store()];
    for message in 0..20_u64 {
        let handle = |number: u64| {
            let entry = InboxEntry { consumer: "test".to_owned(), message: CountingIds::id(3, message) };
            let appends =
                vec![append(stream(message * 10 + number), Version::NONE, EventId(CountingIds::id(2, number)))];
            let timers = vec![TimerChange::Arm { stream: stream(number), due: chrono::DateTime::UNIX_EPOCH }];
            stores[number as usize % 2].commit(Commit { appends, timers, inbox: vec![entry], ..Commit::default() })
        };
        let results = join_all((1..=6).map(handle)).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
        let duplicates = results.iter().filter(|result| matches!(result, Err(CommitError::Duplicate { .. })));
        assert_eq!(duplicates.count(), 5, "{results:?}");
    }
}

/// What the database has said of its own trouble with `database`.
fn errors_of(database: &Database) -> Vec<String> {
    let name = database.service_url.rsplit('/').next().expect("a URL with a database");
    let servers = farmera_local::TestServers::shared().expect("the servers run");
    let log = std::fs::read_to_string(servers.root().join("postgres.log")).expect("it logs");
    let of_us = format!("@{name} ERROR");
    log.lines().filter(|line| line.contains(&of_us)).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_behind_is_told_so_and_the_database_has_no_error_to_log() {
    let database = Database::new().await;
    let (one, other) = (database.store(), database.store());
    let id = |number| EventId(CountingIds::id(2, number));
    for number in 0..3 {
        one.commit(Commit { appends: vec![append(stream(1), Version::new(number), id(number))], ..Commit::default() })
            .await
            .expect("stored");
    }
    // One that knows nothing of the stream, and one that knows half of it.
    for (number, behind) in [(10, 0), (11, 2)] {
        let commit = Commit { appends: vec![append(stream(1), Version::new(behind), id(number))], ..Commit::default() };
        let refused = other.commit(commit).await.expect_err("somebody was quicker");
        assert!(matches!(refused, CommitError::Conflict { actual, .. } if actual == Version::new(3)), "{refused:?}");
    }
    assert_eq!(errors_of(&database), Vec::<String>::new());
}
