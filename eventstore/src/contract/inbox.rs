//! Told twice, done once; and what nobody could do.

use uuid::Uuid;

use super::{
    APPLE, apple, assert_nothing_pending, letter, log, message, moment, numbers, one, refused, seen, stored, stream,
};
use crate::{Commit, CommitError, DeadLetter, EventStore, InboxEntry, TimerChange};

fn handled(consumer: &str, numbers: impl IntoIterator<Item = u64>) -> Commit {
    let entry = |number| InboxEntry { consumer: consumer.to_owned(), message: message(number) };
    Commit { inbox: numbers.into_iter().map(entry).collect(), ..Commit::default() }
}

async fn duplicate(store: &dyn EventStore, commit: Commit) -> (String, Uuid) {
    match refused(store, commit).await {
        CommitError::Duplicate { consumer, message } => (consumer, message),
        error @ (CommitError::Conflict { .. } | CommitError::Refused(_) | CommitError::Unavailable(_)) => {
            panic!("expected a duplicate: {error:?}")
        }
    }
}

/// Another consumer may handle the same message.
pub async fn a_message_is_handled_once_per_consumer(store: &dyn EventStore) {
    stored(store, handled("harvest", [1, 2])).await;
    assert_eq!(duplicate(store, handled("harvest", [3, 2])).await, ("harvest".to_owned(), message(2)));
    stored(store, handled("market", [1, 2])).await;
    stored(store, handled("harvest", [3])).await;
}

/// The events, timers and letters of a message that was handled before do not happen again.
pub async fn a_duplicate_message_leaves_nothing_of_its_commit(store: &dyn EventStore) {
    stored(store, handled("harvest", [1])).await;
    let again = Commit {
        timers: vec![TimerChange::Arm { stream: apple(1), due: moment() }],
        dead_letters: vec![letter(1)],
        inbox: handled("harvest", [2, 1]).inbox,
        ..one(apple(1), 0, [1])
    };
    assert_eq!(duplicate(store, again).await, ("harvest".to_owned(), message(1)));
    assert_nothing_pending(store).await;
    assert_eq!(stream(store, apple(1)).await, []);
    assert!(seen(store, "harvest", &[2]).await.is_empty());
}

/// The batch has it twice.
pub async fn a_message_named_twice_in_one_commit_is_a_duplicate(store: &dyn EventStore) {
    let twice = Commit { inbox: handled("harvest", [1, 2, 1]).inbox, ..one(apple(1), 0, [1]) };
    assert_eq!(duplicate(store, twice).await, ("harvest".to_owned(), message(1)));
    assert_eq!(stream(store, apple(1)).await, []);
}

/// A redelivered message that is decided on an old state is both; to drop it is the shorter way.
pub async fn a_duplicate_outranks_a_conflict(store: &dyn EventStore) {
    let commit = Commit { inbox: handled("harvest", [1]).inbox, ..one(apple(1), 0, [1]) };
    stored(store, commit.clone()).await;
    assert_eq!(duplicate(store, commit).await, ("harvest".to_owned(), message(1)));
    assert_eq!(numbers(&log(store, &[APPLE], 1).await), [1]);
}

/// A consumer can ask before it does the work.
pub async fn handled_messages_are_known(store: &dyn EventStore) {
    stored(store, handled("harvest", [1, 3])).await;
    assert_eq!(seen(store, "harvest", &[1, 2, 3]).await, [1, 3]);
    assert!(seen(store, "market", &[1, 2, 3]).await.is_empty());
    assert!(seen(store, "harvest", &[]).await.is_empty());
}

/// The first one stays as it is; parking it again is no error.
pub async fn a_dead_letter_is_kept_once(store: &dyn EventStore) {
    let parked = |letters: Vec<DeadLetter>| Commit { dead_letters: letters, ..Commit::default() };
    stored(store, parked(vec![letter(1)])).await;
    let again = DeadLetter { reason: "again".to_owned(), ..letter(1) };
    let elsewhere = DeadLetter { consumer: "market".to_owned(), ..letter(1) };
    stored(store, parked(vec![again, elsewhere.clone(), letter(2), letter(2)])).await;
    let letters = store.dead_letters(0, 10).await.expect("read").into_iter().map(|stored| stored.letter);
    let mut letters: Vec<DeadLetter> = letters.collect();
    letters.sort_by(|one, other| (&one.consumer, &one.message).cmp(&(&other.consumer, &other.message)));
    assert_eq!(letters, [letter(1), letter(2), elsewhere]);
}

/// Oldest first.
pub async fn dead_letters_come_page_by_page(store: &dyn EventStore) {
    for number in 1..=3 {
        stored(store, Commit { dead_letters: vec![letter(number)], ..Commit::default() }).await;
    }
    let first = store.dead_letters(0, 2).await.expect("read");
    assert_eq!(first.iter().map(|stored| stored.letter.clone()).collect::<Vec<_>>(), [letter(1), letter(2)]);
    let rest = store.dead_letters(first[1].id, 2).await.expect("read");
    assert_eq!(rest.iter().map(|stored| stored.letter.clone()).collect::<Vec<_>>(), [letter(3)]);
    assert!(first[0].parked_at <= rest[0].parked_at);
}
