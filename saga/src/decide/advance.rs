//! What follows from a state by itself: the next stage, the way back, the end. Asked after every input, and the only
//! place that knows the order of things.

use super::Decision;
use crate::definition::{Action, Ask, ChildOf, Kind};
use crate::process::Facts;
use crate::state::{Phase, Pursuit, UndoPhase};
use crate::{Compensating, CompensationCause, Lane, Process, Running, Saga, SagaEvent, Shared, StepName};

/// Records everything that follows until somebody is to be waited for. Ends: each turn begins or ends a step, or the
/// saga. Nothing follows while the saga is paused.
pub(super) fn advance<P: Process>(decision: &mut Decision<'_, P>) {
    while !decision.saga.is_paused() {
        let next = match &decision.saga {
            Saga::Running(state) => forward(decision, state),
            Saga::Compensating(state) => back(decision, state),
            Saga::NotStarted | Saga::Ended(_) => return,
        };
        match next {
            Next::Wait => return,
            Next::Record(event) => decision.record(event),
            Next::Begin(begun) => begun.into_iter().for_each(|(step, beginning)| begin(decision, step, beginning)),
            Next::Undo(undone) => undone.into_iter().for_each(|(step, undoing)| match undoing {
                Undoing::Ask(_) | Undoing::Child if decision.is_to_wait(&step, Lane::Undo) => {}
                Undoing::Ask(request) => decision.request_undo(step, 1, request),
                Undoing::Child => decision.undo_child(step, 1),
                Undoing::Nothing => decision.record(SagaEvent::CompensationSucceeded { step }),
            }),
        }
    }
}

fn begin<P: Process>(decision: &mut Decision<'_, P>, step: StepName, beginning: Beginning<P>) {
    match beginning {
        Beginning::Skip => decision.record(SagaEvent::StepSkipped { step, lane: Lane::Forward, by_hand: None }),
        Beginning::Ask(_) | Beginning::Child(..) | Beginning::Await | Beginning::Local
            if decision.is_to_wait(&step, Lane::Forward) => {}
        Beginning::Ask(request) => decision.request(step, 1, request),
        Beginning::Child(child, input) => decision.run_child(step, 1, child, input),
        Beginning::Await => decision.wait_for_word(step, 1),
        Beginning::Local => decision.record(SagaEvent::StepSucceeded { step, output: None }),
    }
}

/// Takes a step for the first time that has waited at a hold.
pub(super) fn begin_step<P: Process>(decision: &mut Decision<'_, P>, step: &StepName) {
    let Saga::Running(state) = &decision.saga else { return };
    let Some(defined) = decision.definition.step(step.as_str()) else { return };
    let beginning = Beginning::of(&defined.action, &Facts::of_running(decision.saga_id, state));
    begin(decision, step.clone(), beginning);
}

/// Takes a step once more that nobody is asked for.
pub(super) fn begin_again<P: Process>(decision: &mut Decision<'_, P>, step: StepName, number: u32) {
    let Saga::Running(state) = &decision.saga else { return };
    match decision.ask(&step).and_then(|ask| ask.child) {
        Some(child) => {
            let input = (child.input)(&Facts::of_running(decision.saga_id, state));
            decision.run_child(step, number, child, Shared::from(input));
        }
        None => decision.wait_for_word(step, number),
    }
}

enum Next<P: Process> {
    Wait,
    Record(SagaEvent<P>),
    /// Steps to be taken.
    Begin(Vec<(StepName, Beginning<P>)>),
    /// Steps to be undone.
    Undo(Vec<(StepName, Undoing<P>)>),
}

/// What undoing a step begins with.
enum Undoing<P: Process> {
    Ask(Shared<P::Request>),
    Child,
    /// Word from outside had come, and needs no undoing.
    Nothing,
}

impl<P: Process> Undoing<P> {
    fn of(ask: &Ask<P>, facts: &Facts<'_, P>) -> Self {
        match ask.undo {
            Some(undo) => Self::Ask(Shared::from(undo(facts))),
            None if ask.child.is_some() => Self::Child,
            None => Self::Nothing,
        }
    }
}

/// What taking a step begins with.
enum Beginning<P: Process> {
    Ask(Shared<P::Request>),
    Child(ChildOf<P>, Shared<P::Input>),
    Await,
    Local,
    Skip,
}

impl<P: Process> Beginning<P> {
    fn of(action: &Action<P>, facts: &Facts<'_, P>) -> Self {
        match action {
            Action::Local => Self::Local,
            Action::Ask(ask) if ask.only_if.is_some_and(|holds| !holds(facts)) => Self::Skip,
            Action::Ask(ask) => match (ask.request, ask.child) {
                (Some(request), _) => Self::Ask(Shared::from(request(facts))),
                (None, Some(child)) => Self::Child(child, Shared::from((child.input)(facts))),
                (None, None) => Self::Await,
            },
        }
    }
}

fn forward<P: Process>(decision: &Decision<'_, P>, state: &Running<P>) -> Next<P> {
    let begun = state.steps.len();
    let stage = decision.definition.stage_of(begun.saturating_sub(1));
    let mut waits = false;
    for step in state.steps.get(stage.start.min(begun)..).unwrap_or_default() {
        match &step.phase {
            Phase::Done { .. } | Phase::Skipped { .. } => {}
            Phase::Pursued(
                Pursuit::Asked { .. } | Pursuit::Waiting { .. } | Pursuit::Parked { .. } | Pursuit::Held { .. },
            ) => waits = true,
            Phase::Pursued(Pursuit::Exhausted { detail, .. }) => {
                return Next::Record(exhausted(decision, &step.name, detail));
            }
            Phase::Rejected { reason, .. } => return Next::Record(rejected(decision, &step.name, reason)),
        }
    }
    let deadline = decision.saga.deadline().filter(|deadline| *deadline <= decision.now);
    if let Some(deadline) = deadline.filter(|_| state.frozen.is_none()) {
        return Next::Record(SagaEvent::CompensationStarted { cause: CompensationCause::Late { deadline } });
    }
    // A stage that was begun only in part is begun in full before anything is waited for.
    let next = if begun < stage.end { begun..stage.end } else { decision.definition.stage_of(begun) };
    if waits && next.start >= stage.end {
        Next::Wait
    } else if next.is_empty() {
        Next::Record(SagaEvent::Completed)
    } else {
        let facts = Facts::of_running(decision.saga_id, state);
        let steps = decision.definition.steps().get(next).unwrap_or_default();
        Next::Begin(steps.iter().map(|step| (step.name.clone(), Beginning::of(&step.action, &facts))).collect())
    }
}

/// Nobody knows, and the policy is used up. What can be undone is undone; a pivot can neither be undone nor be taken
/// for not done, and what comes after it has to happen: both wait for an operator.
fn exhausted<P: Process>(decision: &Decision<'_, P>, step: &StepName, detail: &str) -> SagaEvent<P> {
    let (step, detail) = (step.clone(), detail.to_owned());
    match decision.definition.step(step.as_str()).map(|step| step.kind) {
        Some(Kind::Compensatable) => {
            SagaEvent::CompensationStarted { cause: CompensationCause::Exhausted { step, detail } }
        }
        Some(Kind::Pivot | Kind::Retriable) | None => SagaEvent::Parked { step, lane: Lane::Forward, detail },
    }
}

fn rejected<P: Process>(decision: &Decision<'_, P>, step: &StepName, reason: &crate::Rejection) -> SagaEvent<P> {
    let step = step.clone();
    match decision.definition.step(step.as_str()).map(|step| step.kind) {
        Some(Kind::Compensatable | Kind::Pivot) => {
            SagaEvent::CompensationStarted { cause: CompensationCause::Rejected { step, rejection: reason.clone() } }
        }
        Some(Kind::Retriable) | None => {
            SagaEvent::Parked { step, lane: Lane::Forward, detail: super::detail(format!("refused: {reason}")) }
        }
    }
}

fn back<P: Process>(decision: &Decision<'_, P>, state: &Compensating<P>) -> Next<P> {
    let mut waits = false;
    let mut last_owed = None;
    for (index, step) in state.steps.iter().enumerate() {
        match &step.phase {
            UndoPhase::Undoing(Pursuit::Exhausted { detail, .. }) => {
                let (step, detail) = (step.name.clone(), detail.clone());
                return Next::Record(SagaEvent::Parked { step, lane: Lane::Undo, detail });
            }
            UndoPhase::Undoing(
                Pursuit::Asked { .. } | Pursuit::Waiting { .. } | Pursuit::Parked { .. } | Pursuit::Held { .. },
            ) => waits = true,
            UndoPhase::Owed { .. } => last_owed = Some(index),
            UndoPhase::NotDone { .. } | UndoPhase::LeftOut | UndoPhase::Undone { .. } | UndoPhase::Skipped { .. } => {}
        }
    }
    if waits {
        return Next::Wait;
    }
    match last_owed {
        Some(index) => undo_stage(decision, state, index),
        None => Next::Record(SagaEvent::Compensated { cause: state.cause.clone() }),
    }
}

/// Asks for everything in the stage of the step at `index` to be undone.
fn undo_stage<P: Process>(decision: &Decision<'_, P>, state: &Compensating<P>, index: usize) -> Next<P> {
    let facts = Facts::of_compensating(decision.saga_id, state);
    let stage = decision.definition.stage_of(index);
    let steps = state.steps.iter().zip(decision.definition.steps());
    let owed = steps.skip(stage.start).take(stage.len()).filter(|(step, _)| step.phase.is_owed());
    let asks = owed.filter_map(|(step, defined)| Some((step.name.clone(), defined.ask()?)));
    let undone: Vec<_> = asks.map(|(step, ask)| (step, Undoing::of(ask, &facts))).collect();
    // Only compensatable steps are ever owed here, and those are asked or awaited. Should a hand have written another
    // history, waiting for an operator is right.
    if undone.is_empty() { Next::Wait } else { Next::Undo(undone) }
}
