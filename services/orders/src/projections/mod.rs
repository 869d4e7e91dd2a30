//! Read models: a file each, with its table, its `apply` and its queries.

pub mod held;
pub mod open;
pub mod orders;
pub mod sagas;

use std::time::Duration;

use chassis::problem;
use tokio::time::timeout;
use tonic::Status;

use crate::status::DOMAIN;

const DEADLINE: Duration = Duration::from_secs(5);

/// The rows of a query, in time.
pub(crate) async fn rows<T>(query: impl Future<Output = Result<Vec<T>, sqlx::Error>>) -> Result<Vec<T>, Status> {
    match timeout(DEADLINE, query).await {
        Ok(Ok(rows)) => Ok(rows),
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "a read model cannot be read");
            Err(problem::unavailable(DOMAIN, "the read model does not answer; try again"))
        }
        Err(_) => Err(problem::unavailable(DOMAIN, "the read model does not answer in time; try again")),
    }
}
