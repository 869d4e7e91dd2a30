//! What the services stand on: servers, databases, and an environment that names them.

use std::path::PathBuf;

use chassis::config::Env;
use farmera_local::{DatabaseSpec, Servers, ServersOptions, StartError, Toolbox};
use futures::future::try_join_all;
use sqlx::Connection as _;

use crate::addresses::{self, Addresses};
use crate::failure::Failure;
use crate::migrate::migrate as migrate_service;
use crate::services::SERVICES;
use crate::surroundings;
use crate::up::Options;
use crate::up::listeners::Listeners;

/// The process's environment with `variables`, without what would lead the services to other servers than ours.
pub(super) fn environment(variables: &[(String, String)]) -> Env {
    let ours =
        ["DATABASE_URL", "DATABASE_URL_FILE", "MIGRATION_URL", "MIGRATION_URL_FILE", "NATS_URL", "NATS_URL_FILE"];
    let mut env = Env::default();
    for (name, value) in std::env::vars_os() {
        let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) else { continue };
        if !ours.iter().any(|key| name.ends_with(key)) {
            env = env.with(name, value);
        }
    }
    variables.iter().fold(env, |env, (name, value)| env.with(name, value))
}

/// Starts the servers.
pub(super) async fn start(options: &Options) -> Result<((Servers, addresses::Postgres), String), Failure> {
    let toolbox = Toolbox::find(&farmera_local::project_root());
    let toolbox = toolbox.map_err(|error| Failure::Setup(error.to_string()))?;
    let mut asked = ServersOptions::new(&options.state);
    asked.fresh = options.fresh;
    asked.temporary = options.temporary;
    asked.databases = SERVICES.iter().map(|service| database(service.name)).collect();
    asked.toolbox = Some(toolbox.clone());
    let starting = tokio::task::spawn_blocking(move || Servers::start(asked)).await;
    let servers = starting.map_err(|error| Failure::Failed(error.to_string()))?.map_err(refused)?;
    // What an earlier process left behind is not true any more.
    Addresses::remove(servers.root());
    let postgres = postgres(&servers).await?;
    let what = format!("Postgres {} and nats-server {}", postgres.version, toolbox.nats.version);
    Ok(((servers, postgres), what))
}

fn refused(error: StartError) -> Failure {
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Failure::Setup(format!("{error}{cause}"))
}

/// Names that follow from the service's.
fn database(service: &str) -> DatabaseSpec {
    let name = format!("farmera_{service}");
    DatabaseSpec::new(&name, format!("{name}_owner"), &name)
}

async fn postgres(servers: &Servers) -> Result<addresses::Postgres, Failure> {
    let url = servers.admin_url();
    let failed =
        |error: &dyn std::error::Error| Failure::Setup(format!("the private Postgres does not answer: {error}"));
    let mut connection = chassis::database::connect(&url, "up").await.map_err(|error| failed(&error))?;
    let asked = "select current_setting('server_version'), current_setting('fsync') = 'on'";
    let (version, fsync): (String, bool) =
        sqlx::query_as(asked).fetch_one(&mut connection).await.map_err(|error| failed(&error))?;
    drop(connection.close().await);
    let address = url.rsplit('@').next().and_then(|rest| rest.split('/').next()).unwrap_or_default().to_owned();
    let version = version.split_whitespace().next().unwrap_or_default().to_owned();
    Ok(addresses::Postgres { pid: servers.postgres_pid(), address, version, fsync })
}

/// Brings every database up to date.
pub(super) async fn migrate(servers: &Servers) -> Result<((), String), Failure> {
    let migrations = SERVICES.iter().map(|service| async {
        let url = servers.owner_url(&database(service.name).name);
        let url = url.map_err(|error| Failure::Setup(error.to_string()))?;
        migrate_service(service, &url).await
    });
    let applied = try_join_all(migrations).await?;
    let count: usize = applied.iter().map(Vec::len).sum();
    Ok(((), format!("{} databases, {count} migrations applied", applied.len())))
}

/// Writes down, for its owner alone, how operators' commands reach what was started here.
pub(super) fn save_surroundings(servers: &Servers) -> Result<(), Failure> {
    let refused = |error: farmera_local::UnknownName| Failure::Setup(error.to_string());
    let mut variables = vec![("FARMERA_NATS_URL".to_owned(), servers.nats_url())];
    for service in &SERVICES {
        let database = database(service.name).name;
        let prefix = format!("FARMERA_{}__", service.name.to_uppercase());
        variables.push((format!("{prefix}DATABASE_URL"), servers.service_url(&database).map_err(refused)?));
        variables.push((format!("{prefix}MIGRATION_URL"), servers.owner_url(&database).map_err(refused)?));
    }
    surroundings::save(servers.root(), &variables)
        .map_err(|error| Failure::Setup(format!("cannot write {}: {error}", surroundings::FILE)))
}

/// Where mails end.
pub(super) fn mailbox(servers: &Servers) -> PathBuf {
    servers.root().join("mailbox")
}

/// The environment of the services: our servers, and each other.
pub(super) fn configure(env: Env, servers: &Servers, listeners: &Listeners) -> Result<Env, Failure> {
    let endpoints = &listeners.endpoints;
    let mut env = env
        .with("FARMERA_NATS_URL", servers.nats_url())
        .with("FARMERA_ORDERS_URL", &endpoints.orders)
        .with("FARMERA_PRODUCTS_URL", &endpoints.products)
        .with("FARMERA_PAYMENT_URL", &endpoints.payment)
        .with("FARMERA_NOTIFICATION_URL", &endpoints.notification)
        // Unless a processor is named.
        .with("FARMERA_PAYMENT__SANDBOX", "true")
        .with("FARMERA_NOTIFICATION__MAILBOX_DIR", mailbox(servers).to_string_lossy());
    for (name, _) in &listeners.services {
        let url = servers.service_socket_url(&database(name).name);
        let url = url.map_err(|error| Failure::Setup(error.to_string()))?;
        env = env.with(format!("FARMERA_{}__DATABASE_URL", name.to_uppercase()), url);
        let owner = servers.owner_url(&database(name).name).map_err(|error| Failure::Setup(error.to_string()))?;
        env = env.with(format!("FARMERA_{}__MIGRATION_URL", name.to_uppercase()), owner);
    }
    Ok(env)
}
