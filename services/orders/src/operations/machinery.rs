//! What sagas run on, as the database shows it.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgPool;
use tonic::Status;

use crate::projections::rows;

/// Read models and what is remembered of the broker.
#[derive(Clone)]
pub struct Machinery(pub PgPool);

/// A read model.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct ProjectionRow {
    /// Its name.
    pub name: String,
    /// The transaction it has come to.
    pub tx: String,
    /// The place in the log it has come to.
    pub position: i64,
    /// When it last moved.
    pub updated_at: DateTime<Utc>,
    /// Streams it cannot follow.
    pub parked: i64,
}

/// What a service remembers of a stream of the broker.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct BrokerRow {
    /// Its name.
    pub stream: String,
    /// How often it lost something.
    pub epoch: i32,
    /// The newest message it acknowledged.
    pub last_sequence: i64,
    /// Messages known to be missing.
    pub missing: i64,
    /// Its durable consumers.
    pub consumers: Vec<String>,
    /// When this was seen.
    pub updated_at: DateTime<Utc>,
}

impl Machinery {
    /// The read models.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn projections(&self) -> Result<Vec<ProjectionRow>, Status> {
        rows(
            sqlx::query_as(
                "select p.name, p.tx::text as tx, p.position, p.updated_at,
                        (select count(*) from parked_stream where consumer = p.name) as parked
                 from projection as p
                 order by p.name",
            )
            .fetch_all(&self.0),
        )
        .await
    }

    /// What is remembered of the broker's streams.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn broker(&self) -> Result<Vec<BrokerRow>, Status> {
        rows(
            sqlx::query_as(
                "select stream, epoch, last_sequence, missing, consumers, updated_at
                 from broker_mark
                 order by stream",
            )
            .fetch_all(&self.0),
        )
        .await
    }
}
