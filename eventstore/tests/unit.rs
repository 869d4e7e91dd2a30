//! A unit of work: what an input sees, what it leaves, what is taken back.
#![expect(clippy::expect_used, reason = "helpers of tests")]

mod support;

use chrono::Duration;
use eventstore::memory::{CountingIds, FixedClock};
use eventstore::{
    Cache, Commit, Committed, Cursor, DeadLetter, DomainEvent as _, EventId, Need, NewEvent, Recorded, TimerChange,
    TxId, Unit, Version,
};
use support::{Account, AccountEvent, Impostor, account, cause, message, noon, stream};

const DEPOSIT: AccountEvent = AccountEvent::Deposited { amount: 10 };

/// A world around one unit after the other, over one cache.
struct Shell {
    cache: Cache,
    ids: CountingIds,
    clock: FixedClock,
}

impl Shell {
    fn new() -> Self {
        Self { cache: Cache::new(100), ids: CountingIds::new(9), clock: FixedClock(noon()) }
    }

    fn unit(&mut self) -> Unit<'_> {
        let mut unit = Unit::new(&mut self.cache, &self.ids, &self.clock, cause(1));
        unit.begin(cause(1));
        unit
    }

    /// As if these streams had been loaded with these events.
    fn load(&mut self, streams: &[(u64, &[AccountEvent])]) {
        let mut unit = self.unit();
        for (number, _) in streams {
            assert_eq!(unit.get::<Account>(account(*number)), Err(Need::NotLoaded(stream(*number))));
        }
        unit.refuse();
        unit.restart();
        let recorded = streams.iter().flat_map(|(number, events)| recorded(*number, events)).collect::<Vec<_>>();
        unit.feed(&recorded);
        unit.loaded();
    }
}

fn recorded(number: u64, events: &[AccountEvent]) -> Vec<Recorded> {
    let of = |(index, event): (usize, &AccountEvent)| Recorded {
        stream: stream(number),
        version: Version::NONE.plus(index + 1),
        cursor: Cursor::START,
        id: EventId(message(index as u64)),
        type_name: event.type_name().to_owned(),
        schema_version: 1,
        payload: serde_json::to_string(event).expect("JSON"),
        time: noon(),
        cause: cause(1),
        digest: None,
    };
    events.iter().enumerate().map(of).collect()
}

fn committed() -> Committed {
    Committed { last: Cursor { tx: TxId(7), position: 70 }, now: noon() }
}

fn expected(commit: &Commit) -> Vec<(Version, usize)> {
    commit.appends.iter().map(|append| (append.expected, append.events().len())).collect()
}

#[test]
fn time_within_a_stream_never_runs_backwards_whatever_the_clock_does() {
    let mut shell = Shell::new();
    shell.load(&[(1, &[DEPOSIT]), (2, &[DEPOSIT])]);
    let (ahead, right) = (noon() + Duration::hours(2), noon() + Duration::minutes(1));
    for (number, now, time) in [(1, ahead, ahead), (1, right, ahead), (2, right, right), (1, ahead, ahead)] {
        shell.clock = FixedClock(now);
        let mut unit = shell.unit();
        unit.get::<Account>(account(number)).expect("at hand");
        unit.record::<Account>(account(number), &[DEPOSIT]).expect("recorded");
        unit.accept();
        drop(unit.to_commit());
        let recorded = unit.into_recorded(committed());
        assert_eq!(recorded.iter().map(|event| event.time).collect::<Vec<_>>(), [time], "account {number}");
    }
    // Another process, which has to read first.
    let mut late = recorded(1, &[DEPOSIT]);
    late.iter_mut().for_each(|event| event.time = ahead);
    let mut shell = Shell::new();
    shell.clock = FixedClock(right);
    let mut unit = shell.unit();
    assert!(unit.get::<Account>(account(1)).is_err());
    unit.refuse();
    unit.restart();
    unit.feed(&late);
    unit.loaded();
    unit.begin(cause(2));
    unit.get::<Account>(account(1)).expect("at hand");
    unit.record::<Account>(account(1), &[DEPOSIT]).expect("recorded");
    unit.accept();
    drop(unit.to_commit());
    assert_eq!(unit.into_recorded(committed()).first().map(|event| event.time), Some(ahead));
}

#[test]
fn an_input_sees_what_the_one_before_it_recorded() {
    let mut shell = Shell::new();
    shell.load(&[(1, &[DEPOSIT])]);
    let mut unit = shell.unit();
    unit.record::<Account>(account(1), &[DEPOSIT, DEPOSIT]).expect("loaded");
    unit.accept();
    unit.begin(cause(2));
    assert_eq!(unit.get::<Account>(account(1)).expect("loaded").balance, 30);
    assert_eq!(unit.version::<Account>(account(1)), Version::new(3));
    unit.record::<Account>(account(1), &[DEPOSIT]).expect("loaded");
    unit.accept();

    let commit = unit.to_commit();
    assert_eq!(expected(&commit), [(Version::new(1), 3)]);
    let causes: Vec<_> = commit.appends[0].events().iter().map(|event: &NewEvent| event.cause.clone()).collect();
    assert_eq!(causes, [cause(1), cause(1), cause(2)]);
    let recorded = unit.into_recorded(committed());
    assert_eq!(recorded.iter().map(|event| event.version.get()).collect::<Vec<_>>(), [2, 3, 4]);
}

#[test]
fn a_refused_input_takes_everything_back() {
    let mut shell = Shell::new();
    shell.load(&[(1, &[DEPOSIT]), (2, &[])]);
    let mut unit = shell.unit();
    unit.record::<Account>(account(1), &[DEPOSIT]).expect("loaded");
    unit.wake::<Account>(account(1), Some(noon() + Duration::hours(2))).expect("loaded");
    unit.done_with("test", message(1));
    unit.accept();
    let before = unit.to_commit();

    unit.begin(cause(2));
    unit.record::<Account>(account(1), &[DEPOSIT]).expect("loaded");
    unit.record::<Account>(account(1), &[DEPOSIT]).expect("loaded");
    unit.record::<Account>(account(2), &[DEPOSIT]).expect("loaded");
    unit.wake::<Account>(account(1), Some(noon() + Duration::hours(1))).expect("loaded");
    unit.wake::<Account>(account(2), Some(noon() + Duration::hours(1))).expect("loaded");
    unit.done_with("test", message(2));
    unit.park(letter());
    unit.refuse();

    assert_eq!(unit.to_commit(), before);
    assert_eq!(unit.get::<Account>(account(1)).expect("loaded").balance, 20);
    assert_eq!(unit.get::<Account>(account(2)).expect("loaded").balance, 0);
    assert_eq!(unit.version::<Account>(account(2)), Version::NONE);
}

#[test]
fn a_refusal_after_recording_on_an_unseen_stream_is_not_believed() {
    let mut shell = Shell::new();
    let mut unit = shell.unit();
    unit.get_or_new::<Account>(account(1)).expect("taken for new");
    unit.record::<Account>(account(1), &[DEPOSIT]).expect("taken for new");
    unit.refuse();
    assert_eq!(unit.missing(), [stream(1)]);
}

#[test]
fn a_stream_taken_for_new_is_not_read_when_it_is_written() {
    let mut shell = Shell::new();
    let mut unit = shell.unit();
    assert!(!unit.get_or_new::<Account>(account(1)).expect("taken for new").opened);
    unit.record::<Account>(account(1), &[DEPOSIT]).expect("taken for new");
    unit.accept();
    assert_eq!((unit.missing(), unit.doubtful()), (vec![], vec![]));
    assert_eq!(expected(&unit.to_commit()), [(Version::NONE, 1)]);
}

#[test]
fn after_a_conflict_every_stream_taken_for_new_is_looked_at() {
    let mut shell = Shell::new();
    let mut unit = shell.unit();
    for number in 1..=3 {
        unit.begin(cause(number));
        unit.get_or_new::<Account>(account(number)).expect("taken for new");
        unit.record::<Account>(account(number), &[DEPOSIT]).expect("taken for new");
        unit.accept();
    }
    unit.conflict(stream(2));
    assert!(unit.to_commit().is_empty());
    assert_eq!(unit.missing(), [stream(1), stream(2), stream(3)]);
}

#[test]
fn what_is_concluded_without_writing_is_doubtful_until_it_is_confirmed() {
    let mut shell = Shell::new();
    shell.load(&[(1, &[DEPOSIT]), (2, &[DEPOSIT])]);
    // The next unit: the streams are in the cache, but are they still what they were?
    let mut unit = shell.unit();
    unit.get::<Account>(account(1)).expect("cached");
    unit.refuse();
    unit.begin(cause(2));
    unit.get::<Account>(account(2)).expect("cached");
    unit.record::<Account>(account(2), &[DEPOSIT]).expect("cached");
    unit.accept();
    assert_eq!(unit.doubtful(), [(stream(1), Version::new(1))]);
    assert!(unit.confirm(&[]));
    assert_eq!(unit.doubtful(), []);
    assert_eq!(expected(&unit.to_commit()), [(Version::new(1), 1)]);
}

#[test]
fn a_conclusion_on_a_stale_state_restarts_the_unit() {
    let mut shell = Shell::new();
    shell.load(&[(1, &[DEPOSIT])]);
    let mut unit = shell.unit();
    unit.get::<Account>(account(1)).expect("cached");
    unit.refuse();
    let newer = recorded(1, &[DEPOSIT, DEPOSIT]).split_off(1);
    assert!(!unit.confirm(&newer));
    unit.begin(cause(1));
    assert_eq!(unit.get::<Account>(account(1)), Err(Need::NotLoaded(stream(1))));
}

#[test]
fn a_wake_up_call_is_written_only_when_it_must_come_earlier() {
    let mut shell = Shell::new();
    shell.load(&[(1, &[])]);
    let mut unit = shell.unit();
    let mut timers = |hours: Option<i64>| {
        unit.begin(cause(1));
        unit.wake::<Account>(account(1), hours.map(|hours| noon() + Duration::hours(hours))).expect("loaded");
        unit.accept();
        unit.to_commit().timers
    };
    let arm = |hours| vec![TimerChange::Arm { stream: stream(1), due: noon() + Duration::hours(hours) }];
    assert_eq!(timers(None), [], "a new stream has no timer");
    assert_eq!(timers(Some(3)), arm(3));
    assert_eq!(timers(Some(5)), arm(3), "it is woken early enough");
    assert_eq!(timers(Some(2)), arm(2));
    assert_eq!(timers(None), [TimerChange::Disarm { stream: stream(1) }]);
}

#[test]
fn a_timer_that_is_due_already_or_was_claimed_is_armed_anew() {
    let mut shell = Shell::new();
    shell.load(&[(1, &[])]);
    let mut unit = shell.unit();
    unit.wake::<Account>(account(1), Some(noon() + Duration::hours(1))).expect("loaded");
    unit.accept();
    drop(unit.into_recorded(committed()));

    let later = noon() + Duration::hours(3);
    let armed = vec![TimerChange::Arm { stream: stream(1), due: later }];
    let mut unit = shell.unit();
    unit.wake::<Account>(account(1), Some(later)).expect("cached");
    assert_eq!(unit.to_commit().timers, [], "the one in an hour does");
    unit.refuse();
    unit.begin(cause(1));
    unit.timer_claimed(stream(1));
    unit.wake::<Account>(account(1), Some(later)).expect("cached");
    assert_eq!(unit.to_commit().timers, armed);
    unit.refuse();

    let mut shell = Shell { clock: FixedClock(noon() + Duration::hours(2)), ..shell };
    let mut unit = shell.unit();
    unit.wake::<Account>(account(1), Some(later)).expect("cached");
    assert_eq!(unit.to_commit().timers, armed, "somebody may have claimed it in the meantime");
}

#[test]
fn a_stream_that_cannot_be_decoded_is_used_by_nobody() {
    let mut shell = Shell::new();
    let mut unit = shell.unit();
    assert_eq!(unit.get::<Account>(account(1)), Err(Need::NotLoaded(stream(1))));
    unit.refuse();
    unit.restart();
    let mut events = recorded(1, &[DEPOSIT]);
    events[0].payload = r#"{"Stolen":{}}"#.to_owned();
    unit.feed(&events);
    unit.loaded();
    unit.begin(cause(1));
    for need in [unit.get::<Account>(account(1)).cloned(), unit.get_or_new::<Account>(account(1)).cloned()] {
        assert!(matches!(need, Err(Need::Broken { .. })), "{need:?}");
    }
    assert!(unit.met_unusable().is_some());
    unit.begin(cause(2));
    assert!(unit.met_unusable().is_none(), "the next input has not met it");
}

#[test]
fn two_aggregates_in_one_category_are_found_out() {
    let mut shell = Shell::new();
    shell.load(&[(1, &[DEPOSIT])]);
    let mut unit = shell.unit();
    assert!(matches!(unit.get::<Impostor>(account(1)).cloned(), Err(Need::Broken { .. })));
    assert!(matches!(unit.record::<Impostor>(account(1), &[DEPOSIT]), Err(Need::Broken { .. })));
    unit.refuse();
    assert_eq!(unit.get::<Account>(account(1)).expect("unharmed").balance, 10);
}

#[test]
fn a_stream_is_folded_page_by_page() {
    let mut shell = Shell::new();
    let mut unit = shell.unit();
    assert!(unit.require::<Account>(&[account(1), account(2), account(3)]).is_err());
    unit.refuse();
    assert_eq!(unit.missing(), [stream(1), stream(2), stream(3)]);
    unit.restart();
    let mut events = recorded(1, &[DEPOSIT, DEPOSIT, DEPOSIT]);
    events.extend(recorded(3, &[DEPOSIT]));
    events.chunks(2).for_each(|page| unit.feed(page));
    unit.loaded();
    unit.begin(cause(1));
    let balances = [1, 2, 3].map(|number| unit.get::<Account>(account(number)).expect("loaded").balance);
    assert_eq!(balances, [30, 0, 10]);
    assert_eq!(unit.version::<Account>(account(1)), Version::new(3));
}

#[test]
fn a_cache_forgets_what_was_not_used_lately() {
    let mut shell = Shell { cache: Cache::new(2), ..Shell::new() };
    shell.load(&[(1, &[DEPOSIT])]);
    for number in 2..40 {
        shell.load(&[(number, &[])]);
        let mut unit = shell.unit();
        unit.get::<Account>(account(1)).expect("used all the time");
        unit.accept();
        assert!(shell.cache.len() <= 5, "{}", shell.cache.len());
    }
    let mut unit = shell.unit();
    assert!(unit.get::<Account>(account(2)).is_err(), "not used for long");
}

fn letter() -> DeadLetter {
    DeadLetter {
        consumer: "test".to_owned(),
        message: "1".to_owned(),
        key: None,
        sequence: 0,
        subject: "farmera.test".to_owned(),
        headers: "{}".to_owned(),
        body: vec![],
        reason: "nobody knows".to_owned(),
    }
}
