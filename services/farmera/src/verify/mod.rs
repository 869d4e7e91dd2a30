//! `farmera verify`: whether the logs still say what was written.

mod checkpoint;
mod scan;

use std::path::PathBuf;

use chassis::config::Env;
use clap::Args;
use clap::builder::PossibleValuesParser;
use comfy_table::Cell;
use eventstore_postgres::{PostgresStore, StoreOptions};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{self, Format, Paint};
use crate::schema;
use crate::services::{self, Service};
use crate::surroundings::Surroundings;
use checkpoint::{Checkpoint, Draft};
use scan::{Finding, Findings, Scan, Scanned};

const AFTER_HELP: &str = "\
Reads every event as the service's own role; changes nothing, and may run beside the services. Looks for missing versions,
events that do not fit their digest, events this program cannot decode, and events that readers of the log do not see.
Whoever owns the database can rewrite a stream together with its digests, or cut its end off: that shows only --against
a checkpoint that was kept elsewhere.
Exit codes: 0 nothing was found, 1 something was, 2 wrong usage, surroundings, schema or checkpoint, 7 unavailable.";

/// What `farmera verify` is told.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// Whose logs; all when none is named.
    #[arg(value_name = "SERVICE", value_parser = PossibleValuesParser::new(services::names()))]
    services: Vec<String>,
    /// Write the ends of all streams to a file, if nothing was found: a checkpoint.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Prove that everything a checkpoint says is still so.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// How many findings to list; all are counted.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// The form of the report.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    surroundings: Surroundings,
}

/// What `-o json` prints.
#[derive(Serialize)]
struct Report<'a> {
    services: &'a [Scanned],
    findings: &'a [Finding],
    findings_total: u64,
}

/// Verifies and reports.
///
/// # Errors
/// [`Failure::Failed`] when anything was found; [`Failure::Setup`] and [`Failure::Unavailable`] when nothing can be said.
pub async fn command(arguments: Arguments) -> Result<(), Failure> {
    chassis::telemetry::init_logs("off");
    let env = arguments.surroundings.env()?;
    let chosen = services::chosen(&arguments.services);
    let unusable = |error: checkpoint::CheckpointError| Failure::Setup(error.to_string());
    let against = arguments.against.as_deref().map(Checkpoint::open).transpose().map_err(unusable)?;
    let mut save = arguments.save.as_deref().map(Draft::create).transpose().map_err(unusable)?;
    let limit = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    let mut findings = Findings { limit, ..Findings::default() };
    let mut scanned = Vec::new();
    for service in chosen {
        match scan(service, &env, &mut findings, save.as_mut(), against.as_ref()).await {
            Ok(one) => scanned.push(one),
            Err(failure) => {
                save.into_iter().for_each(Draft::discard);
                return Err(failure);
            }
        }
    }
    print(arguments.output, &scanned, &findings);
    if findings.total > 0 {
        save.into_iter().for_each(Draft::discard);
        let kept = if arguments.save.is_some() { "; no checkpoint was saved" } else { "" };
        let count = output::grouped(findings.total);
        return Err(Failure::Failed(format!("found {count} thing(s) that are not as they were written{kept}")));
    }
    if let (Some(draft), Some(path)) = (save, &arguments.save) {
        let streams = draft.finish().map_err(unusable)?;
        if arguments.output == Format::Table {
            output::line(format!("saved the ends of {} streams to {}", output::grouped(streams), path.display()));
        }
    }
    Ok(())
}

async fn scan(
    service: &Service,
    env: &Env,
    findings: &mut Findings,
    save: Option<&mut Draft>,
    against: Option<&Checkpoint>,
) -> Result<Scanned, Failure> {
    let url = env.of_service(service.name).secret("DATABASE_URL", "the service's database (postgres://…)");
    let url = url.map_err(|error| Failure::Setup(error.to_string()))?;
    schema::require(service, url.expose()).await?;
    let store = PostgresStore::connect(&StoreOptions::new(url.expose()));
    let store = store.map_err(|error| Failure::Setup(format!("{}: {error}", service.name)))?;
    let lines = against.map(|checkpoint| checkpoint.of(service.name)).transpose();
    let lines = lines.map_err(|error| Failure::Setup(error.to_string()))?;
    let about = store.about_events().await.ok().flatten();
    let bar = progress(service.name, about);
    let scan =
        Scan::new(service.name, service.streams, findings, save, lines.map(|lines| Box::new(lines) as scan::Lines));
    let scanned = scan.run(&store, &bar).await;
    bar.finish_and_clear();
    scanned
}

fn print(format: Format, scanned: &[Scanned], findings: &Findings) {
    if format == Format::Json {
        return output::json(&Report { services: scanned, findings: &findings.shown, findings_total: findings.total });
    }
    let paint = Paint::of_stdout();
    let mut table =
        paint.table(&["service", "events", "streams", "no digest", "compared", "findings"], &[1, 2, 3, 4, 5]);
    for one in scanned {
        let numbers = [one.events, one.streams, one.without_digest, one.compared, one.findings];
        table.add_row(std::iter::once(one.service.to_owned()).chain(numbers.map(output::grouped)));
    }
    output::table(&table);
    if findings.shown.is_empty() {
        return;
    }
    output::line("");
    let mut table = paint.table(&["service", "stream", "version", "kind", "what"], &[2]);
    for finding in &findings.shown {
        let Finding { service, stream, version, kind, detail } = finding;
        let cells = [Cell::new(service), Cell::new(stream), Cell::new(version), Cell::new(kind), Cell::new(detail)];
        table.add_row(cells);
    }
    output::table(&table);
    let more = findings.total.saturating_sub(findings.shown.len() as u64);
    if more > 0 {
        output::line(format!("and {} more (--limit)", output::grouped(more)));
    }
}

/// On a terminal; nothing on a pipe. The planner's guess of how many there are may be off.
fn progress(service: &'static str, about: Option<u64>) -> ProgressBar {
    let template = match about {
        Some(_) => "{msg:14} {bar:40} {human_pos} of about {human_len} events  {per_sec}  {eta} left",
        None => "{msg:14} {spinner} {human_pos} events  {per_sec}  {elapsed}",
    };
    let bar = about.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(service);
    bar
}
