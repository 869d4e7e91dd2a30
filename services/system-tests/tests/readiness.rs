//! `/readyz` tells the truth, part by part, and takes it back when it is over.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use farmera::up::Stack;
use sqlx::{Connection as _, PgConnection};
use support::{catalogue, order_of, place, stack};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(40);
const SERVICES: [&str; 4] = ["products", "orders", "payment", "notification"];

/// What `/readyz` says.
struct Said {
    ready: bool,
    report: String,
}

impl Said {
    /// The names of parts whose lines begin like this.
    fn parts(&self, mark: &str) -> BTreeSet<String> {
        let name = |line: &str| {
            let line = line.strip_prefix(mark)?;
            // A part's name has blanks, its state begins with `ok` or a reason; what is asked for is told apart by kind.
            let (service, rest) = line.split_once('/')?;
            let kinds = ["postgres", "log", "nats", "canary", "relay", "delivery"];
            let kind = kinds.iter().find(|kind| rest.starts_with(**kind)).map(|kind| (*kind).to_owned());
            let named = ["projection", "consumer"].iter().find(|kind| rest.starts_with(**kind));
            let two = named.map(|_| rest.split(' ').take(2).collect::<Vec<_>>().join(" "));
            Some(format!("{service}/{}", kind.or(two)?))
        };
        self.report.lines().filter_map(name).collect()
    }

    fn down(&self) -> BTreeSet<String> {
        self.parts("[-]")
    }
}

async fn readyz(stack: &Stack) -> Said {
    let address = stack.addresses.admin.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut report = String::new();
    stream.read_to_string(&mut report).await.unwrap();
    Said { ready: report.starts_with("HTTP/1.1 200"), report }
}

async fn until(stack: &Stack, what: &str, holds: impl Fn(&Said) -> bool) -> Said {
    let started = Instant::now();
    loop {
        let said = readyz(stack).await;
        assert_eq!(said.ready, !said.report.contains("\n[-]"), "ready is who has no part down:\n{}", said.report);
        if holds(&said) {
            return said;
        }
        assert!(started.elapsed() < PATIENCE, "{what}:\n{}", said.report);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until the part is down for this reason.
async fn says(stack: &Stack, part: &str, reason: &str) {
    let line = |said: &Said| said.report.lines().any(|l| l.starts_with(&format!("[-]{part} ")) && l.contains(reason));
    until(stack, &format!("{part} was never {reason}"), line).await;
}

async fn is_ready_again(stack: &Stack) -> Said {
    until(stack, "not ready again", |said| said.ready).await
}

async fn as_owner(stack: &Stack, statements: &'static str) {
    let url = stack.servers().owner_url("farmera_orders").unwrap();
    let mut owner = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(statements).execute(&mut owner).await.unwrap();
}

/// The parts of a kind.
fn of(all: &BTreeSet<String>, kinds: &[&str]) -> BTreeSet<String> {
    let is = |part: &&String| {
        let kind = part.split_once('/').map_or("", |(_, kind)| kind);
        kinds.iter().any(|wanted| kind.starts_with(wanted))
    };
    all.iter().filter(is).cloned().collect()
}

const NEED_BROKER: [&str; 4] = ["nats", "canary", "relay", "consumer"];
const NEED_DATABASE: [&str; 4] = ["postgres", "relay", "projection", "delivery"];

#[tokio::test(flavor = "multi_thread")]
async fn every_part_that_needs_the_broker_is_named_while_it_is_away() {
    let stack = stack().await;
    let all = is_ready_again(&stack).await.parts("[+]");
    let lost = of(&all, &NEED_BROKER);
    assert!(lost.len() >= 3 * SERVICES.len(), "{lost:?}");
    stack.servers().kill_nats();
    until(&stack, "without a broker", |said| said.down().is_superset(&lost)).await;
    stack.servers().start_nats().unwrap();
    is_ready_again(&stack).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_that_needs_the_database_is_named_while_it_is_away_or_not_as_it_should_be() {
    let stack = stack().await;
    let all = is_ready_again(&stack).await.parts("[+]");
    let covered = of(&all, &[&NEED_BROKER[..], &NEED_DATABASE, &["log"]].concat());
    assert_eq!(covered, all, "a part that no test of this file takes away");
    let lost = of(&all, &NEED_DATABASE);
    assert!(lost.len() >= 3 * SERVICES.len(), "{lost:?}");

    as_owner(&stack, "revoke insert on event from public").await;
    says(&stack, "orders/postgres", "may not read and write events").await;
    as_owner(&stack, "grant insert on event to public").await;
    is_ready_again(&stack).await;

    as_owner(&stack, "alter table order_view rename to gone").await;
    let product = catalogue(&stack.clients).await.remove(0).id;
    place(&stack.clients, order_of(&product, 1, "tok_success")).await.unwrap();
    says(&stack, "orders/projection order_view", "cannot be written").await;
    as_owner(&stack, "alter table gone rename to order_view").await;
    is_ready_again(&stack).await;

    stack.servers().kill_postgres();
    until(&stack, "without a database", |said| said.down().is_superset(&lost)).await;
    stack.servers().start_postgres().unwrap();
    is_ready_again(&stack).await;
    stack.stop().await;
}

/// The connection stands, and the broker takes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_there_and_takes_no_message_is_found_out_and_so_is_its_recovery() {
    let stack = stack().await;
    is_ready_again(&stack).await;
    let client = async_nats::connect(stack.servers().nats_url()).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    let mut stream = jetstream.get_stream("FARMERA_CANARY").await.unwrap();
    let sound = stream.info().await.unwrap().config.clone();
    jetstream.update_stream(async_nats::jetstream::stream::Config { sealed: true, ..sound }).await.unwrap();
    for service in SERVICES {
        says(&stack, &format!("{service}/canary"), "").await;
    }
    assert!(!readyz(&stack).await.down().contains("orders/nats"), "the connection is not what is wrong");
    jetstream.delete_stream("FARMERA_CANARY").await.unwrap();
    is_ready_again(&stack).await;
    stack.stop().await;
}

/// A session that nobody limits, in a database that is none of ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_holds_the_log_back_is_told_of() {
    let stack = stack().await;
    is_ready_again(&stack).await;
    let mut stranger = PgConnection::connect(&stack.servers().admin_url()).await.unwrap();
    sqlx::raw_sql("set idle_in_transaction_session_timeout = 0").execute(&mut stranger).await.unwrap();
    sqlx::raw_sql("begin; select pg_current_xact_id()").execute(&mut stranger).await.unwrap();
    for service in SERVICES {
        says(&stack, &format!("{service}/log"), "held back").await;
    }
    sqlx::raw_sql("rollback").execute(&mut stranger).await.unwrap();
    is_ready_again(&stack).await;
    stack.stop().await;
}
