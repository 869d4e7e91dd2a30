//! What the shell around a unit does with it: begin and end inputs, load, check, commit.

use std::collections::{BTreeSet, HashSet};

use super::loading::Loading;
use super::{Staged, Unit};
use crate::cache::Cached;
use crate::{Append, Cause, Commit, Committed, Digest, Draft, Need, NewEvent, Recorded, Snapshot, StreamId, Version};

/// For the shell around a unit.
impl Unit<'_> {
    /// Starts the next input.
    pub fn begin(&mut self, cause: Cause) {
        self.cause = cause;
        self.before.clear();
        self.assumed_now.clear();
        self.looked_at.clear();
        self.wrote = false;
        self.met_unusable = None;
        self.inbox_before = self.inbox.len();
        self.dead_letters_before = self.dead_letters.len();
    }

    /// The stream that the current input has asked for and that this program cannot use, if there is one.
    #[must_use]
    pub fn met_unusable(&self) -> Option<&Need> {
        self.met_unusable.as_ref()
    }

    /// Ends an input that was accepted.
    pub fn accept(&mut self) {
        self.look_at_unwritten_assumptions();
        if !self.wrote {
            self.doubt();
        }
        self.before.clear();
    }

    /// Ends an input that was refused: whatever it recorded is taken back.
    pub fn refuse(&mut self) {
        self.inbox.truncate(self.inbox_before);
        self.dead_letters.truncate(self.dead_letters_before);
        for before in std::mem::take(&mut self.before) {
            let untouched = before.events == 0 && before.timer.is_none();
            if untouched {
                self.staged.remove(&before.stream);
            } else if let Some(staged) = self.staged.get_mut(&before.stream) {
                staged.events.truncate(before.events);
                staged.timer = before.timer;
            }
            if let Some(cached) = before.cached.or_else(|| self.originals.remove(&before.stream)) {
                self.cache.insert(before.stream, cached);
            }
        }
        // After the taking back: what the input had written checks nothing any more.
        self.look_at_unwritten_assumptions();
        self.doubt();
    }

    /// The streams that the inputs so far asked for and did not get.
    #[must_use]
    pub fn missing(&self) -> Vec<StreamId> {
        self.needs.keys().copied().collect()
    }

    /// Streams, with their version, on which an input has concluded something without writing to them: a refusal, or that
    /// nothing is to be done. No expected version will check that; the shell must, before it is believed: another process
    /// may have written since, or between two of the looks. None when all of them were read together, and last. See
    /// [`Unit::confirm`].
    #[must_use]
    pub fn doubtful(&mut self) -> Vec<(StreamId, Version)> {
        if self.doubtful.is_subset(&self.of_one_moment) {
            self.doubtful.clear();
        }
        let cache = &mut *self.cache;
        let versions = self.doubtful.iter().filter_map(|stream| Some((*stream, cache.get_mut(*stream)?.version)));
        versions.collect()
    }

    /// Says what was found in one look: `newer` are the events after the versions that [`Unit::doubtful`] named. True when
    /// there are none and every conclusion stands; otherwise the unit is restarted, to be run on what is true.
    pub fn confirm(&mut self, newer: &[Recorded]) -> bool {
        self.of_one_moment = std::mem::take(&mut self.doubtful);
        if newer.is_empty() {
            return true;
        }
        self.restart();
        self.of_one_moment.clear();
        for event in newer {
            self.cache.remove(event.stream);
        }
        false
    }

    /// Takes everything recorded back, so that the batch can run again: what was at hand stays at hand, or inputs that
    /// need different streams would take them from each other for ever. The streams that were missing are to be
    /// [fed](Unit::feed), then the unit is [`loaded`](Unit::loaded).
    pub fn restart(&mut self) {
        let originals = std::mem::take(&mut self.originals);
        let assumed: HashSet<StreamId> = self.assumed.keys().copied().collect();
        self.forget();
        for (stream, cached) in originals.into_iter().filter(|(stream, _)| !assumed.contains(stream)) {
            self.cache.insert(stream, cached);
        }
        let needs = std::mem::take(&mut self.needs).into_iter();
        self.loading = needs.map(|(stream, folding)| (stream, Loading::new(folding))).collect();
        self.pages = 0;
    }

    /// The streams to be fed, each with the version it has come to: nothing, or that of its snapshot.
    #[must_use]
    pub fn hungry(&self) -> Vec<(StreamId, Version)> {
        self.loading.iter().map(|(stream, loading)| (*stream, loading.version)).collect()
    }

    /// Of the streams to be fed, those whose states are written down now and then: their snapshots save most of the
    /// feeding. See [`Unit::begin_with`].
    #[must_use]
    pub fn snapshotted(&self) -> Vec<StreamId> {
        let snapshotted = self.loading.iter().filter(|(_, loading)| loading.is_snapshotted());
        snapshotted.map(|(stream, _)| *stream).collect()
    }

    /// Lets streams begin with their snapshots; says how many are of no use, because they are of another shape or cannot
    /// be read: their streams are fed from the first event.
    pub fn begin_with(&mut self, snapshots: &[Snapshot]) -> usize {
        let useless = snapshots.iter().filter(|snapshot| {
            let loading = self.loading.get_mut(&snapshot.stream);
            !loading.is_some_and(|loading| loading.begin_with(snapshot))
        });
        useless.count()
    }

    /// Folds a page of events into the streams that were missing: in order, whole streams or parts of them. A page is of
    /// one moment, the next one of a later.
    pub fn feed(&mut self, page: &[Recorded]) {
        self.pages += 1;
        for events in page.chunk_by(|one, next| one.stream == next.stream) {
            if let Some(loading) = events.first().and_then(|first| self.loading.get_mut(&first.stream)) {
                loading.feed(events);
            }
        }
    }

    /// Every missing stream has been fed to its end; those without events are new.
    pub fn loaded(&mut self) {
        let loading = std::mem::take(&mut self.loading);
        self.of_one_moment = if self.pages > 1 { BTreeSet::new() } else { loading.keys().copied().collect() };
        for (stream, loading) in loading {
            let (version, head, time, snapshot) = (loading.version, loading.head, loading.time, loading.snapshot);
            match loading.end() {
                Ok(state) => {
                    self.cache.insert(stream, Cached::new(state, version, head, snapshot).at(time));
                }
                Err(need) => {
                    self.unusable.insert(stream, need);
                }
            }
        }
    }

    /// Drops everything that this unit has touched from the cache: the truth is to be read anew.
    pub fn forget(&mut self) {
        let touched: Vec<StreamId> = self.staged.keys().chain(self.assumed.keys()).copied().collect();
        for stream in touched {
            self.cache.remove(stream);
        }
        self.staged.clear();
        self.assumed.clear();
        self.inbox.clear();
        self.dead_letters.clear();
        self.before.clear();
        self.originals.clear();
        self.doubtful.clear();
    }

    /// Takes everything back after a conflict on `stream`, so that the batch can run again on what is true. When it was
    /// taken for new, all that were are looked at now: a batch that is delivered again is wrong about each of them, and
    /// would otherwise find out one conflict at a time.
    pub fn conflict(&mut self, stream: StreamId) {
        let assumed = self.assumed.clone();
        self.forget();
        if assumed.contains_key(&stream) {
            self.needs.extend(assumed);
        }
    }

    /// What this unit leads to.
    #[must_use]
    pub fn to_commit(&mut self) -> Commit {
        let appends = self.staged.iter_mut().filter(|(_, staged)| !staged.events.is_empty());
        Commit {
            appends: appends.map(|(stream, staged)| staged.append(*stream)).collect(),
            timers: self.staged.values().filter_map(|staged| staged.timer).collect(),
            inbox: self.inbox.clone(),
            dead_letters: self.dead_letters.clone(),
        }
    }

    /// After the commit: the states of the streams that have grown by `every` events or more since their last snapshot.
    /// Each is named once; whether it is saved or not, the next one is `every` events later.
    pub fn overdue(&mut self, every: u64) -> Vec<Draft> {
        let mut drafts = Vec::new();
        for (stream, staged) in self.staged.iter().filter(|(_, staged)| !staged.events.is_empty()) {
            let Some(cached) = self.cache.get_mut(*stream) else { continue };
            let grown = cached.version.get().saturating_sub(cached.snapshot.get());
            if (*cached.state).is_snapshotted() && grown >= every {
                cached.snapshot = cached.version;
                let state = (*cached.state).clone_box();
                let head = staged.digests.last().copied();
                drafts.push(Draft { stream: *stream, version: cached.version, head, state });
            }
        }
        drafts
    }

    /// Ends the unit after its [commit](Unit::to_commit): the events as recorded, in the order of their streams.
    /// Each carries the cursor
    /// of the commit's last event: within the commit they are not told apart.
    #[must_use]
    pub fn into_recorded(mut self, committed: Committed) -> Vec<Recorded> {
        let unwritten: Vec<StreamId> = self.assumed.keys().filter(|s| !self.staged.contains_key(s)).copied().collect();
        for stream in unwritten {
            self.cache.remove(stream);
        }
        let mut recorded = Vec::with_capacity(self.staged.values().map(|staged| staged.events.len()).sum());
        for (stream, staged) in std::mem::take(&mut self.staged) {
            if let (Some(cached), Some(head)) = (self.cache.get_mut(stream), staged.digests.last()) {
                cached.head = Some(*head);
            }
            for (index, (event, digest)) in staged.events.into_iter().zip(staged.digests).enumerate() {
                recorded.push(record_of(stream, staged.expected.plus(index + 1), event, digest, committed));
            }
        }
        recorded
    }

    fn doubt(&mut self) {
        let staged = &self.staged;
        let assumed = &self.assumed;
        // What is written to in this unit is checked by its append, what is assumed to be new is looked at anyway.
        let unchecked = self.looked_at.drain(..).filter(|stream| {
            let checked = staged.get(stream).is_some_and(|staged| !staged.events.is_empty());
            !checked && !assumed.contains_key(stream)
        });
        self.doubtful.extend(unchecked);
    }

    /// An input must not conclude anything from an absence that nobody has checked.
    fn look_at_unwritten_assumptions(&mut self) {
        for (stream, folding) in std::mem::take(&mut self.assumed_now) {
            let written = self.staged.get(&stream).is_some_and(|staged| !staged.events.is_empty());
            if !written {
                self.needs.insert(stream, folding);
            }
        }
    }
}

impl Staged {
    fn append(&mut self, stream: StreamId) -> Append {
        let append = Append::new(stream, self.expected, self.previous, self.events.clone());
        self.digests = append.digests().to_vec();
        append
    }
}

pub(crate) fn record_of(
    stream: StreamId,
    version: Version,
    event: NewEvent,
    digest: Digest,
    committed: Committed,
) -> Recorded {
    Recorded {
        stream,
        version,
        cursor: committed.last,
        id: event.id,
        type_name: event.type_name.to_owned(),
        schema_version: event.schema_version,
        payload: event.payload,
        time: event.time,
        cause: event.cause,
        digest: Some(digest),
    }
}
