//! Reading streams.

use super::{APPLE, append, appends, apple, event, numbers, one, pear, stored, stream};
use crate::{Actor, Append, EventStore, Recorded, TraceContext, Version};

/// Whatever order they are asked and written in.
pub async fn several_streams_come_in_the_order_of_their_ids(store: &dyn EventStore) {
    stored(store, one(apple(3), 0, [1, 2])).await;
    stored(store, appends([append(pear(2), 0, [3]), append(apple(2), 0, [4, 5])])).await;
    stored(store, one(apple(1), 0, [6])).await;
    let asked = [apple(3), pear(2), apple(1), apple(2)].map(|stream| (stream, Version::NONE));
    let events = store.read_streams(&asked, 100).await.expect("read");
    assert_eq!(numbers(&events), [6, 4, 5, 3, 1, 2]);
    let streams: Vec<_> = events.iter().map(|event| event.stream).collect();
    assert_eq!(streams, [apple(1), apple(2), apple(2), pear(2), apple(3), apple(3)]);
}

/// The reader asks again after the last event it has.
pub async fn a_page_may_end_within_a_stream_and_the_next_goes_on(store: &dyn EventStore) {
    stored(store, appends([append(apple(1), 0, 1..=3), append(apple(2), 0, 4..=9), append(apple(3), 0, 10..=11)]))
        .await;
    let mut after = [(apple(1), Version::NONE), (apple(2), Version::NONE), (apple(3), Version::NONE)];
    let mut read = Vec::new();
    loop {
        let page = store.read_streams(&after, 4).await.expect("read");
        assert!(page.len() <= 4);
        for event in &page {
            let place = after.iter_mut().find(|(stream, _)| *stream == event.stream).expect("a stream asked for");
            assert_eq!(event.version, place.1.plus(1));
            place.1 = event.version;
        }
        if page.is_empty() {
            break;
        }
        read.extend(numbers(&page));
    }
    assert_eq!(read, (1..=11).collect::<Vec<_>>());
}

/// Each stream from a version of its own.
pub async fn a_stream_is_read_after_a_version(store: &dyn EventStore) {
    stored(store, appends([append(apple(1), 0, 1..=3), append(apple(2), 0, 4..=6)])).await;
    let asked = [(apple(1), Version::new(2)), (apple(2), Version::new(1))];
    assert_eq!(numbers(&store.read_streams(&asked, 100).await.expect("read")), [3, 5, 6]);
    assert_eq!(store.read_streams(&[(apple(1), Version::new(3))], 100).await.expect("read"), []);
}

/// Absence is no error.
pub async fn unknown_streams_are_empty(store: &dyn EventStore) {
    stored(store, one(apple(2), 0, [1])).await;
    let asked = [apple(1), apple(2), apple(3)].map(|stream| (stream, Version::NONE));
    assert_eq!(numbers(&store.read_streams(&asked, 100).await.expect("read")), [1]);
    assert_eq!(store.read_streams(&[], 100).await.expect("read"), []);
    assert_eq!(store.read_stream_backwards(apple(9), 100).await.expect("read"), []);
}

/// Newest first.
pub async fn a_stream_is_read_backwards_from_its_end(store: &dyn EventStore) {
    stored(store, appends([append(apple(1), 0, 1..=5), append(pear(1), 0, [6])])).await;
    assert_eq!(numbers(&store.read_stream_backwards(apple(1), 2).await.expect("read")), [5, 4]);
    assert_eq!(numbers(&store.read_stream_backwards(apple(1), 100).await.expect("read")), [5, 4, 3, 2, 1]);
}

/// To the microsecond and the last character.
pub async fn everything_said_of_an_event_comes_back(store: &dyn EventStore) {
    let mut first = event(1);
    first.type_name = "OrderPlaced";
    first.schema_version = 7;
    first.payload = r#"{ "name" : "Käse 🧀 \"alt\"",  "n":[1.50, null], "e":"\u00e4\ud83e\uddc0" }"#.to_owned();
    first.cause.trace = None;
    first.cause.actor = Actor::new("operator:Änne O'Hara");
    let mut second = event(2);
    second.cause.trace = Some(TraceContext("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()));
    let new = [first, second];
    let commit = appends([Append::new(apple(1), Version::NONE, None, new.to_vec())]);
    let committed = stored(store, commit).await;

    let events = stream(store, apple(1)).await;
    assert_eq!(events.len(), 2);
    for ((recorded, new), version) in events.iter().zip(new).zip(1..) {
        let expected = Recorded {
            stream: apple(1),
            version: Version::new(version),
            cursor: recorded.cursor,
            id: new.id,
            type_name: new.type_name.to_owned(),
            schema_version: new.schema_version,
            payload: new.payload,
            time: new.time,
            cause: new.cause,
            digest: recorded.digest,
        };
        assert_eq!(*recorded, expected);
        assert_eq!(recorded.stream.category, APPLE);
    }
    assert_eq!(events.last().map(|event| event.cursor), Some(committed.last));
    assert!(events[0].cursor < events[1].cursor);
}
