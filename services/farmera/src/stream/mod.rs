//! `farmera stream`: streams of events, as they were and as files.

mod export;
mod file;
mod import;
mod show;

use chassis::config::Env;
use clap::Subcommand;
use eventstore::{Category, ReadError, StreamId, StreamKind};
use eventstore_postgres::{PostgresStore, StoreOptions};
use uuid::Uuid;

use crate::failure::Failure;
use crate::schema;
use crate::services::{self, Service};
use crate::surroundings::Surroundings;

/// What can be done with streams.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The state of a stream, now, at a version or at a time, and the events that led there.
    Show(show::Arguments),
    /// Write streams to standard output, a line of JSON per event, verified as a whole when they are imported.
    Export(export::Arguments),
    /// Take the streams of an export into a service's log. Safe to repeat.
    Import(import::Arguments),
}

/// Does it.
///
/// # Errors
/// [`Failure`]: what is asked for is not there, the database does not answer, or what was found is not as it should be.
pub async fn command(command: Command) -> Result<(), Failure> {
    match command {
        Command::Show(arguments) => show::command(arguments).await,
        Command::Export(arguments) => export::command(arguments).await,
        Command::Import(arguments) => import::command(arguments).await,
    }
}

/// A stream and how it is folded.
#[derive(Clone, Copy, Debug)]
struct Address {
    kind: StreamKind,
    stream: StreamId,
}

impl Address {
    /// `order/0199…`, or as it is printed, `order-0199…`.
    fn parse(service: &Service, text: &str) -> Result<Self, Failure> {
        let (category, id) = text
            .split_once('/')
            .or_else(|| text.split_once('-'))
            .ok_or_else(|| Failure::Setup(format!("{text} is no stream: expected CATEGORY/ID, such as order/0199…")))?;
        let kind = kind(service, category)?;
        let id = Uuid::parse_str(id).map_err(|_| Failure::Setup(format!("{id} is no id: expected a UUID")))?;
        Ok(Self { kind, stream: StreamId::new(kind.category, id) })
    }
}

fn service(name: &str) -> Result<&'static Service, Failure> {
    services::find(name).ok_or_else(|| Failure::Setup(format!("there is no service {name}")))
}

/// The kind of stream of a category.
fn kind(service: &Service, category: &str) -> Result<StreamKind, Failure> {
    let found = service.streams.iter().find(|kind| kind.category.as_str() == category);
    found.copied().ok_or_else(|| {
        let known: Vec<&str> = service.streams.iter().map(|kind| kind.category.as_str()).collect();
        Failure::Setup(format!("{} has no streams of {category:?}: it has {}", service.name, known.join(", ")))
    })
}

/// The categories of all streams of a service.
fn categories(service: &Service) -> Vec<Category> {
    service.streams.iter().map(|kind| kind.category).collect()
}

/// The log of a service, as its service role.
async fn log_of(service: &Service, surroundings: &Surroundings) -> Result<PostgresStore, Failure> {
    log_in(service, &surroundings.env()?).await
}

/// The log of a service whose database the environment names.
pub(crate) async fn log_in(service: &Service, env: &Env) -> Result<PostgresStore, Failure> {
    let url = env.of_service(service.name).secret("DATABASE_URL", "where the service's Postgres database is");
    let url = url.map_err(|error| Failure::Setup(error.to_string()))?;
    schema::refuse_newer(service, url.expose()).await?;
    let options = StoreOptions { application_name: "farmera-stream".to_owned(), ..StoreOptions::new(url.expose()) };
    PostgresStore::connect(&options).map_err(|error| Failure::Setup(format!("{}: {error}", service.name)))
}

pub(crate) fn unreadable(error: ReadError) -> Failure {
    match error {
        ReadError::Unavailable(source) => Failure::Unavailable(format!("the database does not answer: {source}")),
        ReadError::Corrupt(reason) => Failure::Failed(format!("a stored row is corrupt: {reason}")),
    }
}
