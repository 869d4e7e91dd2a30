//! What no store takes, whichever it is.

use chrono::{DateTime, Utc};

use super::{
    append, appends, apple, assert_nothing_pending, event, letter, message, moment, one, pear, refused, seen, stored,
    stream,
};
use crate::{
    Actor, Append, Category, Commit, CommitError, DeadLetter, EventStore, InboxEntry, NewEvent, StreamId, TimerChange,
    TraceContext, Version,
};

fn changed(change: impl FnOnce(&mut NewEvent)) -> Commit {
    let mut event = event(1);
    change(&mut event);
    appends([Append::new(apple(1), Version::NONE, None, vec![event])])
}

fn parked(change: impl FnOnce(&mut DeadLetter)) -> Commit {
    let mut letter = letter(1);
    change(&mut letter);
    Commit { dead_letters: vec![letter], ..Commit::default() }
}

fn handled(consumer: &str) -> Commit {
    let inbox = vec![InboxEntry { consumer: consumer.to_owned(), message: message(1) }];
    Commit { inbox, ..Commit::default() }
}

async fn assert_refused(store: &dyn EventStore, commits: impl IntoIterator<Item = Commit>) {
    for commit in commits {
        let shown = format!("{commit:?}").chars().take(300).collect::<String>();
        let error = refused(store, commit).await;
        assert!(matches!(error, CommitError::Refused(_)), "{error:?} for {shown}");
    }
    assert_eq!(stream(store, apple(1)).await, []);
    assert_nothing_pending(store).await;
}

/// Postgres has no such text.
pub async fn text_with_a_nul_byte_is_refused(store: &dyn EventStore) {
    let commits = [
        changed(|event| event.payload = "\"a\0b\"".to_owned()),
        changed(|event| event.cause.actor = Actor::new("a\0b")),
        changed(|event| event.cause.trace = Some(TraceContext("a\0b".to_owned()))),
        changed(|event| event.type_name = "a\0b"),
        parked(|letter| letter.message = "a\0b".to_owned()),
        parked(|letter| letter.headers = "\"a\0b\"".to_owned()),
        parked(|letter| letter.reason = "a\0b".to_owned()),
        handled("a\0b"),
    ];
    assert_refused(store, commits).await;
}

/// It is six harmless characters there.
pub async fn the_escape_of_nul_in_json_is_kept(store: &dyn EventStore) {
    let payload = r#"{"note":"a\u0000b"}"#;
    stored(store, changed(|event| event.payload = payload.to_owned())).await;
    assert_eq!(stream(store, apple(1)).await[0].payload, payload);
}

/// Payloads and headers are JSON.
pub async fn what_is_not_json_is_refused(store: &dyn EventStore) {
    let payloads = ["", "{", "{\"a\":1}x", "'a'", "\"\n\"", "\"\\x\"", "nul", "01", "{\"a\"}"];
    let payloads = payloads.map(|payload| changed(|event| event.payload = payload.to_owned()));
    assert_refused(store, payloads).await;
    assert_refused(store, [parked(|letter| letter.headers = "no headers".to_owned())]).await;
}

/// Nor are empty ones taken.
pub async fn names_over_their_limit_are_refused(store: &dyn EventStore) {
    const LONG: &str = "a name of more than sixty-four characters is much too long for us";
    let in_category = |name: &'static str| one(StreamId::new(Category::new(name), message(1)), 0, [1]);
    let commits = [
        changed(|event| event.type_name = LONG),
        changed(|event| event.type_name = ""),
        changed(|event| event.schema_version = u16::MAX),
        changed(|event| event.payload = format!("\"{}\"", "x".repeat(1024 * 1024))),
        changed(|event| event.cause.trace = Some(TraceContext("x".repeat(513)))),
        in_category(LONG),
        in_category(""),
        handled(""),
        handled(&"c".repeat(129)),
        parked(|letter| letter.message = "m".repeat(257)),
    ];
    assert_refused(store, commits).await;
}

/// It would have no place.
pub async fn an_append_without_events_is_refused(store: &dyn EventStore) {
    assert_refused(store, [one(apple(1), 0, []), appends([append(pear(1), 0, [1]), append(apple(1), 0, [])])]).await;
    assert_eq!(stream(store, pear(1)).await, []);
}

/// Which of the two would be true?
pub async fn a_stream_named_twice_is_refused(store: &dyn EventStore) {
    let arm = TimerChange::Arm { stream: apple(1), due: moment() };
    let commits = [
        appends([append(apple(1), 0, [1]), append(pear(1), 0, [2]), append(apple(1), 1, [3])]),
        Commit { timers: vec![arm, TimerChange::Disarm { stream: apple(1) }], ..Commit::default() },
    ];
    assert_refused(store, commits).await;
}

/// Years have four digits.
pub async fn times_beyond_the_calendar_are_refused(store: &dyn EventStore) {
    let far = [DateTime::<Utc>::MAX_UTC, DateTime::<Utc>::MIN_UTC];
    assert_refused(store, far.map(|time| changed(|event| event.time = time))).await;
    let timer = |due| Commit { timers: vec![TimerChange::Arm { stream: apple(1), due }], ..Commit::default() };
    assert_refused(store, far.map(timer)).await;
    assert_refused(store, [one(apple(1), u64::MAX, [1]), one(apple(1), i64::MAX as u64, [1])]).await;
}

/// Its neighbours in the same commit are not stored either: whoever sends it leaves the culprit out.
pub async fn a_refused_commit_leaves_nothing(store: &dyn EventStore) {
    let mut commit =
        appends([append(pear(1), 0, [2]), changed(|event| event.payload = "{".to_owned()).appends.remove(0)]);
    commit.timers = vec![TimerChange::Arm { stream: pear(1), due: moment() }];
    commit.inbox = handled("harvest").inbox;
    commit.dead_letters = vec![letter(1)];
    assert_refused(store, [commit]).await;
    assert_eq!(stream(store, pear(1)).await, []);
    assert!(seen(store, "harvest", &[1]).await.is_empty());
}

/// Whatever came over the wire can at least be parked.
pub async fn a_letter_made_storable_is_stored(store: &dyn EventStore) {
    let wild = DeadLetter {
        consumer: String::new(),
        message: "m\0".repeat(300),
        key: Some("#mine".to_owned()),
        sequence: u64::MAX,
        subject: "a\0b".to_owned(),
        headers: "not: json\0".to_owned(),
        body: vec![0; 3],
        reason: "\0".to_owned(),
    };
    let tame = wild.into_storable();
    stored(store, Commit { dead_letters: vec![tame.clone()], ..Commit::default() }).await;
    assert_eq!(store.dead_letters(0, 10).await.expect("read")[0].letter, tame);
    assert_eq!(tame.clone().into_storable(), tame);
    assert_eq!(letter(1).into_storable(), letter(1));
}
