//! The log in commit order, with writers that commit late.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod support;

use std::time::Duration;

use chrono::{DateTime, Utc};
use eventstore::memory::CountingIds;
use eventstore::{
    Actor, Append, Category, Cause, Commit, Cursor, EventId, EventStore, NewEvent, Recorded, StreamId, Version,
};
use eventstore_postgres::PostgresStore;
use sqlx::{Connection, PgConnection, Row};
use support::Database;
use uuid::Uuid;

const APPLE: Category = Category::new("apple");

fn commit(number: u64) -> Commit {
    let event = NewEvent {
        id: EventId(CountingIds::id(1, number)),
        type_name: "Grown",
        schema_version: 1,
        payload: "{}".to_owned(),
        time: chrono::DateTime::UNIX_EPOCH,
        cause: Cause {
            correlation: CountingIds::id(2, number),
            causation: CountingIds::id(3, number),
            trace: None,
            actor: Actor::new("test"),
        },
    };
    let stream = StreamId::new(APPLE, CountingIds::id(4, number));
    Commit { appends: vec![Append::new(stream, Version::NONE, None, vec![event])], ..Commit::default() }
}

/// The `number`th event, written within a transaction that the caller holds open.
async fn insert(connection: &mut PgConnection, number: u64) {
    sqlx::query(
        "insert into event (version, time, stream_id, event_id, correlation_id, causation_id,
            schema_version, category, type, actor, payload)
        values (1, now(), $1, $2, $2, $2, 1, 'apple', 'Grown', 'test', '{}')",
    )
    .bind(CountingIds::id(4, number))
    .bind(CountingIds::id(1, number))
    .execute(connection)
    .await
    .expect("inserted");
}

fn ids(events: &[Recorded]) -> Vec<EventId> {
    events.iter().map(|event| event.id).collect()
}

fn numbered(numbers: impl IntoIterator<Item = u64>) -> Vec<EventId> {
    numbers.into_iter().map(|number| EventId(CountingIds::id(1, number))).collect()
}

/// A reader that keeps its place.
struct Follower<'s> {
    store: &'s PostgresStore,
    cursor: Cursor,
    seen: Vec<Recorded>,
}

impl<'s> Follower<'s> {
    fn new(store: &'s PostgresStore) -> Self {
        Self { store, cursor: Cursor::START, seen: Vec::new() }
    }

    async fn read(&mut self) {
        let events = self.store.read_log(self.cursor, &[APPLE], 100).await.expect("read");
        self.cursor = events.last().map_or(self.cursor, |event| event.cursor);
        self.seen.extend(events);
    }

    async fn read_until(&mut self, count: usize) {
        for _ in 0..2_000 {
            self.read().await;
            if self.seen.len() >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("only {} of {count} events", self.seen.len());
    }
}

#[tokio::test]
async fn an_open_writer_holds_the_log_back_and_nothing_is_lost() {
    let database = Database::new().await;
    let store = database.store();
    let mut follower = Follower::new(&store);
    store.commit(commit(1)).await.expect("committed");
    follower.read_until(1).await;

    let mut slow = database.connection().await;
    let mut transaction = slow.begin().await.expect("begun");
    insert(&mut transaction, 2).await;
    store.commit(commit(3)).await.expect("committed");
    follower.read().await;
    assert_eq!(ids(&follower.seen), numbered([1]), "3 waits for 2");
    transaction.commit().await.expect("committed");
    follower.read_until(3).await;
    assert_eq!(ids(&follower.seen), numbered([1, 2, 3]));
}

#[tokio::test]
async fn a_writer_that_gives_up_leaves_no_gap_to_wait_for() {
    let database = Database::new().await;
    let store = database.store();
    let mut follower = Follower::new(&store);
    let mut slow = database.connection().await;
    let mut transaction = slow.begin().await.expect("begun");
    insert(&mut transaction, 1).await;
    store.commit(commit(2)).await.expect("committed");
    transaction.rollback().await.expect("rolled back");
    follower.read_until(1).await;
    assert_eq!(ids(&follower.seen), numbered([2]));
}

/// The younger transaction draws its position first: the order of positions is not the order of transactions.
#[tokio::test]
async fn a_position_drawn_early_by_a_late_transaction_is_not_stepped_over() {
    let database = Database::new().await;
    let store = database.store();
    let mut follower = Follower::new(&store);
    let (mut one, mut other) = (database.connection().await, database.connection().await);

    let mut older = one.begin().await.expect("begun");
    sqlx::query("select pg_current_xact_id()").execute(&mut *older).await.expect("an older transaction id");
    let mut younger = other.begin().await.expect("begun");
    insert(&mut younger, 1).await;
    insert(&mut older, 2).await;
    older.commit().await.expect("committed");
    // While the younger one is open; a third one comes and goes.
    store.commit(commit(3)).await.expect("committed");
    follower.read_until(1).await;
    younger.commit().await.expect("committed");
    follower.read_until(3).await;
    assert_eq!(ids(&follower.seen), numbered([2, 1, 3]));
    let positions: Vec<u64> = follower.seen.iter().map(|event| event.cursor.position).collect();
    assert_eq!(positions, [2, 1, 3], "a cursor over positions alone would have lost event 1");
}

/// What the cursor is for: a reader of positions loses the event that a late writer adds.
#[tokio::test]
async fn a_cursor_over_positions_alone_would_lose_a_late_commit() {
    let database = Database::new().await;
    let store = database.store();
    let mut follower = Follower::new(&store);
    let (mut slow, mut naive) = (database.connection().await, database.connection().await);

    let mut transaction = slow.begin().await.expect("begun");
    insert(&mut transaction, 1).await;
    store.commit(commit(2)).await.expect("committed");
    follower.read().await;
    let seen: i64 = sqlx::query("select max(position) from event")
        .fetch_one(&mut naive)
        .await
        .and_then(|row| row.try_get(0))
        .expect("a position");
    transaction.commit().await.expect("committed");

    let rest: i64 = sqlx::query("select count(*) from event where position > $1")
        .bind(seen)
        .fetch_one(&mut naive)
        .await
        .and_then(|row| row.try_get(0))
        .expect("a count");
    assert_eq!(rest, 0, "the naive reader never sees event 1");
    follower.read_until(2).await;
    assert_eq!(ids(&follower.seen), numbered([1, 2]));
}

/// An event with this id, and the time at which it is said to have happened.
async fn insert_as(connection: &mut PgConnection, number: u64, id: Uuid, time: DateTime<Utc>) {
    sqlx::query(
        "insert into event (version, time, stream_id, event_id, correlation_id, causation_id,
            schema_version, category, type, actor, payload)
        values (1, $3, $1, $2, $2, $2, 1, 'apple', 'Grown', 'test', '{}')",
    )
    .bind(CountingIds::id(4, number))
    .bind(id)
    .bind(time)
    .execute(connection)
    .await
    .expect("inserted");
}

fn made_at(time: DateTime<Utc>, number: u64) -> Uuid {
    let millis = u64::try_from(time.timestamp_millis()).expect("after 1970");
    uuid::Builder::from_unix_timestamp_millis(millis, &[u8::try_from(number).expect("few"); 10]).into_uuid()
}

#[tokio::test]
async fn an_event_is_found_by_its_id_whether_that_says_when_it_was_made_or_not() {
    let database = Database::new().await;
    let store = database.store();
    let mut connection = database.connection().await;
    let begin = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
    let at = |number: u64| begin + chrono::TimeDelta::seconds(i64::try_from(number).expect("small") * 10);
    // An hour's log, ids as they are made; two ids that lead nowhere: one of another kind, one of an event that was
    // brought in long after it happened.
    for number in 0..360 {
        let id = match number {
            100 => CountingIds::id(9, 1),
            200 => made_at(begin - chrono::TimeDelta::days(9), 7),
            _ => made_at(at(number), number % 250),
        };
        insert_as(&mut connection, number, id, at(number)).await;
    }
    let find = |id| store.find_event(id, &[APPLE]);
    for number in [0, 1, 57, 358, 359] {
        let found = find(made_at(at(number), number % 250)).await.expect("read");
        let stream = StreamId::new(APPLE, CountingIds::id(4, number));
        assert_eq!(found, Some((stream, Version::new(1))), "{number}");
    }
    for (number, id) in [(100, CountingIds::id(9, 1)), (200, made_at(begin - chrono::TimeDelta::days(9), 7))] {
        let stream = StreamId::new(APPLE, CountingIds::id(4, number));
        assert_eq!(find(id).await.expect("read"), Some((stream, Version::new(1))), "{number}");
    }
    assert_eq!(find(made_at(at(57), 251)).await.expect("read"), None);
}
