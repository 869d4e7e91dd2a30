//! Errors at the edge. Payment takes no commands there: what can go wrong is reading.

use chassis::page;
use chassis::problem::{self, Problem, Violations};
use chassis::projection::NotCurrent;
use eventstore::{DecodeError, ReadError};
use tonic::{Code, Status};
use tracing::{error, warn};
use uuid::Uuid;

use crate::provider::ProviderError;

/// Where the reasons are defined.
pub const DOMAIN: &str = "payment.farmera.dev";

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Nobody ever asked for this payment.
    #[error("there is no payment {0}")]
    NotFound(Uuid),
    /// The log does not answer, or is damaged.
    #[error("the payment's history cannot be read")]
    Log(#[from] ReadError),
    /// The history is of a newer program.
    #[error("the payment's history cannot be understood")]
    Decode(#[from] DecodeError),
    /// The read model does not answer.
    #[error("the list of payments cannot be read")]
    View(#[from] sqlx::Error),
    /// The read model is not as of now.
    #[error("the list of payments is not as of now")]
    Current(#[from] NotCurrent),
    /// The provider does not answer.
    #[error("the provider's books cannot be read")]
    Provider(#[from] ProviderError),
    /// It took too long.
    #[error("the answer took too long")]
    Late,
}

impl From<Unreadable> for Status {
    fn from(unreadable: Unreadable) -> Self {
        let unreadable = match unreadable {
            Unreadable::Decode(error) => return problem::undecodable(DOMAIN, error),
            other @ (Unreadable::NotFound(_)
            | Unreadable::Log(_)
            | Unreadable::View(_)
            | Unreadable::Current(_)
            | Unreadable::Provider(_)
            | Unreadable::Late) => other,
        };
        match &unreadable {
            Unreadable::NotFound(id) => {
                let message = format!("there is no payment {id}: check the id, or list the payments of its order");
                Problem::new(Code::NotFound, "PAYMENT_NOT_FOUND", message).with("payment_id", id).into_status(DOMAIN)
            }
            Unreadable::Log(ReadError::Unavailable(_))
            | Unreadable::View(_)
            | Unreadable::Current(_)
            | Unreadable::Late => {
                warn!(error = &unreadable as &dyn std::error::Error, "a question has no answer");
                problem::unavailable(DOMAIN, "the database does not answer; try again")
            }
            Unreadable::Provider(ProviderError::Unanswered(_)) => {
                problem::unavailable(DOMAIN, "the payment provider does not answer; try again")
            }
            Unreadable::Provider(ProviderError::Unknown(_)) => {
                let mut violations = Violations::new();
                page::refuse(&mut violations);
                violations.finish(DOMAIN).err().unwrap_or_else(|| problem::internal(DOMAIN))
            }
            Unreadable::Log(ReadError::Corrupt(_))
            | Unreadable::Decode(_)
            | Unreadable::Provider(
                ProviderError::Refused(_) | ProviderError::KeySpent(_) | ProviderError::Malformed(_),
            ) => {
                error!(error = &unreadable as &dyn std::error::Error, "a question cannot be answered");
                problem::internal(DOMAIN)
            }
        }
    }
}
