//! Whether a database is one that this program was made for: asked before an operator's command works on it.

use std::time::Duration;

use chassis::database::{self, ConnectError};
use chassis::schema::{LookError, SchemaError};
use sqlx::Connection as _;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::services::Service;

const ASK_LIMIT: Duration = Duration::from_secs(5);

/// Refuses a database with migrations that this program does not know, or without some that it needs.
///
/// # Errors
/// [`Failure::Setup`] says which and what to do, [`Failure::Unavailable`] when the database does not answer.
pub async fn require(service: &Service, url: &str) -> Result<(), Failure> {
    let name = service.name;
    match timeout(ASK_LIMIT, look(service, url)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(LookError::Schema(error))) => Err(Failure::Setup(error.to_string())),
        Ok(Err(error @ LookError::Unavailable(_))) => Err(Failure::Unavailable(format!("{name}: {error}"))),
        Err(_) => Err(Failure::Unavailable(format!("{name}: Postgres does not answer in time"))),
    }
}

/// Refuses only a database that a newer program has migrated. One that does not answer is not looked at.
///
/// # Errors
/// [`Failure::Setup`] says which migrations are not known here and what to do.
pub async fn refuse_newer(service: &Service, url: &str) -> Result<(), Failure> {
    match timeout(ASK_LIMIT, look(service, url)).await {
        Ok(Err(LookError::Schema(error @ SchemaError::Newer { .. }))) => Err(Failure::Setup(error.to_string())),
        Ok(Ok(()) | Err(_)) | Err(_) => Ok(()),
    }
}

async fn look(service: &Service, url: &str) -> Result<(), LookError> {
    let mut connection = database::connect(url, "schema").await.map_err(|error| match error {
        ConnectError::Refused(error) => LookError::Unavailable(error),
        ConnectError::Url(_) | ConnectError::Late => {
            LookError::Unavailable(sqlx::Error::Io(std::io::Error::other(error.to_string())))
        }
    })?;
    let seen = service.schema().look(&mut connection).await;
    drop(connection.close().await);
    seen.map(drop)
}
