use std::fmt;

use money::Money;
use serde::{Deserialize, Serialize};

/// The provider's name for a charge.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reference(pub String);

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What can be done with a customer's money.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Hold it.
    Authorize,
    /// Take what is held.
    Capture,
    /// Let go of what is held.
    Void,
    /// Give back what was taken.
    Refund,
}

impl Operation {
    /// The name in idempotency keys and metrics; never changes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
        }
    }
}

/// Something to do at the provider. Its intent is on record; doing it again with the same epoch does nothing new.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Hold money.
    Authorize {
        /// The key's epoch.
        epoch: u32,
        /// How much.
        amount: Money,
        /// The provider's token for the card.
        token: String,
    },
    /// Take held money, all of it.
    Capture {
        /// The key's epoch.
        epoch: u32,
        /// Which charge.
        charge: Reference,
    },
    /// Let go of held money.
    Void {
        /// The key's epoch.
        epoch: u32,
        /// Which charge.
        charge: Reference,
    },
    /// Give taken money back, all of it.
    Refund {
        /// The key's epoch.
        epoch: u32,
        /// Which charge.
        charge: Reference,
    },
    /// Ask what became of the charge.
    Lookup {
        /// The epoch of the authorization's key.
        authorization: u32,
        /// Why we ask.
        doubt: Doubt,
    },
}

/// What a look into the provider's books shall settle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doubt {
    /// The authorization was not answered: is there a charge?
    Unanswered,
    /// The operation's key of this epoch is of no more use: had it any effect? If not, the next epoch may be used.
    Spent(Operation, u32),
}
