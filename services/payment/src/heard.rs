//! What the provider's answer, or its silence, means to the rules. Pure.

use crate::domain::{Doubt, Effect, Operation, Outcome};
use crate::provider::{Charge, ChargeStatus, ProviderError};

/// What was heard of one call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Something the rules can decide by.
    Outcome(Outcome),
    /// Nothing, on a look into the books: look again.
    Silence,
    /// Something that neither side should ever say: an operator must look.
    Defect(String),
}

/// What came of running `effect`.
#[must_use]
pub fn heard(effect: &Effect, called: Result<Option<Charge>, ProviderError>) -> Heard {
    let failed = match called {
        Ok(charge) => return Heard::Outcome(outcome(effect, charge)),
        Err(failed) => failed,
    };
    match (effect, failed) {
        (_, ProviderError::Unanswered(_)) => match operation(effect) {
            Some((operation, _)) => Heard::Outcome(Outcome::Unanswered(operation)),
            None => Heard::Silence,
        },
        (Effect::Authorize { .. }, ProviderError::Refused(refusal)) => Heard::Outcome(Outcome::Declined(refusal)),
        (Effect::Capture { .. }, ProviderError::Refused(refusal)) => Heard::Outcome(Outcome::CaptureRejected(refusal)),
        (Effect::Void { .. }, ProviderError::Refused(refusal)) => Heard::Outcome(Outcome::VoidRejected(refusal)),
        (Effect::Refund { .. }, ProviderError::Refused(refusal)) => Heard::Outcome(Outcome::RefundRejected(refusal)),
        (_, failed @ ProviderError::KeySpent(_)) => match operation(effect) {
            Some((operation, epoch)) => Heard::Outcome(Outcome::Spent(operation, epoch)),
            None => Heard::Defect(failed.to_string()),
        },
        (Effect::Lookup { .. }, failed @ ProviderError::Refused(_))
        | (_, failed @ (ProviderError::Malformed(_) | ProviderError::Unknown(_))) => Heard::Defect(failed.to_string()),
    }
}

/// What an effect changes, and its key's epoch; `None` for a look.
#[must_use]
pub const fn operation(effect: &Effect) -> Option<(Operation, u32)> {
    match effect {
        Effect::Authorize { epoch, .. } => Some((Operation::Authorize, *epoch)),
        Effect::Capture { epoch, .. } => Some((Operation::Capture, *epoch)),
        Effect::Void { epoch, .. } => Some((Operation::Void, *epoch)),
        Effect::Refund { epoch, .. } => Some((Operation::Refund, *epoch)),
        Effect::Lookup { .. } => None,
    }
}

/// What the books say, in the words of the rules.
fn outcome(effect: &Effect, charge: Option<Charge>) -> Outcome {
    let (epoch, doubt) = match effect {
        Effect::Authorize { epoch, .. } => (*epoch, Doubt::Unanswered),
        Effect::Lookup { authorization, doubt } => (*authorization, *doubt),
        // The epoch of the authorization is not known here, nor needed: a charge that is merely held tells nothing new.
        Effect::Capture { .. } | Effect::Void { .. } | Effect::Refund { .. } => (1, Doubt::Unanswered),
    };
    match (doubt, charge) {
        (Doubt::Unanswered, None) => Outcome::NotFound { epoch },
        (Doubt::Spent(operation, epoch), None) => Outcome::Unchanged(operation, epoch),
        (Doubt::Spent(operation, epoch), Some(charge)) if is_untouched(operation, &charge.status) => {
            Outcome::Unchanged(operation, epoch)
        }
        (Doubt::Unanswered | Doubt::Spent(..), Some(charge)) => match charge.status {
            ChargeStatus::Authorized => Outcome::Authorized { epoch, charge: charge.reference, amount: charge.amount },
            ChargeStatus::Captured => Outcome::Captured(charge.amount),
            ChargeStatus::Voided => Outcome::Voided,
            ChargeStatus::Refunded => Outcome::Refunded(charge.amount),
            ChargeStatus::Declined(refusal) => Outcome::Declined(refusal),
        },
    }
}

/// True when a charge stands where it stood before `operation`.
fn is_untouched(operation: Operation, status: &ChargeStatus) -> bool {
    match operation {
        Operation::Authorize => false,
        Operation::Capture | Operation::Void => *status == ChargeStatus::Authorized,
        Operation::Refund => *status == ChargeStatus::Captured,
    }
}
