//! Long streams are loaded from snapshots, and nothing depends on them.
#![expect(clippy::expect_used, reason = "helpers of tests")]

mod support;
#[path = "support/watched.rs"]
mod watched;

use std::sync::Arc;

use eventstore::memory::{CountingIds, MemoryClock};
use eventstore::worker::{Handler, Limits, Shell, Worker};
use eventstore::{Aggregate, EventStore, Snapshot, Unit, Version};
use support::{Account, AccountEvent, Refusal, account, cause, memory, stream};
use watched::Watched;

/// Deposits one, and answers with the balance.
struct Piggy;

impl Handler for Piggy {
    type Input = u64;
    type Output = i64;
    type Error = Refusal;

    fn handle(&self, unit: &mut Unit<'_>, number: &u64) -> Result<i64, Refusal> {
        unit.get::<Account>(account(*number))?;
        unit.record::<Account>(account(*number), &[AccountEvent::Deposited { amount: 1 }])?;
        Ok(unit.get::<Account>(account(*number))?.balance)
    }
}

/// A process that deposits `times` times, each time in a commit of its own; the last balance.
async fn deposit(store: &Arc<Watched>, series: u16, number: u64, times: u64) -> i64 {
    let shell = Shell {
        store: Arc::clone(store) as Arc<dyn EventStore>,
        clock: Arc::new(MemoryClock::of(&store.memory)),
        ids: Arc::new(CountingIds::new(series)),
        listeners: vec![],
    };
    let (worker, handle) = Worker::new(Piggy, shell, Limits { snapshot_every: 50, ..Limits::default() });
    let client = async move {
        let mut balance = 0;
        for time in 0..times {
            balance = handle.submit(number, cause(time)).await.expect("done").output;
        }
        balance
    };
    tokio::join!(worker.run(), client).1
}

async fn snapshot(store: &Watched, number: u64) -> Option<Snapshot> {
    store.read_snapshots(&[stream(number)]).await.expect("read").pop()
}

/// A store with an account of 1,000 deposits.
async fn grown() -> Arc<Watched> {
    let store = Watched::new(memory());
    assert_eq!(deposit(&store, 1, 7, 1_000).await, 1_000);
    store
}

#[tokio::test]
async fn loading_reads_the_snapshot_and_the_few_events_after_it() {
    let store = grown().await;
    let before = store.events_read();
    assert_eq!(deposit(&store, 2, 7, 1).await, 1_001);
    let read = store.events_read() - before;
    assert!(read < 50, "{read} events were read of 1,000");
}

#[tokio::test]
async fn a_snapshot_and_the_events_after_it_are_the_full_fold() {
    let store = Watched::new(memory());
    for (series, times) in [(1, 49), (2, 1), (3, 120), (4, 1), (5, 79)] {
        let before = store.memory.events().len() as i64;
        assert_eq!(deposit(&store, series, 7, times).await, before + times as i64);
    }
    assert_eq!(snapshot(&store, 7).await.map(|snapshot| snapshot.version), Some(Version::new(250)));
}

#[tokio::test]
async fn short_streams_have_no_snapshots() {
    let store = Watched::new(memory());
    deposit(&store, 1, 7, 49).await;
    assert_eq!(snapshot(&store, 7).await, None);
    deposit(&store, 2, 7, 1).await;
    assert_eq!(snapshot(&store, 7).await.map(|snapshot| snapshot.version), Some(Version::new(50)));
}

#[tokio::test]
async fn dropping_all_snapshots_changes_nothing_and_they_come_back() {
    let store = grown().await;
    assert_eq!(store.drop_snapshots(Account::CATEGORY, 10).await.expect("dropped"), 1);
    let before = store.events_read();
    assert_eq!(deposit(&store, 2, 7, 1).await, 1_001);
    assert_eq!(store.events_read() - before, 1_000);
    assert_eq!(snapshot(&store, 7).await.map(|snapshot| snapshot.version), Some(Version::new(1_001)));
}

#[tokio::test]
async fn a_snapshot_of_another_shape_or_no_shape_at_all_is_ignored() {
    let store = grown().await;
    let kept = snapshot(&store, 7).await.expect("there is one");
    let richer = r#"{"opened":false,"balance":5000}"#;
    for (shape, state) in [(kept.shape - 1, richer), (kept.shape + 1, richer), (kept.shape, "[]")] {
        store.drop_snapshots(Account::CATEGORY, 10).await.expect("dropped");
        let other = Snapshot { shape, state: state.to_owned(), ..kept.clone() };
        store.save_snapshots(&[other]).await.expect("saved");
        let truth = store.memory.events().len() as i64;
        assert_eq!(deposit(&store, 2 + truth as u16, 7, 1).await, truth + 1);
    }
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_saved_holds_nobody_up() {
    let store = Watched::new(memory());
    store.fail_saves();
    assert_eq!(deposit(&store, 1, 7, 200).await, 200);
    assert_eq!(snapshot(&store, 7).await, None);
    assert_eq!(deposit(&store, 2, 7, 1).await, 201);
}
