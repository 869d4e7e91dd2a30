//! Everything that may happen, each moment once, nearest first: so the first thing found to be wrong is the shortest.

use std::collections::HashMap;

use super::told::{Line, tell};
use super::world::{Moment, STEPS_MAX, Sagas, Side, Turn, index, is_undo, really};
use super::{End, Proof, Rules, Unsound};
use crate::pending::Until;
use crate::{Lane, Process, Saga, SagaEvent, Status, pending};

/// How a moment came about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    from: u32,
    orchestrator: u8,
    turn: Turn,
}

struct Exploration<'a, P: Process> {
    rules: &'a Rules<'a, P>,
    sagas: Sagas<'a, P>,
    moments: Vec<Moment>,
    steps: Vec<Step>,
    numbers: HashMap<Moment, u32>,
    transitions: u64,
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
        transitions: 0,
    };
    exploration.reach(Moment::default(), Step { from: 0, orchestrator: 0, turn: Turn::Crash });
    let mut number = 0;
    while let Some(moment) = exploration.moments.get(number).copied() {
        exploration.look(number, moment)?;
        exploration.go_on(number, moment)?;
        if exploration.moments.len() > rules.states_max {
            return Err(Unsound::TooLarge { states: exploration.moments.len() });
        }
        number += 1;
    }
    let Exploration { sagas, moments, transitions, .. } = exploration;
    Ok(Proof { states: moments.len(), sagas: sagas.known.len(), transitions })
}

impl<P: Process> Exploration<'_, P> {
    fn reach(&mut self, moment: Moment, step: Step) {
        self.transitions += 1;
        let next = u32::try_from(self.moments.len()).unwrap_or(u32::MAX);
        if let std::collections::hash_map::Entry::Vacant(free) = self.numbers.entry(moment) {
            free.insert(next);
            self.moments.push(moment);
            self.steps.push(step);
        }
    }

    fn go_on(&mut self, number: usize, moment: Moment) -> Result<(), Unsound> {
        let from = u32::try_from(number).unwrap_or(u32::MAX);
        let count = self.rules.definition.steps().len();
        for (turn, next) in moment.elsewhere(count, self.rules.has_barrier) {
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
            let step = |turn| Step { from, orchestrator: u8::try_from(orchestrator).unwrap_or(0), turn };
            if believed != moment.saga {
                self.reach(with(moment.saga), step(Turn::Crash));
            }
            for turn in moment.inputs(self.sagas.get(believed), count) {
                let Some(followed) = self.sagas.decide(believed, turn) else { continue };
                if believed != moment.saga && self.rules.is_fenced {
                    // A conflict: nothing is stored, and it looks again.
                    continue;
                }
                self.allowed(number, moment, step(turn), believed, &followed.events)?;
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

    /// Looks at what a decision does to what is stored.
    fn allowed(
        &self,
        number: usize,
        moment: Moment,
        step: Step,
        believed: u32,
        events: &[SagaEvent<P>],
    ) -> Result<(), Unsound> {
        let stored = self.sagas.get(moment.saga);
        if stored.is_ended() {
            return Err(self.unsound("nothing happens after the end", number, Some((step, events))));
        }
        for event in events.iter().filter(|event| is_undo(event)) {
            let asked = event.step().and_then(|step| index(self.rules.definition, step));
            if !asked.is_some_and(|asked| moment.was_asked(asked)) {
                return Err(self.unsound("nothing is undone that was never asked for", number, Some((step, events))));
            }
        }
        let turns = events.iter().any(|event| matches!(event, SagaEvent::CompensationStarted { .. }));
        let was_running = matches!(self.sagas.get(believed), Saga::Running(_));
        let undoes = events.iter().any(is_undo);
        if was_running && undoes && !turns {
            return Err(self.unsound("nothing is undone on the way forward", number, Some((step, events))));
        }
        Ok(())
    }

    /// Looks at one moment: nobody waits for ever, everybody is heard, and the end is what it should be.
    fn look(&mut self, number: usize, moment: Moment) -> Result<(), Unsound> {
        let saga = self.sagas.get(moment.saga).clone();
        match saga.status() {
            Status::NotStarted | Status::Paused => return Ok(()),
            Status::Completed | Status::Compensated | Status::Abandoned => return self.ended(number, moment, &saga),
            Status::Running | Status::Compensating | Status::Parked => {}
        }
        let wanted = pending(&saga).wanted;
        let waits_for_operator = wanted.iter().any(|wanted| matches!(wanted.until, Until::Operator | Until::Release));
        if saga.next_wake().is_none() && !waits_for_operator {
            return Err(self.unsound("nobody waits without a timeout", number, None));
        }
        for wanted in &wanted {
            let Some(step) = index(self.rules.definition, &wanted.step) else { continue };
            let turn = if wanted.lane == Lane::Forward { Turn::Done(step) } else { Turn::Undone(step) };
            if self.sagas.decide(moment.saga, turn).is_none() {
                let step = Step { from: 0, orchestrator: 0, turn };
                return Err(self.unsound("an answer that is sought is heard", number, Some((step, &[]))));
            }
        }
        Ok(())
    }

    fn ended(&self, number: usize, moment: Moment, saga: &Saga<P>) -> Result<(), Unsound> {
        let end = End { status: saga.status(), sides: really(self.rules.definition, saga, moment) };
        let left_out = |name: &crate::StepName| {
            let views = saga.steps();
            views.iter().any(|view| view.name == *name && view.phase == crate::StepPhase::Skipped)
        };
        let undone = || end.sides.iter().all(|(_, side)| *side != Side::Done);
        let done = || end.sides.iter().all(|(name, side)| *side == Side::Done || left_out(name));
        match end.status {
            Status::Compensated if !undone() => {
                return Err(self.unsound("whoever is compensated has nothing done", number, None));
            }
            Status::Completed if !done() => {
                return Err(self.unsound("whoever is completed has everything done", number, None));
            }
            Status::Compensated
            | Status::Completed
            | Status::NotStarted
            | Status::Running
            | Status::Compensating
            | Status::Parked
            | Status::Paused
            | Status::Abandoned => {}
        }
        let broken = self.rules.never.iter().find(|(_, holds)| holds(&end));
        broken.map_or(Ok(()), |(what, _)| Err(self.unsound(what, number, None)))
    }

    /// What is wrong, and everything that led to it.
    fn unsound(&self, what: &str, number: usize, last: Option<(Step, &[SagaEvent<P>])>) -> Unsound {
        let mut path = Vec::new();
        let mut at = number;
        while at != 0 {
            let Some(step) = self.steps.get(at) else { break };
            path.push(at);
            at = step.from as usize;
        }
        let lines = path.into_iter().rev().filter_map(|at| self.line(at)).chain(last.map(|(step, events)| Line {
            orchestrator: step.orchestrator,
            turn: step.turn,
            events: events.iter().map(ToString::to_string).collect(),
        }));
        let lines = lines.map(|line| tell(self.rules.definition, self.rules.orchestrators, &line)).collect();
        Unsound::Counterexample { promise: what.to_owned(), story: lines }
    }

    fn line(&self, at: usize) -> Option<Line> {
        let step = self.steps.get(at)?;
        let before = self.moments.get(step.from as usize)?;
        let believed = before.believed.get(usize::from(step.orchestrator)).copied().unwrap_or(0);
        let events = self.sagas.again(believed, step.turn);
        Some(Line { orchestrator: step.orchestrator, turn: step.turn, events })
    }
}
