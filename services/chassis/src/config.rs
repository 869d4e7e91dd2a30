//! Configuration comes from the environment, is read once at the start, and every error names its variable.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use eventstore_postgres::StoreOptions;
use sqlx::postgres::PgConnectOptions;

use crate::database::{ServerLimits, session};
use crate::relay::EventsPerMessage;
use crate::service::StartError;

/// A value that must not be printed: a URL with a password, a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `value` from being printed.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. Not for logs.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// Why the program cannot start with this environment.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Set the variable.
    #[error("{name} is not set: {meaning}")]
    Missing {
        /// The variable.
        name: String,
        /// What it is for.
        meaning: &'static str,
    },
    /// Correct the variable.
    #[error("{name} is {found:?}: expected {expected}")]
    Malformed {
        /// The variable.
        name: String,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// The file named by a `*_FILE` variable cannot be read.
    #[error("{name} names {path:?}, which cannot be read: {reason}")]
    Unreadable {
        /// The variable.
        name: String,
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
}

/// The environment, or a copy of it for tests and for services that run in one process.
#[derive(Clone, Debug, Default)]
pub struct Env(HashMap<String, String>);

impl Env {
    /// The process's environment. Variables that are not Unicode are left out.
    #[must_use]
    pub fn of_process() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        )
    }

    /// Adds or replaces a variable.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// The variables of one service: `FARMERA_<SERVICE>__<KEY>`, or `FARMERA_<KEY>` for all services.
    #[must_use]
    pub fn of_service(&self, service: &str) -> ServiceEnv<'_> {
        ServiceEnv { env: self, prefix: format!("FARMERA_{}__", service.to_uppercase()) }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// The environment as one service sees it.
#[derive(Debug)]
pub struct ServiceEnv<'a> {
    env: &'a Env,
    prefix: String,
}

impl ServiceEnv<'_> {
    fn name(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn find(&self, key: &str) -> Option<(String, &str)> {
        [self.name(key), format!("FARMERA_{key}")]
            .into_iter()
            .find_map(|name| self.env.get(&name).map(|value| (name.clone(), value)))
    }

    /// Whether there is a value.
    #[must_use]
    pub fn is_set(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// A value, or `default`.
    ///
    /// # Errors
    /// It cannot be parsed; `expected` says what would do.
    pub fn value<T: FromStr>(&self, key: &str, default: T, expected: &'static str) -> Result<T, ConfigError> {
        Ok(self.optional(key, expected)?.unwrap_or(default))
    }

    /// A value, if it is set.
    ///
    /// # Errors
    /// It cannot be parsed; `expected` says what would do.
    pub fn optional<T: FromStr>(&self, key: &str, expected: &'static str) -> Result<Option<T>, ConfigError> {
        let Some((name, found)) = self.find(key) else { return Ok(None) };
        match found.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(ConfigError::Malformed { name, found: found.to_owned(), expected }),
        }
    }

    /// A duration in milliseconds, 1 to 3,600,000.
    ///
    /// # Errors
    /// It is no such number.
    pub fn millis(&self, key: &str, default: Duration) -> Result<Duration, ConfigError> {
        const EXPECTED: &str = "milliseconds, 1 to 3600000";
        let Some(millis) = self.optional::<u64>(key, EXPECTED)? else { return Ok(default) };
        if (1..=3_600_000).contains(&millis) {
            return Ok(Duration::from_millis(millis));
        }
        Err(ConfigError::Malformed { name: self.name(key), found: millis.to_string(), expected: EXPECTED })
    }

    /// A secret: from the variable, or from the file that `<KEY>_FILE` names.
    ///
    /// # Errors
    /// Neither is set, or the file cannot be read.
    pub fn secret(&self, key: &str, meaning: &'static str) -> Result<Secret, ConfigError> {
        if let Some((name, path)) = self.find(&format!("{key}_FILE")) {
            let read = std::fs::read_to_string(path);
            let text = read.map_err(|error| ConfigError::Unreadable {
                name,
                path: path.to_owned(),
                reason: error.to_string(),
            })?;
            return Ok(Secret::new(text.trim()));
        }
        let found = self.find(key).map(|(_, value)| Secret::new(value));
        found.ok_or_else(|| ConfigError::Missing { name: self.name(key), meaning })
    }
}

/// What every service needs to know.
#[derive(Clone, Debug)]
pub struct Common {
    /// The service's database, as the service's own role.
    pub database_url: Secret,
    /// The same as its owner, if this process may know: for making read models anew.
    pub owner_url: Option<Secret>,
    /// The broker.
    pub nats_url: Secret,
    /// Where gRPC is served; port 0 takes a free one.
    pub grpc_address: SocketAddr,
    /// Connections to the database at most.
    pub database_connections_max: u32,
    /// How long work in flight may take to finish after a shutdown was asked for.
    pub drain_limit: Duration,
    /// Operators' plans for more things than this need a second person's approval.
    pub approval_above: u32,
    /// How much may travel together.
    pub events_per_message: EventsPerMessage,
}

/// Few enough to be looked at one by one.
const APPROVAL_ABOVE: u32 = 100;

impl Common {
    /// Reads what every service needs: `DATABASE_URL`, `NATS_URL`, `GRPC_ADDRESS`, `DATABASE_CONNECTIONS_MAX`,
    /// `DRAIN_LIMIT_MS`, `APPROVAL_ABOVE` (100), `EVENTS_PER_MESSAGE_MAX` (64); `MIGRATION_URL` if it is set.
    ///
    /// # Errors
    /// [`ConfigError`] names the variable.
    pub fn from_env(env: &ServiceEnv<'_>, default_port: u16) -> Result<Self, ConfigError> {
        const OWNER: &str = "the service's database as its owner (postgres://…)";
        let owner_url = match env.secret("MIGRATION_URL", OWNER) {
            Ok(url) => Some(url),
            Err(ConfigError::Missing { .. }) => None,
            Err(error @ (ConfigError::Malformed { .. } | ConfigError::Unreadable { .. })) => return Err(error),
        };
        Ok(Self {
            owner_url,
            database_url: env.secret("DATABASE_URL", "where the service's Postgres database is (postgres://…)")?,
            nats_url: env.secret("NATS_URL", "where NATS is (nats://host:4222)")?,
            grpc_address: env.value(
                "GRPC_ADDRESS",
                SocketAddr::from(([127, 0, 0, 1], default_port)),
                "an address such as 0.0.0.0:50052",
            )?,
            database_connections_max: env.value("DATABASE_CONNECTIONS_MAX", 8, "a number of connections")?,
            drain_limit: env.millis("DRAIN_LIMIT_MS", Duration::from_secs(10))?,
            approval_above: env.value("APPROVAL_ABOVE", APPROVAL_ABOVE, "a number")?,
            events_per_message: env.value("EVENTS_PER_MESSAGE_MAX", EventsPerMessage::default(), "1 to 64")?,
        })
    }

    /// How the event store reaches the database.
    #[must_use]
    pub fn store_options(&self, service: &str) -> StoreOptions {
        StoreOptions {
            application_name: format!("farmera-{service}"),
            connections_max: self.database_connections_max,
            ..StoreOptions::new(self.database_url.expose())
        }
    }

    /// A further way into the service's database, see [`crate::database`].
    ///
    /// # Errors
    /// `DATABASE_URL` is no address of a Postgres database.
    pub fn session(&self, application_name: &str, limits: ServerLimits) -> Result<PgConnectOptions, StartError> {
        session(self.database_url.expose(), application_name, limits)
            .map_err(|error| StartError::Store(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_own_variable_wins_over_the_shared_one() {
        let env = Env::default().with("FARMERA_NATS_URL", "nats://all").with("FARMERA_ORDERS__NATS_URL", "nats://own");
        assert_eq!(env.of_service("orders").secret("NATS_URL", "").unwrap().expose(), "nats://own");
        assert_eq!(env.of_service("payment").secret("NATS_URL", "").unwrap().expose(), "nats://all");
    }

    #[test]
    fn an_error_names_the_variable_what_it_holds_and_what_would_do() {
        let env = Env::default().with("FARMERA_ORDERS__GRPC_ADDRESS", "50052");
        let error = env.of_service("orders").optional::<SocketAddr>("GRPC_ADDRESS", "an address").unwrap_err();
        assert_eq!(error.to_string(), "FARMERA_ORDERS__GRPC_ADDRESS is \"50052\": expected an address");
    }

    #[test]
    fn a_secret_is_never_printed() {
        assert_eq!(format!("{:?}", Secret::new("postgres://u:p@h/d")), "<secret>");
    }
}
