//! What a client is told when something is refused.

use std::time::Duration;

use chassis::problem::{self, Problem};
use chassis::projection::NotAbreast;
use eventstore::ReadError;
use saga::Refusal;
use saga::hold::HoldRefusal;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::domain::Rejection;
use crate::handler::HandleError;

/// The domain of every reason that orders gives.
pub const DOMAIN: &str = "orders.farmera.dev";

/// What a caller is told when the log cannot be read.
#[must_use]
pub fn unreadable(error: ReadError) -> Status {
    chassis::operations::unreadable(DOMAIN, error)
}

/// The status for an input that had no effect.
#[must_use]
pub fn of_error(order_id: Uuid, error: HandleError) -> Status {
    match error {
        HandleError::Rejected(rejection) => of_rejection(order_id, rejection),
        HandleError::Refused(refusal) => of_refusal(order_id, &refusal),
        HandleError::HoldRefused(refusal) => of_hold_refusal(&refusal),
        HandleError::Need(need) => problem::unusable(DOMAIN, &need),
        HandleError::Moved { actual } => {
            let message = format!("the saga has moved to version {actual}");
            Problem::new(Code::Aborted, "SAGA_MOVED", message).with("order_id", order_id).into_status(DOMAIN)
        }
        HandleError::Unasked(reason) => {
            tracing::error!(%order_id, %reason, "an answer is taken for a command");
            problem::internal(DOMAIN)
        }
        HandleError::Undecidable(reason) => {
            tracing::error!(%order_id, reason, "a saga cannot be decided by this program");
            problem::internal(DOMAIN)
        }
        contradiction @ HandleError::Contradiction { .. } => {
            tracing::error!("{contradiction}");
            problem::internal(DOMAIN)
        }
    }
}

/// The status for what the order's rules refuse.
#[must_use]
pub fn of_rejection(order_id: Uuid, rejection: Rejection) -> Status {
    let message = rejection.to_string();
    let problem = match rejection {
        Rejection::NotFound => Problem::new(Code::NotFound, "ORDER_NOT_FOUND", message),
        Rejection::RequestIdReused => Problem::new(Code::AlreadyExists, "REQUEST_ID_REUSED", message),
        Rejection::PastPivot => {
            Problem::new(Code::FailedPrecondition, "PAST_PIVOT", message).retry_after(Duration::from_secs(1))
        }
        Rejection::InHands => Problem::new(Code::FailedPrecondition, "ORDER_IN_HANDS", message),
        Rejection::AlreadyFailed => Problem::new(Code::FailedPrecondition, "ORDER_FAILED", message),
        Rejection::OutOfOrder => {
            tracing::error!(%order_id, "an order and its saga contradict each other");
            return problem::internal(DOMAIN);
        }
    };
    problem.with("order_id", order_id).into_status(DOMAIN)
}

/// The status for a list that may not hold what it must.
#[must_use]
pub fn of_not_abreast(error: &NotAbreast) -> Status {
    match error {
        NotAbreast::Foreign => {
            let message = "written_token: this database never came so far; ask without it";
            Problem::new(Code::FailedPrecondition, "WRITTEN_TOKEN_FOREIGN", message).into_status(DOMAIN)
        }
        NotAbreast::Unavailable => problem::unavailable(DOMAIN, "the read model does not answer; try again"),
        NotAbreast::Stopped(stopped) => problem::unavailable(DOMAIN, stopped.to_string()),
    }
}

/// The status for what the rules of holds refuse.
#[must_use]
pub fn of_hold_refusal(refusal: &HoldRefusal) -> Status {
    let message = refusal.to_string();
    let problem = match refusal {
        HoldRefusal::AlreadyHeld { .. } => Problem::new(Code::AlreadyExists, "ALREADY_HELD", message),
        HoldRefusal::NotHeld { .. } => Problem::new(Code::NotFound, "NOT_HELD", message),
        HoldRefusal::TooMany => Problem::new(Code::ResourceExhausted, "TOO_MANY_HOLDS", message),
        HoldRefusal::Over => Problem::new(Code::InvalidArgument, "HOLD_IS_OVER", message),
        HoldRefusal::Plan { .. } => Problem::new(Code::InvalidArgument, "PLAN_OUT_OF_BOUNDS", message),
    };
    problem.into_status(DOMAIN)
}

fn of_refusal(order_id: Uuid, refusal: &Refusal) -> Status {
    let message = refusal.to_string();
    let problem = match refusal {
        Refusal::NotStarted => Problem::new(Code::NotFound, "SAGA_NOT_FOUND", message),
        Refusal::PastNoReturn | Refusal::AtPivot { .. } => {
            Problem::new(Code::FailedPrecondition, "PAST_PIVOT", message).retry_after(Duration::from_secs(1))
        }
        Refusal::Ended { .. } => Problem::new(Code::FailedPrecondition, "SAGA_ENDED", message),
        Refusal::Compensating => Problem::new(Code::FailedPrecondition, "SAGA_COMPENSATING", message),
        Refusal::NotParked => Problem::new(Code::FailedPrecondition, "SAGA_NOT_PARKED", message),
        Refusal::Paused => Problem::new(Code::FailedPrecondition, "SAGA_PAUSED", message),
        Refusal::NotPaused => Problem::new(Code::FailedPrecondition, "SAGA_NOT_PAUSED", message),
        Refusal::NotSought { .. } => Problem::new(Code::FailedPrecondition, "STEP_NOT_WAITING", message),
        Refusal::PivotSkipped { .. } => Problem::new(Code::FailedPrecondition, "PIVOT_CANNOT_BE_SKIPPED", message),
        Refusal::NotUndone { .. } => Problem::new(Code::FailedPrecondition, "NOBODY_UNDOES_IT", message),
        Refusal::Frozen => Problem::new(Code::FailedPrecondition, "TIMERS_FROZEN", message),
        Refusal::NotFrozen => Problem::new(Code::FailedPrecondition, "TIMERS_NOT_FROZEN", message),
        Refusal::NoTimer => Problem::new(Code::FailedPrecondition, "NO_TIMER", message),
        Refusal::ShiftOutOfBounds => Problem::new(Code::InvalidArgument, "SHIFT_OUT_OF_BOUNDS", message),
        Refusal::CannotMigrate { .. } => Problem::new(Code::FailedPrecondition, "CANNOT_MIGRATE", message),
        Refusal::StartedOtherwise { .. } | Refusal::OtherDefinition { .. } => {
            tracing::error!(%order_id, %refusal, "a saga is bound to something else");
            return problem::internal(DOMAIN);
        }
    };
    problem.with("order_id", order_id).into_status(DOMAIN)
}
