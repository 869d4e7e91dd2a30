//! What a batch of events means for the row of one saga.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use eventstore::{DecodeError, DomainEvent as _, Recorded};
use farmera_proto::saga::v1::saga::State;
use saga::{CompensationCause, Lane, SagaEvent};
use serde::Deserialize;
use uuid::Uuid;

use crate::sagas::{Moves, OrderProcess};

type Event = SagaEvent<OrderProcess>;

/// What changes in a row. `None` leaves what is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Change {
    pub(super) started: Option<Start>,
    pub(super) state: Option<State>,
    /// It was bound to another version of its definition.
    pub(super) definition_version: Option<i32>,
    pub(super) step: Option<Step>,
    /// Code and text; both empty when there is no error any more.
    pub(super) error: Option<(String, String)>,
    pub(super) moves: Moves,
    /// When it ended. What is seen to afterwards changes what it holds and nothing else.
    pub(super) ended: Option<DateTime<Utc>>,
    /// Since when it owes what it holds: when it was abandoned.
    pub(super) owed_since: Option<DateTime<Utc>>,
    pub(super) updated: DateTime<Utc>,
    pub(super) version: i64,
}

/// What never changes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Start {
    pub(super) definition: String,
    pub(super) definition_version: i32,
    pub(super) order_id: Uuid,
    pub(super) customer_id: Uuid,
    pub(super) amount: i64,
    pub(super) currency: &'static str,
    pub(super) units: i64,
    pub(super) at: DateTime<Utc>,
}

/// The step a saga is at.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Step {
    pub(super) name: String,
    /// The number of `TimelineEntry.Lane`.
    pub(super) lane: i16,
    pub(super) attempt: i32,
}

/// When a step was begun or settled, for those who want to know how long it takes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mark {
    pub(super) saga_id: Uuid,
    pub(super) step: String,
    pub(super) lane: Lane,
    pub(super) at: DateTime<Utc>,
    pub(super) settled: bool,
}

/// The fields of events about steps that are looked at here. What a request says is skipped, not built.
#[derive(Deserialize)]
struct AboutStep<'a> {
    #[serde(borrow)]
    step: Cow<'a, str>,
    #[serde(default)]
    attempt: u32,
}

#[derive(Deserialize)]
enum Light<'a> {
    #[serde(borrow)]
    StepRequested(AboutStep<'a>),
    #[serde(borrow)]
    StepAwaited(AboutStep<'a>),
    #[serde(borrow)]
    StepSucceeded(AboutStep<'a>),
    #[serde(borrow)]
    CompensationRequested(AboutStep<'a>),
    #[serde(borrow)]
    CompensationSucceeded(AboutStep<'a>),
}

impl Change {
    /// Takes an event in, and says when a step was begun or settled by it.
    pub(super) fn take(&mut self, recorded: &Recorded) -> Result<Option<Mark>, DecodeError> {
        self.updated = recorded.time;
        self.version = i64::try_from(recorded.version.get()).unwrap_or(i64::MAX);
        // The frequent ones in their first shape; whatever has another shape goes the long way, through its upcasters.
        if recorded.schema_version == 1
            && let Ok(light) = serde_json::from_str::<Light<'_>>(&recorded.payload)
        {
            return Ok(Some(self.light(light, recorded)));
        }
        let event = Event::from_recorded(recorded)?;
        self.moves = Moves::of(&event).after(self.moves);
        Ok(self.heavy(&event, recorded))
    }

    fn light(&mut self, light: Light<'_>, recorded: &Recorded) -> Mark {
        let mark = |step: &str, lane, settled| Mark {
            saga_id: recorded.stream.id,
            step: step.to_owned(),
            lane,
            at: recorded.time,
            settled,
        };
        match light {
            Light::StepRequested(about) | Light::StepAwaited(about) => {
                self.moves = Moves::requested(&about.step).after(self.moves);
                self.at(&about.step, Lane::Forward, about.attempt);
                mark(&about.step, Lane::Forward, false)
            }
            Light::StepSucceeded(about) => {
                self.moves = Moves::done(&about.step).after(self.moves);
                self.error = Some(Default::default());
                mark(&about.step, Lane::Forward, true)
            }
            Light::CompensationRequested(about) => {
                self.stands(State::Compensating);
                self.at(&about.step, Lane::Undo, about.attempt);
                mark(&about.step, Lane::Undo, false)
            }
            Light::CompensationSucceeded(about) => {
                self.stands(State::Compensating);
                self.moves = Moves::undone(&about.step).after(self.moves);
                mark(&about.step, Lane::Undo, true)
            }
        }
    }

    fn heavy(&mut self, event: &Event, recorded: &Recorded) -> Option<Mark> {
        match event {
            Event::Started { definition, input, .. } => {
                self.state = Some(State::Running);
                self.started = Some(Start {
                    definition: definition.name.to_string(),
                    definition_version: i32::try_from(definition.version).unwrap_or(i32::MAX),
                    order_id: input.order_id,
                    customer_id: input.facts.customer_id,
                    amount: input.facts.total.minor_units,
                    currency: input.facts.total.currency.code(),
                    units: input.facts.units(),
                    at: recorded.time,
                });
            }
            Event::StepRequested { step, attempt, .. }
            | Event::StepAwaited { step, attempt, .. }
            | Event::ChildRequested { step, attempt, .. } => {
                self.at(step.as_str(), Lane::Forward, *attempt);
            }
            Event::StepUnknown { step, attempt, detail, .. } => {
                self.at(step.as_str(), Lane::Forward, *attempt);
                self.failed(detail);
            }
            Event::CompensationFailed { step, attempt, detail, .. } => {
                self.at(step.as_str(), Lane::Undo, *attempt);
                self.failed(detail);
            }
            Event::StepRejected { step, reason } => {
                self.error = Some((reason.code.clone(), reason.to_string()));
                return Some(Mark {
                    saga_id: recorded.stream.id,
                    step: step.to_string(),
                    lane: Lane::Forward,
                    at: recorded.time,
                    settled: true,
                });
            }
            Event::Parked { step, lane, detail } => {
                self.state = Some(State::Parked);
                let attempt = self.step.as_ref().filter(|at| *step == *at.name.as_str()).map_or(0, |at| at.attempt);
                self.at(step.as_str(), *lane, u32::try_from(attempt).unwrap_or(0));
                self.failed(detail);
            }
            Event::CompensationStarted { cause } => {
                self.state = Some(State::Compensating);
                self.error = Some(of_cause(cause));
            }
            // Which way it goes on is seen with its next event; until then it is on its way.
            Event::Resumed { .. } | Event::Unpaused { .. } => self.state = Some(State::Running),
            Event::Paused { .. } => self.state = Some(State::Paused),
            Event::Completed => self.over(State::Completed, Some(Default::default())),
            Event::Compensated { cause } => self.over(State::Compensated, Some(of_cause(cause))),
            Event::Abandoned { .. } => self.over(State::Abandoned, None),
            Event::CompensationRequested { .. } | Event::CompensationSucceeded { .. } => {
                self.stands(State::Compensating);
            }
            Event::ChildUndoRequested { step, attempt, .. } => self.at(step.as_str(), Lane::Undo, *attempt),
            Event::StepHeld { step, lane, .. } => self.at(step.as_str(), *lane, 0),
            Event::Migrated { definition, .. } => self.definition_version = i32::try_from(definition.version).ok(),
            Event::StepSucceeded { .. }
            | Event::StepReleased { .. }
            | Event::TimersShifted { .. }
            | Event::TimersFrozen { .. }
            | Event::TimersThawed { .. }
            | Event::TimerCancelled { .. }
            | Event::StepSkipped { .. }
            | Event::StepRetried { .. }
            | Event::CancelRequested { .. } => {}
        }
        None
    }

    fn stands(&mut self, state: State) {
        if self.ended.is_none() {
            self.state = Some(state);
        }
    }

    fn at(&mut self, step: &str, lane: Lane, attempt: u32) {
        if self.ended.is_some() {
            return;
        }
        let attempt = i32::try_from(attempt).unwrap_or(i32::MAX);
        self.step = Some(Step { name: step.to_owned(), lane: lane_number(lane), attempt });
    }

    fn failed(&mut self, detail: &str) {
        if self.ended.is_none() {
            self.error = Some((code_of(detail), detail.to_owned()));
        }
    }

    fn over(&mut self, state: State, error: Option<(String, String)>) {
        self.state = Some(state);
        self.ended = Some(self.updated);
        self.owed_since = self.ended.filter(|_| state == State::Abandoned);
        self.step = Some(Step::default());
        self.error = error.or(self.error.take());
    }
}

/// The number of a lane in the contract.
pub(super) fn lane_number(lane: Lane) -> i16 {
    match lane {
        Lane::Forward => 1,
        Lane::Undo => 2,
    }
}

fn of_cause(cause: &CompensationCause) -> (String, String) {
    match cause {
        CompensationCause::Rejected { rejection, .. } => (rejection.code.clone(), rejection.to_string()),
        CompensationCause::Exhausted { detail, .. } => (code_of(detail), detail.clone()),
        CompensationCause::Cancelled { reason, .. } => ("CANCELLED".to_owned(), reason.clone()),
        CompensationCause::Late { .. } => ("LATE".to_owned(), "its deadline had passed".to_owned()),
    }
}

/// The code that a text for people begins with; one for all where there is none.
fn code_of(detail: &str) -> String {
    let first = detail.split([':', ' ']).next().unwrap_or_default();
    let is_code = first.len() > 2 && first.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if is_code { first.to_owned() } else { "NO_ANSWER".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_what_a_detail_begins_with() {
        assert_eq!(code_of("PROVIDER_DOWN: away"), "PROVIDER_DOWN");
        assert_eq!(code_of("no answer in time"), "NO_ANSWER");
    }
}
