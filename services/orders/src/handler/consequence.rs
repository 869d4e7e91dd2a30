//! What a saga says and does, in words of orders: customers hear nothing of sagas. Pure.

use eventstore::Actor;
use saga::{CompensationCause, Refusal, SagaEvent, Status};
use uuid::Uuid;

use super::{HandleError, cancel_saga_id, place_saga_id};
use crate::domain::{CANCELLED_BY_CUSTOMER, Command, Failure, Rejection};
use crate::sagas::{AUTHORIZE_PAYMENT, CONFIRM, OrderProcess, RESERVE_INVENTORY};

/// Which saga of an order something is about.
#[derive(Clone, Copy)]
pub(super) enum Whose {
    /// The one that makes it happen.
    Place,
    /// The one that undoes it once it is completed.
    Cancel,
    /// One that either of them runs as a step: what it ends with is not the end of the order.
    Step,
}

impl Whose {
    pub(super) fn of(saga_id: Uuid, order_id: Uuid) -> Self {
        if saga_id == place_saga_id(order_id) {
            Self::Place
        } else if saga_id == cancel_saga_id(order_id) {
            Self::Cancel
        } else {
            Self::Step
        }
    }
}

/// What an event of a saga means for its order.
pub(super) fn consequence(event: &SagaEvent<OrderProcess>, whose: Whose) -> Option<Command> {
    match event {
        SagaEvent::StepSucceeded { step, .. } => match step.as_str() {
            RESERVE_INVENTORY => Some(Command::NoteReserved),
            CONFIRM => Some(Command::Confirm),
            _ => None,
        },
        SagaEvent::Completed => match whose {
            Whose::Place => Some(Command::Complete),
            Whose::Cancel => Some(Command::FinishCancellation),
            Whose::Step => None,
        },
        SagaEvent::Compensated { cause } => match whose {
            Whose::Place | Whose::Cancel => Some(undone(cause)),
            Whose::Step => None,
        },
        SagaEvent::Started { .. }
        | SagaEvent::StepRequested { .. }
        | SagaEvent::StepAwaited { .. }
        | SagaEvent::StepSkipped { .. }
        | SagaEvent::StepRetried { .. }
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
        | SagaEvent::Migrated { .. }
        | SagaEvent::StepRejected { .. }
        | SagaEvent::StepUnknown { .. }
        | SagaEvent::CompensationStarted { .. }
        | SagaEvent::CompensationRequested { .. }
        | SagaEvent::CompensationSucceeded { .. }
        | SagaEvent::CompensationFailed { .. }
        | SagaEvent::CancelRequested { .. }
        | SagaEvent::Parked { .. }
        | SagaEvent::Resumed { .. }
        | SagaEvent::Abandoned { .. } => None,
    }
}

/// What whoever cancels is told when the saga refuses: how the order stands, in words of orders.
///
/// # Errors
/// Everything but that it is on its way back already, for this or another reason.
pub(super) fn told_of_the_order(refusal: Refusal) -> Result<(), HandleError> {
    match refusal {
        Refusal::Compensating => Ok(()),
        Refusal::PastNoReturn | Refusal::AtPivot { .. } | Refusal::Ended { status: Status::Completed } => {
            Err(Rejection::PastPivot.into())
        }
        Refusal::Ended { status: Status::Compensated } => Err(Rejection::AlreadyFailed.into()),
        Refusal::Ended { .. } | Refusal::Paused | Refusal::Frozen => Err(Rejection::InHands.into()),
        refusal @ (Refusal::NotStarted
        | Refusal::StartedOtherwise { .. }
        | Refusal::NotParked
        | Refusal::NotPaused
        | Refusal::NotSought { .. }
        | Refusal::NotUndone { .. }
        | Refusal::PivotSkipped { .. }
        | Refusal::OtherDefinition { .. }
        | Refusal::NotFrozen
        | Refusal::NoTimer
        | Refusal::ShiftOutOfBounds
        | Refusal::CannotMigrate { .. }) => Err(HandleError::Refused(refusal)),
    }
}

fn undone(cause: &CompensationCause) -> Command {
    match cause {
        CompensationCause::Rejected { rejection, .. } => {
            let failure = Failure { reason: rejection.code.clone(), message: rejection.message.clone() };
            Command::Fail { failure }
        }
        CompensationCause::Exhausted { step, detail } => {
            let failure = Failure { reason: "NO_ANSWER".to_owned(), message: no_answer(step.as_str(), detail) };
            Command::Fail { failure }
        }
        CompensationCause::Late { deadline } => {
            let message = format!("the order was not confirmed by {deadline}");
            Command::Fail { failure: Failure { reason: "TIMED_OUT".to_owned(), message } }
        }
        CompensationCause::Cancelled { reason, actor } => Command::Cancel { failure: cancelled(reason, actor) },
    }
}

/// What the customer reads: what did not come about, not who did not answer.
fn no_answer(step: &str, detail: &str) -> String {
    match step {
        RESERVE_INVENTORY => "the goods could not be reserved in time".to_owned(),
        AUTHORIZE_PAYMENT => "the payment could not be authorized in time".to_owned(),
        other => format!("{other}: {detail}"),
    }
}

fn cancelled(reason: &str, actor: &Actor) -> Failure {
    let by_customer = actor.as_str().starts_with("customer:");
    let code = if by_customer { CANCELLED_BY_CUSTOMER } else { "CANCELLED_BY_OPERATOR" };
    Failure { reason: code.to_owned(), message: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use saga::StepName;

    use super::*;

    /// Words that mean nothing to whoever buys apples.
    const INNER: [&str; 6] = ["saga", "step", "compensat", "pivot", "reserve-inventory", "authorize-payment"];

    fn is_plain(text: &str) {
        assert!(INNER.iter().all(|word| !text.to_lowercase().contains(word)), "{text}");
    }

    #[test]
    fn whoever_cancels_is_told_how_the_order_stands() {
        let statuses = [Status::Completed, Status::Compensated, Status::Abandoned];
        let over = statuses.map(|status| Refusal::Ended { status });
        let pivot = Refusal::AtPivot { pivot: StepName::new(CONFIRM) };
        let refusals = [Refusal::PastNoReturn, pivot, Refusal::Paused, Refusal::Frozen];
        for refusal in over.into_iter().chain(refusals) {
            let told = told_of_the_order(refusal.clone());
            let Err(HandleError::Rejected(rejection)) = told else { panic!("{refusal} is told as it is") };
            is_plain(&rejection.to_string());
        }
        assert!(told_of_the_order(Refusal::Compensating).is_ok());
    }

    #[test]
    fn a_failure_says_what_did_not_come_about() {
        for step in [RESERVE_INVENTORY, AUTHORIZE_PAYMENT] {
            let cause = CompensationCause::Exhausted { step: StepName::new(step), detail: saga::NO_ANSWER.to_owned() };
            let Command::Fail { failure } = undone(&cause) else { panic!("the order has failed") };
            assert_eq!(failure.reason, "NO_ANSWER");
            is_plain(&failure.message);
        }
    }
}
