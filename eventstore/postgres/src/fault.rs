use std::time::Duration;

use eventstore::{CommitError, ReadError};
use sqlx::error::DatabaseError;

/// What a database error means for a commit.
#[derive(Debug)]
pub(crate) enum Fault {
    /// A version or a message that was free when the statement began is taken.
    Taken,
    /// The data is at fault, for ever.
    Refused(sqlx::Error),
    /// Two transactions stood in each other's way; the database chose this one. Try again.
    Again(sqlx::Error),
    /// The connection broke: nobody knows whether the commit took place.
    Unknown(sqlx::Error),
    /// It did not take place; the database cannot do it now.
    Unavailable(sqlx::Error),
}

impl Fault {
    pub(crate) fn of(error: sqlx::Error) -> Self {
        if is_broken(&error) {
            return Self::Unknown(error);
        }
        let kind = match error.as_database_error() {
            Some(database) => kind(database),
            None if matches!(error, sqlx::Error::Encode(_)) => Kind::Data,
            None => Kind::Other,
        };
        match kind {
            Kind::Taken => Self::Taken,
            Kind::Data => Self::Refused(error),
            Kind::Contention => Self::Again(error),
            Kind::Other => Self::Unavailable(error),
        }
    }
}

enum Kind {
    Taken,
    Data,
    Contention,
    Other,
}

fn kind(error: &dyn DatabaseError) -> Kind {
    let code = error.code().unwrap_or_default();
    match code.as_bytes() {
        b"23505" if matches!(error.constraint(), Some("event_pkey" | "inbox_pkey")) => Kind::Taken,
        // serialization_failure, deadlock_detected
        b"40001" | b"40P01" => Kind::Contention,
        // Data exceptions, violated constraints, "program limit exceeded" (a value too big for a row or an index).
        [b'2', b'2' | b'3', ..] | [b'5', b'4', ..] => Kind::Data,
        _ => Kind::Other,
    }
}

/// Is the connection of no use any more?
pub(crate) fn is_broken(error: &sqlx::Error) -> bool {
    match error.as_database_error().and_then(DatabaseError::code) {
        // Connection exceptions; the server is going down, or somebody ended our session; it was demoted to a replica
        // (read_only_sql_transaction): the primary is behind a new connection.
        Some(code) => matches!(code.as_bytes(), [b'0', b'8', ..] | [b'5', b'7', b'P', ..] | b"25006"),
        None => matches!(
            error,
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed
        ),
    }
}

/// The store's own reasons, where there is no error of the driver.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreFault {
    #[error("no answer within {0:?}")]
    Deadline(Duration),
    #[error("other writers were faster {0} times")]
    Contention(u32),
    #[error("the commit was refused, but what stood in its way is gone")]
    Vanished,
    #[error("the answer to the commit was lost {0} times")]
    Unresolved(u32),
}

pub(crate) fn commit_unavailable(reason: impl Into<eventstore::StoreError>) -> CommitError {
    CommitError::Unavailable(reason.into())
}

/// A column that cannot be decoded is corrupt; everything else passes.
pub(crate) fn read_error(error: sqlx::Error) -> ReadError {
    let corrupt =
        matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_));
    if corrupt { ReadError::Corrupt(error.to_string()) } else { ReadError::Unavailable(error.into()) }
}
