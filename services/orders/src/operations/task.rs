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
use super::plan::LetterAct;
use crate::status::DOMAIN;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// To sagas.
    Sagas(Act),
    /// To dead letters.
    Letters(LetterAct),
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
        let task = match Kind::try_from(act.kind) {
            Ok(Kind::Retry) => Some(Self::Sagas(Act::Retry(step))),
            Ok(Kind::Skip) => Some(Self::Sagas(Act::Skip(step))),
            Ok(Kind::Cancel) => Some(Self::Sagas(Act::Cancel)),
            Ok(Kind::Abandon) => Some(Self::Sagas(Act::Abandon)),
            Ok(Kind::Pause) => Some(Self::Sagas(Act::Pause)),
            Ok(Kind::Unpause) => Some(Self::Sagas(Act::Unpause)),
            Ok(Kind::Resume) => Some(Self::Sagas(Act::Resume)),
            Ok(Kind::Redrive) => Some(Self::Letters(LetterAct::Redrive)),
            Ok(Kind::Discard) => Some(Self::Letters(LetterAct::Discard)),
            Ok(Kind::ShiftTimer) => match act.shift.as_ref().and_then(delta) {
                Some(by) => Some(Self::Sagas(Act::ShiftTimer(step, by))),
                None => {
                    violations.add("act.shift", "expected a duration, whole milliseconds count");
                    None
                }
            },
            Ok(Kind::FreezeTimer) => Some(Self::Sagas(Act::FreezeTimer)),
            Ok(Kind::ThawTimer) => Some(Self::Sagas(Act::ThawTimer)),
            Ok(Kind::CancelTimer) => Some(Self::Sagas(Act::CancelTimer(step))),
            Ok(Kind::Migrate) => Some(Self::Sagas(Act::Migrate(act.definition_version))),
            Ok(Kind::Hold) => match act.until_time.as_ref().map(time).transpose() {
                Ok(until) => Some(Self::Hold(HoldAct::Place { until, pace: act.pace.as_ref().map(pace) })),
                Err(()) => {
                    violations.add("act.until_time", "is no time");
                    None
                }
            },
            Ok(Kind::Release) => Some(Self::Hold(HoldAct::Release { pace: act.pace.as_ref().map(pace) })),
            Ok(Kind::Unspecified) | Err(_) => {
                violations.add("act.kind", format!("is {}: there is no such act", act.kind));
                None
            }
        };
        violations.finish(DOMAIN)?;
        task.ok_or_else(|| chassis::problem::internal(DOMAIN))
    }

    /// Whether it leaves something behind that only a person can see to.
    #[must_use]
    pub fn is_destructive(&self) -> bool {
        match self {
            Self::Sagas(act) => act.is_destructive(),
            Self::Letters(LetterAct::Discard) => true,
            // What is held changes by nothing but waiting, and a release stops itself.
            Self::Letters(LetterAct::Redrive) | Self::Hold(_) => false,
        }
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
