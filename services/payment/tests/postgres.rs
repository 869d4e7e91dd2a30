//! The sandbox's books and the read model against a real Postgres.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic, too"
)]

use std::time::Duration;

use chassis::projection::Projection as _;
use chrono::DateTime;
use eventstore::{Actor, Aggregate as _, Cause, Cursor, DomainEvent as _, EventId, Recorded, TxId, Version};
use farmera_local::TestServers;
use futures::future::join_all;
use money::{Currency, Money};
use payment::domain::{Event, Operation, Payment, Reference, Terms};
use payment::projections::payments::{PaymentList, PaymentProjection};
use payment::provider::{ChargeStatus, Key, PaymentProvider as _, ProviderError};
use payment::sandbox::Sandbox;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::time::timeout;
use uuid::Uuid;

/// A database of the test's own, with payment's tables.
async fn database(name: &'static str) -> PgPool {
    let url = tokio::task::spawn_blocking(|| TestServers::shared().expect("the test servers start").admin_url());
    let admin_url = url.await.unwrap();
    let admin = PgPoolOptions::new().max_connections(1).connect(&admin_url).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("create database {name}"))).execute(&admin).await.unwrap();
    let options = admin.connect_options().as_ref().clone().database(name);
    let pool = PgPoolOptions::new().max_connections(4).connect_with(options).await.unwrap();
    payment::migrator().run(&pool).await.unwrap();
    pool
}

fn key(payment: u128, operation: Operation) -> Key {
    Key { payment_id: Uuid::from_u128(payment), operation, epoch: 1 }
}

fn amount() -> Money {
    Money::new(1250, Currency::EUR)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_behaves_like_a_card_processor() {
    let (sandbox, run) = Sandbox::new(database("sandbox").await, Duration::ZERO);
    let mut running = tokio::task::JoinSet::new();
    running.spawn(run);

    one_effect_per_key(&sandbox).await;
    cards_do_what_their_tokens_say(&sandbox).await;
    many_at_a_time_get_their_own_answers(&sandbox).await;
    the_books_are_listed_a_page_at_a_time(&sandbox).await;
}

async fn one_effect_per_key(sandbox: &Sandbox) {
    let hold = key(1, Operation::Authorize);
    assert_eq!(sandbox.lookup(&hold).await.unwrap(), None);
    let charge = sandbox.authorize(&hold, amount(), "tok_success").await.unwrap();
    assert_eq!((&charge.status, charge.requests), (&ChargeStatus::Authorized, 1));
    let again = sandbox.authorize(&hold, amount(), "tok_success").await.unwrap();
    assert_eq!((&again.reference, again.requests), (&charge.reference, 2));
    let other = sandbox.authorize(&hold, Money::new(1, Currency::EUR), "tok_success").await;
    assert!(matches!(other, Err(ProviderError::Malformed(_))));

    let take = key(1, Operation::Capture);
    for requests in [3, 4] {
        let captured = sandbox.capture(&take, &charge.reference).await.unwrap();
        assert_eq!((captured.status, captured.requests), (ChargeStatus::Captured, requests));
    }
    let other_key = Key { epoch: 2, ..take };
    assert!(matches!(sandbox.capture(&other_key, &charge.reference).await, Err(ProviderError::Refused(_))));
    let void = sandbox.void(&key(1, Operation::Void), &charge.reference).await;
    assert!(matches!(void, Err(ProviderError::Refused(refusal)) if refusal.reason == "NOT_VOIDABLE"));
    let foreign = sandbox.refund(&key(2, Operation::Refund), &charge.reference).await;
    assert!(matches!(foreign, Err(ProviderError::Malformed(_))));
    let refunded = sandbox.refund(&key(1, Operation::Refund), &charge.reference).await.unwrap();
    assert_eq!(refunded.status, ChargeStatus::Refunded);
    assert_eq!(sandbox.lookup(&hold).await.unwrap().unwrap().status, ChargeStatus::Refunded);
}

async fn cards_do_what_their_tokens_say(sandbox: &Sandbox) {
    let declined =
        [("tok_declined", "CARD_DECLINED"), ("tok_insufficient_funds", "INSUFFICIENT_FUNDS"), ("x", "UNKNOWN_TOKEN")];
    for (index, (token, reason)) in declined.into_iter().enumerate() {
        let charge = sandbox.authorize(&key(10 + index as u128, Operation::Authorize), amount(), token).await.unwrap();
        assert!(matches!(charge.status, ChargeStatus::Declined(refusal) if refusal.reason == reason));
    }
    let never = |key: Key, token: &'static str| async move {
        timeout(Duration::from_millis(300), sandbox.authorize(&key, amount(), token)).await.is_err()
    };
    let charged = key(20, Operation::Authorize);
    assert!(never(charged, "tok_timeout_charged").await);
    assert_eq!(sandbox.lookup(&charged).await.unwrap().unwrap().status, ChargeStatus::Authorized);
    assert_eq!(sandbox.authorize(&charged, amount(), "tok_timeout_charged").await.unwrap().requests, 2);

    let lost = key(21, Operation::Authorize);
    assert!(never(lost, "tok_timeout_not_charged").await);
    assert_eq!(sandbox.lookup(&lost).await.unwrap(), None);
    let charge = sandbox.authorize(&lost, amount(), "tok_timeout_not_charged").await.unwrap();
    assert_eq!(charge.status, ChargeStatus::Authorized);

    let flaky = key(22, Operation::Authorize);
    for _ in 0..2 {
        let failed = sandbox.authorize(&flaky, amount(), "tok_flaky").await;
        assert!(matches!(failed, Err(ProviderError::Unanswered(_))));
        assert_eq!(sandbox.lookup(&flaky).await.unwrap(), None);
    }
    assert_eq!(sandbox.authorize(&flaky, amount(), "tok_flaky").await.unwrap().requests, 3);
}

async fn many_at_a_time_get_their_own_answers(sandbox: &Sandbox) {
    let keys = || (0..600_u128).map(|index| key(1_000 + index % 500, Operation::Authorize));
    let charges =
        join_all(keys().map(|key| async move { sandbox.authorize(&key, amount(), "tok_success").await })).await;
    let captured = join_all(keys().zip(charges).map(|(key, charge)| async move {
        let charge = charge.unwrap();
        assert_eq!(charge.payment_id, key.payment_id);
        let key = Key { operation: Operation::Capture, ..key };
        sandbox.capture(&key, &charge.reference).await.unwrap()
    }))
    .await;
    assert!(captured.iter().all(|charge| charge.status == ChargeStatus::Captured));
    let twice = sandbox.lookup(&key(1_000, Operation::Authorize)).await.unwrap().unwrap();
    assert_eq!(twice.requests, 4);
}

async fn the_books_are_listed_a_page_at_a_time(sandbox: &Sandbox) {
    let mut seen = Vec::new();
    let mut after: Option<Reference> = None;
    loop {
        let page = sandbox.list(after.as_ref(), 200).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.reference.clone());
        seen.extend(page);
    }
    assert_eq!(seen.len(), 507);
    assert!(seen.windows(2).all(|pair| pair[0].reference.0 < pair[1].reference.0));
}

fn recorded(payment: u128, version: u64, event: &Event) -> Recorded {
    let id = Uuid::from_u128(payment);
    Recorded {
        stream: Payment::stream(id),
        version: Version::new(version),
        cursor: Cursor { tx: TxId(1), position: version },
        id: EventId(id),
        type_name: event.type_name().to_owned(),
        schema_version: 1,
        payload: serde_json::to_string(event).unwrap(),
        time: DateTime::from_timestamp(i64::try_from(version).unwrap(), 0).unwrap(),
        cause: Cause { correlation: id, causation: id, trace: None, actor: Actor::new("test") },
        digest: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_follows_the_log_and_shows_what_the_log_says() {
    let pool = database("payment_view").await;
    let order_id = Uuid::from_u128(1);
    let terms = Terms { order_id, customer_id: Uuid::from_u128(2), amount: amount() };
    let history = [
        Event::AuthorizationStarted { terms, token: "tok".to_owned() },
        Event::Authorized { order_id, amount: amount(), charge: Reference("ch_1".to_owned()), epoch: 1 },
        Event::CaptureStarted { epoch: 1 },
        Event::Captured { order_id, amount: amount() },
    ];
    let events: Vec<Recorded> = history.iter().zip(1..).map(|(event, version)| recorded(7, version, event)).collect();
    let voided = [recorded(8, 1, &Event::VoidedBefore { order_id })];

    let mut connection = pool.acquire().await.unwrap();
    for batch in [&events[..1], &events[1..3], &events[3..], &voided[..], &events[..]] {
        PaymentProjection.apply(&mut connection, batch).await.unwrap();
    }
    let list = PaymentList::new(pool);
    let of_order = list.of_orders(&[order_id]).await.unwrap();
    let from_log = [&events[..], &voided[..]].map(|events| payment::view::payment(events).unwrap().unwrap());
    assert_eq!(of_order, from_log);
    assert_eq!(list.page(Uuid::nil(), Some(order_id), 10).await.unwrap(), from_log);
    assert_eq!(list.page(Uuid::from_u128(7), None, 10).await.unwrap(), from_log[1..]);
}
