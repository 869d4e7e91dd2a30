//! What is promised of every decision, every moment and every end.

use super::End;
use super::explore::{Exploration, Wrong};
use super::world::{Moment, Side, Turn, index, is_undo, really};
use crate::pending::{Until, Wanted};
use crate::{Ending, Lane, Process, Saga, SagaEvent, Status, StepName, StepPhase, pending};

impl<P: Process> Exploration<'_, P> {
    /// Looks at what a decision does to what is stored.
    pub(super) fn allowed(
        &self,
        moment: Moment,
        turn: Turn,
        believed: u32,
        events: &[SagaEvent<P>],
    ) -> Result<(), Wrong<P>> {
        let wrong = |promise: &str| Wrong { promise: promise.to_owned(), last: Some((turn, events.to_vec())) };
        if self.sagas.get(moment.saga).is_ended() {
            return match self.sagas.get(believed).is_ended() && events.iter().all(is_settling) {
                true => Ok(()),
                false => Err(wrong("nothing happens after the end")),
            };
        }
        for (place, event) in events.iter().enumerate().filter(|(_, event)| is_undo(event)) {
            let before = events.iter().take(place).any(|other| asks(other) && other.step() == event.step());
            let asked = event.step().and_then(|step| index(self.rules.definition, step));
            if !before && !asked.is_some_and(|asked| moment.was_asked(asked)) {
                return Err(wrong("nothing is undone that was never asked for"));
            }
        }
        let believed = self.sagas.get(believed);
        let turns = events.iter().any(|event| matches!(event, SagaEvent::CompensationStarted { .. }));
        let undoes = events.iter().any(is_undo);
        if matches!(*believed, Saga::Running(_)) && undoes && !turns {
            return Err(wrong("nothing is undone on the way forward"));
        }
        let goes_on = events.iter().any(|event| matches!(event, SagaEvent::Unpaused { .. }));
        if believed.is_paused() && !goes_on && events.iter().any(asks) {
            return Err(wrong("nothing is asked for while it is paused"));
        }
        let gives_up = |event: &SagaEvent<P>| {
            matches!(
                event,
                SagaEvent::StepUnknown { .. }
                    | SagaEvent::CompensationFailed { .. }
                    | SagaEvent::CompensationStarted { .. }
            )
        };
        if believed.is_frozen() && matches!(turn, Turn::First | Turn::All | Turn::Look) && events.iter().any(gives_up) {
            return Err(wrong("nobody is given up while time stands still"));
        }
        let held = usize::from(moment.held).checked_sub(1).and_then(|held| self.rules.definition.steps().get(held));
        let is_let_through = matches!(turn, Turn::LetGo | Turn::Retry(_));
        if let Some(held) = held.filter(|_| !is_let_through)
            && events.iter().any(|event| asks(event) && event.step() == Some(&held.name))
        {
            return Err(wrong("nothing is asked for that is held"));
        }
        Ok(())
    }

    /// Looks at one moment: nobody waits for ever, everybody is heard, there is a way on, and the end is what it should
    /// be.
    pub(super) fn look(&mut self, moment: Moment) -> Result<(), Wrong<P>> {
        let saga = self.sagas.get(moment.saga);
        let is_new = self.looked.insert((moment.saga, moment.held));
        if saga.is_ended() {
            let mut turns = Turn::every(self.rules.definition.steps().len()).filter(|_| is_new);
            let heard = turns.find_map(|turn| {
                let heard = self.sagas.decide(moment.saga, 0, turn)?.events.clone();
                (!heard.iter().all(is_settling)).then_some((turn, heard))
            });
            return match heard {
                Some(last) => Err(Wrong { promise: "nothing happens after the end".to_owned(), last: Some(last) }),
                None => self.ended(moment, &saga),
            };
        }
        match saga.status() {
            Status::Running | Status::Compensating | Status::Parked | Status::Paused if is_new => {
                self.alive(moment, &saga)
            }
            Status::Running
            | Status::Compensating
            | Status::Parked
            | Status::Paused
            | Status::NotStarted
            | Status::Completed
            | Status::Compensated
            | Status::Abandoned => Ok(()),
        }
    }

    fn alive(&mut self, moment: Moment, saga: &Saga<P>) -> Result<(), Wrong<P>> {
        let broken = |promise: &str, last| Wrong { promise: promise.to_owned(), last };
        let wanted = pending(saga).wanted;
        let waits_for_somebody = |wanted: &Wanted| matches!(wanted.until, Until::Operator | Until::Release);
        let stands_still = saga.is_paused() || saga.is_frozen();
        if saga.next_wake().is_none() && !stands_still && !wanted.iter().any(waits_for_somebody) {
            return Err(broken("nobody waits without a timeout", None));
        }
        for wanted in &wanted {
            let Some(step) = index(self.rules.definition, &wanted.step) else { continue };
            // What waits at a hold and was never asked for has no answer.
            if wanted.attempt == 0 {
                continue;
            }
            let turn = if wanted.lane == Lane::Forward { Turn::Done(step) } else { Turn::Undone(step) };
            if self.sagas.decide(moment.saga, moment.held, turn).is_none() {
                return Err(broken("an answer that is sought is heard", Some((turn, Vec::new()))));
            }
        }
        let is_parked = wanted.iter().any(|wanted| wanted.until == Until::Operator);
        let is_held = wanted.iter().any(|wanted| wanted.until == Until::Release);
        let ways_on = [
            (saga.is_paused(), Turn::Unpause, "whatever is paused can go on"),
            (saga.is_frozen(), Turn::Thaw, "whatever stands still can go on"),
            (is_parked && !saga.is_paused(), Turn::Resume, "whatever is parked can be resumed"),
            (is_held && !saga.is_paused() && moment.held == 0, Turn::Look, "whatever was held goes on after the hold"),
        ];
        for (_, turn, promise) in ways_on.into_iter().filter(|(applies, ..)| *applies) {
            if self.sagas.decide(moment.saga, moment.held, turn).is_none() {
                return Err(broken(promise, Some((turn, Vec::new()))));
            }
        }
        Ok(())
    }

    fn ended(&self, moment: Moment, saga: &Saga<P>) -> Result<(), Wrong<P>> {
        let end = End { status: saga.status(), sides: really(self.rules.definition, saga, moment) };
        let broken = |promise: &str| Err(Wrong { promise: promise.to_owned(), last: None });
        let views = saga.steps();
        let stands = |name: &StepName, phase| views.iter().any(|view| view.name == *name && view.phase == phase);
        let mut sides = end.sides.iter();
        match end.status {
            // Whoever saw to an undo by hand answers for it.
            Status::Compensated
                if sides.any(|(name, side)| *side == Side::Done && !stands(name, StepPhase::UndoSkipped)) =>
            {
                return broken("whoever is compensated has nothing done");
            }
            Status::Completed if sides.any(|(name, side)| *side != Side::Done && !stands(name, StepPhase::Skipped)) => {
                return broken("whoever is completed has everything done");
            }
            Status::Abandoned => {
                let owed = owed(saga);
                let is_known = |name| owed.contains(name) || stands(name, StepPhase::UndoSkipped);
                return match sides.any(|(name, side)| *side == Side::Done && !is_known(name)) {
                    true => broken("whoever is abandoned owes what is done"),
                    // What an operator ends is nobody's fault but theirs.
                    false => Ok(()),
                };
            }
            Status::Compensated
            | Status::Completed
            | Status::NotStarted
            | Status::Running
            | Status::Compensating
            | Status::Parked
            | Status::Paused => {}
        }
        let never = self.rules.never.iter().find(|(_, holds)| holds(&end));
        never.map_or(Ok(()), |(what, _)| broken(what))
    }
}

/// What an operator was told that nobody will undo.
fn owed<P: Process>(saga: &Saga<P>) -> &[StepName] {
    match saga {
        Saga::Ended(ended) => match &ended.ending {
            Ending::Abandoned { owed, .. } => owed,
            Ending::Completed | Ending::Compensated { .. } => &[],
        },
        Saga::NotStarted | Saga::Running(_) | Saga::Compensating(_) => &[],
    }
}

/// True when people see to what is left after the end: a step is undone, or counts as seen to.
fn is_settling<P: Process>(event: &SagaEvent<P>) -> bool {
    matches!(
        event,
        SagaEvent::StepRetried { lane: Lane::Undo, .. }
            | SagaEvent::StepSkipped { lane: Lane::Undo, .. }
            | SagaEvent::CompensationRequested { .. }
            | SagaEvent::CompensationSucceeded { .. }
            | SagaEvent::CompensationFailed { .. }
    )
}

/// True when somebody is asked for something.
fn asks<P: Process>(event: &SagaEvent<P>) -> bool {
    matches!(event, SagaEvent::StepRequested { .. } | SagaEvent::StepAwaited { .. } | SagaEvent::ChildRequested { .. })
        || is_undo(event)
}
