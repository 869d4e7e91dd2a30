//! Waiting for a read model: for questions whose answer must hold everything that had happened when they were asked.

use std::time::Duration;

use eventstore::{Cursor, ReadError, TxId};
use sqlx::postgres::PgPool;
use tokio::time::{Instant, sleep};

use super::Projection;
use crate::scan::LogScan;

/// Between two looks.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Why a read model is not known to be current.
#[derive(Debug, thiserror::Error)]
pub enum NotCurrent {
    /// The log does not answer. Try again.
    #[error("the log cannot be read")]
    Log(#[from] ReadError),
    /// The read model does not answer. Try again.
    #[error("the read model cannot be read")]
    View(#[from] sqlx::Error),
    /// It lags behind for longer than the caller waits. Try again when it has caught up.
    #[error("the read model {0} lags behind")]
    Behind(&'static str),
}

/// Waits until `projection` holds every event that was in the log at the moment of this call, at most `limit`.
///
/// # Errors
/// [`NotCurrent`].
pub async fn until_current(
    projection: &dyn Projection,
    pool: &PgPool,
    scan: &LogScan,
    limit: Duration,
) -> Result<(), NotCurrent> {
    let deadline = Instant::now() + limit;
    let Some(end) = scan.last_of(projection.categories()).await? else { return Ok(()) };
    loop {
        let found: Option<(String, i64)> = sqlx::query_as("select tx::text, position from projection where name = $1")
            .bind(projection.name())
            .fetch_optional(pool)
            .await?;
        let at = found.map_or(Cursor::START, |(tx, position)| Cursor {
            tx: TxId(tx.parse().unwrap_or(0)),
            position: u64::try_from(position).unwrap_or(0),
        });
        if at >= end {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(NotCurrent::Behind(projection.name()));
        }
        sleep(LOOK_AGAIN_AFTER).await;
    }
}
