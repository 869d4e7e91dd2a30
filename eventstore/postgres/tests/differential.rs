//! Whatever is asked, the store on Postgres answers as the one in memory does.
#![expect(clippy::expect_used, reason = "helpers of tests")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use eventstore::memory::{CountingIds, MemoryStore};
use eventstore::{
    Actor, Append, Category, Cause, Commit, CommitError, Cursor, DeadLetter, EventId, EventStore, InboxEntry, NewEvent,
    Recorded, Snapshot, StreamId, TimerChange, TxId, Version,
};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

const CATEGORIES: [Category; 2] = [Category::new("apple"), Category::new("pear")];
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug)]
enum Step {
    Commit(Plan),
    ReadStreams(Vec<(u8, u8)>, usize),
    ReadBackwards(u8, usize),
    ReadLog(usize),
    Publish(usize),
    Claim(usize),
    Seen,
    /// Of each stream: how far the version is off its end, the shape, whether the digest is that of another event.
    Save(Vec<(u8, (i8, u16, bool))>),
    Snapshots(Vec<(u8, ())>),
    DropSnapshots,
}

/// A commit: (stream, how far the expectation is off, events), (stream, armed to an hour), messages, letters.
#[derive(Clone, Debug)]
struct Plan {
    appends: Vec<(u8, i8, u8)>,
    timers: Vec<(u8, Option<i16>)>,
    inbox: Vec<u8>,
    letters: Vec<u8>,
}

fn streams<T: Strategy>(each: T) -> impl Strategy<Value = Vec<(u8, T::Value)>>
where
    T::Value: Clone,
{
    (btree_set(0_u8..8, 0..4), vec(each, 4)).prop_map(|(streams, each)| streams.into_iter().zip(each).collect())
}

fn plan() -> impl Strategy<Value = Plan> {
    let off = prop_oneof![20 => Just(0_i8), 1 => -2_i8..3];
    let appends = streams((off, 1_u8..4)).prop_map(|appends| {
        appends.into_iter().map(|(stream, (off, events))| (stream, off, events)).collect::<Vec<_>>()
    });
    let timers = streams(proptest::option::weighted(0.7, -50_i16..50));
    let inbox = prop_oneof![3 => Just(vec![]), 2 => vec(0_u8..40, 1..3)];
    let letters = prop_oneof![4 => Just(vec![]), 1 => vec(0_u8..4, 1..3)];
    (appends, timers, inbox, letters).prop_map(|(appends, timers, inbox, letters)| Plan {
        appends,
        timers,
        inbox,
        letters,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => plan().prop_map(Step::Commit),
        2 => (streams(0_u8..6), 1_usize..20).prop_map(|(streams, limit)| Step::ReadStreams(streams, limit)),
        1 => (0_u8..8, 1_usize..6).prop_map(|(stream, limit)| Step::ReadBackwards(stream, limit)),
        1 => (1_usize..12).prop_map(Step::ReadLog),
        1 => (1_usize..4).prop_map(Step::Publish),
        2 => (1_usize..5).prop_map(Step::Claim),
        1 => Just(Step::Seen),
        2 => streams((-2_i8..2, 1_u16..3, proptest::bool::weighted(0.2))).prop_map(Step::Save),
        2 => streams(Just(())).prop_map(Step::Snapshots),
        1 => Just(Step::DropSnapshots),
    ]
}

/// Streams 0 to 7: four ids in two categories.
fn stream(number: u8) -> StreamId {
    let [apple, pear] = CATEGORIES;
    StreamId::new(if number.is_multiple_of(2) { apple } else { pear }, CountingIds::id(1, u64::from(number / 2)))
}

fn hours(hours: i16) -> DateTime<Utc> {
    // Far from now on either side, whatever the clock says; distinct, so that their order is one.
    let centuries = if hours < 0 { -400 } else { 400 };
    DateTime::UNIX_EPOCH + chrono::Duration::days(centuries * 365) + chrono::Duration::hours(hours.into())
}

/// One store under test, and what tells its transactions from those of the other.
struct Subject {
    store: Arc<dyn EventStore>,
    txs: Vec<TxId>,
    after: Cursor,
}

impl Subject {
    fn new(store: Arc<dyn EventStore>) -> Self {
        Self { store, txs: Vec::new(), after: Cursor::START }
    }

    /// The answer to a step, as text in which the two may not differ.
    async fn answer(&mut self, step: &Step, number: u64) -> String {
        match step {
            Step::Commit(plan) => self.commit(plan, number).await,
            Step::ReadStreams(streams, limit) => {
                let asked: Vec<_> =
                    streams.iter().map(|(number, after)| (stream(*number), Version::new((*after).into()))).collect();
                self.told(&self.store.read_streams(&asked, *limit).await.expect("read"))
            }
            Step::ReadBackwards(number, limit) => {
                self.told(&self.store.read_stream_backwards(stream(*number), *limit).await.expect("read"))
            }
            Step::ReadLog(limit) => {
                let events = self.settled_log(*limit).await;
                self.after = events.last().map_or(self.after, |event| event.cursor);
                self.told(&events)
            }
            Step::Publish(limit) => {
                let txs = self.store.outbox_pending(TxId::default(), Duration::ZERO, *limit).await.expect("read");
                let events = self.store.read_transactions(&txs, &CATEGORIES[..1]).await.expect("read");
                self.store.outbox_published(&txs).await.expect("published");
                format!("{:?} {}", txs.iter().map(|tx| self.rank(*tx)).collect::<Vec<_>>(), self.told(&events))
            }
            Step::Claim(limit) => {
                let claimed = self.store.claim_due_timers(&CATEGORIES, *limit, HOUR).await.expect("claimed");
                // The end of a lease is an hour or less from now; everything else is centuries away.
                let next = claimed.next.map(|next| {
                    let away = next - claimed.now;
                    if away.num_days() == 0 { "a lease".to_owned() } else { format!("{next}") }
                });
                format!("{:?} {next:?}", claimed.due)
            }
            Step::Save(wishes) => {
                let mut snapshots = Vec::new();
                for (of, wish) in wishes {
                    snapshots.extend(self.snapshot(stream(*of), *wish).await);
                }
                self.store.save_snapshots(&snapshots).await.expect("saved");
                format!("{}", snapshots.len())
            }
            Step::Snapshots(of) => {
                let of: Vec<StreamId> = of.iter().map(|(number, ())| stream(*number)).collect();
                let mut found = self.store.read_snapshots(&of).await.expect("read");
                found.sort_by_key(|snapshot| snapshot.stream);
                format!("{found:?}")
            }
            Step::DropSnapshots => {
                let dropped = self.store.drop_snapshots(CATEGORIES[0], 10_000).await.expect("dropped");
                format!("{dropped}")
            }
            Step::Seen => {
                let messages: Vec<_> = (0..40).map(|number| CountingIds::id(2, number)).collect();
                let mut seen = self.store.inbox_seen("test", &messages).await.expect("read");
                seen.sort_unstable();
                let letters = self.store.dead_letters(0, 100).await.expect("read");
                let letters: Vec<_> = letters.into_iter().map(|stored| stored.letter).collect();
                format!("{seen:?} {letters:?}")
            }
        }
    }

    async fn commit(&mut self, plan: &Plan, number: u64) -> String {
        let mut commit = Commit::default();
        for (place, (of, off, count)) in plan.appends.iter().enumerate() {
            let actual = self.store.read_stream_backwards(stream(*of), 1).await.expect("read");
            let actual = actual.first().map_or(0, |event| event.version.get());
            let expected = Version::new(actual.saturating_add_signed((*off).into()));
            let id = |index: u8| number * 100 + place as u64 * 10 + u64::from(index);
            let events = (0..*count).map(|index| event(id(index))).collect();
            commit.appends.push(Append::new(stream(*of), expected, None, events));
        }
        let timer = |(of, due): &(u8, Option<i16>)| match due {
            Some(due) => TimerChange::Arm { stream: stream(*of), due: hours(*due) },
            None => TimerChange::Disarm { stream: stream(*of) },
        };
        commit.timers = plan.timers.iter().map(timer).collect();
        let entry =
            |number: &u8| InboxEntry { consumer: "test".to_owned(), message: CountingIds::id(2, (*number).into()) };
        commit.inbox = plan.inbox.iter().map(entry).collect();
        commit.dead_letters = plan.letters.iter().map(|which| letter(*which, number)).collect();
        match self.store.commit(commit).await {
            Ok(committed) => {
                if committed.last != Cursor::START {
                    assert!(self.txs.last().is_none_or(|last| *last < committed.last.tx));
                    self.txs.push(committed.last.tx);
                }
                format!("stored {:?}", self.rank(committed.last.tx))
            }
            Err(error @ (CommitError::Refused(_) | CommitError::Unavailable(_))) => unreachable!("{error:?}"),
            Err(error @ (CommitError::Conflict { .. } | CommitError::Duplicate { .. })) => error.to_string(),
        }
    }

    /// `None` where there is no version to be of.
    async fn snapshot(&self, of: StreamId, (off, shape, other): (i8, u16, bool)) -> Option<Snapshot> {
        let last = self.store.read_stream_backwards(of, 100).await.expect("read");
        let end = last.first()?.version.get();
        let version = Version::new(end.saturating_add_signed(off.into()).max(1));
        let right = last.iter().find(|event| event.version == version).and_then(|event| event.digest);
        let wrong = last.iter().find(|event| event.version != version).and_then(|event| event.digest);
        let head = if other { wrong.or(right) } else { right };
        Some(Snapshot { stream: of, version, shape, head, state: format!("{{\"at\":{version}}}") })
    }

    /// Other tests' transactions on the same server may hold the log back: it is read once it shows our last commit.
    async fn settled_log(&self, limit: usize) -> Vec<Recorded> {
        loop {
            let all = self.store.read_log(Cursor::START, &CATEGORIES, 10_000).await.expect("read");
            if all.last().map(|event| event.cursor.tx) == self.txs.last().copied() {
                return self.store.read_log(self.after, &CATEGORIES, limit).await.expect("read");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Transactions have other numbers elsewhere, but the same order.
    fn rank(&self, tx: TxId) -> Option<usize> {
        self.txs.iter().position(|other| *other == tx)
    }

    fn told(&self, events: &[Recorded]) -> String {
        let told = events.iter().map(|event| {
            let Recorded { stream, version, cursor, id, payload, time, digest, .. } = event;
            format!("{stream} {version} {:?} {id} {payload} {time} {digest:?}", self.rank(cursor.tx))
        });
        told.collect::<Vec<_>>().join("\n")
    }
}

fn event(number: u64) -> NewEvent {
    NewEvent {
        id: EventId(CountingIds::id(3, number)),
        type_name: "Grown",
        schema_version: 1,
        payload: format!(r#"{{"number":{number}}}"#),
        time: DateTime::UNIX_EPOCH,
        cause: Cause {
            correlation: CountingIds::id(4, number),
            causation: CountingIds::id(5, number),
            trace: None,
            actor: Actor::new("test"),
        },
    }
}

fn letter(which: u8, number: u64) -> DeadLetter {
    DeadLetter {
        consumer: "test".to_owned(),
        message: which.to_string(),
        key: (which > 0).then(|| format!("apple/{}", which / 2)),
        sequence: which.into(),
        subject: "farmera.test".to_owned(),
        headers: "{}".to_owned(),
        body: vec![which],
        reason: number.to_string(),
    }
}

#[test]
fn both_stores_answer_alike() {
    let runtime = Runtime::new().expect("a runtime");
    let config = Config { cases: 24, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&vec(step(), 10..60), |steps| {
            runtime.block_on(async {
                let mut postgres = Subject::new(support::fresh().await);
                let mut memory = Subject::new(Arc::new(MemoryStore::new(DateTime::UNIX_EPOCH)));
                for (step, number) in steps.iter().zip(1..) {
                    let answers = (postgres.answer(step, number).await, memory.answer(step, number).await);
                    prop_assert_eq!(&answers.0, &answers.1, "after step {} {:?}", number, step);
                }
                Ok(())
            })
        })
        .expect("no difference");
}
