//! Atomic and fenced.

use futures::future::join_all;

use super::{
    APPLE, BOTH, HOUR, append, appends, apple, assert_nothing_pending, conflict, letter, log, message, moment, numbers,
    one, pear, seen, stored, stream,
};
use crate::{Commit, CommitError, Cursor, EventStore, InboxEntry, TimerChange, Version};

/// Versions count from 1 without gaps, over several appends.
pub async fn versions_are_dense_from_one(store: &dyn EventStore) {
    stored(store, one(apple(1), 0, 1..=3)).await;
    stored(store, one(apple(1), 3, 4..=5)).await;
    let events = stream(store, apple(1)).await;
    assert_eq!(events.iter().map(|event| event.version.get()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(numbers(&events), [1, 2, 3, 4, 5]);
}

/// All streams of a commit grow, or none.
pub async fn a_commit_over_several_streams_is_all_or_nothing(store: &dyn EventStore) {
    stored(store, appends([append(apple(2), 0, [1]), append(pear(1), 0, [2, 3]), append(apple(1), 0, [4])])).await;
    assert_eq!(numbers(&stream(store, apple(1)).await), [4]);
    assert_eq!(numbers(&stream(store, apple(2)).await), [1]);
    assert_eq!(numbers(&stream(store, pear(1)).await), [2, 3]);

    let stale = appends([append(apple(1), 1, [5]), append(apple(2), 0, [6]), append(apple(3), 0, [7])]);
    assert_eq!(conflict(store, stale).await, (apple(2), 0, 1));
    assert_eq!(numbers(&log(store, &BOTH, 4).await).len(), 4);
    assert_eq!(numbers(&stream(store, apple(1)).await), [4]);
    assert!(numbers(&stream(store, apple(3)).await).is_empty());
}

/// The writer believes in an older version than is true.
pub async fn an_append_with_a_stale_version_changes_nothing(store: &dyn EventStore) {
    stored(store, one(apple(1), 0, 1..=3)).await;
    assert_eq!(conflict(store, one(apple(1), 0, [4])).await, (apple(1), 0, 3));
    assert_eq!(conflict(store, one(apple(1), 2, [4])).await, (apple(1), 2, 3));
    assert_eq!(numbers(&stream(store, apple(1)).await), [1, 2, 3]);
}

/// The writer believes in a newer version than is true: there must be no gap.
pub async fn an_append_ahead_of_its_stream_changes_nothing(store: &dyn EventStore) {
    assert_eq!(conflict(store, one(apple(1), 1, [1])).await, (apple(1), 1, 0));
    stored(store, one(apple(1), 0, 1..=2)).await;
    assert_eq!(conflict(store, one(apple(1), 5, [3])).await, (apple(1), 5, 2));
    assert_eq!(numbers(&stream(store, apple(1)).await), [1, 2]);
}

/// What stands beside the events goes with them.
pub async fn a_conflict_leaves_no_timer_no_inbox_row_no_letter_no_outbox_row(store: &dyn EventStore) {
    let tx = stored(store, one(apple(1), 0, [1])).await.last.tx;
    store.outbox_published(&[tx]).await.expect("published");
    let full = |expected| Commit {
        timers: vec![TimerChange::Arm { stream: apple(1), due: moment() + HOUR }],
        inbox: vec![InboxEntry { consumer: "harvest".to_owned(), message: message(1) }],
        dead_letters: vec![letter(1)],
        ..one(apple(1), expected, [2])
    };
    for expected in [0, 7] {
        assert_eq!(conflict(store, full(expected)).await, (apple(1), expected, 1));
        assert_nothing_pending(store).await;
        assert!(seen(store, "harvest", &[1]).await.is_empty());
    }
    stored(store, full(1)).await;
}

/// Of several streams that differ, the first in their order is named.
pub async fn a_conflict_names_the_first_stream_that_differs(store: &dyn EventStore) {
    stored(store, appends([append(apple(1), 0, [1]), append(apple(2), 0, [2]), append(apple(3), 0, [3])])).await;
    let stale = appends([append(apple(3), 0, [4]), append(apple(2), 0, [5]), append(apple(1), 1, [6])]);
    assert_eq!(conflict(store, stale).await, (apple(2), 0, 1));
}

/// A stream is its category and its id.
pub async fn the_same_id_in_two_categories_is_two_streams(store: &dyn EventStore) {
    stored(store, appends([append(apple(1), 0, [1]), append(pear(1), 0, [2, 3])])).await;
    stored(store, one(apple(1), 1, [4])).await;
    assert_eq!(conflict(store, one(pear(1), 1, [5])).await, (pear(1), 1, 2));
    assert_eq!(numbers(&stream(store, apple(1)).await), [1, 4]);
    assert_eq!(numbers(&stream(store, pear(1)).await), [2, 3]);
}

/// Sixty-four at once.
pub async fn of_many_writers_of_one_version_exactly_one_wins(store: &dyn EventStore) {
    let results = join_all((1..=64).map(|number| store.commit(one(apple(1), 0, [number])))).await;
    let mut won = 0;
    for result in results {
        match result {
            Ok(_) => won += 1,
            Err(CommitError::Conflict { expected, actual, .. }) => {
                assert_eq!((expected.get(), actual.get()), (0, 1));
            }
            Err(error @ (CommitError::Duplicate { .. } | CommitError::Refused(_) | CommitError::Unavailable(_))) => {
                panic!("{error:?}")
            }
        }
    }
    assert_eq!(won, 1);
    assert_eq!(stream(store, apple(1)).await.len(), 1);
}

/// Sixteen writers, each of which loads and tries again until its event stands.
pub async fn many_writers_that_try_again_lose_nothing(store: &dyn EventStore) {
    join_all((1..=16).map(|number| async move {
        let mut expected = 0;
        while let Err(error) = store.commit(one(apple(1), expected, [number])).await {
            match error {
                CommitError::Conflict { actual, .. } => expected = actual.get(),
                CommitError::Duplicate { .. } | CommitError::Refused(_) | CommitError::Unavailable(_) => {
                    panic!("{error:?}")
                }
            }
        }
    }))
    .await;
    let events = stream(store, apple(1)).await;
    assert_eq!(events.iter().map(|event| event.version.get()).collect::<Vec<_>>(), (1..=16).collect::<Vec<_>>());
    let mut numbers = numbers(&events);
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=16).collect::<Vec<_>>());
}

/// Nor has an empty one.
pub async fn a_commit_without_events_has_no_place_in_the_log(store: &dyn EventStore) {
    let timers = vec![TimerChange::Arm { stream: apple(1), due: moment() }];
    assert_eq!(stored(store, Commit { timers, ..Commit::default() }).await.last, Cursor::START);
    assert_eq!(stored(store, Commit::default()).await.last, Cursor::START);
    assert_eq!(store.read_log(Cursor::START, &[APPLE], 10).await.expect("read"), []);
    assert_eq!(store.read_streams(&[(apple(1), Version::NONE)], 10).await.expect("read"), []);
}
