//! `farmera transport`: log and broker compared, and brought together again.

use std::sync::Arc;

use chassis::broker::Broker;
use chassis::clock::Uuids;
use chassis::config::Env;
use chassis::health::Health;
use chassis::transport::{self, CompareError, Plan, Report};
use chrono::{DateTime, Utc};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use eventstore::IdSource as _;
use eventstore_postgres::{PostgresStore, StoreOptions};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{self, Format, Paint, grouped};
use crate::schema;
use crate::services::{self, SERVICES, Service};
use crate::surroundings::Surroundings;

/// What can be done about the way of events over the broker.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compare what services have told with what the broker holds: missing, unknown and disordered messages.
    Verify {
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show it")]
        which: Which,
    },
    /// Tell again what the broker should hold and does not, in the order of the log; then compare. The system may run.
    Rebuild {
        /// Only events that happened since, RFC 3339: 2026-01-31T12:00:00Z.
        #[arg(long, value_name = "TIME")]
        from: Option<DateTime<Utc>>,
        /// Only say what is missing.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show it")]
        which: Which,
    },
}

/// Which services, and how to say it.
#[derive(Args, Debug)]
pub struct Which {
    /// Which services' messages; all when none is named.
    #[arg(value_name = "SERVICE", value_parser = PossibleValuesParser::new(services::names()))]
    services: Vec<String>,
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    surroundings: Surroundings,
}

/// One service's line.
#[derive(Debug, Serialize)]
struct Line {
    service: &'static str,
    sound: bool,
    #[serde(flatten)]
    report: Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    told_again: Option<u64>,
}

/// Compares or restores, and prints.
///
/// # Errors
/// [`Failure::Failed`] when log and broker differ at the end, [`Failure::Unavailable`] when one of them does not answer,
/// [`Failure::Setup`] for the surroundings.
pub async fn command(command: Command) -> Result<(), Failure> {
    chassis::telemetry::init_logs("error");
    let (which, plan) = match command {
        Command::Verify { which } => (which, None),
        Command::Rebuild { from, dry_run, which } => (which, Some(Plan { from, dry_run, run: Uuids.next_id() })),
    };
    let env = which.surroundings.env()?;
    let mut lines = Vec::new();
    for service in SERVICES.iter().filter(|service| which.names(service)) {
        lines.push(one(service, &env, plan).await?);
    }
    match which.output {
        Format::Json => output::json(&lines),
        Format::Table => print(&lines, plan),
    }
    let unsound: Vec<&str> = lines.iter().filter(|line| !line.sound).map(|line| line.service).collect();
    if unsound.is_empty() {
        return Ok(());
    }
    let remedy = if plan.is_some_and(|plan| !plan.dry_run) {
        "see docs/runbooks/transport.md"
    } else {
        "run `farmera transport rebuild`"
    };
    Err(Failure::Failed(format!("log and broker differ for {}: {remedy}", unsound.join(", "))))
}

impl Which {
    fn names(&self, service: &Service) -> bool {
        self.services.is_empty() || self.services.iter().any(|name| name == service.name)
    }
}

async fn one(service: &'static Service, env: &Env, plan: Option<Plan>) -> Result<Line, Failure> {
    let name = service.name;
    let wrong = |error: &dyn std::error::Error| Failure::Setup(format!("{name}: {error}"));
    let env = env.of_service(name);
    let database =
        env.secret("DATABASE_URL", "the service's database (postgres://…)").map_err(|error| wrong(&error))?;
    schema::refuse_newer(service, database.expose()).await?;
    let nats = env.secret("NATS_URL", "where NATS is (nats://host:4222)").map_err(|error| wrong(&error))?;
    let store = PostgresStore::connect(&StoreOptions::new(database.expose())).map_err(|error| wrong(&error))?;
    let broker = Broker::connect(name, &nats, Health::new().component("nats")).await.map_err(|error| wrong(&error))?;
    // Made in the background; without it the first question would find nobody.
    drop(tokio::time::timeout(std::time::Duration::from_secs(5), broker.client.flush()).await);
    let bar = Arc::new(bar(name));
    let mut progress = |what: &'static str, done: u64, of: u64| {
        bar.set_length(of);
        bar.set_position(done);
        bar.set_message(what);
    };
    let line = match plan {
        None => transport::verify(service.relay, &store, &broker, &mut progress).await.map(|report| (report, None)),
        Some(plan) => {
            let restored = transport::rebuild(service.relay, &store, &broker, plan, &mut progress).await;
            restored.map(|restored| (restored.after.unwrap_or(restored.before), Some(restored.told_again)))
        }
    };
    bar.finish_and_clear();
    let (report, told_again) = line.map_err(|error| failed(name, &error))?;
    Ok(Line { service: name, sound: report.is_sound(), report, told_again })
}

fn failed(name: &str, error: &CompareError) -> Failure {
    let text = format!("{name}: {error}");
    match error {
        CompareError::Broker(_) | CompareError::Store(_) | CompareError::Refused(_) => Failure::Unavailable(text),
        CompareError::Untellable(_) => Failure::Setup(text),
    }
}

/// Shown on a terminal only.
fn bar(service: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{prefix:<13} {msg:<9} {wide_bar} {human_pos}/{human_len} {eta}") {
        bar.set_style(style);
    }
    bar.set_prefix(service);
    bar
}

fn print(lines: &[Line], plan: Option<Plan>) {
    let paint = Paint::of_stdout();
    let headings =
        ["service", "told", "held", "missing", "extra", "disordered", "duplicates", "restored", "waiting", ""];
    let mut table = paint.table(&headings, &[1, 2, 3, 4, 5, 6, 7, 8]);
    for line in lines {
        let report = &line.report;
        let counts = [
            report.told,
            report.held,
            report.missing,
            report.extra,
            report.disordered,
            report.duplicates,
            report.restored,
            report.waiting,
        ];
        let verdict = if line.sound { paint.good("sound") } else { paint.bad("differs") };
        let mut row = vec![line.service.to_owned()];
        row.extend(counts.map(grouped));
        row.push(verdict);
        table.add_row(row);
    }
    output::table(&table);
    if plan.is_some_and(|plan| !plan.dry_run) {
        let told_again = lines.iter().filter_map(|line| line.told_again).sum();
        output::line(format!("{} messages were told again", grouped(told_again)));
    }
}
