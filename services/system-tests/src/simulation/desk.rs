//! How operators act: on what they see, and only if it is still so when their act arrives, as plans do in production.

use std::collections::BTreeMap;
use std::rc::Rc;

use ::orders::handler::{Input, cancel_saga_id, place_saga_id};
use ::orders::sagas::{CAPTURE_PAYMENT, COMMIT_INVENTORY, NOTIFY, OrderProcess};
use chrono::TimeDelta;
use eventstore::memory::MemoryStore;
use eventstore::{Actor, Aggregate, DomainEvent as _, Version, derived_id};
use saga::hold::{HoldEvent, HoldInput, HoldPhase};
use saga::{Holds, Input as SagaInput, Lane, Refusal, Saga, SagaEvent, Status, pending};
use uuid::Uuid;

use super::definitions::{GOODS, SETTLE, UPGRADED};
use super::operators::{Act, Deed, Of, Operators};
use super::plan::Plan;

/// More events than any stream has.
const PAGE: usize = 100_000;

/// What operators have done so far.
pub struct Desk {
    operators: Operators,
    store: Rc<MemoryStore>,
    /// The acts that are over: true when they took effect.
    over: BTreeMap<usize, bool>,
}

/// What an operator sends.
pub enum Sent {
    /// This.
    Input(Box<Input>),
    /// The act before this one is under way: a look at the saga, which changes nothing.
    Look(Uuid),
}

impl Desk {
    /// Nothing is done yet.
    pub fn new(operators: Operators, store: Rc<MemoryStore>) -> Self {
        Self { operators, store, over: BTreeMap::new() }
    }

    /// Whether act `index` is about the program that runs.
    pub fn upgrades(&self, index: usize) -> bool {
        self.operators.acts.get(index).is_some_and(|(_, act)| *act == Act::Upgrade)
    }

    /// What act `index` is now; `None` when there is nothing to do, or nothing to do it to.
    pub fn send(&mut self, index: usize, plan: &Plan) -> Option<Sent> {
        let (_, act) = self.operators.acts.get(index)?.clone();
        let (reason, actor) = (|| "simulated".to_owned(), operator);
        let hold = |input| Some(Sent::Input(Box::new(Input::Hold { input })));
        match act {
            Act::Hold { target, until, plan } => {
                let until = Some(saga::testing::DAWN + TimeDelta::from_std(until).unwrap_or_default());
                hold(HoldInput::Place { target, until, plan, reason: reason(), actor: actor() })
            }
            Act::Release { target } => {
                hold(HoldInput::Release { target, plan: None, reason: reason(), actor: actor() })
            }
            Act::ReleaseWhatStands => {
                let holds = self.holds();
                let endless =
                    holds.iter().find(|hold| matches!(hold.phase, HoldPhase::Standing { until: None, .. }))?;
                let target = endless.target.clone();
                hold(HoldInput::Release { target, plan: None, reason: reason(), actor: actor() })
            }
            Act::Upgrade => None,
            Act::Saga { order, of, deed, pick, after } => {
                let order = plan.order(order)?;
                let saga_id = saga_of(of, order.id);
                match after.map(|before| self.over.get(&before).copied()) {
                    None | Some(Some(true)) => {}
                    Some(None) => return Some(Sent::Look(saga_id)),
                    Some(Some(false)) => {
                        self.over.insert(index, false);
                        return None;
                    }
                }
                let (expected, saga) = self.saga(saga_id);
                let input = input(&saga, deed, pick, order.cancelled.is_some());
                if input.is_none() {
                    // Whoever asks again because nobody answered finds that nothing is waited for any more.
                    let is_so = deed == Deed::Untime && saga.status() == Status::Parked;
                    self.over.insert(index, is_so);
                }
                Some(Sent::Input(Box::new(Input::Operate { saga_id, expected, input: input? })))
            }
        }
    }

    /// Act `index` was taken.
    pub fn taken(&mut self, index: usize) {
        self.over.insert(index, true);
    }

    /// Act `index` was refused for good. Whoever asks again because nobody answered hears that it is so already.
    pub fn refused(&mut self, index: usize, refusal: Option<&Refusal>) {
        let is_so = match self.operators.acts.get(index).map(|(_, act)| act) {
            Some(Act::Saga { deed: Deed::Pause, .. }) => refusal == Some(&Refusal::Paused),
            Some(Act::Saga { deed: Deed::Freeze, .. }) => refusal == Some(&Refusal::Frozen),
            Some(Act::Saga { deed: Deed::Untime, .. }) => refusal == Some(&Refusal::NoTimer),
            Some(Act::Saga { .. } | Act::Hold { .. } | Act::Release { .. } | Act::ReleaseWhatStands | Act::Upgrade)
            | None => false,
        };
        let before = self.over.get(&index).copied().unwrap_or(false);
        self.over.insert(index, is_so || before);
    }

    /// Whether act `index`, refused like this, can be done later: who is paused may have steps that are parked, and nobody
    /// but an operator gets them going again.
    pub fn waits(&self, index: usize, refusal: &Refusal) -> bool {
        let act = self.operators.acts.get(index).map(|(_, act)| act);
        matches!(act, Some(Act::Saga { deed: Deed::Resume, .. })) && *refusal == Refusal::Paused
    }

    fn saga(&self, saga_id: Uuid) -> (Version, Saga<OrderProcess>) {
        let stored = self.store.read_streams_now(&[(Saga::<OrderProcess>::stream(saga_id), Version::NONE)], PAGE);
        let version = stored.last().map_or(Version::NONE, |last| last.version);
        let events = stored.iter().filter_map(|event| SagaEvent::<OrderProcess>::from_recorded(event).ok());
        (version, events.fold(Saga::default(), |saga, event| saga.evolve(&event)))
    }

    fn holds(&self) -> Holds {
        let stored = self.store.read_streams_now(&[(Holds::only_stream(), Version::NONE)], PAGE);
        let events = stored.iter().filter_map(|event| HoldEvent::from_recorded(event).ok());
        events.fold(Holds::default(), |holds, event| holds.evolve(&event))
    }
}

/// Who operates.
pub fn operator() -> Actor {
    Actor::new("operator:simulated")
}

fn saga_of(of: Of, order_id: Uuid) -> Uuid {
    let place = place_saga_id(order_id);
    match of {
        Of::Place => place,
        Of::Cancel => cancel_saga_id(order_id),
        Of::Goods => derived_id(place, GOODS),
        Of::Settle => derived_id(place, SETTLE),
    }
}

/// What an operator does to a saga as it stands; `None` when it is not there, or makes no sense.
fn input(saga: &Saga<OrderProcess>, deed: Deed, pick: usize, is_cancelled: bool) -> Option<SagaInput<OrderProcess>> {
    saga.origin()?;
    let (reason, actor) = ("simulated".to_owned(), operator());
    let wanted = pending(saga).wanted;
    let picked = || wanted.get(pick % wanted.len().max(1));
    Some(match deed {
        Deed::Pause => SagaInput::Pause { reason, actor },
        Deed::Unpause => SagaInput::Unpause { reason, actor },
        Deed::Freeze => SagaInput::FreezeTimers { reason, actor },
        Deed::Thaw => SagaInput::ThawTimers { reason, actor },
        Deed::Resume => SagaInput::Resume { reason, actor },
        Deed::Abandon => SagaInput::Abandon { reason, actor },
        Deed::Migrate => SagaInput::Migrate { version: UPGRADED, reason, actor },
        Deed::Shift(millis) => {
            SagaInput::ShiftTimers { step: None, by: TimeDelta::milliseconds(millis), reason, actor }
        }
        Deed::Retry => SagaInput::Retry { step: picked()?.step.clone(), reason, actor },
        Deed::Untime => SagaInput::CancelTimer { step: Some(picked()?.step.clone()), reason, actor },
        Deed::Skip => {
            let wanted = picked()?;
            // Whoever skips what later steps build on has to skip those, too; whoever skips the money of an order that is
            // cancelled later has nothing to give back.
            let settles = [CAPTURE_PAYMENT, COMMIT_INVENTORY, NOTIFY, SETTLE].contains(&wanted.step.as_str());
            let makes_sense = wanted.lane == Lane::Undo || (settles && !is_cancelled);
            makes_sense.then(|| SagaInput::Skip { step: wanted.step.clone(), reason, actor })?
        }
    })
}
