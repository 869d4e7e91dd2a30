//! One batch of one replica: decide, load what is missing, decide again, commit. The steps of `eventstore::worker`,
//! without its runtime, and with everything that can go wrong at each of them.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};
use eventstore::worker::{Handler, SubmitError};
use eventstore::{
    Append, Cache, Clock, Commit, CommitError, Committed, Cursor, Digest, NewEvent, Recorded, StreamId, TimerChange,
    Unit, Version, memory,
};

use crate::nature::Nature;
use crate::service::{ErrorOf, OutputOf, Service, Task};
use crate::{Bug, Fault};

/// How often a batch is decided anew when others are faster.
const ATTEMPTS_MAX: usize = 16;
/// More events than any stream has.
const PAGE: usize = 100_000;

/// The store's clock as a process knows it.
#[derive(Debug, Default)]
pub(crate) struct ProcessClock(AtomicI64);

impl ProcessClock {
    pub(crate) fn set(&self, now: DateTime<Utc>) {
        self.0.store(now.timestamp_micros(), Ordering::Relaxed);
    }
}

impl Clock for ProcessClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0.load(Ordering::Relaxed)).unwrap_or_default()
    }
}

pub(crate) type Met<S> = Result<OutputOf<S>, SubmitError<ErrorOf<S>>>;

/// How a batch ended.
pub(crate) enum Verdict<S: Service> {
    /// Stored, or nothing to store: what each input met, and what is to be told.
    Stored(Vec<Met<S>>, Vec<Recorded>),
    /// One of several is at fault: halve.
    Split,
    /// It is not known to be stored: all of it comes again.
    Unknown,
    /// The process is dead.
    Died,
}

/// What a commit needs: the store it goes to, and what the process has in memory.
pub(crate) struct Shell<'a> {
    pub(crate) name: &'a str,
    pub(crate) store: &'a memory::MemoryStore,
    pub(crate) cache: &'a mut Cache,
    pub(crate) ids: &'a memory::CountingIds,
    pub(crate) clock: &'a ProcessClock,
    /// What it leaves behind.
    pub(crate) traces: &'a mut Traces,
}

/// What is true of the store after a batch, whether its process lives to know it or not.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    /// When whoever was armed is due first.
    pub(crate) due: Option<DateTime<Utc>>,
    /// The streams that may have grown.
    pub(crate) grown: Vec<StreamId>,
}

impl Shell<'_> {
    /// Decides and commits `batch`; `overtake` lets the neighbours go first, right before the commit.
    pub(crate) fn commit<S: Service>(
        self,
        nature: &mut Nature,
        rules: &S::Rules,
        batch: &[Task<S>],
        overtake: &mut dyn FnMut(&mut Nature),
        foretell: &mut dyn FnMut(&mut Nature, &[Recorded]),
    ) -> Verdict<S> {
        let Some(first) = batch.first() else { return Verdict::Stored(Vec::new(), Vec::new()) };
        let (name, store) = (self.name, self.store);
        let mut unit = Unit::new(self.cache, self.ids, self.clock, first.cause.clone());
        for _ in 0..ATTEMPTS_MAX {
            let outputs = decide::<S>(rules, &mut unit, batch);
            if !complete(nature, store, &mut unit) {
                continue;
            }
            let commit = unit.to_commit();
            if commit.is_empty() {
                return Verdict::Stored(outputs, Vec::new());
            }
            if nature.strikes(Fault::CrashBeforeCommit) {
                nature.tell(name, || "dies before its commit".to_owned());
                return Verdict::Died;
            }
            if nature.strikes(Fault::Race) {
                overtake(nature);
            }
            if nature.has(Bug::PublishedBeforeCommit) {
                foretell(nature, &foretold(&commit));
            }
            if nature.strikes(Fault::CommitLost) {
                nature.tell(name, || "loses its commit, and does not know".to_owned());
                if nature.has(Bug::UnknownTakenForStored) {
                    return Verdict::Stored(outputs, Vec::new());
                }
                unit.forget();
                return Verdict::Unknown;
            }
            store.set_time(nature.time());
            self.traces.note(&commit);
            match store.commit_now(commit.clone()) {
                Ok(committed) => return stored(nature, name, self.clock, unit, committed, outputs),
                Err(CommitError::Conflict { stream, .. }) => {
                    nature.tell(name, || format!("meets a conflict on {}", crate::shown(stream)));
                    if nature.has(Bug::ConflictSwallowed) {
                        unit.forget();
                        return Verdict::Stored(outputs, Vec::new());
                    }
                    if nature.has(Bug::ExpectedVersionIgnored)
                        && let Ok(committed) = store.commit_now(anywhere(store, commit))
                    {
                        return stored(nature, name, self.clock, unit, committed, outputs);
                    }
                    unit.conflict(stream);
                }
                Err(CommitError::Duplicate { .. } | CommitError::Refused(_)) if batch.len() > 1 => {
                    unit.forget();
                    return Verdict::Split;
                }
                Err(CommitError::Duplicate { .. } | CommitError::Refused(_) | CommitError::Unavailable(_)) => {
                    unit.forget();
                    return Verdict::Unknown;
                }
            }
        }
        unit.forget();
        Verdict::Unknown
    }
}

impl Traces {
    fn note(&mut self, commit: &Commit) {
        self.grown.extend(commit.appends.iter().map(|append| append.stream));
        for change in &commit.timers {
            match change {
                TimerChange::Arm { due, .. } => self.due = Some(self.due.map_or(*due, |known| known.min(*due))),
                TimerChange::Disarm { .. } => {}
            }
        }
    }
}

fn stored<S: Service>(
    nature: &mut Nature,
    name: &str,
    clock: &ProcessClock,
    mut unit: Unit<'_>,
    committed: Committed,
    outputs: Vec<Met<S>>,
) -> Verdict<S> {
    clock.set(committed.now);
    if nature.strikes(Fault::CommitAnswerLost) {
        nature.tell(name, || "commits, and does not know".to_owned());
        unit.forget();
        return Verdict::Unknown;
    }
    let recorded = unit.into_recorded(committed);
    if !recorded.is_empty() {
        nature.tell(name, || format!("commits {}", crate::nature::told(&recorded)));
    }
    if nature.strikes(Fault::CrashAfterCommit) {
        nature.tell(name, || "dies after its commit".to_owned());
        return Verdict::Died;
    }
    Verdict::Stored(outputs, recorded)
}

/// Runs every input of the batch through the rules.
fn decide<S: Service>(rules: &S::Rules, unit: &mut Unit<'_>, batch: &[Task<S>]) -> Vec<Met<S>> {
    let mut outputs = Vec::with_capacity(batch.len());
    for task in batch {
        unit.begin(task.cause.clone());
        let output = rules.handle(unit, &task.input);
        match output {
            Ok(_) => unit.accept(),
            Err(_) => unit.refuse(),
        }
        outputs.push(output.map_err(|refusal| match unit.met_unusable() {
            Some(need) => SubmitError::Parked(need.clone()),
            None => SubmitError::Rejected(refusal),
        }));
    }
    outputs
}

/// True when the batch has seen all it asked for, and nothing stale; otherwise it is to be decided again.
fn complete(nature: &Nature, store: &memory::MemoryStore, unit: &mut Unit<'_>) -> bool {
    if !unit.missing().is_empty() {
        unit.restart();
        let page = store.read_streams_now(&unit.hungry(), PAGE);
        unit.feed(&page);
        unit.loaded();
        return false;
    }
    let doubtful = unit.doubtful();
    if doubtful.is_empty() || nature.has(Bug::StaleBelieved) {
        return true;
    }
    unit.confirm(&store.read_streams_now(&doubtful, PAGE))
}

/// The bug [`Bug::ExpectedVersionIgnored`].
fn anywhere(store: &memory::MemoryStore, commit: Commit) -> Commit {
    let appends = commit.appends.into_iter().map(|append| {
        let (stream, last) = (append.stream, store.read_stream_backwards_now(append.stream, 1).pop());
        let (expected, previous) = last.map_or((Version::NONE, None), |last| (last.version, last.digest));
        Append::new(stream, expected, previous, append.into_events().map(|(event, _)| event).collect())
    });
    Commit { appends: appends.collect(), ..commit }
}

/// The bug [`Bug::PublishedBeforeCommit`].
fn foretold(commit: &Commit) -> Vec<Recorded> {
    let all = commit.appends.iter().flat_map(|append| {
        let events = append.events().iter().cloned().zip(append.digests().iter().copied()).enumerate();
        events
            .map(|(index, (event, digest))| as_recorded(append.stream, append.expected.plus(index + 1), event, digest))
    });
    all.collect()
}

fn as_recorded(stream: StreamId, version: Version, event: NewEvent, digest: Digest) -> Recorded {
    Recorded {
        stream,
        version,
        cursor: Cursor::START,
        id: event.id,
        type_name: event.type_name.to_owned(),
        schema_version: event.schema_version,
        payload: event.payload,
        time: event.time,
        cause: event.cause,
        digest: Some(digest),
    }
}
