mod loading;
mod shell;

#[cfg(feature = "worker")]
pub(crate) use self::shell::record_of;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use self::loading::{Folding, Loading};
use crate::cache::{AnyState, Cache, Cached, Wake};
use crate::commit::to_micros;
use crate::{
    Aggregate, Cause, Clock, DeadLetter, DecodeError, Digest, DomainEvent, EventId, IdSource, InboxEntry, NewEvent,
    Recorded, StreamId, TimerChange, Version,
};

/// Why a [`Unit`] cannot answer now.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Need {
    /// The stream is not at hand. Return this; the shell loads it and asks again.
    #[error("stream {0} is not loaded")]
    NotLoaded(StreamId),
    /// The stream holds an event of a newer program. Nobody may decide on it here; deploy that program.
    #[error("stream {stream} is of a newer program, deploy it: {reason}")]
    Newer {
        /// Which one.
        stream: StreamId,
        /// Which event, and what is new about it.
        reason: String,
    },
    /// The stream holds something no program understands. Nobody may decide on it; an operator must look.
    #[error("stream {stream} cannot be used: {reason}")]
    Broken {
        /// Which one.
        stream: StreamId,
        /// What is wrong.
        reason: String,
    },
}

impl From<DecodeError> for Need {
    fn from(error: DecodeError) -> Self {
        let (stream, reason) = (error.stream, error.told());
        if error.is_newer() { Self::Newer { stream, reason } } else { Self::Broken { stream, reason } }
    }
}

pub(crate) type Fold = fn(Option<Box<dyn AnyState>>, &[Recorded]) -> Result<Box<dyn AnyState>, DecodeError>;

#[derive(Default)]
struct Staged {
    expected: Version,
    /// Of the version expected.
    previous: Option<Digest>,
    events: Vec<NewEvent>,
    /// One per event, once there was a commit of them.
    digests: Vec<Digest>,
    timer: Option<TimerChange>,
}

impl Staged {
    fn after(cached: &Cached) -> Self {
        Self { expected: cached.version, previous: cached.head, ..Self::default() }
    }
}

/// What must be put back when an input turns out to be refused after it has recorded something.
struct Before {
    stream: StreamId,
    /// `None` when the stream was as it was before the unit.
    cached: Option<Cached>,
    events: usize,
    timer: Option<TimerChange>,
}

/// A unit of work: a batch of inputs, the states they meet, and what follows. It becomes one [`Commit`].
///
/// Pure: it loads nothing and stores nothing. A handler asks for states ([`Unit::get`]), decides, and records events
/// ([`Unit::record`]); the next input of the batch already sees them. A state that is not at hand is an error to be
/// returned ([`Need`]); the shell loads it and runs the batch again.
pub struct Unit<'a> {
    cache: &'a mut Cache,
    ids: &'a dyn IdSource,
    now: DateTime<Utc>,
    cause: Cause,
    staged: BTreeMap<StreamId, Staged>,
    inbox: Vec<InboxEntry>,
    dead_letters: Vec<DeadLetter>,
    before: Vec<Before>,
    /// The streams that were written to, as they were before.
    originals: HashMap<StreamId, Cached>,
    inbox_before: usize,
    dead_letters_before: usize,
    /// Streams taken for new without a look, and whether this input has appended to them.
    assumed: HashMap<StreamId, Folding>,
    assumed_now: Vec<(StreamId, Folding)>,
    needs: BTreeMap<StreamId, Folding>,
    loading: BTreeMap<StreamId, Loading>,
    /// In how many pages they came.
    pages: usize,
    /// Streams that this program cannot use, and whether the current input has met one.
    unusable: HashMap<StreamId, Need>,
    met_unusable: Option<Need>,
    /// What this input took from the cache, and whether it has written anything.
    looked_at: Vec<StreamId>,
    wrote: bool,
    /// Streams that were read last, all of one moment of the store, and those on which an input has concluded something
    /// that no append will check.
    of_one_moment: BTreeSet<StreamId>,
    doubtful: BTreeSet<StreamId>,
}

impl<'a> Unit<'a> {
    /// An empty unit over `cache`, with new ids from `ids`, at the time of `clock`. `cause` is that of the first input.
    pub fn new(cache: &'a mut Cache, ids: &'a dyn IdSource, clock: &dyn Clock, cause: Cause) -> Self {
        cache.rotate();
        Self {
            cache,
            ids,
            now: to_micros(clock.now()),
            cause,
            staged: BTreeMap::new(),
            inbox: Vec::new(),
            dead_letters: Vec::new(),
            before: Vec::new(),
            originals: HashMap::new(),
            inbox_before: 0,
            dead_letters_before: 0,
            assumed: HashMap::new(),
            assumed_now: Vec::new(),
            needs: BTreeMap::new(),
            loading: BTreeMap::new(),
            unusable: HashMap::new(),
            met_unusable: None,
            looked_at: Vec::new(),
            wrote: false,
            of_one_moment: BTreeSet::new(),
            pages: 0,
            doubtful: BTreeSet::new(),
        }
    }

    /// The time of this unit, by the store's clock.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// Where the current input comes from.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The rest of the current input belongs to the process `correlation`, whatever its sender thought: answers to what
    /// it leads to will find their way by this id.
    pub fn correlate(&mut self, correlation: Uuid) {
        self.cause.correlation = correlation;
    }

    /// The state of one aggregate, this unit's own events included.
    ///
    /// # Errors
    /// [`Need`]: return it.
    pub fn get<A: Aggregate>(&mut self, id: Uuid) -> Result<&A, Need> {
        self.require::<A>(&[id])?;
        self.at_hand(A::stream(id))
    }

    /// Makes sure that several aggregates are at hand, so that what is missing is loaded in one go.
    ///
    /// # Errors
    /// [`Need`] names the first one that is missing: return it.
    pub fn require<A: Aggregate>(&mut self, ids: &[Uuid]) -> Result<(), Need> {
        let mut missing = None;
        for stream in ids.iter().map(|id| A::stream(*id)) {
            self.usable(stream)?;
            if !self.cache.contains(stream) {
                self.needs.insert(stream, Folding::of::<A>());
                missing = missing.or(Some(stream));
            }
        }
        missing.map_or(Ok(()), |stream| Err(Need::NotLoaded(stream)))
    }

    /// The state of an aggregate that most likely does not exist yet: unless it is at hand it is taken for new, without
    /// a read. If that was wrong the append's expected version says so, and the batch is run again on what is true. An
    /// input that takes a stream for new and appends nothing to it is run again on the loaded stream, too.
    ///
    /// # Errors
    /// [`Need::Newer`] or [`Need::Broken`]: return it.
    pub fn get_or_new<A: Aggregate>(&mut self, id: Uuid) -> Result<&A, Need> {
        let stream = A::stream(id);
        self.usable(stream)?;
        if !self.cache.contains(stream) {
            let new = Cached::new(Box::new(A::default()), Version::NONE, None, Version::NONE);
            self.cache.insert(stream, new);
            self.assumed.insert(stream, Folding::of::<A>());
        }
        if self.assumed.contains_key(&stream) && !self.staged.contains_key(&stream) {
            self.assumed_now.push((stream, Folding::of::<A>()));
        }
        self.at_hand(stream)
    }

    /// The version of an aggregate that is at hand, this unit's own events included.
    #[must_use]
    pub fn version<A: Aggregate>(&mut self, id: Uuid) -> Version {
        self.cache.get_mut(A::stream(id)).map_or(Version::NONE, |cached| cached.version)
    }

    /// Records what happened to an aggregate that was asked for before. No events, no effect. It happened now, or when the
    /// last event of its stream did, should that be later: a clock that was ahead is no reason for an end before a
    /// beginning.
    ///
    /// # Errors
    /// [`Need`]: return it.
    pub fn record<A: Aggregate>(&mut self, id: Uuid, events: &[A::Event]) -> Result<(), Need> {
        let stream = A::stream(id);
        if events.is_empty() {
            return Ok(());
        }
        self.remember(stream)?;
        self.wrote = true;
        let last = self.cache.get_mut(stream).map_or(self.now, |cached| cached.time);
        let time = self.now.max(last);
        let mut recorded = Vec::with_capacity(events.len());
        for event in events {
            recorded.push(self.new_event(stream, event, time)?);
        }
        let cached = self.cache.get_mut(stream).ok_or(Need::NotLoaded(stream))?;
        let staged = self.staged.entry(stream).or_insert_with(|| Staged::after(cached));
        let state = std::mem::replace(&mut cached.state, Box::new(A::default()));
        let state = *state.into_any().downcast::<A>().map_err(|_| wrong_type(stream))?;
        let stored = events.iter().zip(&recorded);
        cached.state = Box::new(stored.fold(state, |state, (event, stored)| state.evolve_stored(event, stored.id)));
        cached.version = cached.version.plus(events.len());
        cached.time = time;
        staged.events.append(&mut recorded);
        Ok(())
    }

    /// Says when an aggregate next wants to be woken, `None` for never. Writes nothing when an earlier wake-up is armed
    /// already: it finds nothing to do and asks again. So a saga that ends before its first deadline costs one timer.
    ///
    /// # Errors
    /// [`Need`]: return it.
    pub fn wake<A: Aggregate>(&mut self, id: Uuid, due: Option<DateTime<Utc>>) -> Result<(), Need> {
        let stream = A::stream(id);
        let due = due.map(to_micros);
        let known = self.cache.get_mut(stream).ok_or(Need::NotLoaded(stream))?.wake;
        let (timer, wake) = match (due, known) {
            (None, Wake::Asleep) => return Ok(()),
            // One that is due already may be in another process' hands, which arms it to what it thinks.
            (Some(due), Wake::At(armed)) if armed <= due && armed > self.now => return Ok(()),
            (None, Wake::Unknown | Wake::At(_)) => (TimerChange::Disarm { stream }, Wake::Asleep),
            (Some(due), Wake::Unknown | Wake::Asleep | Wake::At(_)) => {
                (TimerChange::Arm { stream, due }, Wake::At(due))
            }
        };
        self.remember(stream)?;
        let cached = self.cache.get_mut(stream).ok_or(Need::NotLoaded(stream))?;
        cached.wake = wake;
        self.staged.entry(stream).or_insert_with(|| Staged::after(cached)).timer = Some(timer);
        Ok(())
    }

    /// Notes that the stream's timer was claimed: what it is armed to is not known any more, the next
    /// [`Unit::wake`] writes.
    pub fn timer_claimed(&mut self, stream: StreamId) {
        if let Some(cached) = self.cache.get_mut(stream) {
            cached.wake = Wake::Unknown;
        }
    }

    /// Notes that `consumer` is done with `message`. A message that was noted before makes the commit a
    /// [`Duplicate`](crate::CommitError::Duplicate).
    pub fn done_with(&mut self, consumer: &str, message: Uuid) {
        self.inbox.push(InboxEntry { consumer: consumer.to_owned(), message });
    }

    /// Parks a message.
    pub fn park(&mut self, letter: DeadLetter) {
        self.dead_letters.push(letter.into_storable());
    }

    fn usable(&mut self, stream: StreamId) -> Result<(), Need> {
        let Some(need) = self.unusable.get(&stream) else { return Ok(()) };
        self.met_unusable = Some(need.clone());
        Err(need.clone())
    }

    fn at_hand<A: Aggregate>(&mut self, stream: StreamId) -> Result<&A, Need> {
        self.looked_at.push(stream);
        let cached = self.cache.get_mut(stream).ok_or(Need::NotLoaded(stream))?;
        (*cached.state).as_any().downcast_ref::<A>().ok_or_else(|| wrong_type(stream))
    }

    fn new_event<E: DomainEvent>(&self, stream: StreamId, event: &E, time: DateTime<Utc>) -> Result<NewEvent, Need> {
        let payload = serde_json::to_string(event)
            .map_err(|error| Need::Broken { stream, reason: format!("event cannot be written as JSON: {error}") })?;
        Ok(NewEvent {
            id: EventId(self.ids.next_id()),
            type_name: event.type_name(),
            schema_version: event.event_type().version(),
            payload,
            time,
            cause: self.cause.clone(),
        })
    }

    fn remember(&mut self, stream: StreamId) -> Result<(), Need> {
        if self.before.iter().any(|before| before.stream == stream) {
            return Ok(());
        }
        let cached = self.cache.get_mut(stream).ok_or(Need::NotLoaded(stream))?.clone();
        let cached = match self.originals.entry(stream) {
            Entry::Occupied(_) => Some(cached),
            Entry::Vacant(first) => {
                first.insert(cached);
                None
            }
        };
        let (events, timer) = self.staged.get(&stream).map_or((0, None), |staged| (staged.events.len(), staged.timer));
        self.before.push(Before { stream, cached, events, timer });
        Ok(())
    }
}

fn fold<A: Aggregate>(from: Option<Box<dyn AnyState>>, events: &[Recorded]) -> Result<Box<dyn AnyState>, DecodeError> {
    let from = from.and_then(|state| state.into_any().downcast::<A>().ok());
    let mut state = from.map_or_else(A::default, |state| *state);
    for event in events {
        state = state.evolve_stored(&A::Event::from_recorded(event)?, event.id);
    }
    Ok(Box::new(state))
}

fn wrong_type(stream: StreamId) -> Need {
    Need::Broken { stream, reason: "two aggregates share its category".to_owned() }
}
