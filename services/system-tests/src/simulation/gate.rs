//! Who waits at holds, and how they are let go: the turns of `saga_runtime`'s hold loop, one input at a time.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use ::orders::handler::{Input, cancel_saga_id, place_saga_id};
use ::orders::sagas::OrderProcess;
use chrono::{DateTime, TimeDelta, Utc};
use eventstore::memory::MemoryStore;
use eventstore::worker::CommitListener as _;
use eventstore::{Aggregate, Committed, Cursor, DomainEvent as _, Recorded, Version, derived_id};
use saga::hold::{HoldInput, HoldTarget, Judgement, LetGo, judge};
use saga::{Input as SagaInput, Phase, Pursuit, Saga, SagaEvent, UndoPhase};
use saga_runtime::HoldsInForce;
use saga_simulator::Chance;
use uuid::Uuid;

use super::definitions::{GOODS, LET_GOODS_GO, SETTLE};
use super::plan::Plan;

/// More events than any stream has.
const PAGE: usize = 100_000;
/// How often the holds are looked at that others have placed or released, in 10,000 chances: they may be known late.
const LOOKS: u32 = 500;
/// How late at most: the interval of production's hold loop.
const KNOWN_LATE_MAX: TimeDelta = TimeDelta::milliseconds(500);

/// What was seen of a saga.
#[derive(Default)]
struct Seen {
    version: Version,
    events: Vec<SagaEvent<OrderProcess>>,
    saga: Saga<OrderProcess>,
}

/// Holds as the service knows them, and a turn of letting go that is under way.
pub struct Gate {
    in_force: HoldsInForce,
    store: Rc<MemoryStore>,
    chance: Chance,
    sagas: BTreeMap<Uuid, Seen>,
    targets: VecDeque<HoldTarget>,
    told: VecDeque<(Uuid, HoldTarget)>,
    /// How far the holds' stream has been learnt, and when.
    learnt: (Version, DateTime<Utc>),
    /// In flight before the input that is under way.
    before: Vec<LetGo>,
}

impl Gate {
    /// Nothing is held; these orders may come to be.
    pub fn new(seed: u64, plan: &Plan, in_force: HoldsInForce, store: Rc<MemoryStore>) -> Self {
        let of_order = |order_id| {
            let place = place_saga_id(order_id);
            let goods = derived_id(place, GOODS);
            [place, cancel_saga_id(order_id), goods, derived_id(place, SETTLE), derived_id(goods, LET_GOODS_GO)]
        };
        let sagas = plan.orders.iter().flat_map(|order| of_order(order.id)).map(|id| (id, Seen::default()));
        let learnt = (Version::NONE, store.time());
        Self {
            in_force,
            store,
            learnt,
            chance: Chance::new(seed ^ 0x4761_7465),
            sagas: sagas.collect(),
            targets: VecDeque::new(),
            told: VecDeque::new(),
            before: Vec::new(),
        }
    }

    /// Something else goes on; now and then what is held is looked at, and whenever that was too long ago.
    pub fn glance(&mut self) {
        if self.chance.strikes(LOOKS) {
            self.learn();
        }
        self.keep_up();
    }

    /// Looks at what is held if that was too long ago.
    pub fn keep_up(&mut self) {
        let (_, at) = self.learnt;
        if self.store.time() - at >= KNOWN_LATE_MAX {
            self.learn();
        }
    }

    /// True when nothing is held, as far as is stored.
    pub fn is_open(&self) -> bool {
        let events = self.stored(Version::NONE);
        let holds = events.iter().filter_map(|event| saga::hold::HoldEvent::from_recorded(event).ok());
        holds.fold(saga::Holds::default(), |holds, event| holds.evolve(&event)).iter().next().is_none()
    }

    fn stored(&self, after: Version) -> Vec<Recorded> {
        self.store.read_streams_now(&[(saga::Holds::only_stream(), after)], PAGE)
    }

    /// Learns everything that is stored about holds.
    pub fn learn(&mut self) {
        let (known, now) = (self.learnt.0, self.store.time());
        let events: Arc<[Recorded]> = self.stored(known).into();
        self.learnt = (events.last().map_or(known, |last| last.version), now);
        if !events.is_empty() {
            self.in_force.committed(&events, Committed { last: Cursor::START, now });
        }
    }

    /// What follows on an input of a turn that is done.
    pub fn next(&mut self, done: &Input) -> Option<Input> {
        match done {
            Input::Hold { input: HoldInput::Wake } => {
                self.learn();
                let holds = self.in_force.holds();
                let releasing = holds.iter().filter(|hold| hold.is_releasing());
                self.targets = releasing.map(|hold| hold.target.clone()).collect();
                self.told.clear();
            }
            Input::Hold { input: HoldInput::Advance { target, .. } } => {
                self.learn();
                let new = self.in_flight(target).into_iter().filter(|gone| !self.before.contains(gone));
                let new: Vec<_> = new.map(|gone| (gone.saga_id, target.clone())).collect();
                self.told.extend(new);
            }
            Input::Hold { input: HoldInput::Place { .. } | HoldInput::Release { .. } }
            | Input::Place { .. }
            | Input::Cancel { .. }
            | Input::Answer { .. }
            | Input::Saga { .. }
            | Input::Operate { .. }
            | Input::PutOff { .. }
            | Input::BeginPatience { .. }
            | Input::Wake { .. } => {}
        }
        if let Some((saga_id, hold)) = self.told.pop_front() {
            return Some(Input::Saga { saga_id, input: SagaInput::Release { hold } });
        }
        let target = self.targets.pop_front()?;
        Some(Input::Hold { input: self.advance(target) })
    }

    fn in_flight(&self, target: &HoldTarget) -> Vec<LetGo> {
        let holds = self.in_force.holds();
        holds.get(target).map(saga::hold::Hold::in_flight).unwrap_or_default().to_vec()
    }

    fn advance(&mut self, target: HoldTarget) -> HoldInput {
        self.look();
        self.before = self.in_flight(&target);
        let mut judged = Vec::new();
        for gone in &self.before {
            let history = self.sagas.get(&gone.saga_id).map_or(&[][..], |seen| &seen.events);
            match judge(history, &target, gone.at) {
                Judgement::Untold => self.told.push_back((gone.saga_id, target.clone())),
                Judgement::Open => {}
                judgement @ (Judgement::Worked | Judgement::Failed) => judged.push((gone.saga_id, judgement)),
            }
        }
        let mut waiting: Vec<(DateTime<Utc>, Uuid)> =
            self.sagas.iter().filter_map(|(id, seen)| Some((waits(&seen.saga, &target)?, *id))).collect();
        waiting.sort_unstable();
        HoldInput::Advance { target, judged, waiting: waiting.into_iter().map(|(_, saga_id)| saga_id).collect() }
    }

    /// Reads what has become of the sagas.
    fn look(&mut self) {
        let streams: Vec<_> =
            self.sagas.iter().map(|(id, seen)| (Saga::<OrderProcess>::stream(*id), seen.version)).collect();
        for event in self.store.read_streams_now(&streams, PAGE) {
            let Ok(told) = SagaEvent::<OrderProcess>::from_recorded(&event) else { continue };
            let Some(seen) = self.sagas.get_mut(&event.stream.id) else { continue };
            seen.saga = std::mem::take(&mut seen.saga).evolve(&told);
            seen.version = event.version;
            seen.events.push(told);
        }
    }
}

/// Since when a saga waits at `target`, if it does.
fn waits(saga: &Saga<OrderProcess>, target: &HoldTarget) -> Option<DateTime<Utc>> {
    stands_at(saga).into_iter().find(|(under, _)| *under == target).map(|(_, since)| since)
}

/// The holds that a saga waits at, and since when.
pub fn stands_at(saga: &Saga<OrderProcess>) -> Vec<(&HoldTarget, DateTime<Utc>)> {
    match saga {
        Saga::Running(state) => {
            let forward = state.steps.iter().filter_map(|step| match &step.phase {
                Phase::Pursued(pursuit) => hold_of(pursuit),
                Phase::Rejected { .. } | Phase::Done { .. } | Phase::Skipped { .. } => None,
            });
            forward.collect()
        }
        Saga::Compensating(state) => {
            let undo = state.steps.iter().filter_map(|step| match &step.phase {
                UndoPhase::Undoing(pursuit) => hold_of(pursuit),
                UndoPhase::NotDone { .. }
                | UndoPhase::LeftOut
                | UndoPhase::Owed { .. }
                | UndoPhase::Undone { .. }
                | UndoPhase::Skipped { .. } => None,
            });
            undo.collect()
        }
        Saga::NotStarted | Saga::Ended(_) => Vec::new(),
    }
}

fn hold_of(pursuit: &Pursuit<OrderProcess>) -> Option<(&HoldTarget, DateTime<Utc>)> {
    match pursuit {
        Pursuit::Held { under, since, .. } => Some((under, *since)),
        Pursuit::Asked { .. } | Pursuit::Waiting { .. } | Pursuit::Exhausted { .. } | Pursuit::Parked { .. } => None,
    }
}
