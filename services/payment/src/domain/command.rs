use money::Money;
use uuid::Uuid;

use super::{Operation, Reference, Refusal, Terms};

/// Whatever a payment meets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// The orchestrator asks.
    Request(Request),
    /// The provider said something, or failed to. `message` is the request that had it asked.
    Outcome {
        /// The request's message.
        message: Uuid,
        /// What it said.
        outcome: Outcome,
    },
    /// Some time after a void that found no charge: is there one by now, and has it been let go?
    LookAgain,
}

/// The orchestrator's question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The message's id.
    pub message: Uuid,
    /// The order.
    pub order_id: Uuid,
    /// What it wants.
    pub wish: Wish,
}

/// What the orchestrator wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wish {
    /// Hold money.
    Authorize {
        /// Who pays.
        customer_id: Uuid,
        /// How much.
        amount: Money,
        /// The provider's token for the card.
        token: String,
    },
    /// Let go of held money.
    Void,
    /// Take held money.
    Capture,
    /// Give taken money back.
    Refund,
}

impl Wish {
    /// Which operation it is.
    #[must_use]
    pub const fn operation(&self) -> Operation {
        match self {
            Self::Authorize { .. } => Operation::Authorize,
            Self::Void => Operation::Void,
            Self::Capture => Operation::Capture,
            Self::Refund => Operation::Refund,
        }
    }
}

impl Request {
    /// The terms an authorization proposes.
    #[must_use]
    pub(super) fn terms(&self, customer_id: Uuid, amount: Money) -> Terms {
        Terms { order_id: self.order_id, customer_id, amount }
    }
}

/// What came of a call to the provider.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Money is held.
    Authorized {
        /// Under which key.
        epoch: u32,
        /// The provider's name for it.
        charge: Reference,
        /// How much.
        amount: Money,
    },
    /// The authorization was refused.
    Declined(Refusal),
    /// There is no charge under the authorization's key of this epoch.
    NotFound {
        /// The key's epoch.
        epoch: u32,
    },
    /// Money was taken.
    Captured(Money),
    /// It cannot be taken.
    CaptureRejected(Refusal),
    /// Money was let go.
    Voided,
    /// It cannot be let go.
    VoidRejected(Refusal),
    /// Money was given back.
    Refunded(Money),
    /// It cannot be given back.
    RefundRejected(Refusal),
    /// No answer: it may have had effect, or may yet have.
    Unanswered(Operation),
    /// The provider will answer this key with the same failure for ever.
    Spent(Operation, u32),
    /// The books prove that the operation had no effect under the key of this epoch.
    Unchanged(Operation, u32),
}
