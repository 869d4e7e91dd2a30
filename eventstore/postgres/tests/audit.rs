//! What the owner of the database does to the log behind our back is found and named.
#![expect(clippy::expect_used, reason = "helpers of tests")]

mod support;

use eventstore::audit::{Audit, Head, StoredRow};
use eventstore::memory::CountingIds;
use eventstore::{
    Actor, Aggregate, Append, Category, Cause, Commit, Digest, DomainEvent, EventId, EventStore, NewEvent, Snapshot,
    StreamId, StreamKind, Version,
};
use eventstore_postgres::{PostgresStore, Unconfirmed};
use serde::{Deserialize, Serialize};
use support::Database;

#[derive(Clone, Serialize, Deserialize)]
enum TreeEvent {
    Grown { number: u64 },
}

eventstore::event_types! {
    TreeEvent {
        Self::Grown { .. } => "Grown";
    }
}

#[derive(Clone, Default, Serialize)]
struct Tree;

impl Aggregate for Tree {
    const CATEGORY: Category = Category::new("tree");
    type Event = TreeEvent;

    fn evolve(self, event: &TreeEvent) -> Self {
        match event {
            TreeEvent::Grown { .. } => self,
        }
    }
}

const BUSH: Category = Category::new("bush");
const KINDS: [StreamKind; 1] = [StreamKind::of::<Tree>()];

fn tree(number: u64) -> StreamId {
    Tree::stream(CountingIds::id(1, number))
}

fn event(number: u64) -> NewEvent {
    let grown = TreeEvent::Grown { number };
    NewEvent {
        id: EventId(CountingIds::id(2, number)),
        type_name: grown.type_name(),
        schema_version: 1,
        payload: serde_json::to_string(&grown).expect("JSON"),
        time: chrono::DateTime::UNIX_EPOCH,
        cause: Cause {
            correlation: CountingIds::id(3, number),
            causation: CountingIds::id(4, number),
            trace: None,
            actor: Actor::new("test"),
        },
    }
}

/// One commit per event, as it is in life.
async fn grow(store: &PostgresStore, stream: StreamId, events: u64) {
    let mut previous = None;
    for version in 0..events {
        let append = Append::new(stream, Version::new(version), previous, vec![event(version)]);
        previous = append.digests().last().copied();
        store.commit(Commit { appends: vec![append], ..Commit::default() }).await.expect("committed");
    }
}

/// Three trees of five events each.
async fn wood() -> (Database, PostgresStore) {
    let database = Database::new().await;
    let store = database.store();
    for number in 1..=3 {
        grow(&store, tree(number), 5).await;
    }
    (database, store)
}

/// `stream version problem`, and the ends of the streams; two rows a page, so that every boundary is met.
async fn audited(store: &PostgresStore) -> (Vec<String>, Vec<(String, Head)>, u64) {
    let mut audit = Audit::new(&KINDS);
    let (mut found, mut heads) = (Vec::new(), Vec::new());
    let mut last: Option<StoredRow> = None;
    loop {
        let mut page = store.audit_page(last.as_ref(), 2).await.expect("read");
        for row in &page {
            heads.extend(audit.ended(Some(row)).into_iter().flat_map(|(_, heads)| heads));
            audit.row(row, |problem| found.push(format!("{} {} {}", row.stream, row.version, problem.name())));
        }
        let full = page.len() == 2;
        last = page.pop().or(last);
        if !full {
            heads.extend(audit.ended(None).into_iter().flat_map(|(_, heads)| heads));
            return (found, heads, audit.without_digest());
        }
    }
}

/// What is found after the owner has run `sql`, in which `$tree` stands for the second tree.
async fn found_after(sql: &str) -> Vec<String> {
    let (database, store) = wood().await;
    let whose = format!("stream_id = '{}'", tree(2).id);
    support::run(&database.admin_url, &sql.replace("$tree", &whose)).await;
    let (found, ..) = audited(&store).await;
    let prefix = format!("{} ", tree(2).id);
    found.iter().map(|line| line.strip_prefix(&prefix).expect("no other stream was touched").to_owned()).collect()
}

#[tokio::test]
async fn an_untouched_log_is_clean() {
    let (_database, store) = wood().await;
    let (found, heads, without_digest) = audited(&store).await;
    assert_eq!((found, without_digest), (vec![], 0));
    let recorded = store.read_stream_backwards(tree(2), 1).await.expect("read");
    let ends: Vec<(u64, Option<Digest>)> = heads.iter().map(|(_, head)| (head.version, Some(head.digest))).collect();
    assert_eq!(ends.len(), 3);
    assert!(ends.contains(&(5, recorded.first().and_then(|event| event.digest))));
}

#[tokio::test]
async fn an_edited_payload_is_found() {
    let edit = r#"update event set payload = '{"Grown":{"number":9}}' where $tree and version = 3"#;
    assert_eq!(found_after(edit).await, ["3 changed"]);
}

#[tokio::test]
async fn every_edited_column_is_found() {
    let edits = [
        "time = time + interval '1 microsecond'",
        "event_id = gen_random_uuid()",
        "correlation_id = gen_random_uuid()",
        "causation_id = gen_random_uuid()",
        "actor = actor || ' '",
        "trace = ''",
        "payload = (payload::text || ' ')::json",
        "digest = sha256('')",
        "digest = '\\x00'",
        "schema_version = -1",
    ];
    for edit in edits {
        let found = found_after(&format!("update event set {edit} where $tree and version = 5")).await;
        assert_eq!(found.first().map(String::as_str), Some("5 changed"), "{edit}");
    }
}

#[tokio::test]
async fn an_edited_payload_with_a_fitting_digest_is_found_by_the_event_after_it() {
    let (database, store) = wood().await;
    let events = store.read_streams(&[(tree(2), Version::NONE)], 10).await.expect("read");
    let mut forged = events.get(2).expect("five events").clone();
    forged.payload = r#"{"Grown":{"number":9}}"#.to_owned();
    let digest = forged.covered().digest(events.get(1).and_then(|event| event.digest));
    let forgery = format!(
        "update event set payload = '{}', digest = '\\x{digest}' where stream_id = '{}' and version = 3",
        forged.payload,
        tree(2).id
    );
    support::run(&database.admin_url, &forgery).await;
    assert_eq!(audited(&store).await.0, [format!("{} 4 changed", tree(2).id)]);
}

#[tokio::test]
async fn a_removed_event_is_found() {
    assert_eq!(found_after("delete from event where $tree and version = 1").await, ["2 missing"]);
    assert_eq!(found_after("delete from event where $tree and version in (2, 3)").await, ["4 missing"]);
}

#[tokio::test]
async fn a_renumbered_event_is_found() {
    assert_eq!(found_after("update event set version = 9 where $tree and version = 5").await, ["9 missing"]);
    assert_eq!(
        found_after("update event set version = 6 where $tree and version = 3").await,
        ["4 missing", "6 changed"]
    );
}

#[tokio::test]
async fn a_renamed_event_is_found() {
    let found = found_after("update event set type = 'Felled' where $tree and version = 3").await;
    assert_eq!(found.first().map(String::as_str), Some("3 changed"));
}

#[tokio::test]
async fn an_event_nobody_understands_is_found() {
    let edit = "update event set payload = '{\"Felled\":{}}' where $tree and version = 3";
    assert_eq!(found_after(edit).await, ["3 changed", "3 undecodable"]);
    let (_database, store) = wood().await;
    let bush = StreamId::new(BUSH, tree(2).id);
    grow(&store, bush, 2).await;
    assert_eq!(audited(&store).await.0, [format!("{} 1 unknown_category", bush.id)]);
}

#[tokio::test]
async fn a_wiped_digest_is_found_unless_all_before_it_are_wiped_too() {
    assert_eq!(found_after("update event set digest = '' where $tree and version = 3").await, ["3 undigested"]);
    let (database, store) = wood().await;
    let from_before = format!("update event set digest = '' where stream_id = '{}'", tree(2).id);
    let (_, heads, _) = audited(&store).await;
    support::run(&database.admin_url, &from_before).await;
    let (found, later_heads, without_digest) = audited(&store).await;
    assert_eq!((found, without_digest), (vec![], 5));
    let digests = |heads: &[(String, Head)]| heads.iter().map(|(_, head)| head.digest).collect::<Vec<_>>();
    assert_eq!(digests(&later_heads), digests(&heads), "what a checkpoint holds is computed anew");
}

#[tokio::test]
async fn the_chain_starts_after_the_events_from_before_it() {
    let (database, store) = wood().await;
    support::run(&database.admin_url, "update event set digest = ''").await;
    let append = Append::new(tree(2), Version::new(5), None, vec![event(5), event(6)]);
    store.commit(Commit { appends: vec![append], ..Commit::default() }).await.expect("committed");
    let (found, _, without_digest) = audited(&store).await;
    assert_eq!((found, without_digest), (vec![], 15));
    let edit = format!("update event set actor = 'x' where stream_id = '{}' and version = 7", tree(2).id);
    support::run(&database.admin_url, &edit).await;
    assert_eq!(audited(&store).await.0, [format!("{} 7 changed", tree(2).id)]);
}

#[tokio::test]
async fn an_event_from_the_future_of_the_databases_own_clock_is_found() {
    let restore = "update event set tx = '9000000000' where $tree and version = 5";
    assert_eq!(found_after(restore).await, ["5 from_the_future"]);
}

#[tokio::test]
async fn a_stream_rewritten_with_its_chain_ends_in_another_digest() {
    let (database, store) = wood().await;
    let before = audited(&store).await.1;
    support::run(&database.admin_url, &format!("delete from event where stream_id = '{}'", tree(2).id)).await;
    grow(&store, tree(2), 3).await;
    let forged = Append::new(tree(2), Version::new(3), None, vec![event(7), event(8)]);
    store.commit(Commit { appends: vec![forged], ..Commit::default() }).await.expect("committed");
    // The rewriter does it well: the digests are made anew.
    let events = store.read_streams(&[(tree(2), Version::NONE)], 10).await.expect("read");
    let mut previous = None;
    for event in &events {
        let digest = event.covered().digest(previous);
        let whose = format!("where stream_id = '{}' and version = {}", tree(2).id, event.version);
        support::run(&database.admin_url, &format!("update event set digest = '\\x{digest}' {whose}")).await;
        previous = Some(digest);
    }
    let (found, after, _) = audited(&store).await;
    assert!(found.is_empty(), "nothing within the database shows it: {found:?}");
    let differing = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    assert_eq!((before.len(), after.len(), differing), (3, 3, 1));
}

/// What is found after each tree's end was snapshotted and the owner has run `sql` on the second tree.
async fn unconfirmed_after(sql: &str) -> Vec<Unconfirmed> {
    let (database, store) = wood().await;
    let mut snapshots = Vec::new();
    for number in 1..=3 {
        let end = store.read_stream_backwards(tree(number), 1).await.expect("read");
        let end = end.first().expect("five events");
        let state = "{}".to_owned();
        snapshots.push(Snapshot { stream: end.stream, version: end.version, shape: 1, head: end.digest, state });
    }
    store.save_snapshots(&snapshots).await.expect("saved");
    let whose = format!("stream_id = '{}'", tree(2).id);
    support::run(&database.admin_url, &sql.replace("$tree", &whose)).await;
    store.unconfirmed_snapshots(10).await.expect("read")
}

#[tokio::test]
async fn snapshots_of_an_untouched_log_are_confirmed() {
    assert_eq!(unconfirmed_after("select 1").await, []);
}

#[tokio::test]
async fn a_snapshot_that_the_log_does_not_confirm_is_found() {
    let found = |ahead| [Unconfirmed { category: "tree".to_owned(), stream: tree(2).id, version: 5, ahead }];
    let lost = "delete from event where $tree and version = 5";
    assert_eq!(unconfirmed_after(lost).await, found(true), "the end of the stream is lost");
    let other = "update event set digest = sha256('') where $tree and version = 5";
    assert_eq!(unconfirmed_after(other).await, found(false), "another event stands there");
}
