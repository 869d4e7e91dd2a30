//! Recorded sagas under another policy: where their histories would part, and how they would have ended.
//!
//! What was recorded is taken as it is up to the place where the other policy would have decided otherwise. What comes
//! after it was never recorded and is assumed, and every assumption is told: that undoing succeeds, and that a step which
//! is asked once more is done at last. Under a longer timeout whoever ran out of time is waited for: an answer that was
//! recorded within that time is taken, and where none was, that one comes and says yes is assumed.

use std::time::Duration;

use chrono::{DateTime, Utc};
use farmera_proto::saga::v1 as pb;
use pb::saga::State;
use saga::{Definition, Kind, NO_ANSWER};

use super::history::{Event, History, state_of};
use crate::sagas::{OrderProcess, PLACE_ORDER};

/// A step with another policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The step.
    pub step: String,
    /// How often it is asked for.
    pub attempts_max: Option<u32>,
    /// How long an answer is waited for.
    pub timeout: Option<Duration>,
}

/// How a saga would have ended otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Otherwise {
    /// Where it stands.
    pub was: State,
    /// Where it would.
    pub would_be: State,
    /// The version at which its history parts.
    pub parts_at: u64,
    /// What is assumed.
    pub assumptions: Vec<String>,
    /// Money that would have been taken in addition; below zero: not taken.
    pub captured_delta: i64,
}

/// What follows at the place where a history parts.
enum Parting {
    /// The policy is used up.
    UsedUp,
    /// It is asked once more.
    AskedAgain,
    /// It is waited for, so much longer.
    WaitedFor(Duration),
}

/// How the saga would have ended under `changes`; `None`: as it did.
#[must_use]
pub fn judge(history: &History, definition: &Definition<OrderProcess>, changes: &[Change]) -> Option<Otherwise> {
    let parted = changes.iter().filter_map(|change| {
        let (version, parting) = part(history, definition, change)?;
        Some((version, parting, change))
    });
    let (version, parting, change) = parted.min_by_key(|(version, ..)| *version)?;
    let kind = definition.step(&change.step)?.kind();
    let was = state_of(history.saga.status());
    let step = &change.step;
    let (would_be, assumptions) = match (parting, kind) {
        (Parting::UsedUp, Kind::Compensatable) => {
            (State::Compensated, vec!["whatever was done by then is undone without trouble".to_owned()])
        }
        (Parting::UsedUp, Kind::Pivot | Kind::Retriable) => (State::Parked, Vec::new()),
        (Parting::AskedAgain, _) => (
            State::Completed,
            vec![format!("{step} is done when it is asked once more"), "the steps after it are done".to_owned()],
        ),
        (Parting::WaitedFor(timeout), _) => (
            State::Completed,
            vec![
                format!("{step} answers within {} s, and says yes", timeout.as_secs_f64()),
                "the steps after it are done".to_owned(),
            ],
        ),
    };
    if would_be == was {
        return None;
    }
    let delta = captured_of(history, would_be).saturating_sub(captured_of(history, was));
    Some(Otherwise { was, would_be, parts_at: version, assumptions, captured_delta: delta })
}

/// What is taken of an order whose saga stands there.
fn captured_of(history: &History, state: State) -> i64 {
    let makes_it_happen = history.saga.definition().is_some_and(|pinned| pinned.name == PLACE_ORDER);
    let total = history.saga.input().map_or(0, |order| order.facts.total.minor_units);
    match state {
        State::Completed if makes_it_happen => total,
        State::Completed | State::Compensated => 0,
        State::Unspecified
        | State::Running
        | State::Compensating
        | State::Parked
        | State::Paused
        | State::Abandoned => history.holdings().captured,
    }
}

/// The version of the event at which the other policy decides otherwise.
fn part(history: &History, definition: &Definition<OrderProcess>, change: &Change) -> Option<(u64, Parting)> {
    let ask = definition.step(&change.step)?.ask()?;
    let usual = ask.policy(saga::Lane::Forward).attempts_max.get();
    let attempts_max = change.attempts_max.unwrap_or(usual);
    let longer = change.timeout.filter(|timeout| *timeout > ask.timeout());
    let mut forgiven = 0;
    let mut asked: Option<(u32, DateTime<Utc>)> = None;
    for (recorded, event) in history.recorded.iter().zip(&history.events) {
        let version = recorded.version.get();
        if event.step().is_none_or(|step| *step != *change.step.as_str()) {
            continue;
        }
        match event {
            Event::StepRequested { attempt, .. } | Event::ChildRequested { attempt, .. } => {
                asked = Some((*attempt, recorded.time));
            }
            // What a hold delayed costs no attempt.
            Event::StepReleased { lane: saga::Lane::Forward, .. } if asked.is_some() => forgiven += 1,
            Event::StepRetried { .. } | Event::Parked { .. } => forgiven = asked.map_or(0, |(attempt, _)| attempt),
            Event::StepUnknown { detail, .. } if longer.is_some() && detail == NO_ANSWER => {
                let (_, since) = asked?;
                let timeout = longer?;
                // Whatever was answered in time is what would have been heard; the rest follows from it as it did.
                return (!is_answered(history, change, since, timeout))
                    .then_some((version, Parting::WaitedFor(timeout)));
            }
            Event::StepUnknown { attempt, retry_at, .. } => {
                let used = attempt.saturating_sub(forgiven);
                if retry_at.is_some() && used >= attempts_max {
                    return Some((version, Parting::UsedUp));
                }
                if retry_at.is_none() && used < attempts_max {
                    return Some((version, Parting::AskedAgain));
                }
            }
            Event::StepSucceeded { .. } => {
                let (attempt, since) = asked?;
                let took = (recorded.time - since).to_std().unwrap_or_default();
                let is_late = change.timeout.is_some_and(|timeout| took > timeout);
                // Asked again it would have answered the same, had it been asked again.
                return (is_late && attempt.saturating_sub(forgiven) >= attempts_max)
                    .then_some((version, Parting::UsedUp));
            }
            Event::Started { .. }
            | Event::StepAwaited { .. }
            | Event::StepSkipped { .. }
            | Event::StepRejected { .. }
            | Event::CompensationStarted { .. }
            | Event::CompensationRequested { .. }
            | Event::ChildUndoRequested { .. }
            | Event::CompensationSucceeded { .. }
            | Event::CompensationFailed { .. }
            | Event::CancelRequested { .. }
            | Event::StepHeld { .. }
            | Event::StepReleased { .. }
            | Event::TimersShifted { .. }
            | Event::TimersFrozen { .. }
            | Event::TimersThawed { .. }
            | Event::TimerCancelled { .. }
            | Event::Migrated { .. }
            | Event::Resumed { .. }
            | Event::Paused { .. }
            | Event::Unpaused { .. }
            | Event::Abandoned { .. }
            | Event::Completed
            | Event::Compensated { .. } => {}
        }
    }
    None
}

/// Whether a definite answer about the step was recorded within `timeout` of `since`.
fn is_answered(history: &History, change: &Change, since: DateTime<Utc>, timeout: Duration) -> bool {
    let of_step = history.recorded.iter().zip(&history.events).filter(|(recorded, event)| {
        recorded.time >= since && event.step().is_some_and(|step| *step == *change.step.as_str())
    });
    let mut answers =
        of_step.filter(|(_, event)| matches!(event, Event::StepSucceeded { .. } | Event::StepRejected { .. }));
    answers.any(|(recorded, _)| (recorded.time - since).to_std().is_ok_and(|took| took <= timeout))
}
