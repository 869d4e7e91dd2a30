//! A service in the world: its store, its replicas, and what comes in for them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use eventstore::memory::{CountingIds, MemoryStore};
use eventstore::{Cache, Commit, Recorded, StreamId, TimerChange};

use crate::agenda::{Event, Place};
use crate::nature::{Nature, short, shown};
use crate::shell::ProcessClock;
use crate::{Fault, Message, Origin, Service, Task, Wish};

/// Timers claimed at a time.
const CLAIMED_MAX: usize = 64;
/// Streams looked after at a time.
const PAGE_MAX: usize = 8;
/// A client that has no answer asks again after that long.
const CLIENT_PATIENCE: Duration = Duration::from_secs(4);
/// A client that has no answer so long after the storm gives up.
const CLIENT_PATIENCE_MAX: Duration = Duration::from_secs(600);
/// When nothing goes wrong, looking after what is open has time.
const RECONCILE_QUIET: Duration = Duration::from_secs(60);

/// A task, and the delivery that is to be acknowledged when it is done.
pub(crate) struct Job<S: Service> {
    pub(crate) task: Task<S>,
    pub(crate) delivery: Option<usize>,
}

/// A call that is under way.
pub(crate) struct Pending<S: Service> {
    pub(crate) job: Job<S>,
    pub(crate) call: S::Call,
    pub(crate) answer: Option<S::Answer>,
    /// Its answer will not come back.
    pub(crate) lost: bool,
}

/// One process.
pub(crate) struct Replica<S: Service> {
    pub(crate) name: String,
    pub(crate) cache: Cache,
    pub(crate) clock: ProcessClock,
    /// How far the clock is off.
    pub(crate) skew: TimeDelta,
    pub(crate) queue: VecDeque<Job<S>>,
    pub(crate) is_up: bool,
    pub(crate) is_due: bool,
    pub(crate) calls: BTreeMap<u64, Pending<S>>,
}

/// A service. `None` stands for the replica that is at work.
pub(crate) struct Station<S: Service> {
    pub(crate) index: usize,
    pub(crate) service: S,
    pub(crate) rules: Rc<S::Rules>,
    pub(crate) store: Rc<MemoryStore>,
    pub(crate) ids: Rc<CountingIds>,
    pub(crate) replicas: Vec<Option<Replica<S>>>,
    pub(crate) commands_done: BTreeSet<u64>,
    pub(crate) calls_made: u64,
    /// Calls whose caller is gone, and which arrive all the same.
    pub(crate) strays: BTreeMap<u64, S::Call>,
    open: BTreeSet<StreamId>,
    looked_after: Option<StreamId>,
    timers_at: Option<Duration>,
    is_swept: bool,
    is_reconciled: bool,
}

/// What the world does with a service, whatever it is.
pub(crate) trait AnyStation {
    fn deliver(&mut self, nature: &mut Nature, delivery: usize, message: Message);
    fn handle(&mut self, nature: &mut Nature, event: Event);
    fn lose_timer(&mut self, nature: &mut Nature);
    fn stores(&self) -> (&'static str, Rc<MemoryStore>);
    /// Compares what replicas believe with what the store says.
    fn audit(&mut self, nature: &mut Nature, judge: &mut dyn FnMut(&mut Nature, &mut Cache, &[Recorded]));
}

impl<S: Service> Station<S> {
    pub(crate) fn new(index: usize, mut service: S, replicas: usize, nature: &Nature) -> Self {
        let name = service.name();
        let store = Rc::new(MemoryStore::new(nature.time()));
        service.attach(&store);
        let replica = |number: usize| Replica {
            name: format!("{name}#{}", number + 1),
            cache: Cache::new(nature.knobs.cached_streams),
            clock: ProcessClock::default(),
            skew: TimeDelta::zero(),
            queue: VecDeque::new(),
            is_up: true,
            is_due: false,
            calls: BTreeMap::new(),
        };
        Self {
            index,
            rules: service.rules(),
            service,
            store,
            ids: Rc::new(CountingIds::new(u16::try_from(index).unwrap_or(u16::MAX))),
            replicas: (0..replicas).map(|number| Some(replica(number))).collect(),
            commands_done: BTreeSet::new(),
            calls_made: 0,
            strays: BTreeMap::new(),
            open: BTreeSet::new(),
            looked_after: None,
            timers_at: None,
            is_swept: false,
            is_reconciled: false,
        }
    }

    pub(crate) fn replica(&mut self, number: usize) -> Option<&mut Replica<S>> {
        self.replicas.get_mut(number).and_then(Option::as_mut)
    }

    /// A replica that is alive, and not at work.
    fn any_up(&self, nature: &mut Nature) -> Option<usize> {
        let up = |(number, replica): (usize, &Option<Replica<S>>)| replica.as_ref()?.is_up.then_some(number);
        let up: Vec<usize> = self.replicas.iter().enumerate().filter_map(up).collect();
        nature.chance.pick(&up).copied()
    }

    /// Puts a job into a replica's queue; gives it back when there is none.
    fn hand_in(&mut self, nature: &mut Nature, job: Job<S>) -> Result<(), Job<S>> {
        let Some(number) = self.any_up(nature) else { return Err(job) };
        self.queue(nature, number, job, false);
        Ok(())
    }

    pub(crate) fn queue(&mut self, nature: &mut Nature, number: usize, job: Job<S>, first: bool) {
        let place = Place { station: self.index, replica: number };
        let gather = nature.knobs.gather;
        let Some(replica) = self.replica(number) else { return };
        if first {
            replica.queue.push_front(job);
        } else {
            replica.queue.push_back(job);
        }
        if !replica.is_due {
            replica.is_due = true;
            let delay = nature.up_to(gather);
            nature.after(delay, Event::Work(place));
        }
    }

    fn command(&mut self, nature: &mut Nature, number: u64) {
        if self.commands_done.contains(&number) || nature.has_been_quiet_for(CLIENT_PATIENCE_MAX) {
            return;
        }
        let Some(Wish { input, cause }) = self.service.command(number) else { return };
        let task = Task { origin: Origin::Command(number), input: Rc::new(input), cause, rounds: 0, unanswered: 0 };
        let twice = nature.strikes(Fault::AskedTwice).then(|| task.clone());
        nature.tell("client", || format!("asks {} for command {number}", self.service.name()));
        for task in std::iter::once(task).chain(twice) {
            // Nobody there: the client tries again.
            drop(self.hand_in(nature, Job { task, delivery: None }));
        }
        nature.after(CLIENT_PATIENCE, Event::Command { station: self.index, number });
    }

    /// Whatever was armed is claimed in time.
    pub(crate) fn expect_timer(&mut self, nature: &mut Nature, due: DateTime<Utc>) {
        let at = Nature::since_dawn(due).max(nature.now + Duration::from_millis(1));
        if self.timers_at.is_none_or(|known| at < known || known <= nature.now) {
            self.timers_at = Some(at);
            nature.agenda.enter(at, Event::Timers(self.index));
        }
    }

    fn claim_timers(&mut self, nature: &mut Nature) {
        if self.timers_at != Some(nature.now) {
            return;
        }
        self.timers_at = None;
        let Some(number) = self.any_up(nature) else {
            return self.expect_timer(nature, nature.time() + TimeDelta::milliseconds(50));
        };
        self.store.set_time(nature.time());
        let timers = self.store.claim_due_timers_now(self.service.woken(), CLAIMED_MAX, nature.knobs.lease);
        if let Some(replica) = self.replica(number) {
            replica.skew = TimeDelta::zero();
        }
        for timer in &timers.due {
            if timer.due > timers.now {
                nature.accuse("no timer fires before it is due", shown(timer.stream));
            }
            nature.tell(self.service.name(), || format!("claims the timer of {}", shown(timer.stream)));
            self.wake(nature, number, timer.stream);
        }
        if let Some(next) = timers.next {
            self.expect_timer(nature, next);
        }
    }

    fn wake(&mut self, nature: &mut Nature, number: usize, stream: StreamId) {
        let last = self.store.read_stream_backwards_now(stream, 1).pop();
        let Some(Wish { input, cause }) = self.service.wake(stream, last.as_ref()) else { return };
        let task = Task { origin: Origin::Timer(stream), input: Rc::new(input), cause, rounds: 0, unanswered: 0 };
        self.queue(nature, number, Job { task, delivery: None }, false);
    }

    fn reconcile(&mut self, nature: &mut Nature) {
        self.is_reconciled = false;
        let after = self.looked_after.map_or(Bound::Unbounded, Bound::Excluded);
        let page: Vec<StreamId> = self.open.range((after, Bound::Unbounded)).take(PAGE_MAX).copied().collect();
        self.looked_after = page.last().copied().filter(|_| page.len() >= PAGE_MAX);
        for stream in page {
            if let Some(number) = self.any_up(nature) {
                self.wake(nature, number, stream);
            }
        }
    }

    fn sweep(&mut self, nature: &mut Nature) {
        self.is_swept = false;
        if self.any_up(nature).is_none() {
            return;
        }
        self.store.set_time(nature.time());
        let age = nature.knobs.sweep_age;
        for tx in self.store.outbox_pending_now(eventstore::TxId(0), age, 64) {
            let events = self.store.read_transactions_now(&[tx], self.service.told());
            if self.publish(nature, &events) {
                self.store.outbox_published_now(&[tx]);
            }
        }
    }

    /// Tells others of events; true when all of it is with the broker.
    pub(crate) fn publish(&mut self, nature: &mut Nature, events: &[Recorded]) -> bool {
        let mut all = true;
        for event in events.iter().filter(|event| self.service.told().contains(&event.stream.category)) {
            match self.service.outgoing(event) {
                Ok(Some(message)) => all &= nature.publish(self.service.name(), &message),
                Ok(None) => {}
                Err(error) => nature.accuse("what is stored can be read", error.to_string()),
            }
        }
        all
    }

    /// Takes note of which streams are still open.
    pub(crate) fn look_after(&mut self, grown: &[StreamId]) {
        for stream in grown.iter().filter(|stream| self.service.looked_after().contains(&stream.category)) {
            let last = self.store.read_stream_backwards_now(*stream, 1).pop();
            if last.is_none_or(|last| self.service.is_over(&last)) {
                self.open.remove(stream);
            } else {
                self.open.insert(*stream);
            }
        }
    }

    /// Plans what must not be forgotten, whatever happened.
    fn plan(&mut self, nature: &mut Nature) {
        if !self.is_swept && !self.store.outbox_pending_now(eventstore::TxId(0), Duration::ZERO, 1).is_empty() {
            self.is_swept = true;
            nature.after(nature.knobs.sweep, Event::Sweep(self.index));
        }
        if !self.is_reconciled && !self.open.is_empty() {
            self.is_reconciled = true;
            let reconcile = nature.knobs.reconcile;
            let wait = if nature.is_quiet() { reconcile.max(RECONCILE_QUIET) } else { reconcile };
            nature.after(wait, Event::Reconcile(self.index));
        }
    }
}

impl<S: Service> AnyStation for Station<S> {
    fn deliver(&mut self, nature: &mut Nature, delivery: usize, message: Message) {
        self.store.set_time(nature.time());
        match self.service.incoming(&message) {
            Ok(Some(Wish { input, cause })) => {
                nature.tell(self.service.name(), || format!("is given {} [{}]", message.subject, short(message.id)));
                let task =
                    Task { origin: Origin::Message(message), input: Rc::new(input), cause, rounds: 0, unanswered: 0 };
                if nature.has(crate::Bug::AckBeforeCommit) {
                    nature.acknowledge(delivery);
                }
                if self.hand_in(nature, Job { task, delivery: Some(delivery) }).is_err() {
                    nature.give_back(delivery);
                }
            }
            Ok(None) => nature.acknowledge(delivery),
            Err(reason) => {
                nature.accuse("every message makes sense", format!("{}: {reason}", message.subject));
                nature.acknowledge(delivery);
            }
        }
    }

    fn handle(&mut self, nature: &mut Nature, event: Event) {
        self.store.set_time(nature.time());
        match event {
            Event::Work(place) => self.work(nature, place.replica),
            Event::Restart(place) => self.restart(nature, place.replica),
            Event::Timers(_) => self.claim_timers(nature),
            Event::Sweep(_) => self.sweep(nature),
            Event::Reconcile(_) => self.reconcile(nature),
            Event::CallArrives { place, call } => self.call_arrives(nature, place.replica, call),
            Event::CallEnds { place, call } => self.call_ends(nature, place.replica, call),
            Event::Command { number, .. } => self.command(nature, number),
            Event::Deliver { .. } | Event::Trouble | Event::Quiet => {}
        }
        self.plan(nature);
    }

    fn lose_timer(&mut self, nature: &mut Nature) {
        let armed: Vec<StreamId> =
            self.open.iter().filter(|stream| self.store.armed(**stream).is_some()).copied().collect();
        let Some(stream) = nature.chance.pick(&armed).copied() else { return };
        nature.fired.add(Fault::TimerLost);
        nature.tell(self.service.name(), || format!("loses the timer of {}", shown(stream)));
        let commit = Commit { timers: vec![TimerChange::Disarm { stream }], ..Commit::default() };
        if let Err(error) = self.store.commit_now(commit) {
            nature.accuse("timers can be taken away", error.to_string());
        }
    }

    fn stores(&self) -> (&'static str, Rc<MemoryStore>) {
        (self.service.name(), Rc::clone(&self.store))
    }

    fn audit(&mut self, nature: &mut Nature, judge: &mut dyn FnMut(&mut Nature, &mut Cache, &[Recorded])) {
        let log = self.store.events();
        for replica in self.replicas.iter_mut().flatten() {
            judge(nature, &mut replica.cache, &log);
        }
    }
}
