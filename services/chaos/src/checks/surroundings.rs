//! What is left behind in broker, database and processes.

use std::collections::BTreeMap;
use std::fs;

use farmera::failure::Failure;
use farmera::services::SERVICES;
use futures::TryStreamExt as _;

use crate::checks::{Evidence, Found, unreadable};
use crate::ground::Ground;
use crate::report::Finding;
use crate::supervisor::Supervisor;

/// Files, memory and connections may be a tenth above the first look, and so much more: caches that fill, an answer that
/// is under way.
const FILES_SLACK: u64 = 24;
const MEMORY_SLACK_KIB: u64 = 96 * 1024;
const CONNECTIONS_SLACK: u64 = 12;

/// What the services took at one moment.
#[derive(Clone, Debug, Default)]
pub struct Footprint {
    /// Open files and resident memory in KiB, by replica of a service.
    pub services: BTreeMap<String, (u64, u64)>,
    /// Connections of clients to Postgres.
    pub connections: u64,
}

impl Footprint {
    /// Looks now.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: Postgres does not answer.
    pub async fn now(ground: &Ground, services: &Supervisor) -> Result<Self, Failure> {
        let pids = services.tallies().into_iter().filter_map(|(name, tally)| Some((name, tally.pid?)));
        let services = pids.map(|(service, pid)| (service, (files(pid), memory_kib(pid)))).collect();
        let mut database = crate::checks::databases(ground).await?;
        let connection = database.get_mut("orders").ok_or_else(|| Failure::Failed("no database".to_owned()))?;
        let connections = connections_now(connection).await?;
        Ok(Self { services, connections })
    }
}

/// Everything that a replica of a service has logged.
fn log_of(ground: &Ground, name: &str) -> String {
    fs::read_to_string(ground.folder.join(format!("{name}.log"))).unwrap_or_default()
}

fn files(pid: u32) -> u64 {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |entries| entries.count() as u64)
}

fn memory_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

async fn connections_now(database: &mut sqlx::PgConnection) -> Result<u64, Failure> {
    let count: i64 = sqlx::query_scalar("select count(*) from pg_stat_activity where backend_type = 'client backend'")
        .fetch_one(database)
        .await
        .map_err(unreadable)?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// I24: no consumer has anything before it or in its hands, and nothing was parked.
pub(super) async fn backlog(evidence: &mut Evidence<'_>) -> Result<Found, Failure> {
    let unheard = |error: &dyn std::fmt::Display| Failure::Unavailable(format!("JetStream does not answer: {error}"));
    let client = async_nats::connect(evidence.ground.servers.nats_url()).await.map_err(|error| unheard(&error))?;
    let jetstream = async_nats::jetstream::new(client);
    let mut found = Found::default();
    for (stream, ..) in chassis::broker::STREAMS {
        let held = match jetstream.get_stream(stream).await {
            Ok(held) => held,
            Err(error) => {
                found.wrong.push(format!("stream {stream} is not there: {error}"));
                continue;
            }
        };
        let mut consumers = held.consumers();
        while let Some(consumer) = consumers.try_next().await.map_err(|error| unheard(&error))? {
            if consumer.config.durable_name.is_none() {
                continue; // somebody has looked through the stream; the broker removes it by itself
            }
            found.checked += 1;
            let waiting = consumer.num_pending + consumer.num_ack_pending as u64;
            if waiting > 0 {
                found.wrong.push(format!("{waiting} messages wait for consumer {}", consumer.name));
            }
        }
    }
    for service in &SERVICES {
        let letters = "select consumer || ' ' || subject || ': ' || reason from dead_letter order by id limit 5";
        let letters: Vec<String> =
            sqlx::query_scalar(letters).fetch_all(evidence.of(service.name)?).await.map_err(unreadable)?;
        found.checked += 1;
        found.wrong.extend(letters.into_iter().map(|letter| format!("{} has parked {letter}", service.name)));
    }
    Ok(found)
}

/// I25: nothing grows from fault to fault.
pub(super) async fn footprint(evidence: &mut Evidence<'_>) -> Result<Found, Failure> {
    let mut found = Found::default();
    for (service, tally) in evidence.tallies {
        let Some((files_before, memory_before)) = evidence.baseline.services.get(service) else { continue };
        let Some(pid) = tally.pid else {
            found.wrong.push(format!("{service} does not run"));
            continue;
        };
        found.checked += 2;
        let (files, memory) = (files(pid), memory_kib(pid));
        if files > files_before + files_before / 10 + FILES_SLACK {
            found.wrong.push(format!("{service} has {files} files open, {files_before} at first"));
        }
        if memory > memory_before + memory_before / 10 + MEMORY_SLACK_KIB {
            found.wrong.push(format!("{service} takes {memory} KiB, {memory_before} at first"));
        }
    }
    let before = evidence.baseline.connections;
    let now = connections_now(evidence.of("orders")?).await?;
    found.checked += 1;
    if now > before + before / 10 + CONNECTIONS_SLACK {
        found.wrong.push(format!("Postgres has {now} clients, {before} at first"));
    }
    Ok(found)
}

/// In fair weather nobody is woken: an ERROR means that a human is needed.
#[must_use]
pub fn alarms(ground: &Ground, services: &Supervisor) -> Finding {
    let mut found = Found::default();
    for keeper in services.keepers() {
        found.checked += 1;
        let log = log_of(ground, &keeper.name);
        found
            .wrong
            .extend(log.lines().filter(|line| line.contains(" ERROR ")).map(|line| format!("{}: {line}", keeper.name)));
    }
    let (claim, reads) = ("no ERROR is logged in fair weather", "logs of the services");
    Finding { id: "", claim, reads, checked: found.checked, wrong: found.wrong }
}

/// I26: no session sits in a transaction, and none was used after its transaction had failed.
pub(super) async fn connections(evidence: &mut Evidence<'_>) -> Result<Found, Failure> {
    let query = "
        select
            count(*),
            count(*) filter (where state like 'idle in transaction%' and state_change < now() - interval '5 seconds')
        from pg_stat_activity
        where backend_type = 'client backend'";
    let (checked, idle): (i64, i64) =
        sqlx::query_as(query).fetch_one(evidence.of("orders")?).await.map_err(unreadable)?;
    let mut found = Found { checked: u64::try_from(checked).unwrap_or(0), wrong: Vec::new() };
    if idle != 0 {
        found.wrong.push(format!("{idle} sessions are idle in a transaction"));
    }
    for name in evidence.tallies.keys() {
        let poisoned = log_of(evidence.ground, name).lines().filter(|line| line.contains("25P02")).count();
        if poisoned != 0 {
            found.wrong.push(format!("{name} has used {poisoned} failed transactions"));
        }
    }
    Ok(found)
}
