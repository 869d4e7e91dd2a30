//! What a saga holds of other people's money and goods, as its events tell it.

use money::Money;
use saga::{Lane, SagaEvent};

use super::{
    AUTHORIZE_PAYMENT, CANCEL_ORDER, CAPTURE_PAYMENT, COMMIT_INVENTORY, OrderProcess, REFUND_PAYMENT, RESERVE_INVENTORY,
};

/// What becomes of what a saga holds; `None` leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// Whether money is held on the card, or may be.
    pub authorized: Option<bool>,
    /// Whether money is taken, and the saga is not over, or was abandoned.
    pub captured: Option<bool>,
    /// Whether goods are held, or may be.
    pub reserved: Option<bool>,
}

impl Moves {
    /// Nothing is held any more.
    pub const OVER: Self = Self { authorized: Some(false), captured: Some(false), reserved: Some(false) };
    const NONE: Self = Self { authorized: None, captured: None, reserved: None };
    const CAPTURED: Self = Self { authorized: Some(false), captured: Some(true), reserved: None };

    /// These after `before`: the later word counts.
    #[must_use]
    pub fn after(self, before: Self) -> Self {
        Self {
            authorized: self.authorized.or(before.authorized),
            captured: self.captured.or(before.captured),
            reserved: self.reserved.or(before.reserved),
        }
    }

    /// A step was asked for: what it does may be done from now on.
    #[must_use]
    pub fn requested(step: &str) -> Self {
        match step {
            AUTHORIZE_PAYMENT => Self { authorized: Some(true), ..Self::NONE },
            RESERVE_INVENTORY => Self { reserved: Some(true), ..Self::NONE },
            _ => Self::NONE,
        }
    }

    /// A step is done.
    #[must_use]
    pub fn done(step: &str) -> Self {
        match step {
            CAPTURE_PAYMENT => Self::CAPTURED,
            COMMIT_INVENTORY => Self { reserved: Some(false), ..Self::NONE },
            REFUND_PAYMENT => Self { captured: Some(false), ..Self::NONE },
            _ => Self::NONE,
        }
    }

    /// A step is not done: it was refused, or is undone.
    #[must_use]
    pub fn undone(step: &str) -> Self {
        match step {
            AUTHORIZE_PAYMENT => Self { authorized: Some(false), ..Self::NONE },
            RESERVE_INVENTORY => Self { reserved: Some(false), ..Self::NONE },
            _ => Self::NONE,
        }
    }

    /// Somebody has seen to a step by hand, instead of its undoing.
    #[must_use]
    pub fn settled(step: &str) -> Self {
        match step {
            CAPTURE_PAYMENT | REFUND_PAYMENT => Self { authorized: Some(false), captured: Some(false), reserved: None },
            _ => Self::undone(step),
        }
    }

    /// A saga of this definition began.
    #[must_use]
    pub fn started(definition: &str) -> Self {
        match definition {
            // It exists because money was taken.
            CANCEL_ORDER => Self { authorized: None, captured: Some(true), reserved: None },
            _ => Self::NONE,
        }
    }

    /// What this event means.
    #[must_use]
    pub fn of(event: &SagaEvent<OrderProcess>) -> Self {
        match event {
            SagaEvent::Started { definition, .. } => Self::started(&definition.name),
            SagaEvent::StepRequested { step, .. } => Self::requested(step.as_str()),
            SagaEvent::StepSucceeded { step, .. }
            | SagaEvent::StepSkipped { step, lane: Lane::Forward, by_hand: Some(_) } => Self::done(step.as_str()),
            SagaEvent::StepRejected { step, .. } | SagaEvent::CompensationSucceeded { step } => {
                Self::undone(step.as_str())
            }
            SagaEvent::StepSkipped { step, lane: Lane::Undo, .. } => Self::settled(step.as_str()),
            SagaEvent::Completed | SagaEvent::Compensated { .. } => Self::OVER,
            // Who ends a saga as it stands undoes nothing: what it held it owes.
            SagaEvent::Abandoned { .. } => Self::NONE,
            SagaEvent::StepSkipped { lane: Lane::Forward, by_hand: None, .. }
            | SagaEvent::StepAwaited { .. }
            | SagaEvent::StepRetried { .. }
            | SagaEvent::StepUnknown { .. }
            | SagaEvent::CompensationStarted { .. }
            | SagaEvent::CompensationRequested { .. }
            | SagaEvent::CompensationFailed { .. }
            | SagaEvent::CancelRequested { .. }
            | SagaEvent::Parked { .. }
            | SagaEvent::Resumed { .. }
            | SagaEvent::Paused { .. }
            | SagaEvent::Unpaused { .. }
            | SagaEvent::ChildRequested { .. }
            | SagaEvent::ChildUndoRequested { .. }
            | SagaEvent::StepHeld { .. }
            | SagaEvent::StepReleased { .. }
            | SagaEvent::TimersShifted { .. }
            | SagaEvent::TimersFrozen { .. }
            | SagaEvent::TimersThawed { .. }
            | SagaEvent::TimerCancelled { .. }
            | SagaEvent::Migrated { .. } => Self::NONE,
        }
    }
}

/// What a saga holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Money held on the card, or perhaps, minor units.
    pub authorized: i64,
    /// Money taken while the saga is not over, or owed since it was abandoned, minor units.
    pub captured: i64,
    /// Goods held, or perhaps, at order value, minor units.
    pub reserved: i64,
    /// The same, in units.
    pub reserved_units: i64,
}

impl Holdings {
    /// What is held of an order of this worth after these moves.
    #[must_use]
    pub fn of(moves: Moves, total: Money, units: i64) -> Self {
        let if_so = |so: Option<bool>, value: i64| if so == Some(true) { value } else { 0 };
        Self {
            authorized: if_so(moves.authorized, total.minor_units),
            captured: if_so(moves.captured, total.minor_units),
            reserved: if_so(moves.reserved, total.minor_units),
            reserved_units: if_so(moves.reserved, units),
        }
    }

    /// What these events led to, of an order of this worth.
    #[must_use]
    pub fn after(events: &[SagaEvent<OrderProcess>], total: Money, units: i64) -> Self {
        let moves = events.iter().fold(Moves::default(), |before, event| Moves::of(event).after(before));
        Self::of(moves, total, units)
    }
}

/// Who takes a step: the service that is asked. Empty for a step that nobody is asked for.
#[must_use]
pub fn participant(step: &str) -> &'static str {
    match step {
        RESERVE_INVENTORY | COMMIT_INVENTORY | super::RESTOCK_INVENTORY => "products",
        AUTHORIZE_PAYMENT | CAPTURE_PAYMENT | REFUND_PAYMENT => "payment",
        super::NOTIFY | super::NOTIFY_REFUNDED => "notification",
        _ => "",
    }
}
