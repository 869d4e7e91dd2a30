//! Snapshots: copies that may be lost, never believed against the log.

use super::{APPLE, PEAR, apple, one, pear, stored};
use crate::{EventStore, Snapshot, StreamId, Version};

fn snapshot(stream: StreamId, version: u64, shape: u16) -> Snapshot {
    let state = format!(r#"{{ "grown" : {version}, "shape":{shape}, "e":"\u0000ä" }}"#);
    Snapshot { stream, version: Version::new(version), shape, head: None, state }
}

async fn saved(store: &dyn EventStore, snapshots: &[Snapshot]) {
    store.save_snapshots(snapshots).await.expect("the snapshots are saved");
}

async fn read(store: &dyn EventStore, streams: &[StreamId]) -> Vec<Snapshot> {
    let mut snapshots = store.read_snapshots(streams).await.expect("the snapshots are read");
    snapshots.sort_by_key(|snapshot| snapshot.stream);
    for snapshot in &mut snapshots {
        let events = store.read_streams(&[(snapshot.stream, Version::NONE)], 1_000).await.expect("read");
        let event = events.iter().find(|event| event.version == snapshot.version).expect("the log confirms it");
        assert_eq!(snapshot.head, event.digest, "whoever begins with it can go on with the chain");
        snapshot.head = None;
    }
    snapshots
}

/// To the last character.
pub async fn a_snapshot_comes_back_as_it_was_saved(store: &dyn EventStore) {
    stored(store, one(apple(1), 0, 1..=3)).await;
    assert_eq!(read(store, &[apple(1)]).await, []);
    saved(store, &[snapshot(apple(1), 2, 1)]).await;
    assert_eq!(read(store, &[apple(1)]).await, [snapshot(apple(1), 2, 1)]);
}

/// Two processes save at their own pace.
pub async fn a_newer_snapshot_replaces_an_older_one_never_the_reverse(store: &dyn EventStore) {
    stored(store, one(apple(1), 0, 1..=3)).await;
    saved(store, &[snapshot(apple(1), 2, 2)]).await;
    saved(store, &[snapshot(apple(1), 1, 2)]).await;
    assert_eq!(read(store, &[apple(1)]).await, [snapshot(apple(1), 2, 2)]);
    saved(store, &[snapshot(apple(1), 3, 1)]).await;
    assert_eq!(read(store, &[apple(1)]).await, [snapshot(apple(1), 3, 1)]);
    saved(store, &[snapshot(apple(1), 1, 9), snapshot(apple(1), 2, 9)]).await;
    assert_eq!(read(store, &[apple(1)]).await, [snapshot(apple(1), 3, 1)], "nor when it is named twice");
}

/// Two versions of a program stand side by side while one replaces the other.
pub async fn of_one_version_the_higher_shape_stays(store: &dyn EventStore) {
    stored(store, one(apple(1), 0, 1..=3)).await;
    for shape in [1, 3, 2] {
        saved(store, &[snapshot(apple(1), 2, shape)]).await;
    }
    assert_eq!(read(store, &[apple(1)]).await, [snapshot(apple(1), 2, 3)]);
}

/// The store was restored to an earlier day.
pub async fn a_snapshot_ahead_of_its_stream_is_left_out_and_gives_way(store: &dyn EventStore) {
    stored(store, one(apple(1), 0, 1..=3)).await;
    saved(store, &[snapshot(apple(1), 4, 1), snapshot(apple(2), 1, 1)]).await;
    assert_eq!(read(store, &[apple(1), apple(2)]).await, []);
    saved(store, &[snapshot(apple(1), 2, 1)]).await;
    assert_eq!(read(store, &[apple(1)]).await, [snapshot(apple(1), 2, 1)]);
}

/// The stream was rewritten, or another one was brought in.
pub async fn a_snapshot_of_another_event_is_left_out_and_gives_way(store: &dyn EventStore) {
    stored(store, one(apple(1), 0, 1..=3)).await;
    let events = store.read_streams(&[(apple(1), Version::NONE)], 10).await.expect("read");
    let digest = |version: usize| events.get(version - 1).expect("it is there").digest;
    let of = |version: u64, head| Snapshot { head, ..snapshot(apple(1), version, 1) };
    saved(store, &[of(3, digest(2))]).await;
    assert_eq!(read(store, &[apple(1)]).await, [], "another event stands there");
    saved(store, &[of(2, digest(2))]).await;
    assert_eq!(read(store, &[apple(1)]).await, [snapshot(apple(1), 2, 1)]);
}

/// The others stay.
pub async fn snapshots_of_one_category_are_dropped(store: &dyn EventStore) {
    for number in 1..=3 {
        stored(store, one(apple(number), 0, [number])).await;
        stored(store, one(pear(number), 0, [10 + number])).await;
        saved(store, &[snapshot(apple(number), 1, 1), snapshot(pear(number), 1, 1)]).await;
    }
    assert_eq!(store.drop_snapshots(APPLE, 2).await.expect("dropped"), 2);
    assert_eq!(store.drop_snapshots(APPLE, 10).await.expect("dropped"), 1);
    assert_eq!(store.drop_snapshots(APPLE, 10).await.expect("dropped"), 0);
    assert_eq!(read(store, &[apple(1), apple(2), apple(3)]).await, []);
    assert_eq!(read(store, &[pear(1), pear(2), pear(3)]).await.len(), 3);
    assert_eq!(store.drop_snapshots(PEAR, 10).await.expect("dropped"), 3);
}

/// One question for all.
pub async fn streams_with_and_without_snapshots_are_asked_for_together(store: &dyn EventStore) {
    stored(store, one(apple(1), 0, [1])).await;
    stored(store, one(pear(1), 0, [2])).await;
    stored(store, one(apple(2), 0, [3])).await;
    saved(store, &[snapshot(apple(1), 1, 1), snapshot(pear(1), 1, 1)]).await;
    let found = read(store, &[apple(9), pear(1), apple(2), apple(1)]).await;
    assert_eq!(found, [snapshot(apple(1), 1, 1), snapshot(pear(1), 1, 1)]);
    assert_eq!(read(store, &[]).await, []);
    saved(store, &[]).await;
}
