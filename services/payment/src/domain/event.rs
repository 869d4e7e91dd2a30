use money::Money;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Reference;

/// What was agreed: never changes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Terms {
    /// The order.
    pub order_id: Uuid,
    /// Who pays.
    pub customer_id: Uuid,
    /// How much.
    pub amount: Money,
}

/// A definite no.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// UPPER_SNAKE: `CARD_DECLINED`.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl Refusal {
    /// A refusal.
    #[must_use]
    pub fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into() }
    }
}

/// Why no money is held after a void.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Fate {
    /// It was held and let go.
    LetGo(Reference),
    /// It never was: the provider had refused.
    Refused,
    /// The provider knew no charge under the authorization's key of this epoch. A call that was still on its way then
    /// may make one all the same: whoever made it finds it, or else the second look does, and it is let go.
    NotFound(u32),
}

/// What can happen to a payment. The epoch is part of the provider's idempotency key; 1 is left out of the payload.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Event {
    /// The provider is about to be asked to hold money, key epoch 1.
    AuthorizationStarted {
        /// What for.
        terms: Terms,
        /// The provider's token for the card.
        token: String,
    },
    /// The key was of no more use, and nothing had happened under it: the provider is asked under the next one.
    AuthorizationRestarted {
        /// The key's epoch.
        epoch: u32,
    },
    /// Money is held.
    Authorized {
        /// For which order.
        order_id: Uuid,
        /// How much.
        amount: Money,
        /// The provider's name for it.
        charge: Reference,
        /// Under which key.
        #[serde(default = "first", skip_serializing_if = "is_first")]
        epoch: u32,
    },
    /// No money is held, and none will be.
    Declined {
        /// For which order.
        order_id: Uuid,
        /// Why.
        refusal: Refusal,
    },
    /// A void came before its authorization: that will be refused.
    VoidedBefore {
        /// Of which order.
        order_id: Uuid,
    },
    /// A void came while nobody knew yet whether money is held.
    VoidRequested {},
    /// The provider is about to be asked to let go of a charge.
    VoidStarted {
        /// Which one.
        charge: Reference,
        /// The key of its authorization.
        #[serde(default = "first", skip_serializing_if = "is_first")]
        authorization: u32,
        /// The key's epoch.
        #[serde(default = "first", skip_serializing_if = "is_first")]
        epoch: u32,
    },
    /// No money is held.
    Voided {
        /// For which order.
        order_id: Uuid,
        /// Since when that is so.
        fate: Fate,
    },
    /// The provider is about to be asked to take the money.
    CaptureStarted {
        /// The key's epoch.
        #[serde(default = "first", skip_serializing_if = "is_first")]
        epoch: u32,
    },
    /// The money was taken.
    Captured {
        /// For which order.
        order_id: Uuid,
        /// How much.
        amount: Money,
    },
    /// The money cannot be taken.
    CaptureRejected {
        /// For which order.
        order_id: Uuid,
        /// Why.
        refusal: Refusal,
        /// Who was told so: the same message again is told the same, a new one leads to a new try.
        message: Uuid,
    },
    /// The provider is about to be asked to give the money back.
    RefundStarted {
        /// The key's epoch.
        #[serde(default = "first", skip_serializing_if = "is_first")]
        epoch: u32,
    },
    /// The money was given back.
    Refunded {
        /// For which order.
        order_id: Uuid,
        /// How much.
        amount: Money,
    },
    /// The money cannot be given back.
    RefundRejected {
        /// For which order.
        order_id: Uuid,
        /// Why.
        refusal: Refusal,
        /// Who was told so.
        message: Uuid,
    },
}

const fn first() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_first(epoch: &u32) -> bool {
    *epoch == 1
}

eventstore::event_types! {
    Event {
        Self::AuthorizationStarted { .. } => "AuthorizationStarted";
        Self::AuthorizationRestarted { .. } => "AuthorizationRestarted";
        Self::Authorized { .. } => "Authorized";
        Self::Declined { .. } => "Declined";
        Self::VoidedBefore { .. } => "VoidedBefore";
        Self::VoidRequested {} => "VoidRequested";
        Self::VoidStarted { .. } => "VoidStarted";
        Self::Voided { .. } => "Voided";
        Self::CaptureStarted { .. } => "CaptureStarted";
        Self::Captured { .. } => "Captured";
        Self::CaptureRejected { .. } => "CaptureRejected";
        Self::RefundStarted { .. } => "RefundStarted";
        Self::Refunded { .. } => "Refunded";
        Self::RefundRejected { .. } => "RefundRejected";
    }
}

impl Event {
    /// True for stored names that nobody outside hears of: spares reading their payload.
    #[must_use]
    pub fn is_intent(type_name: &str) -> bool {
        type_name.ends_with("Started") || type_name.ends_with("Restarted") || type_name == "VoidRequested"
    }
}
