//! Streams that a rebuild cannot follow: as in the live read model, what comes from the event on that is not understood
//! is put off, and nothing else.

use std::collections::{HashMap, HashSet};

use eventstore::{Recorded, StreamId};
use sqlx::postgres::PgConnection;
use tokio::time::timeout;

use super::parked::{self, Sieved, Stops};
use super::rebuild::{DEADLINE, RebuildError};
use super::{Projection, ProjectionError};

/// What a rebuild has put off so far.
#[derive(Default)]
pub(super) struct Aside {
    stops: Stops,
    /// How many events of each stream that stopped.
    skipped: HashMap<StreamId, i64>,
}

impl Aside {
    /// What of a batch is to be applied.
    pub(super) fn sieve<'a>(&self, events: &'a [Recorded]) -> Sieved<'a> {
        parked::sieve(events, &HashSet::new(), &self.stops)
    }

    /// Applies a batch, but for what is not understood, in one transaction.
    pub(super) async fn apply(
        &mut self,
        connection: &mut PgConnection,
        projection: &dyn Projection,
        events: &[Recorded],
    ) -> Result<(), RebuildError> {
        // Every turn but the last learns of at least one more event that is not understood.
        loop {
            let sieved = self.sieve(events);
            match transaction(connection, projection, &sieved.events).await {
                Ok(()) => {
                    self.count(&sieved);
                    return Ok(());
                }
                Err(RebuildError::Apply(ProjectionError::Decode(error))) if self.stops.learn(&error, events) => {
                    let undone = sqlx::raw_sql("rollback").execute(&mut *connection);
                    timeout(DEADLINE, undone).await.map_err(|_| RebuildError::Late)??;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A sieved batch is applied. What it put off is counted.
    pub(super) fn count(&mut self, sieved: &Sieved<'_>) {
        for (stream, skipped) in &sieved.stopped {
            *self.skipped.entry(*stream).or_default() += skipped;
        }
    }

    /// What is counted now, to be gone back to.
    pub(super) fn counted(&self) -> HashMap<StreamId, i64> {
        self.skipped.clone()
    }

    /// Goes back: what was applied since was taken back.
    pub(super) fn go_back(&mut self, counted: HashMap<StreamId, i64>) {
        self.skipped = counted;
    }

    /// How many streams it cannot follow.
    pub(super) fn streams(&self) -> u64 {
        self.skipped.len() as u64
    }

    /// Parks them for the read model that goes live, in the place of those that the one before could not follow. The
    /// lock of its cursor is held.
    pub(super) async fn park(&self, connection: &mut PgConnection, consumer: &str) -> Result<(), sqlx::Error> {
        sqlx::query("delete from public.parked_stream where consumer = $1")
            .bind(consumer)
            .execute(&mut *connection)
            .await?;
        let all = Sieved { stopped: self.skipped.clone(), ..Sieved::default() };
        parked::note(connection, consumer, &self.stops, &all).await
    }
}

async fn transaction(
    connection: &mut PgConnection,
    projection: &dyn Projection,
    events: &[Recorded],
) -> Result<(), RebuildError> {
    let work = async {
        sqlx::raw_sql("begin").execute(&mut *connection).await?;
        projection.apply(connection, events).await?;
        sqlx::raw_sql("commit").execute(&mut *connection).await?;
        Ok(())
    };
    timeout(DEADLINE, work).await.map_err(|_| RebuildError::Late)?
}
