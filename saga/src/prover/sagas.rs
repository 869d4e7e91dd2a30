//! The sagas that are met in the small world, each once, and what follows when something comes in for one.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::rc::Rc;

use chrono::{DateTime, Utc};
use eventstore::Aggregate;

use super::world::{Steps, Turn};
use super::{Decider, Rules};
use crate::hold::HoldEvent;
use crate::pending::{Until, Wanted};
use crate::testing::{DAWN, tester};
use crate::{
    ByHand, Circumstances, Definition, Ending, HoldTarget, Holds, Input, Outcome, Process, Rejection, Saga, SagaEvent,
    StepPhase, UndoOutcome, pending,
};

/// What follows when one thing happens to a saga.
pub(super) struct Followed<P: Process> {
    pub(super) events: Vec<SagaEvent<P>>,
    pub(super) saga: u32,
}

/// What follows on what: for a saga, under a hold, when this happens. `None` where nothing does.
type Known<P> = HashMap<(u32, u8, Turn), Option<Rc<Followed<P>>>>;

/// The sagas met so far, each once: as far as what follows on it is concerned.
pub(super) struct Sagas<'a, P: Process> {
    definition: &'a Definition<P>,
    decider: Decider<P>,
    input: P::Input,
    output: fn(&str) -> Option<P::Output>,
    /// Nothing is held, the first step is, the second is, and so on.
    holds: Vec<Holds>,
    known: Vec<(Rc<Saga<P>>, Steps)>,
    numbers: HashMap<String, u32>,
    followed: Known<P>,
}

impl<'a, P: Process> Sagas<'a, P> {
    pub(super) fn new(rules: &Rules<'a, P>) -> Self {
        let definition = rules.definition;
        let mut sagas = Self {
            definition,
            decider: rules.decider,
            input: rules.input.clone(),
            output: rules.output,
            holds: std::iter::once(Holds::default()).chain(every_hold(definition)).collect(),
            known: Vec::new(),
            numbers: HashMap::new(),
            followed: HashMap::new(),
        };
        sagas.number(Saga::NotStarted);
        sagas
    }

    /// How many were met.
    pub(super) fn count(&self) -> usize {
        self.known.len()
    }

    pub(super) fn get(&self, number: u32) -> Rc<Saga<P>> {
        self.known.get(number as usize).map_or_else(|| Rc::new(Saga::NotStarted), |(saga, _)| Rc::clone(saga))
    }

    /// The steps that it may still come to, a bit for each: to take them, or to undo them.
    pub(super) fn comes_to(&self, number: u32) -> Steps {
        self.known.get(number as usize).map_or(0, |(_, comes_to)| *comes_to)
    }

    fn number(&mut self, saga: Saga<P>) -> u32 {
        let key = key(&saga);
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let number = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
        let comes_to = comes_to(self.definition, &saga);
        self.known.push((Rc::new(saga), comes_to));
        self.numbers.insert(key, number);
        number
    }

    /// The same events, folded onto another saga.
    pub(super) fn append(&mut self, onto: u32, events: &[SagaEvent<P>]) -> u32 {
        let saga = events.iter().fold(Saga::clone(&self.get(onto)), Saga::evolve);
        self.number(saga)
    }

    /// What an orchestrator decides that believes `believed`, while `held` is; `None` when nothing follows.
    pub(super) fn decide(&mut self, believed: u32, held: u8, turn: Turn) -> Option<Rc<Followed<P>>> {
        if let Some(known) = self.followed.get(&(believed, held, turn)) {
            return known.clone();
        }
        let events = self.decided(believed, held, turn).filter(|events| !events.is_empty());
        let followed = events.map(|events| {
            let saga = self.append(believed, &events);
            Rc::new(Followed { events, saga })
        });
        self.followed.insert((believed, held, turn), followed.clone());
        followed
    }

    /// What was decided then.
    pub(super) fn again(&self, believed: u32, held: u8, turn: Turn) -> Option<Rc<Followed<P>>> {
        self.followed.get(&(believed, held, turn)).cloned().flatten()
    }

    fn decided(&self, believed: u32, held: u8, turn: Turn) -> Option<Vec<SagaEvent<P>>> {
        let saga = self.get(believed);
        let (input, now) = self.input(&saga, held, turn)?;
        let circumstances = Circumstances { holds: self.holds.get(usize::from(held))?, successor: None };
        (self.decider)(self.definition, super::SAGA, &saga, input, now, circumstances).ok()
    }

    fn input(&self, saga: &Saga<P>, held: u8, turn: Turn) -> Option<(Input<P>, DateTime<Utc>)> {
        let name = |index: usize| self.definition.steps().get(index).map(|step| step.name.clone());
        let (reason, actor) = (|| "by hand".to_owned(), tester);
        let input = match turn {
            Turn::Start => Input::Start { input: self.input.clone() },
            Turn::Done(step) => {
                let step = name(step)?;
                let outcome = Outcome::Done((self.output)(step.as_str()));
                Input::Reply { step, outcome }
            }
            Turn::Refused(step) => {
                Input::Reply { step: name(step)?, outcome: Outcome::Rejected(Rejection::new("NO", "refused")) }
            }
            Turn::Unknown(step) => Input::Reply { step: name(step)?, outcome: Outcome::Unknown("unsure".to_owned()) },
            Turn::Undone(step) => Input::UndoReply { step: name(step)?, outcome: UndoOutcome::Done },
            Turn::UndoUnknown(step) => {
                Input::UndoReply { step: name(step)?, outcome: UndoOutcome::Unknown("unsure".to_owned()) }
            }
            // Time stands still; somebody looks when it would have been due.
            Turn::First | Turn::All if saga.is_frozen() => {
                return Some((Input::Wake, pending(saga).wanted.iter().filter_map(due).chain(saga.deadline()).max()?));
            }
            Turn::First => return Some((Input::Wake, saga.next_wake()?)),
            Turn::All => {
                let due = pending(saga).wanted.iter().filter_map(due).max()?.max(saga.next_wake()?);
                return Some((Input::Wake, due));
            }
            Turn::Cancel => Input::Cancel { reason: "cancelled".to_owned(), actor: actor() },
            Turn::Resume => Input::Resume { reason: reason(), actor: actor() },
            Turn::Pause => Input::Pause { reason: reason(), actor: actor() },
            Turn::Unpause => Input::Unpause { reason: reason(), actor: actor() },
            Turn::Freeze => Input::FreezeTimers { reason: reason(), actor: actor() },
            Turn::Thaw => Input::ThawTimers { reason: reason(), actor: actor() },
            Turn::Abandon => Input::Abandon { reason: reason(), actor: actor() },
            Turn::Retry(step) => Input::Retry { step: name(step)?, reason: reason(), actor: actor() },
            Turn::Skip(step) => Input::Skip { step: name(step)?, reason: reason(), actor: actor() },
            Turn::Untime(step) => Input::CancelTimer { step: Some(name(step)?), reason: reason(), actor: actor() },
            Turn::LetGo => {
                let hold = self.holds.get(usize::from(held))?.iter().next()?;
                Input::Release { hold: hold.target.clone() }
            }
            Turn::Look => Input::Wake,
            Turn::Hold(_) | Turn::HoldOver | Turn::Asked(..) | Turn::AskedToUndo(_) | Turn::Crash => return None,
        };
        Some((input, DAWN))
    }
}

fn comes_to<P: Process>(definition: &Definition<P>, saga: &Saga<P>) -> Steps {
    let views = saga.steps();
    let phase = |index: usize| views.get(index).map(|view| view.phase);
    let no_return = definition.no_return();
    let is_sought = |phase| {
        use StepPhase::{Asked, Held, Parked, Waiting};
        [Asked, Waiting, Parked, Held].into_iter().any(|sought| phase == Some(sought))
    };
    let is_back = |phase| {
        use StepPhase::{Owed, UndoAsked, UndoHeld, UndoParked, UndoWaiting};
        [Owed, UndoAsked, UndoWaiting, UndoParked, UndoHeld].into_iter().any(|sought| phase == Some(sought))
    };
    let may_turn = views.len() <= no_return || (views.len() == no_return + 1 && is_sought(phase(no_return)));
    let comes = |index: usize| match saga {
        Saga::NotStarted => true,
        Saga::Running(_) => phase(index).is_none() || is_sought(phase(index)) || (may_turn && index < no_return),
        Saga::Compensating(_) => is_back(phase(index)),
        Saga::Ended(_) => false,
    };
    (0..definition.steps().len()).filter(|index| comes(*index)).fold(0, |bits, index| bits | (1 << index))
}

fn every_hold<P: Process>(definition: &Definition<P>) -> impl Iterator<Item = Holds> {
    let name = definition.id().name.to_string();
    definition.steps().iter().map(move |step| {
        let target = HoldTarget::Step { definition: name.clone(), step: step.name.clone() };
        let by_hand = ByHand { actor: tester(), reason: "down".to_owned() };
        let plan = crate::hold::ReleasePlan::default();
        Holds::default().evolve(&HoldEvent::Placed { target, by_hand, until: None, plan, at: DAWN })
    })
}

/// When whoever is waited for is not waited for any more.
fn due(wanted: &Wanted) -> Option<DateTime<Utc>> {
    match wanted.until {
        Until::Deadline(due) | Until::Retry(due) => Some(due),
        Until::Operator | Until::Release => None,
    }
}

/// What tells sagas apart that go on differently: not when things are due, but which of them first; not how often a step
/// was tried in all, but how much of its policy is used up.
fn key<P: Process>(saga: &Saga<P>) -> String {
    let way = match saga {
        Saga::NotStarted => '0',
        Saga::Running(_) => '>',
        Saga::Compensating(_) => '<',
        Saga::Ended(_) => '.',
    };
    let mut key = format!("{way}{:?}", saga.status());
    for step in saga.steps() {
        // Writing to a string cannot fail.
        let _ = write!(key, " {:?}", step.phase);
        // What was asked for before somebody saw to it may be done, and is undone.
        if step.phase == StepPhase::Skipped && step.attempts > 0 {
            key.push('?');
        }
    }
    if let Saga::Ended(ended) = saga
        && let Ending::Abandoned { owed, .. } = &ended.ending
    {
        let _ = write!(key, " {owed:?}");
    }
    if saga.is_frozen() {
        key.push('*');
    }
    let wanted = pending(saga).wanted;
    let mut dues: Vec<DateTime<Utc>> = wanted.iter().filter_map(due).chain(saga.deadline()).collect();
    dues.sort_unstable();
    for wanted in &wanted {
        let rank = due(wanted).and_then(|due| dues.iter().position(|other| *other == due));
        let unasked = if wanted.attempt == 0 { "-" } else { "" };
        let _ = write!(key, " {}{unasked}:{rank:?}", saga.used(wanted));
    }
    let deadline = saga.deadline().and_then(|due| dues.iter().position(|other| *other == due));
    let _ = write!(key, " {deadline:?}");
    key
}

impl<P: Process> Saga<P> {
    /// How much of its policy a step has used up.
    fn used(&self, wanted: &Wanted) -> u32 {
        let attempt = match self {
            Self::Running(state) => state.step(wanted.step.as_str()).and_then(|step| step.phase.attempt()),
            Self::Compensating(state) => {
                let step = state.step(wanted.step.as_str());
                step.and_then(|step| step.phase.pursuit()).map(crate::Pursuit::attempt)
            }
            Self::NotStarted | Self::Ended(_) => None,
        };
        attempt.map_or(0, |attempt| attempt.number.saturating_sub(attempt.forgiven))
    }
}
