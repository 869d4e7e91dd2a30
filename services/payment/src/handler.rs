//! The worker's rules: which stream an input meets.

use std::slice;

use chrono::TimeDelta;
use eventstore::worker::Handler;
use eventstore::{Aggregate as _, Need, Unit};
use uuid::Uuid;

use crate::domain::{self, Event, Fate, Input, Next, Payment, Rejection, Wish};

/// How long after a void that found no charge we look again: any call that was on its way then has ended.
const SECOND_LOOK_AFTER: TimeDelta = TimeDelta::seconds(60);

/// What can happen to a payment here.
#[derive(Debug)]
pub enum Work {
    /// It meets an input.
    Decide {
        /// The payment.
        payment_id: Uuid,
        /// What it meets.
        input: Input,
    },
    /// Its second look is done: it needs no waking any more.
    LookedAgain {
        /// The payment.
        payment_id: Uuid,
    },
}

/// Why an input was not followed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// By the rules.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// By the state of the stream.
    #[error(transparent)]
    Need(#[from] Need),
}

/// All changes of payments go through here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Payments;

impl Handler for Payments {
    type Input = Work;
    type Output = Next;
    type Error = Refused;

    fn handle(&self, unit: &mut Unit<'_>, work: &Work) -> Result<Next, Refused> {
        match work {
            Work::Decide { payment_id, input } => decide(unit, *payment_id, input),
            Work::LookedAgain { payment_id } => {
                unit.get::<Payment>(*payment_id)?;
                unit.timer_claimed(Payment::stream(*payment_id));
                unit.wake::<Payment>(*payment_id, None)?;
                Ok(Next::Nothing)
            }
        }
    }
}

fn decide(unit: &mut Unit<'_>, payment_id: Uuid, input: &Input) -> Result<Next, Refused> {
    let payment = if is_authorization(input) {
        unit.get_or_new::<Payment>(payment_id)?
    } else {
        unit.get::<Payment>(payment_id)?
    };
    let decision = domain::decide(payment, input)?;
    let in_doubt = decision.event.as_ref().is_some_and(|event| leaves_doubt(payment, event));
    if let Some(event) = &decision.event {
        unit.record::<Payment>(payment_id, slice::from_ref(event))?;
        if in_doubt {
            let due = unit.now() + SECOND_LOOK_AFTER;
            unit.wake::<Payment>(payment_id, Some(due))?;
        }
    }
    Ok(decision.next)
}

/// Most likely the first that is heard of the payment.
fn is_authorization(input: &Input) -> bool {
    match input {
        Input::Request(request) => matches!(request.wish, Wish::Authorize { .. }),
        Input::Outcome { .. } | Input::LookAgain => false,
    }
}

/// True when somebody has to look again even if nobody asks: no charge was found, or one was that nobody waits for.
fn leaves_doubt(before: &Payment, event: &Event) -> bool {
    match event {
        Event::Voided { fate: Fate::NotFound(_), .. } => true,
        Event::VoidStarted { .. } => matches!(before, Payment::Voided { .. } | Payment::Declined { .. }),
        Event::Voided { fate: Fate::LetGo(_) | Fate::Refused, .. }
        | Event::AuthorizationStarted { .. }
        | Event::AuthorizationRestarted { .. }
        | Event::Authorized { .. }
        | Event::Declined { .. }
        | Event::VoidedBefore { .. }
        | Event::VoidRequested {}
        | Event::CaptureStarted { .. }
        | Event::Captured { .. }
        | Event::CaptureRejected { .. }
        | Event::RefundStarted { .. }
        | Event::Refunded { .. }
        | Event::RefundRejected { .. } => false,
    }
}
