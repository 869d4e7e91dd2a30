//! The history of one saga, read.

use chrono::{DateTime, Utc};
use eventstore::{Aggregate as _, DecodeError, DomainEvent as _, Recorded, Version};
use farmera_proto::common::v1 as common;
use farmera_proto::saga::v1 as pb;
use saga::{CompensationCause, Lane, Saga, SagaEvent, Status, pending};

use crate::sagas::{Holdings, OrderProcess};

/// An event of the sagas of orders.
pub type Event = SagaEvent<OrderProcess>;

/// A place in a stream's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// After so many events.
    Version(Version),
    /// After the events up to then.
    Time(DateTime<Utc>),
}

impl Moment {
    /// Whether an event had happened then.
    #[must_use]
    pub fn includes(self, event: &Recorded) -> bool {
        match self {
            Self::Version(version) => event.version <= version,
            Self::Time(time) => event.time <= time,
        }
    }
}

/// The events of one saga, oldest first, and the state they lead to.
#[derive(Clone, Debug)]
pub struct History {
    /// As they are stored.
    pub recorded: Vec<Recorded>,
    /// What they say.
    pub events: Vec<Event>,
    /// Their fold.
    pub saga: Saga<OrderProcess>,
}

impl History {
    /// Reads events of one stream, oldest first.
    ///
    /// # Errors
    /// [`DecodeError`]: one of them is of a newer program, or damaged.
    pub fn read(recorded: Vec<Recorded>) -> Result<Self, DecodeError> {
        let events = recorded.iter().map(Event::from_recorded).collect::<Result<Vec<_>, _>>()?;
        let saga = events.iter().fold(Saga::default(), Saga::evolve);
        Ok(Self { recorded, events, saga })
    }

    /// As it was then.
    #[must_use]
    pub fn at(mut self, moment: Moment) -> Self {
        let kept = self.recorded.iter().take_while(|event| moment.includes(event)).count();
        self.recorded.truncate(kept);
        self.events.truncate(kept);
        self.saga = self.events.iter().fold(Saga::default(), Saga::evolve);
        self
    }

    /// The version of its stream.
    #[must_use]
    pub fn version(&self) -> Version {
        self.recorded.last().map_or(Version::NONE, |event| event.version)
    }

    /// What it holds.
    #[must_use]
    pub fn holdings(&self) -> Holdings {
        self.saga.input().map_or_else(Holdings::default, |order| {
            Holdings::after(&self.events, order.facts.total, order.facts.units())
        })
    }

    /// The same in the contract's words.
    #[must_use]
    pub fn exposure(&self) -> pb::Exposure {
        let held = self.holdings();
        let currency = self.saga.input().map(|order| order.facts.total.currency.code().to_owned());
        pb::Exposure {
            currency_code: currency.unwrap_or_default(),
            authorized_minor_units: held.authorized,
            captured_minor_units: held.captured,
            reserved_minor_units: held.reserved,
            reserved_units: held.reserved_units,
        }
    }

    /// What was learned last that was not good, since something last went well.
    #[must_use]
    pub fn error(&self) -> String {
        let mut error = String::new();
        for event in &self.events {
            match event {
                Event::StepUnknown { detail, .. }
                | Event::CompensationFailed { detail, .. }
                | Event::Parked { detail, .. } => error.clone_from(detail),
                Event::StepRejected { reason, .. } => error = reason.to_string(),
                Event::CompensationStarted { cause } => error = cause_text(cause),
                Event::StepSucceeded { .. } | Event::Completed => error.clear(),
                Event::Started { .. }
                | Event::StepRequested { .. }
                | Event::StepAwaited { .. }
                | Event::StepSkipped { .. }
                | Event::StepRetried { .. }
                | Event::CompensationRequested { .. }
                | Event::CompensationSucceeded { .. }
                | Event::CancelRequested { .. }
                | Event::Resumed { .. }
                | Event::Paused { .. }
                | Event::Unpaused { .. }
                | Event::ChildRequested { .. }
                | Event::ChildUndoRequested { .. }
                | Event::StepHeld { .. }
                | Event::StepReleased { .. }
                | Event::TimersShifted { .. }
                | Event::TimersFrozen { .. }
                | Event::TimersThawed { .. }
                | Event::TimerCancelled { .. }
                | Event::Migrated { .. }
                | Event::Abandoned { .. }
                | Event::Compensated { .. } => {}
            }
        }
        error
    }

    /// The saga in the contract's words; `None` when there is none.
    #[must_use]
    pub fn describe(&self) -> Option<pb::Saga> {
        let (definition, order) = (self.saga.definition()?, self.saga.input()?);
        let (first, last) = (self.recorded.first()?, self.recorded.last()?);
        let pending = pending(&self.saga);
        let waiting = pending.wanted.iter().map(|wanted| {
            let lane = match wanted.lane {
                Lane::Forward => "",
                Lane::Undo => " (undo)",
            };
            format!("{}{lane}, try {}", wanted.step, wanted.attempt)
        });
        let at = pending.wanted.last();
        Some(pb::Saga {
            id: first.stream.id.to_string(),
            definition: definition.name.to_string(),
            definition_version: definition.version,
            order_id: order.order_id.to_string(),
            state: state_of(self.saga.status()).into(),
            cause: self.saga.cause().map(cause_text).unwrap_or_default(),
            version: last.version.get(),
            start_time: Some(first.time.into()),
            update_time: Some(last.time.into()),
            waiting_for: waiting.collect(),
            wake_time: pending.wake.map(Into::into),
            step: at.map(|wanted| wanted.step.to_string()).unwrap_or_default(),
            lane: at.map_or(pb::timeline_entry::Lane::Unspecified, |wanted| lane_of(wanted.lane)).into(),
            attempt: at.map_or(0, |wanted| wanted.attempt),
            error: self.error(),
            customer_id: order.facts.customer_id.to_string(),
            amount: Some(common::Money {
                currency_code: order.facts.total.currency.code().to_owned(),
                minor_units: order.facts.total.minor_units,
            }),
            exposure: Some(self.exposure()),
        })
    }
}

/// Where a saga stands, in the contract's words.
#[must_use]
pub fn state_of(status: Status) -> pb::saga::State {
    match status {
        Status::NotStarted => pb::saga::State::Unspecified,
        Status::Running => pb::saga::State::Running,
        Status::Compensating => pb::saga::State::Compensating,
        Status::Parked => pb::saga::State::Parked,
        Status::Paused => pb::saga::State::Paused,
        Status::Completed => pb::saga::State::Completed,
        Status::Compensated => pb::saga::State::Compensated,
        Status::Abandoned => pb::saga::State::Abandoned,
    }
}

/// A lane in the contract's words.
#[must_use]
pub fn lane_of(lane: Lane) -> pb::timeline_entry::Lane {
    match lane {
        Lane::Forward => pb::timeline_entry::Lane::Forward,
        Lane::Undo => pb::timeline_entry::Lane::Undo,
    }
}

/// Why a saga is undone, for people.
#[must_use]
pub fn cause_text(cause: &CompensationCause) -> String {
    match cause {
        CompensationCause::Rejected { step, rejection } => format!("{step} was refused: {rejection}"),
        CompensationCause::Exhausted { step, detail } => format!("{step} got no answer: {detail}"),
        CompensationCause::Cancelled { reason, actor } => format!("cancelled by {}: {reason}", actor.as_str()),
        CompensationCause::Late { deadline } => {
            let deadline = deadline.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
            format!("it took too long: its deadline was {deadline}")
        }
    }
}
