//! What follows when the provider has spoken, or failed to.

use money::Money;
use uuid::Uuid;

use super::decide::{
    answer, ask_again, give_back, let_go, look_for, look_into, repeat, run, start, start_void, take, voided_before,
};
use super::{
    Answer, Decision, Doubt, Effect, Event, Fate, Held, Operation, Outcome, Payment, Reference, Refusal, Rejection,
    Terms,
};

/// So often a key may be given up for a new one; then the provider is taken to have refused.
const EPOCHS_MAX: u32 = 5;

type Decided = Result<Decision, Rejection>;

pub(super) fn told(payment: &Payment, message: Uuid, outcome: &Outcome) -> Decided {
    match payment {
        Payment::Absent | Payment::VoidedBefore { .. } => Err(Rejection::Unasked),
        Payment::Authorizing { terms, token, epoch } => authorizing(terms, token, *epoch, outcome),
        Payment::AuthorizingToVoid { terms, epoch } => authorizing_to_void(terms, *epoch, outcome),
        Payment::Authorized(held) => held_and_nothing_asked(held, outcome),
        Payment::Declined { terms, .. } => nothing_held(terms, None, outcome),
        Payment::Voided { terms, fate } => nothing_held(terms, Some(fate), outcome),
        Payment::Capturing { held, epoch } => capturing(held, *epoch, message, outcome),
        Payment::CaptureRejected { held, epoch, .. } => capture_rejected(held, *epoch, outcome),
        Payment::Voiding { held, epoch } => voiding(held, *epoch, outcome),
        Payment::Captured(held) => taken(held, outcome),
        Payment::Refunding { held, epoch } => refunding(held, *epoch, message, outcome),
        Payment::RefundRejected { held, epoch, .. } => refund_rejected(held, *epoch, outcome),
        Payment::Refunded(held) => given_back(held, outcome),
    }
}

fn authorizing(terms: &Terms, token: &str, epoch: u32, outcome: &Outcome) -> Decided {
    let hold = |epoch| Effect::Authorize { epoch, amount: terms.amount, token: token.to_owned() };
    match outcome {
        Outcome::Authorized { epoch, charge, amount } => {
            same_amount(terms, *amount)?;
            let (order_id, amount, charge) = (terms.order_id, *amount, charge.clone());
            let event = Event::Authorized { order_id, amount, charge, epoch: *epoch };
            Ok(answer(event, Answer::Authorized(amount)))
        }
        Outcome::Declined(refusal) => Ok(declined(terms, refusal.clone())),
        Outcome::NotFound { epoch: asked } if *asked == epoch => Ok(run(hold(epoch))),
        Outcome::Unanswered(Operation::Authorize) => Ok(run(look_for(epoch))),
        Outcome::Spent(Operation::Authorize, spent) if *spent == epoch => {
            Ok(run(Effect::Lookup { authorization: epoch, doubt: Doubt::Spent(Operation::Authorize, epoch) }))
        }
        Outcome::Unchanged(Operation::Authorize, spent) if *spent == epoch => match next_epoch(epoch) {
            Some(epoch) => Ok(start(Event::AuthorizationRestarted { epoch }, hold(epoch))),
            None => Ok(declined(terms, provider_failed())),
        },
        Outcome::Captured(_) => Err(Rejection::Contradicted { told: "taken" }),
        Outcome::Voided => Err(Rejection::Contradicted { told: "let go" }),
        Outcome::Refunded(_) => Err(Rejection::Contradicted { told: "given back" }),
        Outcome::NotFound { .. }
        | Outcome::CaptureRejected(_)
        | Outcome::VoidRejected(_)
        | Outcome::RefundRejected(_)
        | Outcome::Unanswered(_)
        | Outcome::Spent(..)
        | Outcome::Unchanged(..) => Ok(ask_again()),
    }
}

fn authorizing_to_void(terms: &Terms, epoch: u32, outcome: &Outcome) -> Decided {
    match outcome {
        Outcome::Authorized { epoch, charge, .. } => Ok(stray(terms, charge, *epoch)),
        Outcome::Declined(_) | Outcome::Voided => Ok(voided(terms, Fate::Refused)),
        Outcome::NotFound { epoch: asked } if *asked == epoch => Ok(voided(terms, Fate::NotFound(epoch))),
        Outcome::Unchanged(Operation::Authorize, spent) if *spent == epoch => Ok(voided(terms, Fate::NotFound(epoch))),
        Outcome::Unanswered(Operation::Authorize) | Outcome::Spent(Operation::Authorize, _) => Ok(run(look_for(epoch))),
        Outcome::Captured(_) => Err(Rejection::Contradicted { told: "taken" }),
        Outcome::Refunded(_) => Err(Rejection::Contradicted { told: "given back" }),
        Outcome::NotFound { .. }
        | Outcome::CaptureRejected(_)
        | Outcome::VoidRejected(_)
        | Outcome::RefundRejected(_)
        | Outcome::Unanswered(_)
        | Outcome::Spent(..)
        | Outcome::Unchanged(..) => Ok(ask_again()),
    }
}

/// Declined or voided: whatever is held all the same must go.
fn nothing_held(terms: &Terms, fate: Option<&Fate>, outcome: &Outcome) -> Decided {
    match outcome {
        Outcome::Authorized { epoch, charge, .. } => match fate {
            Some(Fate::LetGo(gone)) if gone == charge => Ok(ask_again()),
            Some(Fate::LetGo(_) | Fate::Refused | Fate::NotFound(_)) | None => Ok(stray(terms, charge, *epoch)),
        },
        Outcome::Unanswered(Operation::Authorize) | Outcome::Spent(Operation::Authorize, _) => match fate {
            Some(Fate::NotFound(epoch)) => Ok(run(look_for(*epoch))),
            Some(Fate::LetGo(_) | Fate::Refused) | None => Ok(ask_again()),
        },
        Outcome::Captured(_) => Err(Rejection::Contradicted { told: "taken" }),
        Outcome::Declined(_)
        | Outcome::Voided
        | Outcome::NotFound { .. }
        | Outcome::Unchanged(Operation::Authorize, _) => Ok(still_nothing(fate)),
        Outcome::Refunded(_)
        | Outcome::CaptureRejected(_)
        | Outcome::VoidRejected(_)
        | Outcome::RefundRejected(_)
        | Outcome::Unanswered(_)
        | Outcome::Spent(..)
        | Outcome::Unchanged(..) => Ok(ask_again()),
    }
}

fn still_nothing(fate: Option<&Fate>) -> Decision {
    match fate {
        // Asked again, an authorization would look into the books once more; they have spoken.
        Some(Fate::NotFound(_)) => repeat(voided_before()),
        Some(Fate::LetGo(_) | Fate::Refused) | None => ask_again(),
    }
}

fn held_and_nothing_asked(held: &Held, outcome: &Outcome) -> Decided {
    match outcome {
        Outcome::Captured(_) => Err(Rejection::Contradicted { told: "taken" }),
        Outcome::Voided => Err(Rejection::Contradicted { told: "let go" }),
        Outcome::Refunded(_) => Err(Rejection::Contradicted { told: "given back" }),
        Outcome::Authorized { charge, .. } => same_charge(held, charge),
        Outcome::Declined(_)
        | Outcome::NotFound { .. }
        | Outcome::CaptureRejected(_)
        | Outcome::VoidRejected(_)
        | Outcome::RefundRejected(_)
        | Outcome::Unanswered(_)
        | Outcome::Spent(..)
        | Outcome::Unchanged(..) => Ok(ask_again()),
    }
}

fn capturing(held: &Held, epoch: u32, message: Uuid, outcome: &Outcome) -> Decided {
    match outcome {
        Outcome::Captured(amount) => captured(held, *amount),
        Outcome::CaptureRejected(refusal) => Ok(capture_refused(held, refusal.clone(), message)),
        Outcome::Unanswered(Operation::Capture) => Ok(run(take(held, epoch))),
        Outcome::Spent(Operation::Capture, spent) if *spent == epoch => {
            Ok(run(look_into(held, Doubt::Spent(Operation::Capture, epoch))))
        }
        Outcome::Unchanged(Operation::Capture, spent) if *spent == epoch => match next_epoch(epoch) {
            Some(epoch) => Ok(start(Event::CaptureStarted { epoch }, take(held, epoch))),
            None => Ok(capture_refused(held, provider_failed(), message)),
        },
        Outcome::Voided => Err(Rejection::Contradicted { told: "let go" }),
        Outcome::Refunded(_) => Err(Rejection::Contradicted { told: "given back" }),
        Outcome::Authorized { charge, .. } => same_charge(held, charge),
        Outcome::Declined(_)
        | Outcome::NotFound { .. }
        | Outcome::VoidRejected(_)
        | Outcome::RefundRejected(_)
        | Outcome::Unanswered(_)
        | Outcome::Spent(..)
        | Outcome::Unchanged(..) => Ok(ask_again()),
    }
}

/// Asked anew after a rejection: with a new key, once the books prove that the old one did nothing.
fn capture_rejected(held: &Held, epoch: u32, outcome: &Outcome) -> Decided {
    match outcome {
        Outcome::Captured(amount) => captured(held, *amount),
        Outcome::Unchanged(Operation::Capture, spent) if *spent == epoch => {
            let epoch = epoch.saturating_add(1);
            Ok(start(Event::CaptureStarted { epoch }, take(held, epoch)))
        }
        Outcome::Voided => Err(Rejection::Contradicted { told: "let go" }),
        Outcome::Refunded(_) => Err(Rejection::Contradicted { told: "given back" }),
        Outcome::Authorized { charge, .. } => same_charge(held, charge),
        Outcome::Declined(_)
        | Outcome::NotFound { .. }
        | Outcome::CaptureRejected(_)
        | Outcome::VoidRejected(_)
        | Outcome::RefundRejected(_)
        | Outcome::Unanswered(_)
        | Outcome::Spent(..)
        | Outcome::Unchanged(..) => Ok(ask_again()),
    }
}

fn voiding(held: &Held, epoch: u32, outcome: &Outcome) -> Decided {
    match outcome {
        Outcome::Voided => Ok(voided(&held.terms, Fate::LetGo(held.charge.clone()))),
        Outcome::VoidRejected(refusal) => Err(Rejection::VoidRefused { reason: refusal.reason.clone() }),
        Outcome::Unanswered(Operation::Void) => Ok(run(let_go(held, epoch))),
        Outcome::Spent(Operation::Void, spent) if *spent == epoch => {
            Ok(run(look_into(held, Doubt::Spent(Operation::Void, epoch))))
        }
        // Money must not stay held: no limit on epochs here, the runner's patience ends every try.
        Outcome::Unchanged(Operation::Void, spent) if *spent == epoch => Ok(start_void(held, epoch.saturating_add(1))),
        Outcome::Captured(_) => Err(Rejection::Contradicted { told: "taken" }),
        Outcome::Refunded(_) => Err(Rejection::Contradicted { told: "given back" }),
        Outcome::Authorized { charge, .. } => same_charge(held, charge),
        Outcome::Declined(_)
        | Outcome::NotFound { .. }
        | Outcome::CaptureRejected(_)
        | Outcome::RefundRejected(_)
        | Outcome::Unanswered(_)
        | Outcome::Spent(..)
        | Outcome::Unchanged(..) => Ok(ask_again()),
    }
}

fn taken(held: &Held, outcome: &Outcome) -> Decided {
    match outcome {
        Outcome::Voided => Err(Rejection::Contradicted { told: "let go" }),
        Outcome::Refunded(_) => Err(Rejection::Contradicted { told: "given back" }),
        Outcome::Authorized { charge, .. } => same_charge(held, charge),
        Outcome::Captured(_)
        | Outcome::Declined(_)
        | Outcome::NotFound { .. }
        | Outcome::CaptureRejected(_)
        | Outcome::VoidRejected(_)
        | Outcome::RefundRejected(_)
        | Outcome::Unanswered(_)
        | Outcome::Spent(..)
        | Outcome::Unchanged(..) => Ok(ask_again()),
    }
}

fn refunding(held: &Held, epoch: u32, message: Uuid, outcome: &Outcome) -> Decided {
    match outcome {
        Outcome::Refunded(amount) => refunded(held, *amount),
        Outcome::RefundRejected(refusal) => Ok(refund_refused(held, refusal.clone(), message)),
        Outcome::Unanswered(Operation::Refund) => Ok(run(give_back(held, epoch))),
        Outcome::Spent(Operation::Refund, spent) if *spent == epoch => {
            Ok(run(look_into(held, Doubt::Spent(Operation::Refund, epoch))))
        }
        Outcome::Unchanged(Operation::Refund, spent) if *spent == epoch => match next_epoch(epoch) {
            Some(epoch) => Ok(start(Event::RefundStarted { epoch }, give_back(held, epoch))),
            None => Ok(refund_refused(held, provider_failed(), message)),
        },
        Outcome::Voided => Err(Rejection::Contradicted { told: "let go" }),
        Outcome::Authorized { charge, .. } => same_charge(held, charge),
        Outcome::Captured(_)
        | Outcome::Declined(_)
        | Outcome::NotFound { .. }
        | Outcome::CaptureRejected(_)
        | Outcome::VoidRejected(_)
        | Outcome::Unanswered(_)
        | Outcome::Spent(..)
        | Outcome::Unchanged(..) => Ok(ask_again()),
    }
}

fn refund_rejected(held: &Held, epoch: u32, outcome: &Outcome) -> Decided {
    match outcome {
        Outcome::Refunded(amount) => refunded(held, *amount),
        Outcome::Unchanged(Operation::Refund, spent) if *spent == epoch => {
            let epoch = epoch.saturating_add(1);
            Ok(start(Event::RefundStarted { epoch }, give_back(held, epoch)))
        }
        Outcome::Voided => Err(Rejection::Contradicted { told: "let go" }),
        Outcome::Authorized { charge, .. } => same_charge(held, charge),
        Outcome::Captured(_)
        | Outcome::Declined(_)
        | Outcome::NotFound { .. }
        | Outcome::CaptureRejected(_)
        | Outcome::VoidRejected(_)
        | Outcome::RefundRejected(_)
        | Outcome::Unanswered(_)
        | Outcome::Spent(..)
        | Outcome::Unchanged(..) => Ok(ask_again()),
    }
}

fn given_back(held: &Held, outcome: &Outcome) -> Decided {
    match outcome {
        Outcome::Voided => Err(Rejection::Contradicted { told: "let go" }),
        Outcome::Authorized { charge, .. } => same_charge(held, charge),
        Outcome::Captured(_)
        | Outcome::Refunded(_)
        | Outcome::Declined(_)
        | Outcome::NotFound { .. }
        | Outcome::CaptureRejected(_)
        | Outcome::VoidRejected(_)
        | Outcome::RefundRejected(_)
        | Outcome::Unanswered(_)
        | Outcome::Spent(..)
        | Outcome::Unchanged(..) => Ok(ask_again()),
    }
}

fn declined(terms: &Terms, refusal: Refusal) -> Decision {
    answer(Event::Declined { order_id: terms.order_id, refusal: refusal.clone() }, Answer::Declined(refusal))
}

fn voided(terms: &Terms, fate: Fate) -> Decision {
    answer(Event::Voided { order_id: terms.order_id, fate }, Answer::Voided)
}

/// Money is held that nobody wants.
fn stray(terms: &Terms, charge: &Reference, authorization: u32) -> Decision {
    start_void(&Held { terms: terms.clone(), charge: charge.clone(), authorization }, 1)
}

fn captured(held: &Held, amount: Money) -> Decided {
    same_amount(&held.terms, amount)?;
    Ok(answer(Event::Captured { order_id: held.terms.order_id, amount }, Answer::Captured(amount)))
}

fn capture_refused(held: &Held, refusal: Refusal, message: Uuid) -> Decision {
    let event = Event::CaptureRejected { order_id: held.terms.order_id, refusal: refusal.clone(), message };
    answer(event, Answer::CaptureRejected(refusal))
}

fn refunded(held: &Held, amount: Money) -> Decided {
    same_amount(&held.terms, amount)?;
    Ok(answer(Event::Refunded { order_id: held.terms.order_id, amount }, Answer::Refunded(amount)))
}

fn refund_refused(held: &Held, refusal: Refusal, message: Uuid) -> Decision {
    let event = Event::RefundRejected { order_id: held.terms.order_id, refusal: refusal.clone(), message };
    answer(event, Answer::RefundRejected(refusal))
}

fn provider_failed() -> Refusal {
    Refusal::new("PROVIDER_FAILED", "the payment provider failed every time; nothing happened")
}

fn next_epoch(epoch: u32) -> Option<u32> {
    (epoch < EPOCHS_MAX).then(|| epoch + 1)
}

fn same_amount(terms: &Terms, told: Money) -> Result<(), Rejection> {
    if terms.amount == told { Ok(()) } else { Err(Rejection::OtherAmount { agreed: terms.amount, told }) }
}

/// A late repetition, unless it speaks of another charge.
fn same_charge(held: &Held, charge: &Reference) -> Decided {
    if held.charge == *charge { Ok(ask_again()) } else { Err(Rejection::SecondCharge { other: charge.to_string() }) }
}
