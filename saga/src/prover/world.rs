//! The small world in which a definition is tried out: participants with a barrier, messages that come late, again or
//! never, orchestrators with memories of their own.

use std::collections::HashMap;
use std::fmt;

use chrono::{DateTime, Utc};
use eventstore::Aggregate;

use super::{Decider, Rules};
use crate::pending::{Until, Wanted};
use crate::testing::{DAWN, tester};
use crate::{
    Action, Definition, Input, Outcome, Process, Rejection, Saga, SagaEvent, Status, StepName, StepPhase, UndoOutcome,
    pending,
};

/// Where a participant really stands with one step, whatever the saga believes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Side {
    /// It was never asked, or has nobody to ask: a local step.
    #[default]
    Untouched,
    /// It has done it.
    Done,
    /// It has refused.
    Refused,
    /// It has done it and undone it.
    Undone,
    /// It was asked to undo it first: whoever asks to do it comes too late.
    Barred,
}

/// One thing that happens. Steps are named by their place in the definition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    Start,
    Done(usize),
    Refused(usize),
    Unknown(usize),
    Undone(usize),
    UndoUnknown(usize),
    /// The first that is due is due.
    First,
    /// All that is due is due.
    All,
    Cancel,
    Resume,
    /// A request reaches its participant; how it answers.
    Asked(usize, Side),
    /// A request to undo does.
    AskedToUndo(usize),
    /// An orchestrator dies, and comes back with what is stored.
    Crash,
}

/// The most steps of a definition that is tried out.
pub(super) const STEPS_MAX: usize = 16;

/// The world at one moment. Messages are sets: whatever was sent may come, may come again, and may not come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Moment {
    /// What is stored.
    pub(super) saga: u32,
    /// What each orchestrator believes.
    pub(super) believed: [u32; 2],
    /// Of each step: its side, what was sent to it, what it has answered.
    steps: [u8; STEPS_MAX],
}

const SIDE: u8 = 7;
const REQUEST: u8 = 8;
const UNDO: u8 = 16;
const DONE: u8 = 32;
const REFUSED: u8 = 64;
const UNDONE: u8 = 128;

impl Side {
    const ALL: [Self; 5] = [Self::Untouched, Self::Done, Self::Refused, Self::Undone, Self::Barred];
}

/// What follows when one thing happens to a saga.
pub(super) struct Followed<P: Process> {
    pub(super) events: Vec<SagaEvent<P>>,
    pub(super) saga: u32,
}

/// The sagas met so far, each once: as far as what follows on it is concerned.
pub(super) struct Sagas<'a, P: Process> {
    pub(super) definition: &'a Definition<P>,
    decider: Decider<P>,
    input: P::Input,
    output: fn(&str) -> Option<P::Output>,
    pub(super) known: Vec<Saga<P>>,
    none: Saga<P>,
    numbers: HashMap<String, u32>,
}

impl<'a, P: Process> Sagas<'a, P> {
    pub(super) fn new(rules: &Rules<'a, P>) -> Self {
        let mut sagas = Self {
            definition: rules.definition,
            decider: rules.decider,
            input: rules.input.clone(),
            output: rules.output,
            known: Vec::new(),
            none: Saga::NotStarted,
            numbers: HashMap::new(),
        };
        sagas.number(Saga::NotStarted);
        sagas
    }

    pub(super) fn get(&self, number: u32) -> &Saga<P> {
        self.known.get(number as usize).unwrap_or(&self.none)
    }

    fn number(&mut self, saga: Saga<P>) -> u32 {
        let key = key(&saga);
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let number = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
        self.known.push(saga);
        self.numbers.insert(key, number);
        number
    }

    /// The same events, folded onto another saga.
    pub(super) fn append(&mut self, onto: u32, events: &[SagaEvent<P>]) -> u32 {
        let saga = events.iter().fold(self.get(onto).clone(), Saga::evolve);
        self.number(saga)
    }

    /// What an orchestrator that believes `believed` decides; `None` when nothing follows.
    pub(super) fn decide(&mut self, believed: u32, turn: Turn) -> Option<Followed<P>> {
        let saga = self.get(believed);
        let (input, now) = self.input(saga, turn)?;
        let events = (self.decider)(self.definition, super::SAGA, saga, input, now).ok()?;
        if events.is_empty() {
            return None;
        }
        let saga = self.append(believed, &events);
        Some(Followed { events, saga })
    }

    /// What was decided then, in short.
    pub(super) fn again(&self, believed: u32, turn: Turn) -> Vec<String> {
        let saga = self.get(believed);
        let decided = self
            .input(saga, turn)
            .and_then(|(input, now)| (self.decider)(self.definition, super::SAGA, saga, input, now).ok());
        decided.unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    fn input(&self, saga: &Saga<P>, turn: Turn) -> Option<(Input<P>, DateTime<Utc>)> {
        let name = |index: usize| self.definition.steps().get(index).map(|step| step.name.clone());
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
            Turn::First => return Some((Input::Wake, saga.next_wake()?)),
            Turn::All => {
                let due = pending(saga).wanted.iter().filter_map(due).max()?.max(saga.next_wake()?);
                return Some((Input::Wake, due));
            }
            Turn::Cancel => Input::Cancel { reason: "cancelled".to_owned(), actor: tester() },
            Turn::Resume => Input::Resume { reason: "resumed".to_owned(), actor: tester() },
            Turn::Asked(..) | Turn::AskedToUndo(_) | Turn::Crash => return None,
        };
        Some((input, DAWN))
    }
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
    use fmt::Write as _;
    let mut key = format!("{:?}", saga.status());
    for step in saga.steps() {
        // Writing to a string cannot fail.
        let _ = write!(key, " {}:{:?}", step.name, step.phase);
    }
    let mut dues: Vec<DateTime<Utc>> = pending(saga).wanted.iter().filter_map(due).chain(saga.deadline()).collect();
    dues.sort_unstable();
    for wanted in pending(saga).wanted {
        let rank = due(&wanted).and_then(|due| dues.iter().position(|other| *other == due));
        let _ = write!(key, " {}:{}:{rank:?}", wanted.step, saga.used(&wanted));
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

impl Moment {
    fn has(&self, step: usize, bit: u8) -> bool {
        self.steps.get(step).is_some_and(|bits| bits & bit != 0)
    }

    /// The same, with this bit set.
    fn with(mut self, step: usize, bit: u8) -> Self {
        if let Some(bits) = self.steps.get_mut(step) {
            *bits |= bit;
        }
        self
    }

    fn with_side(mut self, step: usize, side: Side) -> Self {
        if let Some(bits) = self.steps.get_mut(step) {
            *bits = (*bits & !SIDE) | side as u8;
        }
        self
    }

    /// Where a step's participant stands.
    pub(super) fn side(&self, step: usize) -> Side {
        let bits = self.steps.get(step).map_or(0, |bits| bits & SIDE);
        Side::ALL.get(usize::from(bits)).copied().unwrap_or_default()
    }

    /// True when a participant was asked for this step.
    pub(super) fn was_asked(&self, step: usize) -> bool {
        self.has(step, REQUEST)
    }

    /// With what a saga's events send out.
    pub(super) fn sent<P: Process>(mut self, definition: &Definition<P>, events: &[SagaEvent<P>]) -> Self {
        for event in events {
            let asks = matches!(
                event,
                SagaEvent::StepRequested { .. } | SagaEvent::StepAwaited { .. } | SagaEvent::ChildRequested { .. }
            );
            let undoes = is_undo(event);
            let Some(step) = event.step().and_then(|step| index(definition, step)) else { continue };
            if asks {
                self = self.with(step, REQUEST);
            } else if undoes {
                self = self.with(step, UNDO);
            }
        }
        self
    }

    /// Everything that may happen to participants now.
    pub(super) fn elsewhere(self, steps: usize, has_barrier: bool) -> Vec<(Turn, Self)> {
        let mut moments = Vec::new();
        for step in 0..steps {
            let side = self.side(step);
            if self.has(step, REQUEST) {
                let answers: &[Side] = match side {
                    Side::Untouched => &[Side::Done, Side::Refused],
                    Side::Done => &[Side::Done],
                    Side::Refused | Side::Undone | Side::Barred => &[Side::Refused],
                };
                for answer in answers {
                    let bit = if *answer == Side::Done { DONE } else { REFUSED };
                    let stands = if side == Side::Untouched { *answer } else { side };
                    moments.push((Turn::Asked(step, *answer), self.with_side(step, stands).with(step, bit)));
                }
            }
            if self.has(step, UNDO) {
                let stands = match side {
                    Side::Untouched if has_barrier => Side::Barred,
                    Side::Done => Side::Undone,
                    Side::Untouched | Side::Refused | Side::Undone | Side::Barred => side,
                };
                moments.push((Turn::AskedToUndo(step), self.with_side(step, stands).with(step, UNDONE)));
            }
        }
        moments
    }

    /// Everything that may come in now for a saga of so many steps.
    pub(super) fn inputs<P: Process>(self, saga: &Saga<P>, steps: usize) -> Vec<Turn> {
        if matches!(saga, Saga::NotStarted) {
            return vec![Turn::Start];
        }
        let mut turns = vec![Turn::First, Turn::All, Turn::Cancel];
        if saga.status() == Status::Parked {
            turns.push(Turn::Resume);
        }
        for step in 0..steps {
            let possible = [
                (DONE, Turn::Done(step)),
                (REFUSED, Turn::Refused(step)),
                (UNDONE, Turn::Undone(step)),
                (REQUEST, Turn::Unknown(step)),
                (UNDO, Turn::UndoUnknown(step)),
            ];
            turns.extend(possible.into_iter().filter(|(bit, _)| self.has(step, *bit)).map(|(_, turn)| turn));
        }
        turns
    }
}

/// True when somebody is asked to undo something.
pub(super) fn is_undo<P: Process>(event: &SagaEvent<P>) -> bool {
    matches!(event, SagaEvent::CompensationRequested { .. } | SagaEvent::ChildUndoRequested { .. })
}

pub(super) fn index<P: Process>(definition: &Definition<P>, step: &StepName) -> Option<usize> {
    definition.steps().iter().position(|known| known.name == *step)
}

/// Where each step really stands at the end: a local step stands where the saga says.
pub(super) fn really<P: Process>(definition: &Definition<P>, saga: &Saga<P>, moment: Moment) -> Vec<(StepName, Side)> {
    let views = saga.steps();
    let believed = |name: &StepName| {
        let done = views.iter().any(|view| view.name == *name && view.phase == StepPhase::Done);
        if done { Side::Done } else { Side::Untouched }
    };
    let side = |(index, step): (usize, &crate::Step<P>)| match step.action {
        Action::Local => (step.name.clone(), believed(&step.name)),
        Action::Ask(_) => (step.name.clone(), moment.side(index)),
    };
    definition.steps().iter().enumerate().map(side).collect()
}
