use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;

use crate::sessions::{ServerLimits, session, with_fixed_plans};

/// Where the database is, and the limits of every call.
#[derive(Clone)]
pub struct StoreOptions {
    /// `postgres://role:password@host:port/database`. Its password is never printed.
    pub url: String,
    /// What the server shows for our connections in `pg_stat_activity`.
    pub application_name: String,
    /// Connections for commits and reads of the store.
    pub connections_max: u32,
    /// Connections for the service's own tables, see [`crate::PostgresStore::pool`].
    pub pool_connections_max: u32,
    /// How long a call may take, reconnecting and resolving a lost answer included.
    pub deadline: Duration,
}

impl StoreOptions {
    /// Eight connections, four more for the pool, 5 s.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            application_name: "farmera".to_owned(),
            connections_max: 8,
            pool_connections_max: 4,
            deadline: Duration::from_secs(5),
        }
    }

    /// How long one attempt at a commit may take. What is left of the deadline is for finding out what became of it.
    pub(crate) fn attempt_timeout(&self) -> Duration {
        self.deadline.mul_f64(0.6)
    }

    pub(crate) fn connect_options(&self) -> Result<PgConnectOptions, OptionsError> {
        session(&self.url, &self.application_name, ServerLimits::within(self.deadline))
    }

    pub(crate) fn own_connect_options(&self) -> Result<PgConnectOptions, OptionsError> {
        self.connect_options().map(with_fixed_plans)
    }

    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        let limits = [
            ("connections_max", self.connections_max == 0),
            ("pool_connections_max", self.pool_connections_max == 0),
            ("deadline", self.deadline.is_zero()),
        ];
        limits.into_iter().find(|(_, zero)| *zero).map_or(Ok(()), |(name, _)| Err(OptionsError::Zero(name)))
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = PgConnectOptions::from_str(&self.url).map_or_else(
            |_| "(not a URL of a database)".to_owned(),
            |options| {
                let name = options.get_database().unwrap_or_default();
                format!("postgres://{}@{}:{}/{name}", options.get_username(), options.get_host(), options.get_port())
            },
        );
        f.debug_struct("StoreOptions")
            .field("database", &database)
            .field("application_name", &self.application_name)
            .field("connections_max", &self.connections_max)
            .field("pool_connections_max", &self.pool_connections_max)
            .field("deadline", &self.deadline)
            .finish()
    }
}

/// Why a store cannot be set up. The configuration is at fault; trying again does not help.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OptionsError {
    /// The URL is not one of a Postgres database. It is not repeated here: it may hold a password.
    #[error("the database URL is not of the form postgres://role:password@host:port/database")]
    Url,
    /// A limit is zero.
    #[error("{0} must not be zero")]
    Zero(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_printed() {
        let options = StoreOptions::new("postgres://orders:s3cret@db:5432/orders");
        assert_eq!(format!("{options:?}").matches("postgres://orders@db:5432/orders").count(), 1, "{options:?}");
        assert!(!format!("{options:?}").contains("s3cret"));

        let broken = StoreOptions::new("postgres://orders:s3cret@db:port/orders");
        let error = broken.connect_options().expect_err("no number, no port");
        assert!(!format!("{broken:?} {error} {error:?}").contains("s3cret"));
    }
}
