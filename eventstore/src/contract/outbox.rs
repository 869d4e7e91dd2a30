//! What waits to be published.

use std::time::Duration;

use super::{APPLE, BOTH, HOUR, append, appends, apple, letter, message, moment, numbers, one, pear, stored};
use crate::{Commit, EventStore, InboxEntry, TimerChange, TxId};

async fn pending(store: &dyn EventStore, limit: usize) -> Vec<TxId> {
    store.outbox_pending(TxId::default(), Duration::ZERO, limit).await.expect("the outbox is read")
}

/// One entry per commit, with all of its events.
pub async fn a_commit_with_events_is_pending_until_it_is_published(store: &dyn EventStore) {
    let first = stored(store, appends([append(apple(1), 0, [1, 2]), append(pear(1), 0, [3])])).await.last.tx;
    let second = stored(store, one(apple(1), 2, [4])).await.last.tx;
    assert_eq!(pending(store, 10).await, [first, second]);
    assert_eq!(numbers(&store.read_transactions(&[first], &BOTH).await.expect("read")), [1, 2, 3]);

    store.outbox_published(&[first]).await.expect("published");
    store.outbox_published(&[first]).await.expect("published twice is published");
    assert_eq!(pending(store, 10).await, [second]);
    store.outbox_published(&[second]).await.expect("published");
    assert_eq!(pending(store, 10).await, []);
    store.outbox_published(&[]).await.expect("nothing published");
    assert_eq!(numbers(&store.read_transactions(&[first], &BOTH).await.expect("read")), [1, 2, 3]);
}

/// There is nothing to publish.
pub async fn a_commit_without_events_is_not_pending(store: &dyn EventStore) {
    let commit = Commit {
        appends: vec![],
        timers: vec![TimerChange::Arm { stream: apple(1), due: moment() }],
        inbox: vec![InboxEntry { consumer: "harvest".to_owned(), message: message(1) }],
        dead_letters: vec![letter(1)],
    };
    stored(store, commit).await;
    assert_eq!(pending(store, 10).await, []);
}

/// The process that wrote it publishes it at once; the sweep is for what it left behind.
pub async fn what_is_young_is_not_pending_yet(store: &dyn EventStore) {
    stored(store, one(apple(1), 0, [1])).await;
    assert_eq!(store.outbox_pending(TxId::default(), HOUR, 10).await.expect("read"), []);
    assert_eq!(pending(store, 10).await.len(), 1);
}

/// Up to the limit, and on from there.
pub async fn pending_transactions_come_oldest_first(store: &dyn EventStore) {
    let mut txs = Vec::new();
    for number in 1..=5 {
        txs.push(stored(store, one(apple(number), 0, [number])).await.last.tx);
    }
    assert_eq!(pending(store, 10).await, txs);
    assert_eq!(pending(store, 2).await, txs[..2]);
    let rest = store.outbox_pending(txs[1], Duration::ZERO, 10).await.expect("the outbox is read");
    assert_eq!(rest, txs[2..]);
}

/// Whatever order they are named in; of the categories that were asked for.
pub async fn the_events_of_transactions_come_in_commit_order(store: &dyn EventStore) {
    let first = stored(store, appends([append(apple(5), 0, [1, 2]), append(pear(5), 0, [3])])).await.last.tx;
    let skipped = stored(store, one(apple(4), 0, [4])).await.last.tx;
    let third = stored(store, one(apple(1), 0, [5])).await.last.tx;
    assert!(first < skipped && skipped < third);
    let read = store.read_transactions(&[third, first], &BOTH).await.expect("read");
    assert_eq!(numbers(&read), [1, 2, 3, 5]);
    let read = store.read_transactions(&[third, first], &[APPLE]).await.expect("read");
    assert_eq!(numbers(&read), [1, 2, 5]);
    assert_eq!(store.read_transactions(&[], &BOTH).await.expect("read"), []);
}
