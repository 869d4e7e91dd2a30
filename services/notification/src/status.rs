//! What clients are told when something goes wrong. Clients only look: no rule of the domain can refuse them.

use chassis::problem::{Problem, internal, unavailable, undecodable};
use eventstore::{DecodeError, ReadError};
use tonic::{Code, Status};
use tracing::{error, warn};

/// Where our reasons belong.
pub const DOMAIN: &str = "notification.farmera.dev";

/// The read model did not answer.
#[must_use]
pub fn of_database(failed: &sqlx::Error) -> Status {
    warn!(error = failed as &dyn std::error::Error, "a list cannot be read");
    unavailable(DOMAIN, "the database does not answer; try again")
}

/// The database took too long.
#[must_use]
pub fn late() -> Status {
    unavailable(DOMAIN, "the database does not answer in time; try again")
}

/// The log did not answer.
#[must_use]
pub fn of_read(failed: &ReadError) -> Status {
    match failed {
        ReadError::Unavailable(_) => unavailable(DOMAIN, "the event store does not answer; watch again"),
        ReadError::Corrupt(_) => {
            error!(error = failed as &dyn std::error::Error, "the log cannot be read");
            internal(DOMAIN)
        }
    }
}

/// An event is not understood.
#[must_use]
pub fn of_decode(failed: DecodeError) -> Status {
    undecodable(DOMAIN, failed)
}

/// A watcher reads slower than things happen.
#[must_use]
pub fn watcher_too_slow(missed: u64) -> Status {
    Problem::new(
        Code::Aborted,
        "WATCHER_TOO_SLOW",
        "more happened than is kept for a watcher that does not read; list what there is and watch again",
    )
    .with("missed_commits", missed)
    .into_status(DOMAIN)
}

/// The service ends.
#[must_use]
pub fn stopping() -> Status {
    unavailable(DOMAIN, "the service is stopping; watch again")
}
