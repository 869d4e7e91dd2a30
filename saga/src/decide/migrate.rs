//! An open saga is bound to another version of its definition: only where everything that was begun is the same there.

use super::{Decision, Misfit, Refusal, advance, pause};
use crate::{Action, ByHand, Definition, Process, Saga, SagaEvent, Step, StepName};

pub(super) fn migrate<P: Process>(decision: &mut Decision<'_, P>, version: u32, by: ByHand) -> Result<(), Refusal> {
    pause::alive(decision)?;
    let from = decision.definition;
    let to = format!("{} v{version}", from.id().name);
    let wanted = |successor: &&Definition<P>| {
        let id = successor.id();
        id.name == from.id().name && id.version == version
    };
    let Some(successor) = decision.circumstances.successor.filter(wanted) else {
        return Err(Refusal::CannotMigrate { to, misfit: Misfit::Unknown });
    };
    let misfit = if successor.id() == from.id() {
        Some(Misfit::Same)
    } else {
        begun(&decision.saga).iter().enumerate().find_map(|(index, step)| misfit(from, successor, index, step))
    };
    if let Some(misfit) = misfit {
        return Err(Refusal::CannotMigrate { to, misfit });
    }
    decision.definition = successor;
    let (definition, binds) = (successor.id().clone(), successor.no_return());
    decision.record(SagaEvent::Migrated { definition, binds, actor: by.actor, reason: by.reason });
    advance::advance(decision);
    Ok(())
}

fn begun<P: Process>(saga: &Saga<P>) -> Vec<StepName> {
    match saga {
        Saga::Running(state) => state.steps.iter().map(|step| step.name.clone()).collect(),
        Saga::Compensating(state) => state.steps.iter().map(|step| step.name.clone()).collect(),
        Saga::NotStarted | Saga::Ended(_) => Vec::new(),
    }
}

/// Why the step at `index` that was begun is not the same in `to`.
fn misfit<P: Process>(from: &Definition<P>, to: &Definition<P>, index: usize, step: &StepName) -> Option<Misfit> {
    let name = || step.clone();
    let was = from.steps().get(index)?;
    let Some(is) = to.step(step.as_str()) else { return Some(Misfit::StepMissing { step: name() }) };
    if to.steps().get(index).is_none_or(|there| there.name != *step) {
        return Some(Misfit::OrderDiffers { step: name() });
    }
    if was.kind != is.kind {
        return Some(Misfit::KindDiffers { step: name(), was: was.kind, is: is.kind });
    }
    if from.stage_of(index) != to.stage_of(index) {
        return Some(Misfit::GroupDiffers { step: name() });
    }
    (way(was) != way(is)).then(|| Misfit::ActionDiffers { step: name() })
}

/// How a step is done and undone, as far as a saga that has begun it cares.
fn way<P: Process>(step: &Step<P>) -> (bool, bool, bool, Option<&'static str>) {
    match &step.action {
        Action::Ask(ask) => (true, ask.is_awaited(), ask.has_undo(), ask.child()),
        Action::Local => (false, false, false, None),
    }
}
