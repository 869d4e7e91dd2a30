//! Everything that may happen, each moment once, nearest first: so the first thing found to be wrong is the shortest.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use super::sagas::Sagas;
use super::told::{Line, tell};
use super::world::{Moment, STEPS_MAX, Turn};
use super::{Proof, Rules, Unsound};
use crate::{Process, SagaEvent};

/// How a moment came about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    from: u32,
    orchestrator: u8,
    turn: Turn,
}

pub(super) struct Exploration<'a, P: Process> {
    pub(super) rules: &'a Rules<'a, P>,
    pub(super) sagas: Sagas<'a, P>,
    moments: Vec<Moment>,
    steps: Vec<Step>,
    numbers: HashMap<Moment, u32>,
    /// Sagas that were looked at, and what was held then: what is promised of them while they live.
    pub(super) looked: HashSet<(u32, u8)>,
    transitions: u64,
}

/// Something that is wrong, before its story is told.
pub(super) struct Wrong<P: Process> {
    pub(super) promise: String,
    /// What happened last, where it is not the moment itself that is wrong.
    pub(super) last: Option<(Turn, Vec<SagaEvent<P>>)>,
}

/// Tries everything out.
///
/// # Errors
/// The first thing that is wrong, and how it comes about.
pub(super) fn explore<P: Process>(rules: &Rules<'_, P>) -> Result<Proof, Unsound> {
    if rules.definition.steps().len() > STEPS_MAX {
        return Err(Unsound::TooLarge { states: 0 });
    }
    let mut exploration = Exploration {
        rules,
        sagas: Sagas::new(rules),
        moments: Vec::new(),
        steps: Vec::new(),
        numbers: HashMap::new(),
        looked: HashSet::new(),
        transitions: 0,
    };
    exploration.reach(Moment::default(), Step { from: 0, orchestrator: 0, turn: Turn::Crash });
    let mut number = 0;
    while let Some(moment) = exploration.moments.get(number).copied() {
        exploration.look(moment).map_err(|wrong| exploration.unsound(number, 0, wrong))?;
        exploration.go_on(number, moment)?;
        if exploration.moments.len() > rules.states_max {
            return Err(Unsound::TooLarge { states: exploration.moments.len() });
        }
        number += 1;
    }
    let Exploration { sagas, moments, transitions, .. } = exploration;
    Ok(Proof { states: moments.len(), sagas: sagas.count(), transitions })
}

impl<P: Process> Exploration<'_, P> {
    fn reach(&mut self, moment: Moment, step: Step) {
        self.transitions += 1;
        let is_over = self.rules.is_fenced && self.sagas.get(moment.saga).is_ended();
        let moment = moment.plain(self.sagas.comes_to(moment.saga), is_over);
        let next = u32::try_from(self.moments.len()).unwrap_or(u32::MAX);
        if let Entry::Vacant(free) = self.numbers.entry(moment) {
            free.insert(next);
            self.moments.push(moment);
            self.steps.push(step);
        }
    }

    fn go_on(&mut self, number: usize, moment: Moment) -> Result<(), Unsound> {
        let from = u32::try_from(number).unwrap_or(u32::MAX);
        for (turn, next) in moment.elsewhere(self.rules, self.sagas.comes_to(moment.saga)) {
            self.reach(next, Step { from, orchestrator: 0, turn });
        }
        for orchestrator in 0..self.rules.orchestrators {
            let believed = moment.believed.get(orchestrator).copied().unwrap_or(0);
            let with = |saga: u32| {
                let mut next = moment;
                if let Some(place) = next.believed.get_mut(orchestrator) {
                    *place = saga;
                }
                next
            };
            let orchestrator = u8::try_from(orchestrator).unwrap_or(0);
            let step = |turn| Step { from, orchestrator, turn };
            if believed != moment.saga {
                self.reach(with(moment.saga), step(Turn::Crash));
            }
            for turn in moment.inputs(&self.sagas.get(believed), self.rules) {
                let Some(followed) = self.sagas.decide(believed, moment.held, turn) else { continue };
                if believed != moment.saga && self.rules.is_fenced {
                    // A conflict: nothing is stored, and it looks again.
                    continue;
                }
                let allowed = self.allowed(moment, turn, believed, &followed.events);
                allowed.map_err(|wrong| self.unsound(number, orchestrator, wrong))?;
                let stored = if believed == moment.saga {
                    followed.saga
                } else {
                    self.sagas.append(moment.saga, &followed.events)
                };
                let mut next = with(stored).sent(self.rules.definition, &followed.events);
                next.saga = stored;
                self.reach(next, step(turn));
            }
        }
        Ok(())
    }

    /// What is wrong, and everything that led to it.
    fn unsound(&self, number: usize, orchestrator: u8, wrong: Wrong<P>) -> Unsound {
        let mut path = Vec::new();
        let mut at = number;
        while at != 0 {
            let Some(step) = self.steps.get(at) else { break };
            path.push(at);
            at = step.from as usize;
        }
        let last = wrong.last.map(|(turn, events)| Line { orchestrator, turn, events: shown(&events) });
        let lines = path.into_iter().rev().filter_map(|at| self.line(at)).chain(last);
        let story = lines.map(|line| tell(self.rules.definition, self.rules.orchestrators, &line)).collect();
        Unsound::Counterexample { promise: wrong.promise, story }
    }

    fn line(&self, at: usize) -> Option<Line> {
        let Step { from, orchestrator, turn } = *self.steps.get(at)?;
        let before = self.moments.get(from as usize)?;
        let believed = before.believed.get(usize::from(orchestrator)).copied().unwrap_or(0);
        let followed = self.sagas.again(believed, before.held, turn);
        Some(Line { orchestrator, turn, events: followed.map(|followed| shown(&followed.events)).unwrap_or_default() })
    }
}

fn shown<P: Process>(events: &[SagaEvent<P>]) -> Vec<String> {
    events.iter().map(ToString::to_string).collect()
}
