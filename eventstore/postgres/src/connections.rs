use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::query::Query;
use sqlx::{ConnectOptions, PgConnection, Postgres};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::fault::is_broken;

/// A statement and its values.
pub(crate) type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// Why a statement has no answer.
#[derive(Debug)]
pub(crate) enum RunError {
    /// There is no connection: the statement was not sent.
    NotSent(sqlx::Error),
    /// The server answered with an error, or the answer got lost.
    Sent(sqlx::Error),
}

impl RunError {
    pub(crate) fn into_inner(self) -> sqlx::Error {
        match self {
            Self::NotSent(error) | Self::Sent(error) => error,
        }
    }
}

/// The store's own connections: made when needed, at most so many, the most recently used first.
///
/// A connection whose call did not come to an orderly end (the socket broke, the deadline passed, the caller went
/// away) is closed, never reused: nobody knows what is still on its way. It takes the idle ones with it: what broke
/// it, a restarted server or a dead network, has most likely broken them, too.
pub(crate) struct Connections {
    options: PgConnectOptions,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Idle>>,
}

#[derive(Default)]
struct Idle {
    /// Counts the times that all idle connections were closed.
    generation: u64,
    connections: Vec<PgConnection>,
}

impl Connections {
    pub(crate) fn new(options: PgConnectOptions, connections_max: u32) -> Self {
        let permits = Arc::new(Semaphore::new(connections_max as usize));
        Self { options, permits, idle: Arc::default() }
    }

    /// Runs one statement and returns all of its rows. All, because an error may follow the last row: part of what a
    /// statement writes is written, and all of it is committed, after its rows are known.
    pub(crate) async fn run(&self, statement: Statement<'_>) -> Result<Vec<PgRow>, RunError> {
        let (mut connection, lease) = self.acquire().await.map_err(RunError::NotSent)?;
        let result = statement.fetch_all(&mut connection).await;
        match &result {
            Err(error) if is_broken(error) => drop(lease),
            Ok(_) | Err(_) => lease.give_back(connection),
        }
        result.map_err(RunError::Sent)
    }

    /// Runs a statement that only reads; once more, on a new connection, when the first turned out to be broken.
    pub(crate) async fn read<'q>(&self, statement: impl Fn() -> Statement<'q>) -> Result<Vec<PgRow>, sqlx::Error> {
        match self.run(statement()).await {
            Ok(rows) => Ok(rows),
            Err(RunError::Sent(error)) if is_broken(&error) => {
                self.run(statement()).await.map_err(RunError::into_inner)
            }
            Err(RunError::NotSent(error) | RunError::Sent(error)) => Err(error),
        }
    }

    async fn acquire(&self) -> Result<(PgConnection, Lease), sqlx::Error> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
        let (generation, idle) = {
            let mut idle = lock(&self.idle);
            (idle.generation, idle.connections.pop())
        };
        let connection = match idle {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        Ok((connection, Lease { generation, idle: Arc::clone(&self.idle), in_order: false, _permit: permit }))
    }
}

/// The right to one connection. Dropped without [`Lease::give_back`], it closes the idle ones.
struct Lease {
    generation: u64,
    idle: Arc<Mutex<Idle>>,
    in_order: bool,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    fn give_back(mut self, connection: PgConnection) {
        self.in_order = true;
        let mut idle = lock(&self.idle);
        if idle.generation == self.generation {
            idle.connections.push(connection);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut idle = lock(&self.idle);
        if !self.in_order && idle.generation == self.generation {
            idle.generation += 1;
            idle.connections.clear();
        }
    }
}

fn lock(idle: &Mutex<Idle>) -> MutexGuard<'_, Idle> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use farmera_local::TestServers;
    use sqlx::Row as _;

    use super::*;
    use crate::StoreOptions;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_server_enforces_limits_on_the_stores_own_connections() {
        let url = tokio::task::spawn_blocking(|| TestServers::shared().unwrap().admin_url()).await.unwrap();
        let connections = Connections::new(StoreOptions::new(url).own_connect_options().unwrap(), 1);
        let asked = "select current_setting('statement_timeout'), current_setting('lock_timeout'),
                         current_setting('idle_in_transaction_session_timeout')";
        let rows = connections.read(|| sqlx::query(asked)).await.unwrap();
        assert_eq!([0, 1, 2].map(|column| rows[0].get::<String, _>(column)), ["2500ms", "2s", "5s"]);
    }
}
