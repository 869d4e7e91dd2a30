//! Wake-up calls.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::join_all;

use super::{APPLE, BOTH, HOUR, PEAR, apple, pear, stored};
use crate::{Commit, DueTimer, DueTimers, EventStore, StreamId, TimerChange};

const AT_ONCE: Duration = Duration::ZERO;

async fn change(store: &dyn EventStore, timers: impl IntoIterator<Item = TimerChange>) {
    stored(store, Commit { timers: timers.into_iter().collect(), ..Commit::default() }).await;
}

const fn arm(stream: StreamId, due: DateTime<Utc>) -> TimerChange {
    TimerChange::Arm { stream, due }
}

async fn claim(store: &dyn EventStore, limit: usize, lease: Duration) -> DueTimers {
    store.claim_due_timers(&BOTH, limit, lease).await.expect("timers are claimed")
}

fn streams(timers: &DueTimers) -> Vec<StreamId> {
    timers.due.iter().map(|timer| timer.stream).collect()
}

async fn now(store: &dyn EventStore) -> DateTime<Utc> {
    store.now().await.expect("the store has a clock")
}

/// `next` says when to look again.
pub async fn a_timer_is_never_claimed_before_it_is_due(store: &dyn EventStore) {
    let now = now(store).await;
    assert_eq!(claim(store, 10, HOUR).await.next, None);
    change(store, [arm(apple(1), now + 2 * HOUR), arm(apple(2), now + HOUR)]).await;
    let claimed = claim(store, 10, HOUR).await;
    assert_eq!((claimed.due, claimed.next), (vec![], Some(now + HOUR)));
    assert!(claimed.now >= now);
}

/// A second claimer gets nothing; `next` is the end of the lease, as the first may die.
pub async fn a_due_timer_is_claimed_once_within_its_lease(store: &dyn EventStore) {
    let now = now(store).await;
    change(store, [arm(apple(1), now - HOUR)]).await;
    let claimed = claim(store, 10, HOUR).await;
    assert_eq!(claimed.due, [DueTimer { stream: apple(1), due: now - HOUR }]);
    assert!(claimed.now >= now);
    assert_eq!(claimed.next, Some(claimed.now + HOUR));
    let second = claim(store, 10, HOUR).await;
    assert_eq!((second.due, second.next), (vec![], claimed.next));
}

/// Until somebody arms it anew or disarms it.
pub async fn a_timer_is_claimed_again_after_its_lease(store: &dyn EventStore) {
    change(store, [arm(apple(1), now(store).await - HOUR)]).await;
    assert_eq!(streams(&claim(store, 10, AT_ONCE).await), [apple(1)]);
    assert_eq!(streams(&claim(store, 10, AT_ONCE).await), [apple(1)]);
    assert_eq!(streams(&claim(store, 10, HOUR).await), [apple(1)]);
    assert_eq!(streams(&claim(store, 10, HOUR).await), []);
}

/// At most one timer per stream: the last one armed, earlier or later.
pub async fn arming_replaces_what_was_armed(store: &dyn EventStore) {
    let now = now(store).await;
    change(store, [arm(apple(1), now - HOUR), arm(apple(2), now + HOUR)]).await;
    change(store, [arm(apple(1), now + 2 * HOUR), arm(apple(2), now - HOUR)]).await;
    let claimed = claim(store, 10, 3 * HOUR).await;
    assert_eq!(claimed.due, [DueTimer { stream: apple(2), due: now - HOUR }]);
    assert_eq!(claimed.next, Some(now + 2 * HOUR));
}

/// The new wake-up call is not the one that was handed out.
pub async fn arming_ends_a_lease(store: &dyn EventStore) {
    let now = now(store).await;
    change(store, [arm(apple(1), now - HOUR)]).await;
    assert_eq!(streams(&claim(store, 10, HOUR).await), [apple(1)]);
    change(store, [arm(apple(1), now - HOUR / 2)]).await;
    assert_eq!(streams(&claim(store, 10, HOUR).await), [apple(1)]);
}

/// Claimed or not; and to disarm what is not armed is no error.
pub async fn a_disarmed_timer_stays_silent(store: &dyn EventStore) {
    let now = now(store).await;
    change(store, [arm(apple(1), now - HOUR), arm(apple(2), now - HOUR), arm(apple(3), now - HOUR)]).await;
    change(store, [TimerChange::Disarm { stream: apple(1) }, TimerChange::Disarm { stream: apple(9) }]).await;
    assert_eq!(streams(&claim(store, 1, AT_ONCE).await), [apple(2)]);
    change(store, [TimerChange::Disarm { stream: apple(2) }, arm(apple(4), now - HOUR)]).await;
    assert_eq!(streams(&claim(store, 10, HOUR).await), [apple(3), apple(4)]);
}

/// `next` is in the past as long as there are more.
pub async fn due_timers_come_earliest_first_up_to_the_limit(store: &dyn EventStore) {
    let now = now(store).await;
    let due = [3, 1, 4, 2].map(|number| arm(apple(number), now - HOUR + Duration::from_secs(number)));
    change(store, due).await;
    let first = claim(store, 3, HOUR).await;
    assert_eq!(streams(&first), [apple(1), apple(2), apple(3)]);
    assert_eq!(first.next, Some(now - HOUR + Duration::from_secs(4)));
    assert_eq!(streams(&claim(store, 3, HOUR).await), [apple(4)]);
}

/// Each kind of stream has its own handler.
pub async fn only_timers_of_the_named_categories_are_claimed(store: &dyn EventStore) {
    let now = now(store).await;
    change(store, [arm(apple(1), now - HOUR), arm(pear(1), now - HOUR), arm(pear(2), now + HOUR)]).await;
    let apples = store.claim_due_timers(&[APPLE], 10, 2 * HOUR).await.expect("claimed");
    assert_eq!((streams(&apples), apples.next), (vec![apple(1)], Some(apples.now + 2 * HOUR)));
    let pears = store.claim_due_timers(&[PEAR], 10, 2 * HOUR).await.expect("claimed");
    assert_eq!((streams(&pears), pears.next), (vec![pear(1)], Some(now + HOUR)));
    assert_eq!(store.claim_due_timers(&[], 10, HOUR).await.expect("claimed").next, None);
}

/// Eight at once: every timer goes to one of them.
pub async fn many_claimers_share_the_due_timers(store: &dyn EventStore) {
    let due = now(store).await - HOUR;
    change(store, (1..=100).map(|number| arm(apple(number), due))).await;
    let mut claimed = Vec::new();
    // A claimer that meets rows in another's hands comes back with less, perhaps with nothing.
    for _ in 0..100 {
        let shares = join_all((0..8).map(|_| claim(store, 20, HOUR))).await;
        claimed.extend(shares.iter().flat_map(streams));
        if claimed.len() >= 100 {
            break;
        }
    }
    claimed.sort_unstable();
    assert_eq!(claimed, (1..=100).map(apple).collect::<Vec<_>>());
}
