//! The contract suite: every promise of an event store as a function that takes an empty store and panics when the
//! promise is broken.
//!
//! [`contract_tests!`](crate::contract_tests) makes a named test of each. No test waits for a clock: what is due or
//! old is told apart by times and ages an hour away, and a lease that is over by one of no length.
#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "the suite is test code")]

pub mod appends;
pub mod digests;
pub mod inbox;
pub mod letters;
pub mod log;
pub mod outbox;
pub mod refusals;
pub mod snapshots;
pub mod streams;
pub mod timers;

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::memory::CountingIds;
use crate::{
    Actor, Append, Category, Cause, Commit, CommitError, Committed, Cursor, DeadLetter, EventId, EventStore, NewEvent,
    Recorded, StreamId, TraceContext, TxId, Version,
};

/// Makes a `#[tokio::test]` of every promise. `$fresh` is an async function without arguments that returns an `Arc`
/// of an empty store, which also keeps [`DeadLetters`](crate::DeadLetters).
#[macro_export]
macro_rules! contract_tests {
    ($fresh:path) => {
        $crate::contract_tests! { @ $fresh,
            appends: versions_are_dense_from_one
            appends: a_commit_over_several_streams_is_all_or_nothing
            appends: an_append_with_a_stale_version_changes_nothing
            appends: an_append_ahead_of_its_stream_changes_nothing
            appends: a_conflict_leaves_no_timer_no_inbox_row_no_letter_no_outbox_row
            appends: a_conflict_names_the_first_stream_that_differs
            appends: the_same_id_in_two_categories_is_two_streams
            appends: of_many_writers_of_one_version_exactly_one_wins
            appends: many_writers_that_try_again_lose_nothing
            appends: a_commit_without_events_has_no_place_in_the_log
            streams: several_streams_come_in_the_order_of_their_ids
            streams: a_page_may_end_within_a_stream_and_the_next_goes_on
            streams: a_stream_is_read_after_a_version
            streams: unknown_streams_are_empty
            streams: a_stream_is_read_backwards_from_its_end
            streams: everything_said_of_an_event_comes_back
            snapshots: a_snapshot_comes_back_as_it_was_saved
            snapshots: a_newer_snapshot_replaces_an_older_one_never_the_reverse
            snapshots: of_one_version_the_higher_shape_stays
            snapshots: a_snapshot_ahead_of_its_stream_is_left_out_and_gives_way
            snapshots: a_snapshot_of_another_event_is_left_out_and_gives_way
            snapshots: snapshots_of_one_category_are_dropped
            snapshots: streams_with_and_without_snapshots_are_asked_for_together
            digests: a_digest_is_that_of_the_event_and_the_one_before
            digests: every_way_to_read_tells_the_digest
            log: the_log_is_in_commit_order
            log: the_log_is_read_page_by_page_without_gap_or_repetition
            log: the_log_shows_the_categories_that_were_asked_for
            log: a_commit_returns_the_place_of_its_last_event
            outbox: a_commit_with_events_is_pending_until_it_is_published
            outbox: a_commit_without_events_is_not_pending
            outbox: what_is_young_is_not_pending_yet
            outbox: pending_transactions_come_oldest_first
            outbox: the_events_of_transactions_come_in_commit_order
            inbox: a_message_is_handled_once_per_consumer
            inbox: a_duplicate_message_leaves_nothing_of_its_commit
            inbox: a_message_named_twice_in_one_commit_is_a_duplicate
            inbox: a_duplicate_outranks_a_conflict
            inbox: handled_messages_are_known
            inbox: a_dead_letter_is_kept_once
            inbox: dead_letters_come_page_by_page
            letters: a_parked_letter_blocks_its_key_and_no_other
            letters: a_letter_without_a_key_blocks_nobody
            letters: what_comes_for_a_blocked_key_is_parked_behind
            letters: a_line_is_redriven_in_order_and_then_free
            letters: the_first_that_fails_again_stops_its_line
            letters: a_letter_that_comes_while_its_line_is_redriven_takes_its_turn
            letters: whoever_dies_while_redriving_leaves_a_claim_that_runs_out
            letters: a_line_goes_on_later_where_it_stopped
            letters: a_discarded_letter_stays_so_and_lets_the_next_move_up
            letters: a_redriven_letter_that_fails_anew_waits_again
            letters: what_does_not_wait_is_neither_redriven_nor_discarded
            timers: a_timer_is_never_claimed_before_it_is_due
            timers: a_due_timer_is_claimed_once_within_its_lease
            timers: a_timer_is_claimed_again_after_its_lease
            timers: arming_replaces_what_was_armed
            timers: arming_ends_a_lease
            timers: a_disarmed_timer_stays_silent
            timers: due_timers_come_earliest_first_up_to_the_limit
            timers: only_timers_of_the_named_categories_are_claimed
            timers: many_claimers_share_the_due_timers
            refusals: text_with_a_nul_byte_is_refused
            refusals: the_escape_of_nul_in_json_is_kept
            refusals: what_is_not_json_is_refused
            refusals: names_over_their_limit_are_refused
            refusals: an_append_without_events_is_refused
            refusals: a_stream_named_twice_is_refused
            refusals: times_beyond_the_calendar_are_refused
            refusals: a_refused_commit_leaves_nothing
            refusals: a_letter_made_storable_is_stored
        }
    };
    (@ $fresh:path, $($room:ident: $promise:ident)*) => {
        $(
            #[tokio::test]
            async fn $promise() {
                $crate::contract::$room::$promise(&*$fresh().await).await;
            }
        )*
    };
}

/// Two categories, so that streams and filters can be told apart.
pub(crate) const APPLE: Category = Category::new("apple");
pub(crate) const PEAR: Category = Category::new("pear");
pub(crate) const BOTH: [Category; 2] = [APPLE, PEAR];
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// The `number`th stream of [`APPLE`]; a higher number sorts later.
pub(crate) fn apple(number: u64) -> StreamId {
    StreamId::new(APPLE, CountingIds::id(1, number))
}

pub(crate) fn pear(number: u64) -> StreamId {
    StreamId::new(PEAR, CountingIds::id(1, number))
}

pub(crate) fn message(number: u64) -> Uuid {
    CountingIds::id(2, number)
}

/// A moment that every store keeps exactly.
pub(crate) fn moment() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_800_000_000_123_456).expect("a valid time")
}

/// The `number`th event there is.
pub(crate) fn event(number: u64) -> NewEvent {
    NewEvent {
        id: EventId(CountingIds::id(3, number)),
        type_name: "Grown",
        schema_version: 1,
        payload: format!(r#"{{"number":{number}}}"#),
        time: moment(),
        cause: Cause {
            correlation: CountingIds::id(4, number),
            causation: CountingIds::id(5, number),
            trace: Some(TraceContext(format!("00-{number:032x}-{number:016x}-01"))),
            actor: Actor::new("service:orchard"),
        },
    }
}

/// `events` for `stream` as its versions from `expected + 1`.
pub(crate) fn append(stream: StreamId, expected: u64, events: impl IntoIterator<Item = u64>) -> Append {
    Append::new(stream, Version::new(expected), None, events.into_iter().map(event).collect())
}

pub(crate) fn appends(appends: impl IntoIterator<Item = Append>) -> Commit {
    Commit { appends: appends.into_iter().collect(), ..Commit::default() }
}

/// One stream, some events.
pub(crate) fn one(stream: StreamId, expected: u64, events: impl IntoIterator<Item = u64>) -> Commit {
    appends([append(stream, expected, events)])
}

pub(crate) fn letter(number: u64) -> DeadLetter {
    DeadLetter {
        consumer: "harvest".to_owned(),
        message: format!("message {number}"),
        key: Some(format!("apple/{number}")),
        sequence: number,
        subject: "farmera.orchard.grown".to_owned(),
        headers: r#"{"ce-id":"1"}"#.to_owned(),
        body: vec![0, 159, 146, 150],
        reason: "nobody knows this kind".to_owned(),
    }
}

pub(crate) async fn stored(store: &dyn EventStore, commit: Commit) -> Committed {
    store.commit(commit).await.expect("the commit is stored")
}

pub(crate) async fn refused(store: &dyn EventStore, commit: Commit) -> CommitError {
    store.commit(commit).await.expect_err("the commit is not stored")
}

/// Stream, expected and actual version of a conflict.
pub(crate) async fn conflict(store: &dyn EventStore, commit: Commit) -> (StreamId, u64, u64) {
    match refused(store, commit).await {
        CommitError::Conflict { stream, expected, actual } => (stream, expected.get(), actual.get()),
        error @ (CommitError::Duplicate { .. } | CommitError::Refused(_) | CommitError::Unavailable(_)) => {
            panic!("expected a conflict: {error:?}")
        }
    }
}

pub(crate) async fn stream(store: &dyn EventStore, stream: StreamId) -> Vec<Recorded> {
    store.read_streams(&[(stream, Version::NONE)], 1_000).await.expect("the stream is read")
}

/// The ids of these events, as numbers of [`event`].
pub(crate) fn numbers(events: &[Recorded]) -> Vec<u64> {
    events.iter().map(|event| number(event.id.0)).collect()
}

/// Which of the messages with these numbers `consumer` has handled.
pub(crate) async fn seen(store: &dyn EventStore, consumer: &str, numbers: &[u64]) -> Vec<u64> {
    let messages: Vec<Uuid> = numbers.iter().copied().map(message).collect();
    let seen = store.inbox_seen(consumer, &messages).await.expect("the inbox is read");
    let mut seen: Vec<u64> = seen.into_iter().map(number).collect();
    seen.sort_unstable();
    seen
}

/// The count within a counted id: its time.
fn number(id: Uuid) -> u64 {
    (id.as_u128() >> 80) as u64
}

/// The whole log once it shows `count` events: other transactions of the same server may hold it back for a while.
pub(crate) async fn log(store: &dyn EventStore, categories: &[Category], count: usize) -> Vec<Recorded> {
    for _ in 0..2_000 {
        let events = store.read_log(Cursor::START, categories, 10_000).await.expect("the log is read");
        if events.len() >= count {
            return events;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the log does not come to {count} events")
}

/// Nothing of `commit` is there: neither its events nor its timers, inbox rows, letters and outbox row.
pub(crate) async fn assert_nothing_pending(store: &dyn EventStore) {
    assert_eq!(store.outbox_pending(TxId::default(), Duration::ZERO, 1_000).await.expect("the outbox is read"), []);
    let timers = store.claim_due_timers(&BOTH, 1_000, Duration::ZERO).await.expect("the timers are read");
    assert_eq!((timers.due, timers.next), (vec![], None));
    assert_eq!(store.dead_letters(0, 1_000).await.expect("the letters are read"), []);
}
