//! `farmera store`: a database that was put back to an older state, and how its service goes on.

use std::time::Duration;

use chassis::broker::Broker;
use chassis::config::{Env, Secret};
use chassis::health::Health;
use chassis::transport::memory::LookError;
use chassis::transport::{self, LOOKED_AT_MAX, LostEvent, Older};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use eventstore::ReadError;
use eventstore_postgres::{PostgresStore, StoreOptions};
use serde::Serialize;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::migrate;
use crate::output::{self, Format, Paint};
use crate::schema;
use crate::services::{self, Service};
use crate::surroundings::Surroundings;

/// How long broker and database may take to answer.
const LOOK_LIMIT: Duration = Duration::from_secs(30);
/// How long `farmera run` looks before it starts without having seen them.
const START_LIMIT: Duration = Duration::from_secs(5);
const REASON_MAX: usize = 500;

const ADOPT_HELP: &str = "\
Stop the service first. Others have acted on what `farmera store lost` lists: settle that by hand, as docs/runbooks/restore.md
says. Then this begins a new history: the service starts again, its messages name another storeepoch, and nothing the
broker holds or remembers of the lost one is taken for a duplicate of what it tells. Needs the database as its owner:
FARMERA_<SERVICE>__MIGRATION_URL, else FARMERA_<SERVICE>__DATABASE_URL.";

/// What can be done with a service's store.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List what others were told and the service's database does not have. Exit code 1 when there is something.
    Lost {
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show it")]
        which: Which,
        /// The form of the answer.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Let a service go on with an older database: what is lost stays lost, a new history begins.
    #[command(after_help = ADOPT_HELP)]
    Adopt {
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show it")]
        which: Which,
        /// Why, for whoever looks later.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Also when the broker tells of nothing that the database lacks: it may have forgotten as much.
        #[arg(long)]
        anyway: bool,
    },
}

/// Whose store.
#[derive(Args, Debug)]
pub struct Which {
    /// The service.
    #[arg(value_name = "SERVICE", value_parser = PossibleValuesParser::new(services::names()))]
    service: String,
    #[command(flatten)]
    surroundings: Surroundings,
}

/// Lists or adopts.
///
/// # Errors
/// [`Failure::Failed`] when something is lost (`lost`) or nothing is (`adopt`), [`Failure::Setup`] for the surroundings,
/// [`Failure::Unavailable`] when broker or database do not answer.
pub async fn command(command: Command) -> Result<(), Failure> {
    chassis::telemetry::init_logs("error");
    match command {
        Command::Lost { which, output } => list(&which, output).await,
        Command::Adopt { which, reason, anyway } => adopt(&which, &reason, anyway).await,
    }
}

/// Refuses to start a service whose database lacks what it has told. Servers that do not answer are not looked at: the
/// service waits for them, and looks then.
///
/// # Errors
/// [`Failure::Setup`] says what is missing and what to do.
pub async fn refuse_restored(service: &Service, database: &Secret, nats: &Secret) -> Result<(), Failure> {
    let Ok(store) = PostgresStore::connect(&options(database)) else { return Ok(()) };
    match timeout(START_LIMIT, look(service, &store, nats)).await {
        Ok(Ok(lost)) => match Older::told(service.relay.stream, lost) {
            Some(older) => Err(Failure::Setup(format!("{}: {older}", service.name))),
            None => Ok(()),
        },
        Ok(Err(failure @ Failure::Setup(_))) => Err(failure),
        Ok(Err(Failure::Failed(_) | Failure::NotFound(_) | Failure::Unavailable(_))) | Err(_) => Ok(()),
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    service: &'static str,
    /// The newest messages that were looked at, at most.
    looked_at_max: u64,
    lost: &'a [LostEvent],
}

async fn list(which: &Which, format: Format) -> Result<(), Failure> {
    let (service, env) = which.chosen()?;
    let url = env.of_service(service.name).secret("DATABASE_URL", "the service's database (postgres://…)");
    let lost = lost(service, &env, &url.map_err(|error| Failure::Setup(error.to_string()))?).await?;
    match format {
        Format::Json => output::json(&Answer { service: service.name, looked_at_max: LOOKED_AT_MAX, lost: &lost }),
        Format::Table if lost.is_empty() => output::line("the broker tells of nothing that the database lacks"),
        Format::Table => show(&lost),
    }
    match lost.len() {
        0 => Ok(()),
        count => Err(Failure::Failed(format!("{}: {count} event(s) were told and are lost", service.name))),
    }
}

async fn adopt(which: &Which, reason: &str, anyway: bool) -> Result<(), Failure> {
    let reason = reason.trim();
    if reason.is_empty() || reason.len() > REASON_MAX {
        return Err(Failure::Setup(format!("--reason: expected 1 to {REASON_MAX} bytes")));
    }
    let (service, env) = which.chosen()?;
    let url = migrate::url(&env, service.name).map_err(|error| Failure::Setup(error.to_string()))?;
    let lost = lost(service, &env, &url).await?;
    if lost.is_empty() && !anyway {
        let nothing = "the broker tells of nothing that the database lacks: nothing was changed (--anyway)";
        return Err(Failure::Failed(format!("{}: {nothing}", service.name)));
    }
    let store = PostgresStore::connect(&options(&url)).map_err(|error| Failure::Setup(error.to_string()))?;
    let history = store.begin_history(reason).await.map_err(|error| unreadable(service, &error))?;
    output::line(format!("{}: history {history} begins; {} event(s) are left behind", service.name, lost.len()));
    Ok(())
}

impl Which {
    fn chosen(&self) -> Result<(&'static Service, Env), Failure> {
        let name = &self.service;
        let service = services::find(name).ok_or_else(|| Failure::Setup(format!("there is no service {name}")))?;
        Ok((service, self.surroundings.env()?))
    }
}

async fn lost(service: &Service, env: &Env, database: &Secret) -> Result<Vec<LostEvent>, Failure> {
    schema::require(service, database.expose()).await?;
    let nats = env.of_service(service.name).secret("NATS_URL", "where NATS is (nats://host:4222)");
    let nats = nats.map_err(|error| Failure::Setup(error.to_string()))?;
    let store = PostgresStore::connect(&options(database)).map_err(|error| Failure::Setup(error.to_string()))?;
    match timeout(LOOK_LIMIT, look(service, &store, &nats)).await {
        Ok(lost) => lost,
        Err(_) => Err(Failure::Unavailable(format!("{}: broker or database do not answer in time", service.name))),
    }
}

async fn look(service: &Service, store: &PostgresStore, nats: &Secret) -> Result<Vec<LostEvent>, Failure> {
    let name = service.name;
    let broker = Broker::connect(name, nats, Health::new().component("nats")).await;
    let broker = broker.map_err(|error| Failure::Setup(format!("{name}: {error}")))?;
    // Made in the background; without it the first question would find nobody.
    drop(broker.client.flush().await);
    let lost = transport::lost(service.relay.stream, store, &broker).await;
    lost.map_err(|error| match error {
        LookError::Older(older) => Failure::Setup(format!("{name}: {older}")),
        LookError::Broker(error) => Failure::Unavailable(format!("{name}: {error}")),
        LookError::Store(error) => unreadable(service, &error),
    })
}

fn options(url: &Secret) -> StoreOptions {
    let application_name = "farmera-store".to_owned();
    StoreOptions { application_name, connections_max: 1, pool_connections_max: 1, ..StoreOptions::new(url.expose()) }
}

fn show(lost: &[LostEvent]) {
    let headings = ["told at", "message", "stream", "version", "what"];
    let mut table = Paint::of_stdout().table(&headings, &[1, 3]);
    for event in lost {
        table.add_row([
            event.time.clone(),
            event.sequence.to_string(),
            event.stream.clone(),
            event.version.to_string(),
            event.message_type.clone(),
        ]);
    }
    output::table(&table);
}

fn unreadable(service: &Service, error: &ReadError) -> Failure {
    let name = service.name;
    match error {
        ReadError::Unavailable(source) => Failure::Unavailable(format!("{name}: {error}: {source}")),
        ReadError::Corrupt(_) => Failure::Failed(format!("{name}: {error}")),
    }
}
