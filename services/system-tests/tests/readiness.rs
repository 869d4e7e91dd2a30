//! `/readyz` tells the truth, part by part, and takes it back when it is over.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::{Duration, Instant};

use farmera::up::Stack;
use sqlx::{Connection as _, PgConnection};
use support::{catalogue, order_of, place, stack};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(40);

/// The lines of `/readyz`, and whether it said 200.
async fn readyz(stack: &Stack) -> (bool, String) {
    let address = stack.addresses.admin.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    (answer.starts_with("HTTP/1.1 200"), answer)
}

/// Waits until the part is down for this reason, and the process not ready because of it.
async fn says(stack: &Stack, part: &str, reason: &str) {
    let started = Instant::now();
    loop {
        let (ready, report) = readyz(stack).await;
        let line = report.lines().find(|line| line.starts_with(&format!("[-]{part} ")));
        if !ready && line.is_some_and(|line| line.contains(reason)) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{part} was never {reason}:\n{report}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn is_ready_again(stack: &Stack) {
    let started = Instant::now();
    loop {
        let (ready, report) = readyz(stack).await;
        if ready {
            assert!(!report.contains("[-]"), "{report}");
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{report}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn as_owner(stack: &Stack, statements: &'static str) {
    let url = stack.servers().owner_url("farmera_orders").unwrap();
    let mut owner = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(statements).execute(&mut owner).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_that_is_gone_is_named_and_comes_back() {
    let stack = stack().await;
    is_ready_again(&stack).await;

    as_owner(&stack, "alter table event rename to gone").await;
    says(&stack, "orders/postgres", "no tables").await;
    as_owner(&stack, "alter table gone rename to event").await;
    is_ready_again(&stack).await;

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

    stack.servers().kill_nats();
    says(&stack, "orders/nats", "").await;
    says(&stack, "products/nats", "").await;
    stack.servers().start_nats().unwrap();
    is_ready_again(&stack).await;

    stack.servers().kill_postgres();
    says(&stack, "orders/postgres", "Postgres").await;
    says(&stack, "payment/postgres", "Postgres").await;
    stack.servers().start_postgres().unwrap();
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
    says(&stack, "orders/log", "held back").await;
    says(&stack, "notification/log", "held back").await;
    sqlx::raw_sql("rollback").execute(&mut stranger).await.unwrap();
    is_ready_again(&stack).await;
    stack.stop().await;
}
