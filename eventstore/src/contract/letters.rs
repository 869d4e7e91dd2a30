//! Letters in line: nothing overtakes what nobody could handle.

use std::time::Duration;

use super::{HOUR, letter, stored};
use crate::{Commit, DeadLetter, DeadLetters, EventStore, LetterState, StoredDeadLetter};

const HARVEST: &str = "harvest";

/// The `number`th letter of a line.
fn of(key: &str, number: u64) -> DeadLetter {
    DeadLetter { key: Some(key.to_owned()), ..letter(number) }
}

async fn park(store: &(impl EventStore + DeadLetters), letter: DeadLetter) {
    stored(store, Commit { dead_letters: vec![letter], ..Commit::default() }).await;
}

async fn behind(store: &impl DeadLetters, letter: DeadLetter) -> bool {
    store.park_behind(letter).await.expect("the store answers")
}

async fn keys(store: &impl DeadLetters) -> Vec<String> {
    store.blocked(HARVEST, 100).await.expect("the keys are read").keys
}

async fn claim(store: &impl DeadLetters) -> Option<StoredDeadLetter> {
    store.claim_redrive(HARVEST, HOUR).await.expect("the store answers")
}

async fn claimed(store: &impl DeadLetters) -> StoredDeadLetter {
    claim(store).await.expect("a line is to be redriven")
}

/// Number and state of every letter.
async fn states(store: &impl EventStore) -> Vec<(String, LetterState)> {
    let letters = store.dead_letters(0, 100).await.expect("the letters are read");
    letters.into_iter().map(|stored| (stored.letter.message, stored.state)).collect()
}

async fn ask(store: &(impl EventStore + DeadLetters), message: &str) -> bool {
    let id = id_of(store, message).await;
    store.ask_redrive(id, "ana").await.expect("the store answers")
}

async fn id_of(store: &impl EventStore, message: &str) -> i64 {
    let letters = store.dead_letters(0, 100).await.expect("the letters are read");
    letters.iter().find(|stored| stored.letter.message == message).expect("the letter is there").id
}

fn waiting(numbers: impl IntoIterator<Item = u64>) -> Vec<(String, LetterState)> {
    numbers.into_iter().map(|number| (format!("message {number}"), LetterState::Waiting)).collect()
}

/// From the moment it is parked.
pub async fn a_parked_letter_blocks_its_key_and_no_other(store: &(impl EventStore + DeadLetters)) {
    assert!(keys(store).await.is_empty());
    park(store, of("saga/1", 1)).await;
    park(store, DeadLetter { consumer: "market".to_owned(), ..of("saga/2", 2) }).await;
    assert_eq!(keys(store).await, ["saga/1"]);
    assert_eq!(store.blocked(HARVEST, 100).await.expect("read").lines, 1);
}

/// It is seen all the same.
pub async fn a_letter_without_a_key_blocks_nobody(store: &(impl EventStore + DeadLetters)) {
    park(store, DeadLetter { key: None, ..letter(1) }).await;
    assert!(keys(store).await.is_empty());
    assert_eq!(store.blocked(HARVEST, 100).await.expect("read").lines, 1);
    assert_eq!(states(store).await, waiting([1]));
    assert!(ask(store, "message 1").await);
    let head = claimed(store).await;
    assert_eq!(head.letter.key, None);
    store.redriven(head.id).await.expect("ended");
    assert_eq!(store.blocked(HARVEST, 100).await.expect("read").lines, 0);
}

/// And what comes for a free one is not.
pub async fn what_comes_for_a_blocked_key_is_parked_behind(store: &(impl EventStore + DeadLetters)) {
    assert!(!behind(store, of("saga/1", 1)).await, "nothing stands in its way");
    assert!(states(store).await.is_empty());
    park(store, of("saga/1", 1)).await;
    assert!(behind(store, of("saga/1", 2)).await);
    assert!(behind(store, of("saga/1", 2)).await, "it comes twice");
    assert!(!behind(store, of("saga/2", 3)).await);
    assert_eq!(states(store).await, waiting([1, 2]));
}

/// In the order of the broker's stream, whatever the order in which they were parked.
pub async fn a_line_is_redriven_in_order_and_then_free(store: &(impl EventStore + DeadLetters)) {
    for number in [2, 1, 3] {
        park(store, of("saga/1", number)).await;
    }
    park(store, of("saga/2", 4)).await;
    assert_eq!(claim(store).await, None, "nobody has asked for it");
    assert!(ask(store, "message 2").await);
    for number in 1..=3 {
        assert_eq!(keys(store).await, ["saga/1", "saga/2"]);
        let head = claimed(store).await;
        assert_eq!((head.letter, head.state), (of("saga/1", number), LetterState::Redriving));
        assert_eq!(claim(store).await, None, "somebody has it");
        store.redriven(head.id).await.expect("ended");
    }
    assert_eq!(keys(store).await, ["saga/2"]);
    assert_eq!(claim(store).await, None);
    let by = |state: &LetterState| matches!(state, LetterState::Redriven { by, .. } if by == "ana");
    assert_eq!(states(store).await.iter().filter(|(_, state)| by(state)).count(), 3);
}

/// The others go on waiting, in their order.
pub async fn the_first_that_fails_again_stops_its_line(store: &(impl EventStore + DeadLetters)) {
    for number in 1..=3 {
        park(store, of("saga/1", number)).await;
    }
    assert!(ask(store, "message 1").await);
    store.redriven(claimed(store).await.id).await.expect("ended");
    store.failed_again(claimed(store).await.id, "still nobody knows").await.expect("noted");
    assert_eq!(claim(store).await, None);
    assert_eq!(states(store).await[1..], waiting([2, 3]));
    assert_eq!(keys(store).await, ["saga/1"]);
    let second = store.dead_letters(0, 100).await.expect("read").remove(1);
    assert_eq!((second.attempts, second.last_error.as_deref()), (1, Some("still nobody knows")));
    assert!(ask(store, "message 3").await, "the whole line");
    assert_eq!(claimed(store).await.id, second.id);
}

/// Nothing younger gets through before it.
pub async fn a_letter_that_comes_while_its_line_is_redriven_takes_its_turn(store: &(impl EventStore + DeadLetters)) {
    park(store, of("saga/1", 1)).await;
    assert!(ask(store, "message 1").await);
    let first = claimed(store).await;
    assert!(behind(store, of("saga/1", 2)).await);
    store.redriven(first.id).await.expect("ended");
    assert_eq!(keys(store).await, ["saga/1"]);
    let second = claimed(store).await;
    assert_eq!(second.letter, of("saga/1", 2));
    store.redriven(second.id).await.expect("ended");
    assert!(keys(store).await.is_empty());
    assert!(!behind(store, of("saga/1", 3)).await);
}

/// The letter is handed out once more.
pub async fn whoever_dies_while_redriving_leaves_a_claim_that_runs_out(store: &(impl EventStore + DeadLetters)) {
    park(store, of("saga/1", 1)).await;
    assert!(ask(store, "message 1").await);
    let dead = store.claim_redrive(HARVEST, Duration::ZERO).await.expect("answered").expect("a line");
    assert_eq!(claimed(store).await, dead);
    assert_eq!(claim(store).await, None);
}

/// Neither handled nor given up.
pub async fn a_line_goes_on_later_where_it_stopped(store: &(impl EventStore + DeadLetters)) {
    park(store, of("saga/1", 1)).await;
    park(store, of("saga/1", 2)).await;
    assert!(ask(store, "message 1").await);
    let first = claimed(store).await;
    store.redrive_later(first.id, HOUR, "the provider is away").await.expect("noted");
    assert_eq!(claim(store).await, None, "not before its time");
    store.redrive_later(first.id, Duration::ZERO, "the provider is away").await.expect("noted");
    let again = claimed(store).await;
    assert_eq!((again.id, again.attempts), (first.id, 2));
}

/// Even when it comes again.
pub async fn a_discarded_letter_stays_so_and_lets_the_next_move_up(store: &(impl EventStore + DeadLetters)) {
    park(store, of("saga/1", 1)).await;
    assert!(behind(store, of("saga/1", 2)).await);
    let discarded = store.discard(id_of(store, "message 1").await, "ben", "a forgery").await;
    assert!(discarded.expect("the store answers"));
    assert_eq!(keys(store).await, ["saga/1"]);
    park(store, of("saga/1", 1)).await;
    let by_ben = |state: &LetterState| matches!(state, LetterState::Discarded { by, reason, .. } if by == "ben" && reason == "a forgery");
    assert!(by_ben(&states(store).await[0].1));
    assert!(ask(store, "message 2").await);
    store.redriven(claimed(store).await.id).await.expect("ended");
    assert!(keys(store).await.is_empty());
    park(store, of("saga/1", 1)).await;
    assert!(keys(store).await.is_empty(), "a forgery that was seen through blocks nobody again");
}

/// What was handled once may come again, and be of no use then.
pub async fn a_redriven_letter_that_fails_anew_waits_again(store: &(impl EventStore + DeadLetters)) {
    park(store, of("saga/1", 1)).await;
    assert!(ask(store, "message 1").await);
    store.redriven(claimed(store).await.id).await.expect("ended");
    park(store, of("saga/1", 1)).await;
    assert_eq!(states(store).await, waiting([1]));
    assert_eq!(keys(store).await, ["saga/1"]);
}

/// It has ended, or was never there.
pub async fn what_does_not_wait_is_neither_redriven_nor_discarded(store: &(impl EventStore + DeadLetters)) {
    assert!(!store.ask_redrive(7, "ana").await.expect("answered"));
    park(store, of("saga/1", 1)).await;
    let id = id_of(store, "message 1").await;
    assert!(store.discard(id, "ben", "a forgery").await.expect("answered"));
    assert!(!store.discard(id, "ben", "a forgery").await.expect("answered"));
    assert!(!store.ask_redrive(id, "ana").await.expect("answered"));
    assert!(keys(store).await.is_empty());
}
