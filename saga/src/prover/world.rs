//! The small world in which a definition is tried out: participants with a barrier, messages that come late, again or
//! never, orchestrators with memories of their own, an operator who holds one step at a time.

use super::Rules;
use crate::{Action, Definition, Process, Saga, SagaEvent, Status, StepName, StepPhase};

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
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
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
    Pause,
    Unpause,
    Freeze,
    Thaw,
    Abandon,
    /// An operator has one step tried again.
    Retry(usize),
    /// An operator has seen to one step, or to its undoing.
    Skip(usize),
    /// An operator takes one step's timer away.
    Untime(usize),
    /// The saga may pass the hold that stands.
    LetGo,
    /// Somebody looks whether there is something to do: a reconciler.
    Look,
    /// An operator holds this step from now on.
    Hold(usize),
    /// What is held is held no more.
    HoldOver,
    /// A request reaches its participant; how it answers.
    Asked(usize, Side),
    /// A request to undo does.
    AskedToUndo(usize),
    /// An orchestrator dies, and comes back with what is stored.
    Crash,
}

/// The most steps of a definition that is tried out: all that a definition may have.
pub(super) const STEPS_MAX: usize = 64;

/// Some steps of a definition, a bit for each.
pub(super) type Steps = u64;

/// The world at one moment. Messages are sets: whatever was sent may come, may come again, and may not come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Moment {
    /// What is stored.
    pub(super) saga: u32,
    /// What each orchestrator believes.
    pub(super) believed: [u32; 2],
    /// Which step is held, from 1; 0 for none.
    pub(super) held: u8,
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

impl Default for Moment {
    fn default() -> Self {
        Self { saga: 0, believed: [0; 2], held: 0, steps: [0; STEPS_MAX] }
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
    pub(super) fn elsewhere<P: Process>(self, rules: &Rules<'_, P>, comes_to: Steps) -> Vec<(Turn, Self)> {
        let steps = rules.definition.steps().len();
        let mut moments = Vec::new();
        if rules.has_operators {
            moments.extend(self.holds(steps, comes_to));
        }
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
                    Side::Untouched if rules.has_barrier => Side::Barred,
                    Side::Done => Side::Undone,
                    Side::Untouched | Side::Refused | Side::Undone | Side::Barred => side,
                };
                moments.push((Turn::AskedToUndo(step), self.with_side(step, stands).with(step, UNDONE)));
            }
        }
        moments
    }

    /// One step is held at a time, of those that the saga may come to: what is true of one hold is true of a
    /// participant's, which is some of them.
    fn holds(self, steps: usize, comes_to: Steps) -> Vec<(Turn, Self)> {
        if self.held != 0 {
            return vec![(Turn::HoldOver, self.with_hold(0))];
        }
        let held = (0..steps).filter(|step| comes_to & (1 << step) != 0);
        held.map(|step| (Turn::Hold(step), self.with_hold(u8::try_from(step + 1).unwrap_or(0)))).collect()
    }

    fn with_hold(mut self, held: u8) -> Self {
        self.held = held;
        self
    }

    /// The same, without what makes no difference any more: a hold that the saga does not come to. When it is over it
    /// listens to nobody, so no answer matters.
    pub(super) fn plain(mut self, comes_to: Steps, is_over: bool) -> Self {
        if self.held != 0 && comes_to & (1 << (self.held - 1)) == 0 {
            self.held = 0;
        }
        if is_over {
            self.believed = [self.saga; 2];
            self.steps.iter_mut().for_each(|bits| *bits &= SIDE | REQUEST | UNDO);
        }
        self
    }

    /// Everything that may come in now for a saga of so many steps.
    pub(super) fn inputs<P: Process>(self, saga: &Saga<P>, rules: &Rules<'_, P>) -> Vec<Turn> {
        let steps = rules.definition.steps().len();
        if matches!(saga, Saga::NotStarted) {
            return vec![Turn::Start];
        }
        let mut turns = vec![Turn::First, Turn::All, Turn::Cancel];
        if saga.status() == Status::Parked {
            turns.push(Turn::Resume);
        }
        if rules.has_operators {
            turns.extend([Turn::Pause, Turn::Unpause, Turn::Freeze, Turn::Thaw]);
            turns.extend([Turn::Abandon, Turn::LetGo, Turn::Look]);
            // What people see to after the end is another story: nothing of it happens by itself.
            let sought = if saga.is_ended() { 0 } else { steps };
            turns.extend((0..sought).flat_map(|step| [Turn::Retry(step), Turn::Skip(step), Turn::Untime(step)]));
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

impl Turn {
    /// Everything that can come in for a saga of so many steps.
    pub(super) fn every(steps: usize) -> impl Iterator<Item = Self> {
        let whole = [
            Self::Start,
            Self::First,
            Self::All,
            Self::Cancel,
            Self::Resume,
            Self::Pause,
            Self::Unpause,
            Self::Freeze,
            Self::Thaw,
            Self::Abandon,
            Self::Look,
        ];
        let of_step = |step| {
            [
                Self::Done(step),
                Self::Refused(step),
                Self::Unknown(step),
                Self::Undone(step),
                Self::UndoUnknown(step),
                Self::Retry(step),
                Self::Skip(step),
                Self::Untime(step),
            ]
        };
        whole.into_iter().chain((0..steps).flat_map(of_step))
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
    let side = |(index, step): (usize, &crate::Step<P>)| match &step.action {
        Action::Local => (step.name.clone(), believed(&step.name)),
        // Nobody is asked for word from outside, so nobody has anything to undo.
        Action::Ask(ask) if ask.is_awaited() && !ask.has_undo() => (step.name.clone(), believed(&step.name)),
        Action::Ask(_) => (step.name.clone(), moment.side(index)),
    };
    definition.steps().iter().enumerate().map(side).collect()
}
