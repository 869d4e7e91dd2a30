use money::Money;

use super::{Event, Operation, Refusal};

/// What the orchestrator is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Money is held.
    Authorized(Money),
    /// None is held, and none will be.
    Declined(Refusal),
    /// None is held, and none will be.
    Voided,
    /// Money was taken.
    Captured(Money),
    /// It cannot be taken.
    CaptureRejected(Refusal),
    /// Money was given back.
    Refunded(Money),
    /// It cannot be given back.
    RefundRejected(Refusal),
}

impl Answer {
    /// What a recorded event tells, and about which order; `None` for an intent.
    #[must_use]
    pub fn of(event: Event) -> Option<(uuid::Uuid, Self)> {
        match event {
            Event::Authorized { order_id, amount, .. } => Some((order_id, Self::Authorized(amount))),
            Event::Declined { order_id, refusal } => Some((order_id, Self::Declined(refusal))),
            Event::VoidedBefore { order_id } | Event::Voided { order_id, .. } => Some((order_id, Self::Voided)),
            Event::Captured { order_id, amount } => Some((order_id, Self::Captured(amount))),
            Event::CaptureRejected { order_id, refusal, .. } => Some((order_id, Self::CaptureRejected(refusal))),
            Event::Refunded { order_id, amount } => Some((order_id, Self::Refunded(amount))),
            Event::RefundRejected { order_id, refusal, .. } => Some((order_id, Self::RefundRejected(refusal))),
            Event::AuthorizationStarted { .. }
            | Event::AuthorizationRestarted { .. }
            | Event::VoidRequested {}
            | Event::VoidStarted { .. }
            | Event::CaptureStarted { .. }
            | Event::RefundStarted { .. } => None,
        }
    }

    /// Which question it answers.
    #[must_use]
    pub const fn operation(&self) -> Operation {
        match self {
            Self::Authorized(_) | Self::Declined(_) => Operation::Authorize,
            Self::Voided => Operation::Void,
            Self::Captured(_) | Self::CaptureRejected(_) => Operation::Capture,
            Self::Refunded(_) | Self::RefundRejected(_) => Operation::Refund,
        }
    }
}
