//! Where a charge can stand, and what moves it: the rules that every sandbox follows.

use serde::{Deserialize, Serialize};

use super::declined;
use crate::provider::ChargeStatus;

/// Where a charge stands in a sandbox's books.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It was asked for, and nothing came of it so far: nobody can see it.
    Failing,
    /// Held.
    Authorized,
    /// Never held.
    Declined,
    /// Taken.
    Captured,
    /// Let go.
    Voided,
    /// Given back.
    Refunded,
}

impl Standing {
    const ALL: [Self; 6] =
        [Self::Failing, Self::Authorized, Self::Declined, Self::Captured, Self::Voided, Self::Refunded];

    /// The word in the books; never changes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Authorized => "authorized",
            Self::Declined => "declined",
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Refunded => "refunded",
        }
    }

    /// What a word in the books means.
    pub(super) fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|standing| standing.as_str() == word)
    }

    /// The port's word for it; `refusal` says why it was declined.
    pub(super) fn status(self, refusal: Option<String>) -> ChargeStatus {
        match self {
            // Never seen in an answer: whoever gets this charge is told nothing.
            Self::Failing | Self::Authorized => ChargeStatus::Authorized,
            Self::Captured => ChargeStatus::Captured,
            Self::Voided => ChargeStatus::Voided,
            Self::Refunded => ChargeStatus::Refunded,
            Self::Declined => ChargeStatus::Declined(declined(refusal)),
        }
    }
}

/// What can be asked of a charge that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transition {
    /// Take all that is held.
    Capture,
    /// Let go of what is held.
    Void,
    /// Give back all that was taken.
    Refund,
}

impl Transition {
    /// Where a charge must stand for it.
    #[must_use]
    pub const fn from(self) -> Standing {
        match self {
            Self::Capture | Self::Void => Standing::Authorized,
            Self::Refund => Standing::Captured,
        }
    }

    /// Where the charge stands after it.
    #[must_use]
    pub const fn to(self) -> Standing {
        match self {
            Self::Capture => Standing::Captured,
            Self::Void => Standing::Voided,
            Self::Refund => Standing::Refunded,
        }
    }

    /// Why it is refused from anywhere else.
    #[must_use]
    pub const fn refusal(self) -> &'static str {
        match self {
            Self::Capture => "NOT_CAPTURABLE",
            Self::Void => "NOT_VOIDABLE",
            Self::Refund => "NOT_REFUNDABLE",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_in_the_books_is_understood() {
        for standing in Standing::ALL {
            assert_eq!(Standing::of(standing.as_str()), Some(standing));
        }
        assert_eq!(Standing::of("lost"), None);
    }
}
