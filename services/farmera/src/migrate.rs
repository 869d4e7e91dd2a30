//! `farmera migrate`: the tables of the services' databases, as the databases' owners.

use chassis::config::{ConfigError, Env, Secret};
use clap::Args;
use clap::builder::PossibleValuesParser;
use sqlx::migrate::Migrator;
use sqlx::{Connection as _, PgConnection};

use crate::failure::Failure;
use crate::output;
use crate::schema;
use crate::services::{self, Service};

/// What `farmera migrate` is told.
#[derive(Args, Debug)]
#[command(
    after_help = "Environment: FARMERA_<SERVICE>__MIGRATION_URL, the database as its owner; else FARMERA_<SERVICE>__DATABASE_URL."
)]
pub struct Arguments {
    /// Which services' databases; all when none is named.
    #[arg(value_name = "SERVICE", value_parser = PossibleValuesParser::new(services::names()))]
    services: Vec<String>,
}

/// A migration that was applied just now.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Applied {
    /// Its number: below 1000 the event store's, from 1001 the service's.
    pub version: i64,
    /// Its name.
    pub description: String,
}

/// Migrates and says what was applied.
///
/// # Errors
/// [`Failure::Setup`] for the configuration or a database that is not as it should be, [`Failure::Unavailable`] when it
/// does not answer.
pub async fn command(arguments: Arguments) -> Result<(), Failure> {
    chassis::telemetry::init_logs("warn");
    let env = Env::of_process();
    for service in services::chosen(&arguments.services) {
        let url = url(&env, service.name).map_err(|error| Failure::Setup(error.to_string()))?;
        let applied = migrate(service, url.expose()).await?;
        if applied.is_empty() {
            output::line(format!("{}: up to date", service.name));
        }
        for migration in applied {
            output::line(format!("{}: applied {:04} {}", service.name, migration.version, migration.description));
        }
    }
    Ok(())
}

/// Where a service's database is, as its owner.
///
/// # Errors
/// The variable is missing or cannot be read.
pub fn url(env: &Env, name: &str) -> Result<Secret, ConfigError> {
    const MEANING: &str = "the service's database as its owner (postgres://…)";
    let env = env.of_service(name);
    env.secret("MIGRATION_URL", MEANING).or_else(|error| match error {
        ConfigError::Missing { .. } => env.secret("DATABASE_URL", MEANING).map_err(|_| error),
        ConfigError::Malformed { .. } | ConfigError::Unreadable { .. } => Err(error),
    })
}

/// Brings one service's database up to date, the event store's tables first. Two at a time wait for each other. A database
/// that a newer program has migrated is left alone.
///
/// # Errors
/// As [`command`].
pub async fn migrate(service: &Service, url: &str) -> Result<Vec<Applied>, Failure> {
    let name = service.name;
    schema::refuse_newer(service, url).await?;
    let mut connection = chassis::database::connect(url, "migrate")
        .await
        .map_err(|error| Failure::Unavailable(format!("{name}: the database does not answer: {error}")))?;
    let result = apply(&mut connection, &eventstore_postgres::MIGRATOR, &(service.migrator)()).await;
    drop(connection.close().await);
    result.map_err(|error| Failure::Setup(format!("{name}: cannot migrate: {error}")))
}

async fn apply(
    connection: &mut PgConnection,
    store: &Migrator,
    service: &Migrator,
) -> Result<Vec<Applied>, sqlx::migrate::MigrateError> {
    let before = applied(connection).await?;
    store.run_direct(None, connection, false).await?;
    service.run_direct(None, connection, false).await?;
    let mut after = applied(connection).await?;
    after.retain(|migration| !before.contains(migration));
    Ok(after)
}

async fn applied(connection: &mut PgConnection) -> Result<Vec<Applied>, sqlx::Error> {
    let known: bool =
        sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null").fetch_one(&mut *connection).await?;
    if !known {
        return Ok(Vec::new());
    }
    sqlx::query_as("select version, description from _sqlx_migrations where success order by version")
        .fetch_all(connection)
        .await
}
