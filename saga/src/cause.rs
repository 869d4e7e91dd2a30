use std::fmt;

use chrono::{DateTime, Utc};
use eventstore::Actor;
use serde::{Deserialize, Serialize};

use crate::StepName;

/// A participant's definite no: the step has not happened and will not happen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rejection {
    /// For programs: `OUT_OF_STOCK`. At most [`Self::CODE_LENGTH_MAX`] characters.
    pub code: String,
    /// For people. At most [`DETAIL_LENGTH_MAX`] characters.
    pub message: String,
}

/// The longest reason, message or detail that is kept; what is over it is cut off.
pub const DETAIL_LENGTH_MAX: usize = 500;

impl Rejection {
    /// The longest code that is kept; a longer one is cut.
    pub const CODE_LENGTH_MAX: usize = 64;
    /// The code when word from outside did not come in time.
    pub const NO_WORD: &str = "NO_WORD";

    /// A rejection, cut to its limits.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: cut(code.into(), Self::CODE_LENGTH_MAX), message: cut(message.into(), DETAIL_LENGTH_MAX) }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// Why a saga is undone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompensationCause {
    /// A participant refused.
    Rejected {
        /// The step it refused.
        step: StepName,
        /// What it said.
        rejection: Rejection,
    },
    /// No definite answer came as often as the policy allows.
    Exhausted {
        /// The step that was asked for.
        step: StepName,
        /// What was learned last.
        detail: String,
    },
    /// Somebody wanted it undone.
    Cancelled {
        /// Why.
        reason: String,
        /// Who.
        actor: Actor,
    },
    /// It had not come to its point of no return in time.
    Late {
        /// Until when it should have.
        deadline: DateTime<Utc>,
    },
}

/// `text`, at most `length_max` characters of it.
pub(crate) fn cut(mut text: String, length_max: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(length_max) {
        text.truncate(end);
    }
    text
}
