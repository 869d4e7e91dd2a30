//! `farmera projection`: where read models stand, and making one anew from the log while its service runs.

use std::error::Error;
use std::time::Duration;

use chassis::config::Env;
use chassis::projection::{BATCH, Progress, Projection, Rebuild, RebuildError, Report, Standing, standing};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Failure;
use crate::migrate;
use crate::output::{self, Format, Paint, grouped};
use crate::schema;
use crate::services::{self, SERVICES, Service};
use crate::surroundings::Surroundings;

const BAR: &str = "{msg} {bar:30} {human_pos}/{human_len} events, {per_sec}, {eta} left";

const REBUILD_HELP: &str = "\
The read model is built from the whole log in a schema of its own, compared with the one in use, and put in its place in
one transaction. The service goes on meanwhile; readers see the old one or the new one, never half of one. Needs the
database as its owner: FARMERA_<SERVICE>__MIGRATION_URL, else FARMERA_<SERVICE>__DATABASE_URL.
With --check, exit code 1 when the read model in use is not what follows from the log.";

/// What can be done with read models.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Where every read model stands: its cursor in the log, how far it lags behind, its rows.
    List {
        /// Which services'; all when none is named.
        #[arg(value_name = "SERVICE", value_parser = PossibleValuesParser::new(services::names()))]
        services: Vec<String>,
        /// The form of the answer.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show it")]
        surroundings: Surroundings,
    },
    /// Make a read model anew from the log while its service runs.
    #[command(after_help = REBUILD_HELP)]
    Rebuild(RebuildArguments),
}

/// What a rebuild is told.
#[derive(Args, Debug)]
pub struct RebuildArguments {
    /// Whose read model.
    #[arg(value_parser = PossibleValuesParser::new(services::names()))]
    service: String,
    /// Which: a name that `farmera projection list` shows.
    name: String,
    /// Build it and compare it with the one in use, but do not switch.
    #[arg(long, conflicts_with = "dry_run")]
    check: bool,
    /// Say what would be done; write nothing at all.
    #[arg(long)]
    dry_run: bool,
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    surroundings: Surroundings,
}

/// Lists or rebuilds.
///
/// # Errors
/// [`Failure`]: a database does not answer, the read model is not what follows from the log (`--check`), or it cannot be
/// rebuilt; it is as it was then.
pub async fn command(command: Command) -> Result<(), Failure> {
    chassis::telemetry::init_logs("warn");
    match command {
        Command::List { services, output, surroundings } => list(&services, output, &surroundings.env()?).await,
        Command::Rebuild(arguments) => rebuild(&arguments).await,
    }
}

/// A line of the list.
#[derive(serde::Serialize)]
struct Line {
    service: &'static str,
    #[serde(flatten)]
    standing: Standing,
}

async fn list(names: &[String], format: Format, env: &Env) -> Result<(), Failure> {
    let mut lines = Vec::new();
    for service in SERVICES.iter().filter(|service| names.is_empty() || names.iter().any(|name| name == service.name)) {
        let own = env.of_service(service.name);
        let url = own.secret("DATABASE_URL", "the service's database (postgres://…)");
        let url = url.map_err(|error| Failure::Setup(error.to_string()))?;
        schema::refuse_newer(service, url.expose()).await?;
        for projection in (service.projections)() {
            let found = standing(&*projection, url.expose()).await;
            lines.push(Line { service: service.name, standing: found.map_err(|error| failure(service, &error))? });
        }
    }
    match format {
        Format::Json => output::json(&lines),
        Format::Table => {
            let headings = ["service", "read model", "cursor", "lag events", "lag seconds", "rows", "last moved"];
            let mut table = Paint::of_stdout().table(&headings, &[3, 4, 5]);
            for Line { service, standing } in &lines {
                let cursor = standing.cursor.map(|cursor| format!("{}/{}", cursor.tx.0, cursor.position));
                let moved = standing.moved.map(|moved| text::moment(output::local(moved)));
                table.add_row([
                    (*service).to_owned(),
                    standing.name.to_owned(),
                    cursor.unwrap_or_else(|| "-".to_owned()),
                    grouped(standing.lag_events),
                    format!("{:.1}", standing.lag_seconds),
                    grouped(standing.rows),
                    moved.unwrap_or_else(|| "never".to_owned()),
                ]);
            }
            output::table(&table);
        }
    }
    Ok(())
}

async fn rebuild(arguments: &RebuildArguments) -> Result<(), Failure> {
    let RebuildArguments { service, name, check, dry_run, output, surroundings } = arguments;
    let service = services::find(service).ok_or_else(|| Failure::Setup(format!("there is no service {service}")))?;
    let projection = find(service, name)?;
    let env = surroundings.env()?;
    let url = migrate::url(&env, service.name).map_err(|error| Failure::Setup(error.to_string()))?;
    schema::refuse_newer(service, url.expose()).await?;
    let bar = bar(name);
    let progress = |Progress { events, total }: Progress| {
        bar.set_length(total);
        bar.set_position(events);
    };
    let rebuild = Rebuild { projection: &*projection, url: url.expose(), batch: BATCH, progress: &progress };
    if *dry_run {
        let events = rebuild.look().await.map_err(|error| failure(service, &error))?;
        output::line(format!("{name} of {} would be made from {} events", service.name, grouped(events)));
        output::line(format!("tables: {}; nothing was written", projection.tables().join(", ")));
        return Ok(());
    }
    let started = std::time::Instant::now();
    let done = if *check { rebuild.check().await } else { rebuild.switch().await };
    bar.finish_and_clear();
    let report = done.map_err(|error| failure(service, &error))?;
    match output {
        Format::Json => output::json(&report),
        Format::Table => print(&report, name, started.elapsed()),
    }
    if *check && report.differences > 0 {
        let rows = grouped(report.differences);
        let mend = format!("farmera projection rebuild {} {name}", service.name);
        return Err(Failure::Failed(format!("{rows} rows of {name} do not follow from the log; mend: `{mend}`")));
    }
    Ok(())
}

fn find(service: &Service, name: &str) -> Result<Box<dyn Projection>, Failure> {
    let mut projections = (service.projections)();
    let Some(found) = projections.iter().position(|projection| projection.name() == name) else {
        let names: Vec<&str> = projections.iter().map(|projection| projection.name()).collect();
        let known = names.join(", ");
        return Err(Failure::NotFound(format!("{} has no read model {name}, but: {known}", service.name)));
    };
    Ok(projections.swap_remove(found))
}

/// Seen on a terminal only.
fn bar(name: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style).with_message(name.to_owned())
}

fn print(report: &Report, name: &str, took: Duration) {
    let paint = Paint::of_stdout();
    for difference in &report.first {
        let row = |row: &Option<String>| row.clone().unwrap_or_else(|| "no row".to_owned());
        output::line(paint.strong(&difference.table));
        output::line(format!("  in use    {}", row(&difference.live)));
        output::line(format!("  from log  {}", row(&difference.rebuilt)));
    }
    let verdict = match report.differences {
        0 => paint.good("the same as the one in use"),
        count => paint.bad(&format!("{} rows differed", grouped(count))),
    };
    if report.parked > 0 {
        let streams = grouped(report.parked);
        let hold = "hold events that this program does not understand";
        output::line(paint.bad(&format!("{streams} streams {hold}; what follows them is put off: `farmera parked`")));
    }
    let end = if report.switched { "in use now" } else { "not switched" };
    output::line(format!(
        "{name}: {} rows from {} events in {:.1} s, {verdict}, {end}",
        grouped(report.rows),
        grouped(report.events),
        took.as_secs_f64()
    ));
}

/// With the causes: whoever reads it has to find out which.
fn failure(service: &Service, error: &RebuildError) -> Failure {
    let mut text = format!("{}: {error}", service.name);
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(&format!(": {source}"));
        cause = source.source();
    }
    match error {
        RebuildError::Connect(_) | RebuildError::Read(_) | RebuildError::Late => Failure::Unavailable(text),
        RebuildError::Restless | RebuildError::Locked | RebuildError::Busy => Failure::Unavailable(text),
        RebuildError::Unfit { .. } => Failure::Setup(text),
        RebuildError::Database(_) | RebuildError::Apply(_) => Failure::Failed(text),
    }
}
