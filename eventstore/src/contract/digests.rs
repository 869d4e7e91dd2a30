//! Tamper-evident: what was stored can be told from what was changed.

use super::{BOTH, append, appends, apple, event, log, pear, stored, stream};
use crate::{Append, Digest, EventStore, Recorded, Version};

/// Each event's digest is that of what is read, after the event before it.
pub async fn a_digest_is_that_of_the_event_and_the_one_before(store: &dyn EventStore) {
    let first = Append::new(apple(1), Version::NONE, None, vec![event(1), event(2)]);
    let head = first.digests().last().copied();
    stored(store, appends([first, append(pear(1), 0, [3])])).await;
    stored(store, appends([Append::new(apple(1), Version::new(2), head, vec![event(4)])])).await;

    let events = stream(store, apple(1)).await;
    assert_eq!(events.len(), 3);
    assert_eq!(digests(&events), chained(&events));
    let other = stream(store, pear(1)).await;
    assert_eq!(digests(&other), chained(&other));
}

/// However an event is read, its digest comes with it.
pub async fn every_way_to_read_tells_the_digest(store: &dyn EventStore) {
    let committed = stored(store, appends([append(apple(1), 0, [1, 2])])).await;
    let events = stream(store, apple(1)).await;
    assert_eq!(log(store, &BOTH, 2).await, events);
    assert_eq!(store.read_transactions(&[committed.last.tx], &BOTH).await.expect("read"), events);
    let mut backwards = store.read_stream_backwards(apple(1), 10).await.expect("read");
    backwards.reverse();
    assert_eq!(backwards, events);
}

fn digests(events: &[Recorded]) -> Vec<Option<Digest>> {
    events.iter().map(|event| event.digest).collect()
}

/// What the digests should be, from what was read.
fn chained(events: &[Recorded]) -> Vec<Option<Digest>> {
    let mut previous = None;
    let mut next = |event: &Recorded| {
        previous = Some(event.covered().digest(previous));
        previous
    };
    events.iter().map(&mut next).collect()
}
