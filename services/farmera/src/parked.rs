//! `farmera parked`: streams that read models cannot follow, because this or an older program does not understand an
//! event of theirs.

use std::time::Duration;

use chassis::config::Env;
use chassis::projection::{ParkedStream, parked_streams};
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::Serialize;
use sqlx::Connection as _;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::output::{self, Format, Paint};
use crate::schema;
use crate::services::{self, SERVICES, Service};
use crate::surroundings::Surroundings;

const DEADLINE: Duration = Duration::from_secs(10);

const AFTER_HELP: &str = "\
Whoever understands the events takes a stream up by itself, from the version where it was parked: deploy the newest
program, which looks when it starts and every 10 s. A damaged event is to be mended first; see
docs/runbooks/schema-evolution.md. Exit code 1 when something is parked.";

/// What `farmera parked` is told.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// Which services; all when none is named.
    #[arg(value_name = "SERVICE", value_parser = PossibleValuesParser::new(services::names()))]
    services: Vec<String>,
    /// How many streams of a service to list at most, those first that wait longest.
    #[arg(long, default_value_t = 100, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// How to print the list.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    surroundings: Surroundings,
}

/// A parked stream and whose it is.
#[derive(Debug, Serialize)]
struct Parked {
    service: &'static str,
    #[serde(flatten)]
    stream: ParkedStream,
}

/// Lists what is parked.
///
/// # Errors
/// [`Failure::Failed`] when something is parked, [`Failure::Setup`] when it is not known where the databases are,
/// [`Failure::Unavailable`] when one does not answer.
pub async fn command(arguments: Arguments) -> Result<(), Failure> {
    let env = arguments.surroundings.env()?;
    let chosen = |name: &str| arguments.services.is_empty() || arguments.services.iter().any(|chosen| chosen == name);
    let mut parked = Vec::new();
    for service in SERVICES.iter().filter(|service| chosen(service.name)) {
        let streams = list(&env, service, arguments.limit).await?;
        parked.extend(streams.into_iter().map(|stream| Parked { service: service.name, stream }));
    }
    match arguments.output {
        Format::Json => output::json(&parked),
        Format::Table if parked.is_empty() => output::line("no stream is parked"),
        Format::Table => show(&parked),
    }
    match parked.len() {
        0 => Ok(()),
        1 => Err(Failure::Failed("a stream is parked".to_owned())),
        count => Err(Failure::Failed(format!("{count} streams are parked"))),
    }
}

async fn list(env: &Env, service: &Service, limit: u32) -> Result<Vec<ParkedStream>, Failure> {
    let name = service.name;
    let url = env.of_service(name).secret("DATABASE_URL", "the service's database (postgres://…)");
    let url = url.map_err(|error| Failure::Setup(error.to_string()))?;
    schema::refuse_newer(service, url.expose()).await?;
    let away = |error: String| Failure::Unavailable(format!("{name}: the database does not answer: {error}"));
    let connected = chassis::database::connect(url.expose(), "parked").await;
    let mut connection = connected.map_err(|error| away(error.to_string()))?;
    let listed = async {
        let listed = parked_streams(&mut connection, limit).await;
        drop(connection.close().await);
        listed
    };
    let late = || Failure::Unavailable(format!("{name}: the database does not answer within {} s", DEADLINE.as_secs()));
    let listed = timeout(DEADLINE, listed).await.map_err(|_| late())?;
    listed.map_err(|error| away(error.to_string()))
}

fn show(parked: &[Parked]) {
    let headings = ["service", "read model", "stream", "from", "events", "since", "reason"];
    let mut table = Paint::of_stdout().table(&headings, &[3, 4]);
    for Parked { service, stream } in parked {
        table.add_row(vec![
            (*service).to_owned(),
            stream.consumer.clone(),
            format!("{}-{}", stream.category, stream.stream_id),
            stream.version.to_string(),
            stream.skipped.to_string(),
            text::moment(output::local(stream.parked_at)),
            stream.reason.clone(),
        ]);
    }
    output::table(&table);
}
