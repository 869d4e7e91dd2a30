//! Whether this program goes on with a saga as the one before did.

use chrono::{DateTime, Utc};
use eventstore::{Aggregate, DomainEvent as _, Recorded, Version};
use saga::hold::{HoldEvent, ReleasePlan};
use saga::{
    ByHand, Circumstances, Holds, Input, Library, Outcome, Process, Rejection, Saga, SagaEvent, UndoOutcome,
    decide_given,
};

/// What a program makes of a saga that another program has brought to where it stands.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// From what came in last, it concludes the very same.
    Same,
    /// It concludes something else.
    Different {
        /// The version before what follows.
        after: Version,
        /// What was concluded, event by event.
        recorded: Vec<String>,
        /// What this program would conclude.
        concluded: Vec<String>,
    },
    /// It cannot go on with it at all: it does not understand its history, or does not have its definition.
    Undecodable {
        /// Why.
        reason: String,
    },
    /// It is over. Nobody goes on with it.
    Ended,
}

/// Decides once more what was decided last for the saga with this history, from the same input at the same time, and
/// compares. Reads nothing, changes nothing: deciding is pure, so the difference between two programs is seen by asking
/// both.
#[must_use]
pub fn check_upgrade<P: Process>(library: &Library<P>, recorded: &[Recorded]) -> Verdict {
    let events: Result<Vec<_>, _> = recorded.iter().map(SagaEvent::<P>::from_recorded).collect();
    let events = match events {
        Ok(events) => events,
        Err(error) => return Verdict::Undecodable { reason: error.to_string() },
    };
    let (Some(first), Some(last)) = (recorded.first(), recorded.last()) else {
        return Verdict::Undecodable { reason: "there is no such saga".to_owned() };
    };
    let saga = fold(&events);
    if saga.is_ended() {
        return Verdict::Ended;
    }
    let is_last = |event: &Recorded| event.cause.causation == last.cause.causation && event.time == last.time;
    let before = recorded.len() - recorded.iter().rev().take_while(|event| is_last(event)).count();
    let (history, told) = events.split_at(before);
    let state = fold(history);
    let Some(pinned) = state.definition().or_else(|| saga.definition()) else {
        return Verdict::Undecodable { reason: "it does not begin with its start".to_owned() };
    };
    let definition = match library.pinned(pinned) {
        Ok(definition) => definition,
        Err(unknown) => return Verdict::Undecodable { reason: unknown.to_string() },
    };
    // A saga that was migrated by what came in last is bound to both.
    if let Some(Err(unknown)) = saga.definition().map(|pinned| library.pinned(pinned)) {
        return Verdict::Undecodable { reason: unknown.to_string() };
    }
    let successor = saga.definition().and_then(|successor| library.version(&successor.name, successor.version));
    let holds = met(told, last.time);
    let circumstances = Circumstances { holds: &holds, successor };
    let input = input(told);
    let concluded = match decide_given(definition, first.stream.id, &state, input, last.time, circumstances) {
        Ok(concluded) => concluded,
        Err(refusal) => return different(before, told, vec![format!("refused: {refusal}")]),
    };
    if concluded == told { Verdict::Same } else { different(before, told, concluded.iter().map(in_full).collect()) }
}

fn different<P: Process>(after: usize, told: &[SagaEvent<P>], concluded: Vec<String>) -> Verdict {
    let recorded = told.iter().map(in_full).collect();
    Verdict::Different { after: Version::NONE.plus(after), recorded, concluded }
}

fn in_full<P: Process>(event: &SagaEvent<P>) -> String {
    serde_json::to_string(event).unwrap_or_else(|_| event.to_string())
}

fn fold<P: Process>(events: &[SagaEvent<P>]) -> Saga<P> {
    events.iter().fold(Saga::default(), Saga::evolve)
}

/// The holds that were met, as far as the events tell.
fn met<P: Process>(told: &[SagaEvent<P>], at: DateTime<Utc>) -> Holds {
    let placed = told.iter().filter_map(|event| {
        let SagaEvent::StepHeld { hold, actor, reason, .. } = event else { return None };
        let by_hand = ByHand { actor: actor.clone(), reason: reason.clone() };
        let (target, plan) = (hold.clone(), ReleasePlan::default());
        Some(HoldEvent::Placed { target, by_hand, until: None, plan, at })
    });
    placed.fold(Holds::default(), |holds, placed| holds.evolve(&placed))
}

/// What came in, by what followed: the first event of a decision tells, or the one behind a step's leaving its hold.
fn input<P: Process>(told: &[SagaEvent<P>]) -> Input<P> {
    let is_release = |event: &&SagaEvent<P>| matches!(event, SagaEvent::StepReleased { .. });
    let Some(first) = told.iter().find(|event| !is_release(event)) else { return Input::Wake };
    match first.clone() {
        SagaEvent::Started { input, parent: None, .. } => Input::Start { input: (*input).clone() },
        SagaEvent::Started { input, parent: Some(parent), .. } => Input::StartChild { input: (*input).clone(), parent },
        SagaEvent::StepSucceeded { step, output } => {
            Input::Reply { step, outcome: Outcome::Done(output.map(|output| (*output).clone())) }
        }
        SagaEvent::StepRejected { reason, .. } if reason.code == Rejection::NO_WORD => Input::Wake,
        SagaEvent::StepRejected { step, reason } => Input::Reply { step, outcome: Outcome::Rejected(reason) },
        SagaEvent::StepUnknown { detail, .. } | SagaEvent::CompensationFailed { detail, .. }
            if detail == saga::NO_ANSWER =>
        {
            Input::Wake
        }
        SagaEvent::StepUnknown { step, detail, .. } => Input::Reply { step, outcome: Outcome::Unknown(detail) },
        SagaEvent::CompensationFailed { step, detail, .. } => {
            Input::UndoReply { step, outcome: UndoOutcome::Unknown(detail) }
        }
        SagaEvent::CompensationSucceeded { step } => Input::UndoReply { step, outcome: UndoOutcome::Done },
        SagaEvent::CancelRequested { reason, actor } => Input::Cancel { reason, actor },
        SagaEvent::Resumed { reason, actor } => Input::Resume { reason, actor },
        SagaEvent::Paused { reason, actor, .. } => Input::Pause { reason, actor },
        SagaEvent::Unpaused { reason, actor, .. } => Input::Unpause { reason, actor },
        SagaEvent::StepRetried { step, reason, actor, .. } => Input::Retry { step, reason, actor },
        SagaEvent::StepSkipped { step, by_hand: Some(ByHand { actor, reason }), .. } => {
            Input::Skip { step, reason, actor }
        }
        SagaEvent::TimersShifted { step, by_ms, actor, reason } => {
            Input::ShiftTimers { step, by: chrono::TimeDelta::milliseconds(by_ms), reason, actor }
        }
        SagaEvent::TimersFrozen { actor, reason, .. } => Input::FreezeTimers { reason, actor },
        SagaEvent::TimersThawed { actor, reason, .. } => Input::ThawTimers { reason, actor },
        SagaEvent::TimerCancelled { step, actor, reason } => Input::CancelTimer { step, reason, actor },
        SagaEvent::Migrated { definition, actor, reason, .. } => {
            Input::Migrate { version: definition.version, reason, actor }
        }
        SagaEvent::Abandoned { actor, reason, .. } => Input::Abandon { reason, actor },
        // Time led to it.
        SagaEvent::StepRequested { .. }
        | SagaEvent::StepAwaited { .. }
        | SagaEvent::StepSkipped { by_hand: None, .. }
        | SagaEvent::ChildRequested { .. }
        | SagaEvent::ChildUndoRequested { .. }
        | SagaEvent::StepHeld { .. }
        | SagaEvent::StepReleased { .. }
        | SagaEvent::CompensationStarted { .. }
        | SagaEvent::CompensationRequested { .. }
        | SagaEvent::Parked { .. }
        | SagaEvent::Completed
        | SagaEvent::Compensated { .. } => Input::Wake,
    }
}
