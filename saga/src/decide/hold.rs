//! Where a saga meets a hold, and how it leaves it.

use super::{Decision, Through, advance};
use crate::state::{Attempt, Pursuit, UndoPhase};
use crate::{Facts, HoldTarget, Lane, Process, Saga, SagaEvent, Shared, StepName};

/// It is the saga's turn to pass `hold`. One that does not wait there takes no notice, and one that stands still stays.
pub(super) fn release<P: Process>(decision: &mut Decision<'_, P>, hold: HoldTarget) {
    if decision.saga.is_paused() {
        return;
    }
    let waiting = held(&decision.saga).into_iter().filter(|held| held.under == hold).collect();
    decision.through = Through::Only(hold);
    go_on(decision, waiting);
}

/// Whatever waits at a hold that is no more goes on.
pub(super) fn leave_ended<P: Process>(decision: &mut Decision<'_, P>) {
    let waiting = held(&decision.saga).into_iter().filter(|held| !decision.is_held(&held.step)).collect();
    go_on(decision, waiting);
}

/// A step goes on in another way than by its hold's end.
pub(super) fn leave<P: Process>(decision: &mut Decision<'_, P>, step: &StepName, lane: Lane) {
    if held(&decision.saga).iter().any(|held| held.step == *step) {
        decision.record(SagaEvent::StepReleased { step: step.clone(), lane, at: decision.now });
    }
}

fn go_on<P: Process>(decision: &mut Decision<'_, P>, waiting: Vec<Held<P>>) {
    if waiting.is_empty() {
        return;
    }
    for held in waiting {
        leave(decision, &held.step, held.lane);
        // What costs no attempt is forgiven.
        match held.lane {
            Lane::Forward => decision.again(held.step, held.attempt),
            Lane::Undo if held.attempt.number == 0 => undo_step(decision, &held.step),
            Lane::Undo => decision.undo_again(held.step, held.attempt),
        }
    }
    advance::advance(decision);
}

/// Asks for one step to be undone that is owed; unless it is held, by another hold.
pub(super) fn undo_step<P: Process>(decision: &mut Decision<'_, P>, step: &StepName) {
    if decision.is_to_wait(step, Lane::Undo) {
        return;
    }
    let Saga::Compensating(state) = &decision.saga else { return };
    let facts = Facts::of_compensating(decision.saga_id, state);
    let Some(ask) = decision.ask(step) else { return };
    match ask.undo.map(|undo| Shared::from(undo(&facts))) {
        Some(request) => decision.request_undo(step.clone(), 1, request),
        None if ask.child.is_some() => decision.undo_child(step.clone(), 1),
        None => {}
    }
}

/// A step that waits at a hold.
struct Held<P: Process> {
    step: StepName,
    lane: Lane,
    under: HoldTarget,
    attempt: Attempt<P>,
}

fn held<P: Process>(saga: &Saga<P>) -> Vec<Held<P>> {
    let of = |step: &StepName, lane, pursuit: &Pursuit<P>| {
        let (under, _) = pursuit.held()?;
        Some(Held { step: step.clone(), lane, under: under.clone(), attempt: pursuit.attempt().clone() })
    };
    match saga {
        Saga::Running(state) => {
            let steps = state.steps.iter();
            steps.filter_map(|step| of(&step.name, Lane::Forward, step.phase.pursuit()?)).collect()
        }
        Saga::Compensating(state) => {
            let steps = state.steps.iter();
            steps.filter_map(|step| of(&step.name, Lane::Undo, step.phase.pursuit()?)).collect()
        }
        Saga::NotStarted | Saga::Ended(_) => Vec::new(),
    }
}

impl<P: Process> Decision<'_, P> {
    /// True when `step` is held and nothing lets it through.
    pub(super) fn is_held(&self, step: &StepName) -> bool {
        self.hold_over(step).is_some()
    }

    /// Records that `step` waits at its hold, if there is one.
    pub(super) fn is_to_wait(&mut self, step: &StepName, lane: Lane) -> bool {
        let Some(hold) = self.hold_over(step) else { return false };
        let (hold, by_hand) = (hold.target.clone(), hold.by_hand.clone());
        let (step, actor, reason, at) = (step.clone(), by_hand.actor, by_hand.reason, self.now);
        self.record(SagaEvent::StepHeld { step, lane, hold, actor, reason, at });
        true
    }

    fn hold_over(&self, step: &StepName) -> Option<&crate::hold::Hold> {
        let passed = match &self.through {
            Through::None => None,
            Through::Only(target) => Some(target),
            Through::All => return None,
        };
        let defined = self.definition.step(step.as_str())?;
        self.circumstances.holds.over(&self.definition.id().name, defined, passed)
    }
}

impl<P: Process> UndoPhase<P> {
    pub(super) fn is_owed(&self) -> bool {
        match self {
            Self::Owed { .. } => true,
            Self::NotDone { .. } | Self::LeftOut | Self::Undoing(_) | Self::Undone { .. } | Self::Skipped { .. } => {
                false
            }
        }
    }
}
