//! `farmera run`: one or more services in this process, configured by the environment.

use std::time::Duration;

use chassis::config::Env;
use clap::Args;
use clap::builder::PossibleValuesParser;
use sqlx::Connection as _;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::host::{self, Host};
use crate::schema;
use crate::services::{self, Configured};
use crate::store;

/// How long to look at a server's version before starting without having seen it.
const LOOK_LIMIT: Duration = Duration::from_secs(1);
const POSTGRES_LEAST: i32 = 150_000;
const NATS_LEAST: (u64, u64) = (2, 14);

const ENVIRONMENT: &str = "\
Environment (FARMERA_<SERVICE>__<KEY> for one service, FARMERA_<KEY> for all; secrets also as <KEY>_FILE):
  DATABASE_URL              where the service's database is, as its service role (required)
  NATS_URL                  where NATS is, nats://host:4222 (required)
  GRPC_ADDRESS              where gRPC is served (default 127.0.0.1 and the service's port)
  DATABASE_CONNECTIONS_MAX  connections to the database at most (default 8)
  DRAIN_LIMIT_MS            time for work in flight at the end (default 10000)
  APPROVAL_ABOVE            operators' plans for more things than this need a second person (default 100)
  EVENTS_PER_MESSAGE_MAX    events that may travel in one message, 1 to 64 (default 64); 1 while services of an older
                            program still listen that takes a message for one event
  MIGRATION_URL             the database as its owner: with it operators may have read models made anew (optional)
  FARMERA_ADMIN_ADDRESS     /livez, /readyz, /metrics of the process (default 127.0.0.1:9600)
  orders:        PRODUCTS_URL (http://127.0.0.1:50051), PAYMENT_URL (http://127.0.0.1:50054), NOTIFICATION_URL
                 (http://127.0.0.1:50055),
                 INVENTORY_TIMEOUT_MS (5000), PAYMENT_TIMEOUT_MS (10000), NOTIFICATION_TIMEOUT_MS (5000): part of the
                 saga definitions, sagas in flight are pinned to them; with _V2 to _V9 at the end they are of that
                 version, which new sagas are started with
  products:      STOCK_LOW_THRESHOLD (10), CATALOGUE_CACHE_MS (100)
  payment:       PROVIDER_TIMEOUT_MS (2000), PROVIDER_TRIES_MAX (4), PROVIDER_CONCURRENCY_MAX (2048),
                 PROVIDER_URL (required), PROVIDER_KEY (secret), PROVIDER_CONNECTIONS_MAX (256); or SANDBOX=true: a
                 provider in this process that moves no money, with SANDBOX_LATENCY_MS (0) and
                 SANDBOX_CONNECTIONS_MAX (4)
  notification:  MAIL_TRANSPORT (file or smtp), MAILBOX_DIR (.farmera/mailbox), SMTP_URL, MAIL_FROM
Postgres and NATS may come and go: services wait for them, and /readyz says so. SIGTERM or Ctrl-C drains, a second one
ends at once.";

/// What `farmera run` is told.
#[derive(Args, Debug)]
#[command(after_help = ENVIRONMENT)]
pub struct Arguments {
    /// Which services.
    #[arg(required = true, value_name = "SERVICE", value_parser = PossibleValuesParser::new(services::names()))]
    services: Vec<String>,
}

/// Runs until a signal.
///
/// # Errors
/// [`Failure::Setup`] for configuration, taken ports and wrong servers; [`Failure::Failed`] when a service ends by
/// itself or has to be cut off.
pub async fn command(arguments: Arguments) -> Result<(), Failure> {
    chassis::telemetry::init_logs("info");
    let env = Env::of_process();
    let mut names = arguments.services;
    names.sort();
    names.dedup();
    let configured: Vec<Configured> = names.iter().map(|name| configure(name, &env)).collect::<Result<_, _>>()?;
    let mut bound = Vec::new();
    for service in configured {
        let variable = format!("FARMERA_{}__GRPC_ADDRESS", service.name.to_uppercase());
        let listener = host::bind(service.common.grpc_address, &variable).await?;
        bound.push((service, listener));
    }
    let admin = host::bind(host::admin_address(&env)?, "FARMERA_ADMIN_ADDRESS").await?;
    let looks = bound.iter().map(|(service, _)| check_servers(service));
    futures::future::try_join_all(looks).await?;
    let mut host = Host::new();
    host.serve_admin(admin, host::metrics()?);
    for (service, listener) in bound {
        host.start(service, listener);
    }
    let ended = tokio::select! {
        failure = host.first_to_end() => Err(failure),
        signal = chassis::shutdown::signal() => signal.map_err(|error| Failure::Failed(format!("no signals: {error}"))),
    };
    let drained = tokio::select! {
        drained = host.stop() => drained,
        _ = chassis::shutdown::signal() => false,
    };
    match (ended, drained) {
        (Err(failure), _) => Err(failure),
        (Ok(()), true) => Ok(()),
        (Ok(()), false) => Err(Failure::Failed("ended before everything in work was finished".to_owned())),
    }
}

/// The configuration of one service.
///
/// # Errors
/// [`Failure::Setup`] names the variable.
pub fn configure(name: &str, env: &Env) -> Result<Configured, Failure> {
    let service = services::find(name).ok_or_else(|| Failure::Setup(format!("there is no service {name}")))?;
    (service.configure)(env).map_err(|error| Failure::Setup(error.to_string()))
}

/// Refuses servers that are too old, and a database that is too new or lacks what was told. One that is away is not looked at: the service waits
/// for it, as it does for migrations that are still to come.
async fn check_servers(service: &Configured) -> Result<(), Failure> {
    let (name, common) = (service.name, &service.common);
    if let Some(service) = services::find(name) {
        schema::refuse_newer(service, common.database_url.expose()).await?;
    }
    let (postgres, nats) =
        tokio::join!(postgres_version(common.database_url.expose()), nats_version(common.nats_url.expose()));
    if let Some(found) = postgres.filter(|found| *found < POSTGRES_LEAST) {
        let found = found / 10_000;
        return Err(Failure::Setup(format!("{name}: Postgres {found} is too old: 15 or newer is needed")));
    }
    match nats {
        Some(found) if is_too_old(&found) => {
            return Err(Failure::Setup(format!("{name}: nats-server {found} is too old: 2.14 or newer is needed")));
        }
        Some(_) | None => {}
    }
    match services::find(name) {
        Some(service) => store::refuse_restored(service, &common.database_url, &common.nats_url).await,
        None => Ok(()),
    }
}

/// `server_version_num` of a Postgres that answers now: 150018 is 15.18.
pub(crate) async fn postgres_version(url: &str) -> Option<i32> {
    let asked = async {
        let mut connection = chassis::database::connect(url, "run").await.ok()?;
        let found: Result<i32, _> =
            sqlx::query_scalar("select current_setting('server_version_num')::int").fetch_one(&mut connection).await;
        drop(connection.close().await);
        found.ok()
    };
    timeout(LOOK_LIMIT, asked).await.ok().flatten()
}

/// The version of a nats-server that answers now.
pub(crate) async fn nats_version(url: &str) -> Option<String> {
    let client = timeout(LOOK_LIMIT, async_nats::connect(url)).await.ok()?.ok()?;
    Some(client.server_info().version)
}

/// True for a nats-server that the services refuse.
pub(crate) fn is_too_old(version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse::<u64>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version < NATS_LEAST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nats_server_before_2_14_is_too_old() {
        assert!(is_too_old("2.9.10"));
        assert!(!is_too_old("2.14.0"));
        assert!(!is_too_old("3.0.0-beta"));
    }
}
