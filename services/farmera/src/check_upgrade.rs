//! `farmera saga check-upgrade`: what this program makes of the sagas that another one has begun.

use chassis::config::Env;
use clap::Args;
use eventstore::{Aggregate as _, EventStore as _, Recorded, StreamId, Version};
use orders::projections::open::open_sagas;
use orders::sagas::OrderProcess;
use saga::{Library, Saga};
use saga_runtime::{Verdict, check_upgrade};
use serde::Serialize;
use sqlx::Connection as _;
use uuid::Uuid;

use crate::failure::Failure;
use crate::output::{self, Format, Paint};
use crate::services;
use crate::stream;
use crate::surroundings::Surroundings;

const AFTER_HELP: &str = "\
Run it with the new program before it is deployed. Reads the log and the list of open sagas, changes nothing. For each open
saga the last decision is made once more, from the same input at the same time: same when this program concludes the very
same, different when it would do something else next, undecodable when it cannot go on with it at all. Exit code 1 unless
all are the same; see docs/runbooks/saga-versions.md.";

/// Sagas looked at in one go; their whole histories have to fit into one answer of the store.
const PAGE_MAX: u16 = 200;
const EVENTS_MAX: usize = 100_000;

/// What `farmera saga check-upgrade` is told.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// How many sagas that are not the same to list at most.
    #[arg(long, default_value_t = 20, value_name = "COUNT")]
    limit: usize,
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    surroundings: Surroundings,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Open sagas with which this program goes on as the one before.
    pub same: usize,
    /// Those with which it would go on otherwise.
    pub different: usize,
    /// Those with which it cannot go on.
    pub undecodable: usize,
    /// Those that are not the same, the first of them.
    pub listed: Vec<Finding>,
}

/// A saga with which this program would not go on as the one before.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// Which.
    pub saga_id: Uuid,
    /// `different` or `undecodable`.
    pub verdict: &'static str,
    /// The version after which it differs.
    pub after: Option<u64>,
    /// What was concluded there, or why it cannot be decoded.
    pub recorded: String,
    /// What this program would conclude.
    pub concluded: String,
}

/// Looks at every open saga.
///
/// # Errors
/// [`Failure::Failed`] unless all are the same; [`Failure::Setup`] and [`Failure::Unavailable`] when they cannot be read.
pub async fn command(arguments: Arguments) -> Result<(), Failure> {
    let env = arguments.surroundings.env()?;
    let report = check(&env, arguments.limit).await?;
    match arguments.output {
        Format::Json => output::json(&report),
        Format::Table => show(&report),
    }
    let others = report.different + report.undecodable;
    if others == 0 {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "{others} open sagas would not go on as they did ({} different, {} undecodable, {} same)",
        report.different, report.undecodable, report.same
    )))
}

/// Looks at every open saga in the database that `env` names, as orders would with this configuration; lists at most
/// `limit` that are not the same.
///
/// # Errors
/// [`Failure::Setup`] and [`Failure::Unavailable`] when they cannot be read.
pub async fn check(env: &Env, limit: usize) -> Result<Report, Failure> {
    let config = orders::Config::from_env(env).map_err(|error| Failure::Setup(error.to_string()))?;
    let library = orders::sagas::library(&config.patience).map_err(|error| Failure::Setup(error.to_string()))?;
    let service =
        services::find(orders::NAME).ok_or_else(|| Failure::Setup("there is no service orders".to_owned()))?;
    let store = stream::log_in(service, env).await?;
    let url = env.of_service(orders::NAME).secret("DATABASE_URL", "where the service's Postgres database is");
    let url = url.map_err(|error| Failure::Setup(error.to_string()))?;
    let away = |error: String| Failure::Unavailable(format!("orders: the database does not answer: {error}"));
    let connected = chassis::database::connect(url.expose(), "check-upgrade").await;
    let mut connection = connected.map_err(|error| away(error.to_string()))?;
    let (mut report, mut after) = (Report::default(), None);
    loop {
        let page = open_sagas(&mut connection, after, PAGE_MAX).await.map_err(|error| away(error.to_string()))?;
        let Some(last) = page.last() else { break };
        after = Some(*last);
        let streams: Vec<_> = page.iter().map(|id| (Saga::<OrderProcess>::stream(*id), Version::NONE)).collect();
        let recorded = read(&store, &streams).await?;
        for (stream, _) in streams {
            let history: Vec<_> = recorded.iter().filter(|event| event.stream == stream).cloned().collect();
            report.take(stream.id, &library, &history, limit);
        }
    }
    drop(connection.close().await);
    Ok(report)
}

async fn read(
    store: &eventstore_postgres::PostgresStore,
    streams: &[(StreamId, Version)],
) -> Result<Vec<Recorded>, Failure> {
    let recorded = store.read_streams(streams, EVENTS_MAX).await.map_err(stream::unreadable)?;
    if recorded.len() >= EVENTS_MAX {
        let count = streams.len();
        return Err(Failure::Failed(format!("{count} sagas have more than {EVENTS_MAX} events, which is not sound")));
    }
    Ok(recorded)
}

impl Report {
    fn take(&mut self, saga_id: Uuid, library: &Library<OrderProcess>, history: &[Recorded], limit: usize) {
        let finding = match check_upgrade(library, history) {
            Verdict::Same => {
                self.same += 1;
                return;
            }
            // It has ended since it was listed.
            Verdict::Ended => return,
            Verdict::Different { after, recorded, concluded } => {
                self.different += 1;
                let (recorded, concluded) = (recorded.join("\n"), concluded.join("\n"));
                Finding { saga_id, verdict: "different", after: Some(after.get()), recorded, concluded }
            }
            Verdict::Undecodable { reason } => {
                self.undecodable += 1;
                let concluded = String::new();
                Finding { saga_id, verdict: "undecodable", after: None, recorded: reason, concluded }
            }
        };
        if self.listed.len() < limit {
            self.listed.push(finding);
        }
    }
}

fn show(report: &Report) {
    if !report.listed.is_empty() {
        let mut table = Paint::of_stdout().table(&["saga", "verdict", "after", "recorded", "this program"], &[2]);
        for finding in &report.listed {
            let after = finding.after.map(|after| after.to_string()).unwrap_or_default();
            table.add_row(vec![
                finding.saga_id.to_string(),
                finding.verdict.to_owned(),
                after,
                finding.recorded.clone(),
                finding.concluded.clone(),
            ]);
        }
        output::table(&table);
    }
    let open = report.same + report.different + report.undecodable;
    output::line(format!(
        "{open} open sagas: {} same, {} different, {} undecodable",
        report.same, report.different, report.undecodable
    ));
}
