//! Where read models stand, for operators.

use std::time::Duration;

use chrono::{DateTime, Utc};
use eventstore::{Cursor, TxId};
use eventstore_postgres::{PostgresStore, StoreOptions};
use tokio::time::timeout;

use super::Projection;
use super::rebuild::RebuildError;
use super::scratch::rows;
use crate::database::{ConnectError, connect};

const DEADLINE: Duration = Duration::from_secs(60);

/// Where a read model stands.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Standing {
    /// The projection's name.
    pub name: &'static str,
    /// Its tables.
    pub tables: &'static [&'static str],
    /// The last event that is in them; `None` when it never ran.
    pub cursor: Option<Cursor>,
    /// When it last moved.
    pub moved: Option<DateTime<Utc>>,
    /// Committed events that are not in them yet.
    pub lag_events: u64,
    /// How old the oldest of those is, seconds.
    pub lag_seconds: f64,
    /// Rows of its tables.
    pub rows: u64,
}

/// Where `projection` stands in the database of `url`; the service's own role will do.
///
/// # Errors
/// [`RebuildError::Connect`], [`RebuildError::Database`], [`RebuildError::Read`] or [`RebuildError::Late`].
pub async fn standing(projection: &dyn Projection, url: &str) -> Result<Standing, RebuildError> {
    let options = StoreOptions {
        application_name: "farmera-projection".to_owned(),
        connections_max: 1,
        deadline: DEADLINE,
        ..StoreOptions::new(url)
    };
    let store = PostgresStore::connect(&options).map_err(ConnectError::from)?;
    let mut connection = connect(url, "projection").await?;
    let asked = async {
        let found: Option<(String, i64, DateTime<Utc>)> =
            sqlx::query_as("select tx::text, position, updated_at from projection where name = $1")
                .bind(projection.name())
                .fetch_optional(&mut connection)
                .await?;
        let count = rows(&mut connection, "public", projection.tables()).await?;
        Ok::<_, sqlx::Error>((found, count))
    };
    let (found, rows) = timeout(DEADLINE, asked).await.map_err(|_| RebuildError::Late)??;
    let cursor = found.as_ref().map(|(tx, position, _)| Cursor {
        tx: TxId(tx.parse().unwrap_or(0)),
        position: u64::try_from(*position).unwrap_or(0),
    });
    let behind = store.behind(cursor.unwrap_or(Cursor::START), projection.categories()).await?;
    Ok(Standing {
        name: projection.name(),
        tables: projection.tables(),
        cursor,
        moved: found.map(|(_, _, moved)| moved),
        lag_events: behind.events,
        lag_seconds: behind.age.as_secs_f64(),
        rows,
    })
}
