//! Holds: "payment is down until 18:00".
//!
//! A hold stands over a participant or over one step of a definition. Sagas that come to it wait there
//! ([`StepHeld`](crate::SagaEvent::StepHeld)): nothing is asked, nothing becomes due for them, no attempt is used up, and
//! the saga's own deadline stands still. A request that was made before is waited for as ever; when its answer is due
//! and has not come, the step waits at the hold instead of counting an attempt.
//!
//! All holds of a service are one stream, [`Holds`], and [`decide`](crate::decide_given) learns of them as a value.
//! A hold ends gradually:
//!
//! ```text
//!  Standing --- release, or `until` is past ---> Releasing: canary, then so many a second ---> over
//!      ^                                             |
//!      '------- as many fail as are allowed ---------'
//! ```
//!
//! Whoever carries out a release brings [`HoldInput::Advance`]: what became of the sagas that were let go, and who still
//! waits. What is answered is who may go next. All of it is in the stream, so any process can go on where another ended.

mod decide;
mod event;
mod judge;
mod state;

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use eventstore::Actor;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use decide::{HoldRefusal, decide};
pub use event::HoldEvent;
pub use judge::{Judgement, judge};
pub use state::{Hold, HoldPhase, Holds, LetGo, StoppedRelease};

use crate::StepName;

/// What is held.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldTarget {
    /// Every step that asks this participant ([`Ask::of`](crate::Ask::of)), and every undo.
    Participant(String),
    /// One step of a definition, whatever its version.
    Step {
        /// The definition's name.
        definition: String,
        /// The step.
        step: StepName,
    },
}

/// As operators write it: `payment`, `place-order/authorize-payment`.
impl fmt::Display for HoldTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Participant(name) => f.write_str(name),
            Self::Step { definition, step } => write!(f, "{definition}/{step}"),
        }
    }
}

/// A text that is no target.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is neither a participant nor a step: write `payment` or `place-order/authorize-payment`")]
pub struct NotATarget(String);

impl FromStr for HoldTarget {
    type Err = NotATarget;

    fn from_str(text: &str) -> Result<Self, NotATarget> {
        let sound = |name: &str| crate::name::is_well_formed(name);
        match text.split_once('/') {
            None if sound(text) => Ok(Self::Participant(text.to_owned())),
            Some((definition, step)) if sound(definition) && sound(step) => {
                Ok(Self::Step { definition: definition.to_owned(), step: StepName::from(step.to_owned()) })
            }
            None | Some(_) => Err(NotATarget(text.to_owned())),
        }
    }
}

/// How those who wait are let go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReleasePlan {
    /// So many go first, and nobody follows before it is known what became of all of them: 0 to
    /// [`Self::CANARY_MAX`].
    pub canary: u32,
    /// Then so many a second: 1 to [`Self::RATE_MAX`].
    pub rate_per_second: u32,
    /// When so many of them have failed, the release stops by itself: at least 1.
    pub failures_max: u32,
}

impl ReleasePlan {
    /// The largest canary.
    pub const CANARY_MAX: u32 = 100;
    /// The highest rate.
    pub const RATE_MAX: u32 = 500;
    /// The most sagas that were let go and of which nothing is known yet.
    pub const IN_FLIGHT_MAX: usize = 1_000;

    fn is_sound(self) -> bool {
        self.canary <= Self::CANARY_MAX
            && (1..=Self::RATE_MAX).contains(&self.rate_per_second)
            && self.failures_max >= 1
    }
}

impl Default for ReleasePlan {
    /// Five first, then 50 a second; three failures end it.
    fn default() -> Self {
        Self { canary: 5, rate_per_second: 50, failures_max: 3 }
    }
}

/// Something that comes in for the holds of a service.
#[derive(Clone, PartialEq, Debug)]
pub enum HoldInput {
    /// Hold it from now on. A release that is under way is over with that.
    Place {
        /// What.
        target: HoldTarget,
        /// When it is released by itself; `None`: when somebody says so.
        until: Option<DateTime<Utc>>,
        /// How it is released then.
        plan: ReleasePlan,
        /// Why.
        reason: String,
        /// Who.
        actor: Actor,
    },
    /// Let those who wait go, by `plan`; a release that is under way goes on by this one.
    Release {
        /// What.
        target: HoldTarget,
        /// How; `None`: as was said when it was placed.
        plan: Option<ReleasePlan>,
        /// Why.
        reason: String,
        /// Who.
        actor: Actor,
    },
    /// A release goes on. A message: what is not known, or not under way, is absorbed.
    Advance {
        /// Of what.
        target: HoldTarget,
        /// What became of sagas that were let go.
        judged: Vec<(Uuid, Judgement)>,
        /// Sagas that wait at this hold, oldest first; empty when none does. More than may go are left for later.
        waiting: Vec<Uuid>,
    },
    /// Time has passed. A message.
    Wake,
}
