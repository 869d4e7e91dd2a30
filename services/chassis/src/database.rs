//! How every connection to Postgres is set up: with limits that the server enforces, see [`eventstore_postgres`].

use std::time::Duration;

use sqlx::{ConnectOptions as _, PgConnection};
use tokio::time::timeout;

pub use eventstore_postgres::{ServerLimits, pool, pool_of_statements, session, with_fixed_plans};

/// How long an operator's command waits for a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is wrong.
    #[error(transparent)]
    Url(#[from] eventstore_postgres::OptionsError),
    /// The database refuses, or is away.
    #[error(transparent)]
    Refused(#[from] sqlx::Error),
    /// It does not answer.
    #[error("no answer within {} s", CONNECT_LIMIT.as_secs())]
    Late,
}

/// A connection for an operator's command `name`, with [`ServerLimits::OPERATOR`].
///
/// # Errors
/// [`ConnectError`], within 5 s.
pub async fn connect(url: &str, name: &str) -> Result<PgConnection, ConnectError> {
    let session = session(url, &format!("farmera-{name}"), ServerLimits::OPERATOR)?;
    let connected = timeout(CONNECT_LIMIT, session.connect()).await.map_err(|_| ConnectError::Late)?;
    Ok(connected?)
}
