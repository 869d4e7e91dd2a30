//! The in-memory store keeps every promise.

use std::sync::Arc;

use chrono::DateTime;
use eventstore::memory::MemoryStore;

async fn fresh() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(DateTime::UNIX_EPOCH))
}

eventstore::contract_tests!(fresh);

/// A promise that nobody lists is a promise that nobody keeps.
#[test]
fn every_promise_is_listed() {
    let list = include_str!("../src/contract.rs");
    let rooms = [
        include_str!("../src/contract/appends.rs"),
        include_str!("../src/contract/inbox.rs"),
        include_str!("../src/contract/letters.rs"),
        include_str!("../src/contract/log.rs"),
        include_str!("../src/contract/outbox.rs"),
        include_str!("../src/contract/refusals.rs"),
        include_str!("../src/contract/snapshots.rs"),
        include_str!("../src/contract/streams.rs"),
        include_str!("../src/contract/timers.rs"),
    ];
    let promises = rooms.iter().flat_map(|room| room.split("\npub async fn ").skip(1));
    for promise in promises.filter_map(|text| text.split('(').next()) {
        assert!(list.contains(&format!(": {promise}\n")), "{promise} is not in contract_tests!");
    }
}
