use super::{Decision, Outcome, advance, detail, hold};
use crate::definition::{Ask, Kind};
use crate::state::{Attempt, Phase, Pursuit};
use crate::{Lane, Process, Rejection, Saga, SagaEvent, Shared, StepName};

/// A definite answer is taken whenever the step still seeks one, however late. A saga on its way back does not: it
/// undoes the step whether it was done or not.
pub(super) fn reply<P: Process>(decision: &mut Decision<'_, P>, step: &StepName, outcome: Outcome<P::Output>) {
    let event = match &decision.saga {
        Saga::NotStarted | Saga::Compensating(_) | Saga::Ended(_) => None,
        Saga::Running(state) => state.step(step.as_str()).and_then(|step| match &step.phase {
            Phase::Pursued(pursuit) => answered(decision, &step.name, pursuit, outcome),
            Phase::Rejected { .. } | Phase::Done { .. } | Phase::Skipped { .. } => None,
        }),
    };
    if let Some(event) = event {
        hold::leave(decision, step, Lane::Forward);
        decision.record(event);
        advance::advance(decision);
    }
}

fn answered<P: Process>(
    decision: &Decision<'_, P>,
    step: &StepName,
    pursuit: &Pursuit<P>,
    outcome: Outcome<P::Output>,
) -> Option<SagaEvent<P>> {
    // What waits at a hold and was never asked for is answered by nobody, but word may come.
    if pursuit.is_unasked() && !decision.ask(step).is_some_and(Ask::is_awaited) {
        return None;
    }
    match (outcome, pursuit) {
        (Outcome::Done(output), _) => {
            Some(SagaEvent::StepSucceeded { step: step.clone(), output: output.map(Shared::from) })
        }
        (Outcome::Rejected(_), Pursuit::Parked { .. }) if !ends_by_rejection(decision, step) => None,
        (Outcome::Rejected(reason), _) => {
            let reason = Rejection::new(reason.code, reason.message);
            Some(SagaEvent::StepRejected { step: step.clone(), reason })
        }
        (Outcome::Unknown(text), Pursuit::Asked { attempt, .. }) => {
            Some(unknown(decision, step, attempt, detail(text)))
        }
        (
            Outcome::Unknown(_),
            Pursuit::Waiting { .. } | Pursuit::Exhausted { .. } | Pursuit::Parked { .. } | Pursuit::Held { .. },
        ) => None,
    }
}

/// True where a definite no turns the saga. A retriable step that is parked would only be parked again.
fn ends_by_rejection<P: Process>(decision: &Decision<'_, P>, step: &StepName) -> bool {
    match decision.definition.step(step.as_str()).map(|step| step.kind) {
        Some(Kind::Compensatable | Kind::Pivot) => true,
        Some(Kind::Retriable) | None => false,
    }
}

/// Nobody knows whether `attempt` took effect.
pub(super) fn unknown<P: Process>(
    decision: &Decision<'_, P>,
    step: &StepName,
    attempt: &Attempt<P>,
    detail: String,
) -> SagaEvent<P> {
    if is_no(decision, step) {
        let reason = Rejection::new(Rejection::NO_WORD, detail);
        return SagaEvent::StepRejected { step: step.clone(), reason };
    }
    let policy = decision.ask(step).map(|ask| ask.retry).unwrap_or_default();
    let retry_at = decision.retry_at(step, policy, attempt.number, attempt.used());
    SagaEvent::StepUnknown { step: step.clone(), attempt: attempt.number, detail, retry_at }
}

/// True where no word is a no: nobody was asked for anything, and there is a way back without an undo.
fn is_no<P: Process>(decision: &Decision<'_, P>, step: &StepName) -> bool {
    let no_undo = decision.ask(step).is_some_and(|ask| ask.is_awaited() && !ask.has_undo());
    no_undo && ends_by_rejection(decision, step)
}

impl<P: Process> Attempt<P> {
    /// How much of its policy is used up.
    pub(super) fn used(&self) -> u32 {
        self.number.saturating_sub(self.forgiven)
    }
}
