//! What a commit costs. Not a test: `cargo test --release -p eventstore-postgres --test throughput -- --ignored
//! --nocapture` on a quiet machine.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eventstore::memory::CountingIds;
use eventstore::{
    Actor, Append, Category, Cause, Commit, EventId, EventStore, NewEvent, StreamId, TimerChange, Version,
};
use farmera_local::TestServers;
use futures::future::join_all;

const SAGA: Category = Category::new("saga");
const RUN: Duration = Duration::from_secs(4);

struct Ids(u64);

impl Ids {
    /// Ids as they come in production: the time first, the rest by chance.
    fn next(&mut self) -> uuid::Uuid {
        self.0 += 1;
        eventstore::derived_id(CountingIds::id(0, self.0), "any")
    }
}

fn batch(ids: &mut Ids, streams: usize, events: usize, timers: bool) -> Commit {
    let mut commit = Commit::default();
    for _ in 0..streams {
        let stream = StreamId::new(SAGA, ids.next());
        let time = chrono::DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        let events = (0..events).map(|_| event(ids, time)).collect();
        commit.appends.push(Append::new(stream, Version::NONE, None, events));
        if timers {
            commit.timers.push(TimerChange::Arm { stream, due: time + Duration::from_millis(ids.0 % 1_000_000) });
        }
    }
    commit
}

fn event(ids: &mut Ids, time: chrono::DateTime<chrono::Utc>) -> NewEvent {
    NewEvent {
        id: EventId(ids.next()),
        type_name: "StepRequested",
        schema_version: 1,
        payload: format!(
            r#"{{"step":"reserve-inventory","attempt":1,"message":"{}","input":{{"lines":[{{"product":"{}","quantity":2,"price":{{"minor_units":1250,"currency":"EUR"}}}}]}}}}"#,
            ids.next(),
            ids.next()
        ),
        time,
        cause: Cause {
            correlation: ids.next(),
            causation: ids.next(),
            trace: Some(eventstore::TraceContext("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned())),
            actor: Actor::new("service:orders"),
        },
    }
}

/// CPU of the server's processes that live now, in seconds.
fn server_cpu(postmaster: u32) -> f64 {
    let processes = std::fs::read_dir("/proc").expect("a Linux").flatten();
    let ticks: u64 = processes.filter_map(|process| cpu_of_child(&process.path(), postmaster)).sum();
    ticks as f64 / 100.0
}

fn cpu_of_child(process: &Path, parent: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(process.join("stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    (fields[1].parse() == Ok(parent))
        .then(|| fields[11].parse::<u64>().unwrap_or(0) + fields[12].parse::<u64>().unwrap_or(0))
}

async fn measure(name: &str, clients: usize, streams: usize, events: usize, timers: bool) {
    let database = support::Database::new().await;
    let store = Arc::new(database.store());
    let postmaster = TestServers::shared().expect("running").postgres_pid().expect("running");
    let client = |number: usize, until: Instant| {
        let store = Arc::clone(&store);
        async move {
            let mut ids = Ids((number as u64 + 1) << 32);
            let (mut commits, mut slowest) = (0_u64, Duration::ZERO);
            while Instant::now() < until {
                let commit = batch(&mut ids, streams, events, timers);
                let start = Instant::now();
                store.commit(commit).await.expect("committed");
                slowest = slowest.max(start.elapsed());
                commits += 1;
            }
            (commits, slowest)
        }
    };
    join_all((0..clients).map(|number| client(number + 100, Instant::now() + Duration::from_millis(500)))).await;
    let (cpu, start) = (server_cpu(postmaster), Instant::now());
    let done = join_all((0..clients).map(|number| client(number, start + RUN))).await;
    let (cpu, seconds) = (server_cpu(postmaster) - cpu, start.elapsed().as_secs_f64());
    let commits: u64 = done.iter().map(|(commits, _)| commits).sum();
    let slowest = done.iter().map(|(_, slowest)| *slowest).max().unwrap_or_default();
    let rows = commits as f64 * (streams * events) as f64;
    println!(
        "{name:40} {:8.0} commits/s {:9.0} events/s  server CPU {:6.1} us/commit {:6.2} us/event  slowest {slowest:?}",
        commits as f64 / seconds,
        rows / seconds,
        cpu * 1e6 / commits as f64,
        cpu * 1e6 / rows,
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn throughput() {
    measure("1 client, 1 event", 1, 1, 1, false).await;
    measure("1 client, 1 event, 1 timer", 1, 1, 1, true).await;
    measure("8 clients, 1 event", 8, 1, 1, false).await;
    measure("1 client, 64 streams, 1 event each", 1, 64, 1, false).await;
    measure("1 client, 256 streams, 1 event each", 1, 256, 1, false).await;
    measure("1 client, 128 streams, 2 events each", 1, 128, 2, false).await;
    measure("1 client, 256 streams, 1 event, 1 timer", 1, 256, 1, true).await;
    measure("2 clients, 256 streams, 1 event each", 2, 256, 1, false).await;
}
