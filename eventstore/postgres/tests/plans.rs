//! No statement of the store reads a whole table, not even with plans that were made while all tables were empty.
#![expect(clippy::expect_used, reason = "helpers of tests")]

mod support;

use std::time::Duration;

use eventstore::memory::CountingIds;
use eventstore::{
    Actor, Append, Category, Cause, Commit, Cursor, DeadLetter, DeadLetters, EventId, EventStore, InboxEntry, NewEvent,
    Snapshot, StreamId, TimerChange, TxId, Version,
};
use eventstore_postgres::PostgresStore;
use sqlx::{PgConnection, Row};
use support::Database;

const APPLE: Category = Category::new("apple");
const STREAMS: u64 = 400;

fn stream(number: u64) -> StreamId {
    StreamId::new(APPLE, CountingIds::id(1, number))
}

fn append(number: u64, expected: u64) -> Append {
    let event = NewEvent {
        id: EventId(CountingIds::id(2 + expected as u16, number)),
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
    Append::new(stream(number), Version::new(expected), None, vec![event])
}

fn commit(number: u64, expected: u64) -> Commit {
    let name = |kind: &str| format!("{kind} {expected}");
    Commit {
        appends: vec![append(number, expected)],
        timers: vec![TimerChange::Arm { stream: stream(number), due: chrono::DateTime::UNIX_EPOCH }],
        inbox: vec![InboxEntry { consumer: name("consumer"), message: CountingIds::id(5, number) }],
        dead_letters: vec![letter(number, expected)],
    }
}

fn letter(number: u64, expected: u64) -> DeadLetter {
    DeadLetter {
        consumer: format!("consumer {expected}"),
        message: format!("{number}"),
        key: Some(format!("apple/{number}")),
        sequence: number,
        subject: String::new(),
        headers: "{}".to_owned(),
        body: vec![],
        reason: String::new(),
    }
}

/// Everything a store can do, once.
async fn use_all(store: &PostgresStore) {
    let snapshot =
        Snapshot { stream: stream(1), version: Version::new(1), shape: 1, head: None, state: "{}".to_owned() };
    store.save_snapshots(&[snapshot]).await.expect("saved");
    store.read_snapshots(&[stream(1), stream(2)]).await.expect("read");
    store.drop_snapshots(APPLE, 10).await.expect("dropped");
    let conflict = store.commit(commit(1, 0)).await;
    assert!(conflict.is_err());
    let events = Commit { appends: vec![append(1, 1)], ..Commit::default() };
    let last = store.commit(events).await.expect("committed").last;
    let timers = vec![TimerChange::Disarm { stream: stream(1) }];
    store.commit(Commit { appends: vec![append(2, 1)], timers, ..Commit::default() }).await.expect("committed");
    store.commit(commit(3, 1)).await.expect("committed");
    store.read_streams(&[(stream(1), Version::NONE), (stream(9), Version::NONE)], 100).await.expect("read");
    store.read_stream_backwards(stream(1), 10).await.expect("read");
    store.read_log(last, &[APPLE], 10).await.expect("read");
    store.read_transactions(&[last.tx], &[APPLE]).await.expect("read");
    let pending = store.outbox_pending(TxId::default(), Duration::ZERO, 10).await.expect("read");
    store.outbox_published(&pending).await.expect("published");
    store.claim_due_timers(&[APPLE], 10, Duration::from_secs(1)).await.expect("claimed");
    store.inbox_seen("consumer 0", &[CountingIds::id(5, 1)]).await.expect("read");
    store.dead_letters(1, 10).await.expect("read");
    let page = store.audit_page(None, 2).await.expect("read");
    store.audit_page(page.last(), 2).await.expect("read");
    store.about_events().await.expect("read");
    store.blocked("consumer 0", 10).await.expect("read");
    assert!(store.park_behind(letter(2, 0)).await.expect("parked"));
    assert!(store.ask_redrive(1, "ana").await.expect("asked"));
    let head = store.claim_redrive("consumer 0", Duration::from_secs(1)).await.expect("claimed").expect("a line");
    store.redrive_later(head.id, Duration::ZERO, "away").await.expect("noted");
    store.failed_again(head.id, "again").await.expect("noted");
    store.redriven(head.id).await.expect("ended");
    assert!(store.discard(2, "ben", "no").await.expect("ended"));
}

/// Numbers by name, once the server's statistics have settled: they are written when connections end.
async fn numbers(connection: &mut PgConnection, statement: &'static str) -> Vec<(String, i64)> {
    tokio::time::sleep(Duration::from_millis(300)).await;
    let rows = sqlx::query(statement).fetch_all(connection).await.expect("statistics");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn no_statement_reads_a_whole_table() {
    let database = Database::new().await;
    let store = database.store();
    // Plans are made here, on almost empty tables, and kept.
    for number in 1..=3 {
        store.commit(commit(number, 0)).await.expect("committed");
    }
    use_all(&store).await;
    for number in 4..STREAMS {
        store.commit(commit(number, 0)).await.expect("committed");
    }
    store.read_log(Cursor::START, &[APPLE], 1).await.expect("read");
    drop(store);

    let mut admin = database.admin().await;
    let scans = "select relname::text, seq_scan from pg_stat_user_tables where relname <> '_sqlx_migrations'";
    for (table, scans) in numbers(&mut admin, scans).await {
        assert_eq!(scans, 0, "{table} was read whole");
    }
    let used = "select indexrelname::text, idx_scan from pg_stat_user_indexes
        where indexrelname in ('event_pkey', 'event_log', 'timer_due', 'timer_pkey', 'outbox_pkey', 'inbox_pkey',
            'blocked_pkey', 'blocked_redrive', 'dead_letter_line')";
    let used = numbers(&mut admin, used).await;
    assert_eq!(used.len(), 9);
    for (index, scans) in used {
        assert!(scans > 0, "{index} was not used");
    }
}

#[tokio::test]
async fn reading_the_end_of_the_log_does_not_touch_its_beginning() {
    let database = Database::new().await;
    let store = database.store();
    store.read_log(Cursor::START, &[APPLE], 1).await.expect("a plan, made on an empty table");
    let mut last = Cursor::START;
    for batch in 0..10 {
        let appends = (batch * 100 + 1..=batch * 100 + 100).map(|number| append(number, 0)).collect();
        last = store.commit(Commit { appends, ..Commit::default() }).await.expect("committed").last;
    }
    let before_last = Cursor { position: last.position - 1, ..last };
    for _ in 0..50 {
        store.read_log(before_last, &[APPLE], 100).await.expect("read");
    }
    drop(store);

    let mut admin = database.admin().await;
    let read = "select indexrelname::text, idx_tup_read from pg_stat_user_indexes where indexrelname = 'event_log'";
    for (index, rows) in numbers(&mut admin, read).await {
        assert!(rows <= 100, "{index}: {rows} rows read for 50 times one");
    }
}
