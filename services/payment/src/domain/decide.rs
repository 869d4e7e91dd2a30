use money::Money;
use uuid::Uuid;

use super::outcome::told;
use super::{Answer, Doubt, Effect, Event, Fate, Held, Input, Payment, Refusal, Request, Terms, Wish};

/// A fact to record, if any, and what comes next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// What happened.
    pub event: Option<Event>,
    /// What to do once it is durable.
    pub next: Next,
}

/// What comes next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// The event that was just recorded tells the answer.
    Answered(Answer),
    /// The answer was recorded before, or follows from the state: tell it once more.
    Repeat(Answer),
    /// Run this, then come back with what came of it.
    Run(Effect),
    /// The outcome came too late to matter; the state has the answer. Ask again.
    AskAgain,
    /// There is nothing to do.
    Nothing,
}

/// Why an input cannot be followed: two books contradict each other, or two requests do. An operator must look.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rejection {
    /// The id is taken.
    #[error("the payment exists with another order, customer or amount")]
    OtherTerms,
    /// Taken money cannot be let go; it can be refunded.
    #[error("the money was taken already: it cannot be voided, ask for a refund")]
    AlreadyCaptured,
    /// The provider did something to an amount that nobody asked for.
    #[error("the provider says {told}, agreed was {agreed}")]
    OtherAmount {
        /// What is on record.
        agreed: Money,
        /// What the provider said.
        told: Money,
    },
    /// The provider holds money twice for one payment.
    #[error("the provider has a second charge {other} for this payment")]
    SecondCharge {
        /// The one that is not on record.
        other: String,
    },
    /// The provider did something that nobody asked it for.
    #[error("the provider says that the money was {told}, which nobody asked for")]
    Contradicted {
        /// What it says.
        told: &'static str,
    },
    /// The provider does not let go of held money.
    #[error("the provider does not let go of held money: {reason}")]
    VoidRefused {
        /// Why.
        reason: String,
    },
    /// The provider spoke of a payment that it was never asked for.
    #[error("the provider spoke of a payment that is not on record")]
    Unasked,
}

/// What follows when `input` meets this payment. Every state answers every input.
///
/// # Errors
/// [`Rejection`]: nothing follows, an operator must look.
pub fn decide(payment: &Payment, input: &Input) -> Result<Decision, Rejection> {
    match input {
        Input::Request(request) => asked(payment, request),
        Input::Outcome { message, outcome } => told(payment, *message, outcome),
        Input::LookAgain => Ok(look_again(payment)),
    }
}

fn asked(payment: &Payment, request: &Request) -> Result<Decision, Rejection> {
    if payment.order_id().is_some_and(|order_id| order_id != request.order_id) {
        return Err(Rejection::OtherTerms);
    }
    match &request.wish {
        Wish::Authorize { customer_id, amount, token } => {
            authorize(payment, request.terms(*customer_id, *amount), token)
        }
        Wish::Void => void(payment, request.order_id),
        Wish::Capture => Ok(capture(payment, request.message)),
        Wish::Refund => Ok(refund(payment, request.message)),
    }
}

fn authorize(payment: &Payment, terms: Terms, token: &str) -> Result<Decision, Rejection> {
    if payment.terms().is_some_and(|agreed| *agreed != terms) {
        return Err(Rejection::OtherTerms);
    }
    Ok(match payment {
        Payment::Absent => {
            let effect = Effect::Authorize { epoch: 1, amount: terms.amount, token: token.to_owned() };
            start(Event::AuthorizationStarted { terms, token: token.to_owned() }, effect)
        }
        Payment::Authorizing { epoch, .. }
        | Payment::AuthorizingToVoid { epoch, .. }
        | Payment::Voided { fate: Fate::NotFound(epoch), .. } => run(look_for(*epoch)),
        Payment::Declined { refusal, .. } => repeat(Answer::Declined(refusal.clone())),
        Payment::Voiding { held, epoch } => run(let_go(held, *epoch)),
        Payment::VoidedBefore { .. } | Payment::Voided { fate: Fate::LetGo(_) | Fate::Refused, .. } => {
            repeat(voided_before())
        }
        Payment::Authorized(held)
        | Payment::Capturing { held, .. }
        | Payment::Captured(held)
        | Payment::CaptureRejected { held, .. }
        | Payment::Refunding { held, .. }
        | Payment::Refunded(held)
        | Payment::RefundRejected { held, .. } => repeat(Answer::Authorized(held.terms.amount)),
    })
}

fn void(payment: &Payment, order_id: Uuid) -> Result<Decision, Rejection> {
    Ok(match payment {
        Payment::Absent => answer(Event::VoidedBefore { order_id }, Answer::Voided),
        Payment::VoidedBefore { .. } | Payment::Voided { .. } | Payment::Declined { .. } => repeat(Answer::Voided),
        Payment::Authorizing { epoch, .. } => start(Event::VoidRequested {}, look_for(*epoch)),
        Payment::AuthorizingToVoid { epoch, .. } => run(look_for(*epoch)),
        Payment::Authorized(held) | Payment::CaptureRejected { held, .. } => start_void(held, 1),
        Payment::Voiding { held, epoch } => run(let_go(held, *epoch)),
        // Its fate first: what is not taken after all can be let go.
        Payment::Capturing { held, epoch } => run(take(held, *epoch)),
        Payment::Captured(_) | Payment::Refunding { .. } | Payment::Refunded(_) | Payment::RefundRejected { .. } => {
            return Err(Rejection::AlreadyCaptured);
        }
    })
}

fn capture(payment: &Payment, message: Uuid) -> Decision {
    match payment {
        Payment::Absent
        | Payment::VoidedBefore { .. }
        | Payment::AuthorizingToVoid { .. }
        | Payment::Declined { .. }
        | Payment::Voiding { .. }
        | Payment::Voided { .. } => {
            repeat(Answer::CaptureRejected(Refusal::new("NOT_AUTHORIZED", "no money is held that could be taken")))
        }
        Payment::Authorizing { epoch, .. } => run(look_for(*epoch)),
        Payment::Authorized(held) => start(Event::CaptureStarted { epoch: 1 }, take(held, 1)),
        Payment::Capturing { held, epoch } => run(take(held, *epoch)),
        Payment::CaptureRejected { refusal, message: told, .. } if *told == message => {
            repeat(Answer::CaptureRejected(refusal.clone()))
        }
        Payment::CaptureRejected { held, epoch, .. } => {
            run(look_into(held, Doubt::Spent(super::Operation::Capture, *epoch)))
        }
        Payment::Captured(held)
        | Payment::Refunding { held, .. }
        | Payment::Refunded(held)
        | Payment::RefundRejected { held, .. } => repeat(Answer::Captured(held.terms.amount)),
    }
}

fn refund(payment: &Payment, message: Uuid) -> Decision {
    match payment {
        Payment::Absent
        | Payment::VoidedBefore { .. }
        | Payment::Authorizing { .. }
        | Payment::AuthorizingToVoid { .. }
        | Payment::Authorized(_)
        | Payment::Declined { .. }
        | Payment::CaptureRejected { .. }
        | Payment::Voiding { .. }
        | Payment::Voided { .. } => {
            repeat(Answer::RefundRejected(Refusal::new("NOT_CAPTURED", "no money was taken that could be given back")))
        }
        Payment::Capturing { held, epoch } => run(take(held, *epoch)),
        Payment::Captured(held) => start(Event::RefundStarted { epoch: 1 }, give_back(held, 1)),
        Payment::Refunding { held, epoch } => run(give_back(held, *epoch)),
        Payment::RefundRejected { refusal, message: told, .. } if *told == message => {
            repeat(Answer::RefundRejected(refusal.clone()))
        }
        Payment::RefundRejected { held, epoch, .. } => {
            run(look_into(held, Doubt::Spent(super::Operation::Refund, *epoch)))
        }
        Payment::Refunded(held) => repeat(Answer::Refunded(held.terms.amount)),
    }
}

/// A call that was on its way while the void found nothing has arrived by now, or never will.
fn look_again(payment: &Payment) -> Decision {
    match payment {
        Payment::Voided { fate: Fate::NotFound(epoch), .. } => run(look_for(*epoch)),
        // Whoever found a late charge died before it let go of it. Nobody else may ever ask.
        Payment::Voiding { held, epoch } => run(let_go(held, *epoch)),
        Payment::Absent
        | Payment::VoidedBefore { .. }
        | Payment::Authorizing { .. }
        | Payment::AuthorizingToVoid { .. }
        | Payment::Authorized(_)
        | Payment::Declined { .. }
        | Payment::Capturing { .. }
        | Payment::Captured(_)
        | Payment::CaptureRejected { .. }
        | Payment::Voided { fate: Fate::LetGo(_) | Fate::Refused, .. }
        | Payment::Refunding { .. }
        | Payment::Refunded(_)
        | Payment::RefundRejected { .. } => Decision { event: None, next: Next::Nothing },
    }
}

pub(super) const fn run(effect: Effect) -> Decision {
    Decision { event: None, next: Next::Run(effect) }
}

pub(super) const fn repeat(answer: Answer) -> Decision {
    Decision { event: None, next: Next::Repeat(answer) }
}

pub(super) const fn ask_again() -> Decision {
    Decision { event: None, next: Next::AskAgain }
}

pub(super) const fn start(event: Event, effect: Effect) -> Decision {
    Decision { event: Some(event), next: Next::Run(effect) }
}

pub(super) const fn answer(event: Event, answer: Answer) -> Decision {
    Decision { event: Some(event), next: Next::Answered(answer) }
}

pub(super) fn voided_before() -> Answer {
    Answer::Declined(Refusal::new("VOIDED_BEFORE", "the payment was voided before it could be authorized"))
}

pub(super) const fn look_for(authorization: u32) -> Effect {
    Effect::Lookup { authorization, doubt: Doubt::Unanswered }
}

pub(super) const fn look_into(held: &Held, doubt: Doubt) -> Effect {
    Effect::Lookup { authorization: held.authorization, doubt }
}

pub(super) fn take(held: &Held, epoch: u32) -> Effect {
    Effect::Capture { epoch, charge: held.charge.clone() }
}

pub(super) fn let_go(held: &Held, epoch: u32) -> Effect {
    Effect::Void { epoch, charge: held.charge.clone() }
}

pub(super) fn give_back(held: &Held, epoch: u32) -> Effect {
    Effect::Refund { epoch, charge: held.charge.clone() }
}

pub(super) fn start_void(held: &Held, epoch: u32) -> Decision {
    let event = Event::VoidStarted { charge: held.charge.clone(), authorization: held.authorization, epoch };
    start(event, let_go(held, epoch))
}
