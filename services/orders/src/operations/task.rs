//! An act as operators send it, read.

use chassis::problem::Violations;
use chrono::{DateTime, TimeDelta, Utc};
use farmera_proto::saga::v1 as pb;
use pb::act::Kind;
use saga::StepName;
use saga::hold::ReleasePlan;
use tonic::Status;

use super::act::Act;
use super::holding::HoldAct;
use crate::status::DOMAIN;

/// What can be done where sagas run, beside what can be done everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// To sagas.
    Sagas(Act),
    /// To a hold.
    Hold(HoldAct),
}

impl Task {
    /// Reads an act.
    ///
    /// # Errors
    /// INVALID_ARGUMENT.
    pub fn read(act: &pb::Act) -> Result<Self, Status> {
        let mut violations = Violations::new();
        let step = match violations.text("act.step", &act.step, 0, StepName::LENGTH_MAX) {
            Some(step) if !step.is_empty() => Some(StepName::from(step)),
            Some(_) | None => None,
        };
        let task = match act.kind() {
            Kind::Retry => Some(Self::Sagas(Act::Retry(step))),
            Kind::Skip => Some(Self::Sagas(Act::Skip(step))),
            Kind::Cancel => Some(Self::Sagas(Act::Cancel)),
            Kind::Abandon => Some(Self::Sagas(Act::Abandon)),
            Kind::Pause => Some(Self::Sagas(Act::Pause)),
            Kind::Unpause => Some(Self::Sagas(Act::Unpause)),
            Kind::Resume => Some(Self::Sagas(Act::Resume)),
            Kind::ShiftTimer => match act.shift.as_ref().and_then(delta) {
                Some(by) => Some(Self::Sagas(Act::ShiftTimer(step, by))),
                None => {
                    violations.add("act.shift", "expected a duration, whole milliseconds count");
                    None
                }
            },
            Kind::FreezeTimer => Some(Self::Sagas(Act::FreezeTimer)),
            Kind::ThawTimer => Some(Self::Sagas(Act::ThawTimer)),
            Kind::CancelTimer => Some(Self::Sagas(Act::CancelTimer(step))),
            Kind::Migrate => Some(Self::Sagas(Act::Migrate(act.definition_version))),
            Kind::Hold => match act.until_time.as_ref().map(time).transpose() {
                Ok(until) => Some(Self::Hold(HoldAct::Place { until, pace: act.pace.as_ref().map(pace) })),
                Err(()) => {
                    violations.add("act.until_time", "is no time");
                    None
                }
            },
            Kind::Release => Some(Self::Hold(HoldAct::Release { pace: act.pace.as_ref().map(pace) })),
            Kind::Unspecified
            | Kind::Redrive
            | Kind::Discard
            | Kind::RebuildProjection
            | Kind::RebuildTransport
            | Kind::RenewTransport
            | Kind::TellAgain => {
                violations.add("act.kind", "is no act on sagas or holds");
                None
            }
        };
        violations.finish(DOMAIN)?;
        task.ok_or_else(|| chassis::problem::internal(DOMAIN))
    }
}

/// Acts on sagas.
#[must_use]
pub fn is_on_sagas(kind: Kind) -> bool {
    match kind {
        Kind::Retry
        | Kind::Skip
        | Kind::Cancel
        | Kind::Abandon
        | Kind::Pause
        | Kind::Unpause
        | Kind::Resume
        | Kind::ShiftTimer
        | Kind::FreezeTimer
        | Kind::ThawTimer
        | Kind::CancelTimer
        | Kind::Migrate => true,
        Kind::Unspecified
        | Kind::Redrive
        | Kind::Discard
        | Kind::Hold
        | Kind::Release
        | Kind::RebuildProjection
        | Kind::RebuildTransport
        | Kind::RenewTransport
        | Kind::TellAgain => false,
    }
}

fn time(time: &pbjson_types::Timestamp) -> Result<DateTime<Utc>, ()> {
    DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).map_err(drop)?).ok_or(())
}

fn pace(pace: &pb::ReleasePace) -> ReleasePlan {
    ReleasePlan { canary: pace.canary, rate_per_second: pace.rate, failures_max: pace.failures_max }
}

fn delta(span: &pbjson_types::Duration) -> Option<TimeDelta> {
    TimeDelta::try_seconds(span.seconds)?.checked_add(&TimeDelta::nanoseconds(span.nanos.into()))
}
