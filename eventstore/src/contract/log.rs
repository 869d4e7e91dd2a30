//! Reading the log.

use super::{APPLE, BOTH, PEAR, append, appends, apple, log, numbers, one, pear, stored};
use crate::{Cursor, EventStore};

/// Commits one after the other stand one after the other, and each as it was written.
pub async fn the_log_is_in_commit_order(store: &dyn EventStore) {
    stored(store, one(pear(9), 0, [1, 2])).await;
    stored(store, one(apple(1), 0, [3])).await;
    stored(store, appends([append(apple(1), 1, [4]), append(pear(9), 2, [5])])).await;
    let events = log(store, &BOTH, 5).await;
    assert_eq!(numbers(&events), [1, 2, 3, 4, 5]);
    assert!(events.is_sorted_by(|one, other| one.cursor < other.cursor), "cursors rise");
    assert_eq!(events[0].cursor.tx, events[1].cursor.tx);
    assert_eq!(events[3].cursor.tx, events[4].cursor.tx);
    assert!(events[1].cursor.tx < events[2].cursor.tx);
}

/// A page may end within a transaction.
pub async fn the_log_is_read_page_by_page_without_gap_or_repetition(store: &dyn EventStore) {
    for number in 0..5 {
        stored(store, one(apple(number + 1), 0, number * 3 + 1..=number * 3 + 3)).await;
    }
    log(store, &BOTH, 15).await;
    let (mut after, mut read) = (Cursor::START, Vec::new());
    loop {
        let page = store.read_log(after, &BOTH, 4).await.expect("read");
        assert!(page.len() <= 4);
        let Some(last) = page.last() else { break };
        after = last.cursor;
        read.extend(numbers(&page));
    }
    assert_eq!(read, (1..=15).collect::<Vec<_>>());
}

/// The limit counts what is shown.
pub async fn the_log_shows_the_categories_that_were_asked_for(store: &dyn EventStore) {
    stored(store, appends([append(apple(1), 0, [1, 2]), append(pear(1), 0, [3])])).await;
    stored(store, one(pear(2), 0, [4])).await;
    log(store, &BOTH, 4).await;
    assert_eq!(numbers(&log(store, &[APPLE], 2).await), [1, 2]);
    assert_eq!(numbers(&log(store, &[PEAR], 2).await), [3, 4]);
    assert_eq!(numbers(&store.read_log(Cursor::START, &[PEAR], 1).await.expect("read")), [3]);
    assert_eq!(store.read_log(Cursor::START, &[], 10).await.expect("read"), []);
}

/// Whoever has read up to there has read the commit.
pub async fn a_commit_returns_the_place_of_its_last_event(store: &dyn EventStore) {
    let first = stored(store, appends([append(pear(5), 0, [1, 2]), append(apple(1), 0, [3])])).await;
    let second = stored(store, one(apple(1), 1, [4])).await;
    assert!(first.last < second.last);
    assert!(first.now <= second.now);
    let events = log(store, &BOTH, 4).await;
    assert_eq!(events[2].cursor, first.last);
    assert_eq!(events[3].cursor, second.last);
    assert_eq!(numbers(&store.read_log(first.last, &BOTH, 10).await.expect("read")), [4]);
}
