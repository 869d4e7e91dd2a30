use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{HoldTarget, ReleasePlan};
use crate::ByHand;

/// What can happen to the holds of a service.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum HoldEvent {
    /// Sagas that come to it wait from now on.
    #[serde(rename = "HoldPlaced")]
    Placed {
        /// What is held.
        target: HoldTarget,
        /// Who, and why.
        by_hand: ByHand,
        /// When it is released by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<DateTime<Utc>>,
        /// How it is released.
        plan: ReleasePlan,
        /// Since when it stands.
        at: DateTime<Utc>,
    },
    /// Those who wait are let go by and by.
    #[serde(rename = "HoldReleaseStarted")]
    ReleaseStarted {
        /// What was held.
        target: HoldTarget,
        /// How.
        plan: ReleasePlan,
        /// Who, and why; `None` when its time was over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by_hand: Option<ByHand>,
        /// When.
        at: DateTime<Utc>,
    },
    /// These may go.
    #[serde(rename = "HeldSagasLetGo")]
    LetGo {
        /// From where.
        target: HoldTarget,
        /// Who.
        sagas: Vec<Uuid>,
        /// When.
        at: DateTime<Utc>,
    },
    /// What became of them is known.
    #[serde(rename = "ReleasedSagasJudged")]
    Judged {
        /// From where they were let go.
        target: HoldTarget,
        /// Those that got an answer.
        worked: Vec<Uuid>,
        /// Those that got none.
        failed: Vec<Uuid>,
        /// When.
        at: DateTime<Utc>,
    },
    /// Too many got no answer: the hold stands as before, until its own time or until somebody releases it.
    #[serde(rename = "HoldReleaseStopped")]
    ReleaseStopped {
        /// What is held.
        target: HoldTarget,
        /// How many got none.
        failed: u32,
        /// When.
        at: DateTime<Utc>,
    },
    /// Nobody waits any more: the hold is over.
    #[serde(rename = "HoldEnded")]
    Ended {
        /// What was held.
        target: HoldTarget,
        /// When.
        at: DateTime<Utc>,
    },
}

impl HoldEvent {
    /// What it is about.
    #[must_use]
    pub fn target(&self) -> &HoldTarget {
        match self {
            Self::Placed { target, .. }
            | Self::ReleaseStarted { target, .. }
            | Self::LetGo { target, .. }
            | Self::Judged { target, .. }
            | Self::ReleaseStopped { target, .. }
            | Self::Ended { target, .. } => target,
        }
    }
}

eventstore::event_types! {
    HoldEvent {
        Self::Placed { .. } => "HoldPlaced";
        Self::ReleaseStarted { .. } => "HoldReleaseStarted";
        Self::LetGo { .. } => "HeldSagasLetGo";
        Self::Judged { .. } => "ReleasedSagasJudged";
        Self::ReleaseStopped { .. } => "HoldReleaseStopped";
        Self::Ended { .. } => "HoldEnded";
    }
}
