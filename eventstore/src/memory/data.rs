use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::later;
use super::letters::Letters;
use crate::commit::to_micros;
use crate::storable::parse;
use crate::{
    Append, Category, Commit, CommitError, Committed, Cursor, Digest, DueTimer, DueTimers, InboxEntry, NewEvent,
    Recorded, Snapshot, StreamId, TimerChange, TxId, Version,
};

#[derive(Clone, Copy, Debug)]
struct Timer {
    due: DateTime<Utc>,
    claimed_until: Option<DateTime<Utc>>,
}

impl Timer {
    /// From when on it may be handed out.
    fn ready(&self) -> DateTime<Utc> {
        self.claimed_until.map_or(self.due, |until| until.max(self.due))
    }
}

/// The tables.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) now: DateTime<Utc>,
    tx: u64,
    /// In commit order; an event's position is its index + 1.
    log: Vec<Recorded>,
    /// Indexes into the log, by version.
    streams: HashMap<StreamId, Vec<usize>>,
    outbox: BTreeMap<TxId, DateTime<Utc>>,
    inbox: HashSet<InboxEntry>,
    timers: BTreeMap<StreamId, Timer>,
    pub(super) letters: Letters,
    snapshots: HashMap<StreamId, Snapshot>,
}

impl Data {
    pub(super) fn new(now: DateTime<Utc>) -> Self {
        Self {
            now,
            tx: 0,
            log: Vec::new(),
            streams: HashMap::new(),
            outbox: BTreeMap::new(),
            inbox: HashSet::new(),
            timers: BTreeMap::new(),
            letters: Letters::default(),
            snapshots: HashMap::new(),
        }
    }

    pub(super) fn log(&self) -> &[Recorded] {
        &self.log
    }

    pub(super) fn armed(&self, stream: StreamId) -> Option<DateTime<Utc>> {
        self.timers.get(&stream).map(|timer| timer.due)
    }

    /// Looks first, then writes: nothing fails after the first change.
    pub(super) fn commit(&mut self, mut commit: Commit) -> Result<Committed, CommitError> {
        commit.check().and_then(|()| json(&commit)).map_err(|reason| CommitError::Refused(reason.into()))?;
        commit.inbox.sort_unstable();
        commit.appends.sort_unstable_by_key(|append| append.stream);
        commit.dead_letters.sort_by(|one, other| (&one.consumer, &one.message).cmp(&(&other.consumer, &other.message)));
        self.check_inbox(&commit.inbox)?;
        commit.appends.iter().try_for_each(|append| self.check_version(append))?;

        self.tx += 1;
        let tx = TxId(self.tx);
        let with_events = !commit.appends.is_empty();
        commit.appends.into_iter().for_each(|append| self.append(tx, append));
        if with_events {
            self.outbox.insert(tx, self.now);
        }
        commit.timers.into_iter().for_each(|change| self.change_timer(change));
        self.inbox.extend(commit.inbox);
        let now = self.now;
        commit.dead_letters.into_iter().for_each(|letter| self.letters.park(letter, now));
        let last = if with_events { Cursor { tx, position: self.log.len() as u64 } } else { Cursor::START };
        Ok(Committed { last, now: self.now })
    }

    fn check_inbox(&self, inbox: &[InboxEntry]) -> Result<(), CommitError> {
        let mut new = HashSet::new();
        let handled = inbox.iter().find(|entry| self.inbox.contains(*entry));
        match handled.or_else(|| inbox.iter().find(|entry| !new.insert(*entry))) {
            Some(InboxEntry { consumer, message }) => {
                Err(CommitError::Duplicate { consumer: consumer.clone(), message: *message })
            }
            None => Ok(()),
        }
    }

    fn check_version(&self, append: &Append) -> Result<(), CommitError> {
        let actual = Version::NONE.plus(self.streams.get(&append.stream).map_or(0, Vec::len));
        if actual == append.expected {
            return Ok(());
        }
        Err(CommitError::Conflict { stream: append.stream, expected: append.expected, actual })
    }

    fn append(&mut self, tx: TxId, append: Append) {
        let stream = append.stream;
        let indexes = self.streams.entry(stream).or_default();
        for (event, digest) in append.into_events() {
            indexes.push(self.log.len());
            let cursor = Cursor { tx, position: self.log.len() as u64 + 1 };
            let version = Version::NONE.plus(indexes.len());
            self.log.push(recorded(stream, version, cursor, event, digest));
        }
    }

    fn change_timer(&mut self, change: TimerChange) {
        match change {
            TimerChange::Arm { stream, due } => {
                self.timers.insert(stream, Timer { due: to_micros(due), claimed_until: None });
            }
            TimerChange::Disarm { stream } => {
                self.timers.remove(&stream);
            }
        }
    }
}

/// Reads.
impl Data {
    pub(super) fn read_streams(&self, streams: &[(StreamId, Version)], limit: usize) -> Vec<Recorded> {
        let mut streams = streams.to_vec();
        streams.sort_unstable();
        let events = streams.iter().flat_map(|(stream, after)| {
            let indexes = self.streams.get(stream).map_or(&[][..], Vec::as_slice);
            let after = usize::try_from(after.get()).unwrap_or(usize::MAX);
            indexes.get(after..).unwrap_or_default()
        });
        events.filter_map(|index| self.log.get(*index)).take(limit.clamp(1, 100_000)).cloned().collect()
    }

    pub(super) fn read_stream_backwards(&self, stream: StreamId, limit: usize) -> Vec<Recorded> {
        let indexes = self.streams.get(&stream).map_or(&[][..], Vec::as_slice);
        indexes.iter().rev().filter_map(|index| self.log.get(*index)).take(limit.clamp(1, 1_000)).cloned().collect()
    }

    pub(super) fn read_log(&self, after: Cursor, categories: &[Category], limit: usize) -> Vec<Recorded> {
        let start = self.log.partition_point(|event| event.cursor <= after);
        let rest = self.log.get(start..).unwrap_or_default().iter();
        rest.filter(|event| categories.contains(&event.stream.category)).take(limit.clamp(1, 10_000)).cloned().collect()
    }

    pub(super) fn read_transactions(&self, txs: &[TxId], categories: &[Category]) -> Vec<Recorded> {
        let mut txs = txs.to_vec();
        txs.sort_unstable();
        txs.dedup();
        let events = txs.iter().flat_map(|tx| {
            let start = self.log.partition_point(|event| event.cursor.tx < *tx);
            self.log.get(start..).unwrap_or_default().iter().take_while(|event| event.cursor.tx == *tx)
        });
        events.filter(|event| categories.contains(&event.stream.category)).cloned().collect()
    }

    pub(super) fn outbox_pending(&self, after: TxId, age: Duration, limit: usize) -> Vec<TxId> {
        let old = self.outbox.iter().filter(|(tx, written_at)| **tx > after && later(**written_at, age) <= self.now);
        old.map(|(tx, _)| *tx).take(limit.clamp(1, 1_000)).collect()
    }

    pub(super) fn outbox_published(&mut self, txs: &[TxId]) {
        for tx in txs {
            self.outbox.remove(tx);
        }
    }

    pub(super) fn inbox_seen(&self, consumer: &str, messages: &[Uuid]) -> Vec<Uuid> {
        let seen =
            |message: &Uuid| self.inbox.contains(&InboxEntry { consumer: consumer.to_owned(), message: *message });
        messages.iter().copied().filter(seen).collect()
    }
}

/// Snapshots.
impl Data {
    /// The event to which the snapshot belongs, if this very one is there.
    fn event_of(&self, snapshot: &Snapshot) -> Option<&Recorded> {
        let index = usize::try_from(snapshot.version.get()).ok()?.checked_sub(1)?;
        let event = self.log.get(*self.streams.get(&snapshot.stream)?.get(index)?)?;
        (snapshot.head.is_none() || snapshot.head == event.digest).then_some(event)
    }

    pub(super) fn read_snapshots(&self, streams: &[StreamId]) -> Vec<Snapshot> {
        let known = streams.iter().filter_map(|stream| self.snapshots.get(stream));
        let confirmed = known.filter_map(|snapshot| Some((snapshot, self.event_of(snapshot)?)));
        confirmed.map(|(snapshot, event)| Snapshot { head: event.digest, ..snapshot.clone() }).collect()
    }

    pub(super) fn save_snapshots(&mut self, snapshots: &[Snapshot]) {
        for new in snapshots {
            let stays = self.snapshots.get(&new.stream).is_some_and(|old| {
                (old.version, old.shape) >= (new.version, new.shape) && self.event_of(old).is_some()
            });
            if !stays {
                self.snapshots.insert(new.stream, new.clone());
            }
        }
    }

    pub(super) fn drop_snapshots(&mut self, category: Category, limit: usize) -> usize {
        let ours = self.snapshots.keys().copied().filter(|stream| stream.category == category);
        let dropped: Vec<StreamId> = ours.take(limit.clamp(1, 10_000)).collect();
        dropped.iter().for_each(|stream| drop(self.snapshots.remove(stream)));
        dropped.len()
    }
}

/// Timers.
impl Data {
    pub(super) fn claim_due_timers(&mut self, categories: &[Category], limit: usize, lease: Duration) -> DueTimers {
        let now = self.now;
        let ours = |stream: &StreamId| categories.contains(&stream.category);
        let ready = self.timers.iter().filter(|(stream, timer)| ours(stream) && timer.ready() <= now);
        let mut due: Vec<DueTimer> =
            ready.map(|(stream, timer)| DueTimer { stream: *stream, due: timer.due }).collect();
        due.sort_by_key(|timer| (timer.due, timer.stream));
        due.truncate(limit.clamp(1, 1_000));
        let left =
            self.timers.iter().filter(|(stream, _)| ours(stream) && due.iter().all(|timer| timer.stream != **stream));
        let next = left.map(|(_, timer)| if timer.ready() <= now { timer.due } else { timer.ready() }).min();
        let lease_end = (!due.is_empty()).then(|| later(now, lease));
        let next = next.into_iter().chain(lease_end).min();
        for claimed in &due {
            if let Some(timer) = self.timers.get_mut(&claimed.stream) {
                timer.claimed_until = lease_end;
            }
        }
        DueTimers { due, now, next }
    }
}

fn json(commit: &Commit) -> Result<(), crate::Unstorable> {
    let events = commit.appends.iter().flat_map(|append| append.events());
    events.into_iter().try_for_each(|event| parse("payload", &event.payload))?;
    commit.dead_letters.iter().try_for_each(|letter| parse("headers", &letter.headers))
}

fn recorded(stream: StreamId, version: Version, cursor: Cursor, event: NewEvent, digest: Digest) -> Recorded {
    Recorded {
        stream,
        version,
        cursor,
        id: event.id,
        type_name: event.type_name.to_owned(),
        schema_version: event.schema_version,
        payload: event.payload,
        time: event.time,
        cause: event.cause,
        digest: Some(digest),
    }
}
