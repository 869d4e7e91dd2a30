//! A line of the journal.

use chrono::{DateTime, Utc};
use money::Money;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::sandbox::{Standing, Transition};

/// One thing that the server did, or was asked to do. As JSON on a line of its own it is what stays of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Dense from 1.
    pub number: u64,
    /// When, by the server's clock. For people: nothing depends on it.
    pub time: DateTime<Utc>,
    /// The charge, `pi_…`.
    pub charge: String,
    /// The payment that it is for.
    pub payment_id: Uuid,
    /// How much.
    pub amount: Money,
    /// The idempotency key of the request.
    pub key: String,
    /// Stands for what was asked: the same key with another fingerprint is refused.
    pub fingerprint: Uuid,
    /// What happened.
    #[serde(flatten)]
    pub fact: Fact,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// An authorization came to nothing this time.
    Failing {
        /// The card.
        payment_method: String,
    },
    /// Money is held. An effect.
    Authorized {
        /// The card.
        payment_method: String,
    },
    /// The card was declined.
    Declined {
        /// The card.
        payment_method: String,
    },
    /// The held money was taken. An effect.
    Captured {},
    /// The held money was let go. An effect.
    Voided {},
    /// The taken money was given back. An effect.
    Refunded {},
    /// The charge did not stand where it had to.
    Refused {
        /// What was asked of it.
        asked: Transition,
        /// Where it stood.
        stood: Standing,
    },
    /// The key has a failure for an answer from now on, whether or not an effect came before it.
    Failed {},
    /// A request came again and was told the answer of its key.
    Repeated {},
}

impl Fact {
    /// True for what moved money.
    #[must_use]
    pub const fn is_effect(&self) -> bool {
        match self {
            Self::Authorized { .. } | Self::Captured {} | Self::Voided {} | Self::Refunded {} => true,
            Self::Failing { .. }
            | Self::Declined { .. }
            | Self::Refused { .. }
            | Self::Failed {}
            | Self::Repeated {} => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use money::Currency;

    use super::*;

    #[test]
    fn a_line_of_every_kind_is_read_as_it_was_written() {
        let method = || "tok_success".to_owned();
        let facts = [
            Fact::Failing { payment_method: method() },
            Fact::Authorized { payment_method: method() },
            Fact::Declined { payment_method: method() },
            Fact::Captured {},
            Fact::Voided {},
            Fact::Refunded {},
            Fact::Refused { asked: Transition::Void, stood: Standing::Captured },
            Fact::Failed {},
            Fact::Repeated {},
        ];
        for fact in facts {
            let entry = Entry {
                number: 1,
                time: DateTime::default(),
                charge: "pi_1".to_owned(),
                payment_id: Uuid::from_u128(1),
                amount: Money::new(1250, Currency::EUR),
                key: "k".to_owned(),
                fingerprint: Uuid::from_u128(2),
                fact,
            };
            let line = serde_json::to_string(&entry).unwrap();
            assert_eq!(serde_json::from_str::<Entry>(&line).unwrap(), entry, "{line}");
        }
    }

    #[test]
    fn a_line_written_by_the_first_release_is_still_understood() {
        let line = r#"{"number":2,"time":"2026-01-01T00:00:00Z","charge":"pi_00000000000000000000000000000001","payment_id":"00000000-0000-0000-0000-000000000001","amount":{"minor_units":1250,"currency":"EUR"},"key":"k","fingerprint":"00000000-0000-0000-0000-000000000002","fact":"refused","asked":"void","stood":"captured"}"#;
        let entry: Entry = serde_json::from_str(line).unwrap();
        assert_eq!(entry.fact, Fact::Refused { asked: Transition::Void, stood: Standing::Captured });
    }
}
