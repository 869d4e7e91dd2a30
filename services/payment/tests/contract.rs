//! What payment relies on from any provider: the same promises, asked of the sandbox in this process and of a processor
//! behind HTTP.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may panic, too"
)]

use std::path::Path;
use std::time::Duration;

use chassis::config::Secret;
use chassis::shutdown::{Shutdown, Trigger};
use farmera_local::TestServers;
use futures::future::join_all;
use money::{Currency, Money};
use payment::domain::{Operation, Reference};
use payment::processor::{self, Processor};
use payment::provider::{ChargeStatus, Key, PaymentProvider, ProviderError};
use payment::sandbox::Sandbox;
use payment::sandbox::server::{Fact, Options, Provider, Weather, read_journal};
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

fn key(payment: u128, operation: Operation) -> Key {
    Key { payment_id: Uuid::from_u128(payment), operation, epoch: 1 }
}

fn amount() -> Money {
    Money::new(1250, Currency::EUR)
}

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

/// A processor behind HTTP, and the way to it.
struct Remote {
    processor: Processor,
    url: String,
    trigger: Trigger,
    serving: JoinSet<std::io::Result<()>>,
}

impl Remote {
    async fn start(journal: &Path, weather: Weather, timeout: Duration) -> Self {
        let secret = Secret::new("sk_test_1");
        let options = Options { journal: journal.to_owned(), key: Some(secret.clone()), weather, seed: 11 };
        let provider = Provider::open(options).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (trigger, shutdown) = Shutdown::new();
        let mut serving = JoinSet::new();
        serving.spawn(provider.serve(listener, shutdown));
        Self { processor: way_to(&url, Some(secret), timeout), url, trigger, serving }
    }

    async fn stop(mut self) {
        self.trigger.trigger();
        self.serving.join_next().await.unwrap().unwrap().unwrap();
    }
}

fn way_to(url: &str, key: Option<Secret>, timeout: Duration) -> Processor {
    let options = processor::Options { url: url.parse().unwrap(), key, timeout, connections_max: 64 };
    Processor::new(options).unwrap()
}

/// Longer than any answer takes, shorter than what is never answered.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_in_this_process_keeps_the_promises() {
    let (sandbox, run) = Sandbox::new(database("provider_contract").await, Duration::ZERO);
    let mut running = JoinSet::new();
    running.spawn(run);
    every_promise(&sandbox).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_behind_http_keeps_the_promises() {
    let folder = tempfile::tempdir().unwrap();
    let remote = Remote::start(&folder.path().join("journal.ndjson"), Weather::default(), PATIENCE).await;
    every_promise(&remote.processor).await;
    remote.stop().await;
}

async fn every_promise(provider: &dyn PaymentProvider) {
    one_effect_per_key(provider).await;
    what_a_charge_cannot_do_is_refused(provider).await;
    cards_do_what_their_tokens_say(provider).await;
    many_at_a_time_get_their_own_answers(provider).await;
    the_books_are_listed_a_page_at_a_time(provider).await;
}

async fn one_effect_per_key(provider: &dyn PaymentProvider) {
    let hold = key(1, Operation::Authorize);
    assert_eq!(provider.lookup(&hold).await.unwrap(), None);
    let charge = provider.authorize(&hold, amount(), "tok_success").await.unwrap();
    assert_eq!((&charge.status, charge.requests, charge.amount), (&ChargeStatus::Authorized, 1, amount()));
    let again = provider.authorize(&hold, amount(), "tok_success").await.unwrap();
    assert_eq!((&again.reference, again.requests), (&charge.reference, 2));
    let other = provider.authorize(&hold, Money::new(1, Currency::EUR), "tok_success").await;
    assert!(matches!(other, Err(ProviderError::Malformed(_))));

    let take = key(1, Operation::Capture);
    for requests in [3, 4] {
        let captured = provider.capture(&take, &charge.reference).await.unwrap();
        assert_eq!((captured.status, captured.requests), (ChargeStatus::Captured, requests));
    }
    let refunded = provider.refund(&key(1, Operation::Refund), &charge.reference).await.unwrap();
    assert_eq!((refunded.status, refunded.amount), (ChargeStatus::Refunded, amount()));
    assert_eq!(provider.lookup(&hold).await.unwrap().unwrap().status, ChargeStatus::Refunded);

    let held = provider.authorize(&key(2, Operation::Authorize), amount(), "tok_success").await.unwrap();
    assert_ne!(held.reference, charge.reference);
    for _ in 0..2 {
        let voided = provider.void(&key(2, Operation::Void), &held.reference).await.unwrap();
        assert_eq!(voided.status, ChargeStatus::Voided);
    }
}

async fn what_a_charge_cannot_do_is_refused(provider: &dyn PaymentProvider) {
    let charge = provider.authorize(&key(3, Operation::Authorize), amount(), "tok_success").await.unwrap();
    provider.capture(&key(3, Operation::Capture), &charge.reference).await.unwrap();
    let second = Key { epoch: 2, ..key(3, Operation::Capture) };
    for _ in 0..2 {
        let capture = provider.capture(&second, &charge.reference).await;
        assert!(matches!(capture, Err(ProviderError::Refused(refusal)) if refusal.reason == "NOT_CAPTURABLE"));
    }
    let void = provider.void(&key(3, Operation::Void), &charge.reference).await;
    assert!(matches!(void, Err(ProviderError::Refused(refusal)) if refusal.reason == "NOT_VOIDABLE"));
    let foreign = provider.refund(&key(4, Operation::Refund), &charge.reference).await;
    assert!(matches!(foreign, Err(ProviderError::Malformed(_))));
    let unknown = Reference(charge.reference.0.chars().rev().collect());
    let unknown = provider.capture(&key(4, Operation::Capture), &unknown).await;
    assert!(matches!(unknown, Err(ProviderError::Malformed(_))));
}

async fn cards_do_what_their_tokens_say(provider: &dyn PaymentProvider) {
    let declined =
        [("tok_declined", "CARD_DECLINED"), ("tok_insufficient_funds", "INSUFFICIENT_FUNDS"), ("x", "UNKNOWN_TOKEN")];
    for (index, (token, reason)) in declined.into_iter().enumerate() {
        let key = key(10 + index as u128, Operation::Authorize);
        let charge = provider.authorize(&key, amount(), token).await.unwrap();
        assert!(matches!(charge.status, ChargeStatus::Declined(refusal) if refusal.reason == reason));
        let found = provider.lookup(&key).await.unwrap().unwrap();
        assert!(matches!(found.status, ChargeStatus::Declined(refusal) if refusal.reason == reason));
    }
    let never = |key: Key, token: &'static str| async move {
        timeout(Duration::from_millis(500), provider.authorize(&key, amount(), token)).await.is_err()
    };
    let charged = key(20, Operation::Authorize);
    assert!(never(charged, "tok_timeout_charged").await);
    assert_eq!(provider.lookup(&charged).await.unwrap().unwrap().status, ChargeStatus::Authorized);
    assert_eq!(provider.authorize(&charged, amount(), "tok_timeout_charged").await.unwrap().requests, 2);

    let lost = key(21, Operation::Authorize);
    assert!(never(lost, "tok_timeout_not_charged").await);
    assert_eq!(provider.lookup(&lost).await.unwrap(), None);
    let charge = provider.authorize(&lost, amount(), "tok_timeout_not_charged").await.unwrap();
    assert_eq!(charge.status, ChargeStatus::Authorized);

    let flaky = key(22, Operation::Authorize);
    for _ in 0..2 {
        let failed = provider.authorize(&flaky, amount(), "tok_flaky").await;
        assert!(matches!(failed, Err(ProviderError::Unanswered(_))));
        assert_eq!(provider.lookup(&flaky).await.unwrap(), None);
    }
    assert_eq!(provider.authorize(&flaky, amount(), "tok_flaky").await.unwrap().requests, 3);
}

async fn many_at_a_time_get_their_own_answers(provider: &dyn PaymentProvider) {
    let keys = || (0..600_u128).map(|index| key(1_000 + index % 500, Operation::Authorize));
    let charges =
        join_all(keys().map(|key| async move { provider.authorize(&key, amount(), "tok_success").await })).await;
    let captured = join_all(keys().zip(charges).map(|(key, charge)| async move {
        let charge = charge.unwrap();
        assert_eq!(charge.payment_id, key.payment_id);
        let key = Key { operation: Operation::Capture, ..key };
        provider.capture(&key, &charge.reference).await.unwrap()
    }))
    .await;
    assert!(captured.iter().all(|charge| charge.status == ChargeStatus::Captured));
    let twice = provider.lookup(&key(1_000, Operation::Authorize)).await.unwrap().unwrap();
    assert_eq!(twice.requests, 4);
}

async fn the_books_are_listed_a_page_at_a_time(provider: &dyn PaymentProvider) {
    let mut seen = Vec::new();
    let mut after: Option<Reference> = None;
    loop {
        let page = provider.list(after.as_ref(), 200).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.reference.clone());
        seen.extend(page);
    }
    assert_eq!(seen.len(), 509);
    assert!(seen.windows(2).all(|pair| pair[0].reference.0 < pair[1].reference.0));
}

/// As payment deals with a provider: look before asking again, and take a new key only when the old one is spent and the
/// books show no effect of it.
async fn held_whatever_it_takes(processor: &Processor, payment: u128) -> Reference {
    let mut hold = key(payment, Operation::Authorize);
    for _ in 0..200 {
        match processor.authorize(&hold, amount(), "tok_success").await {
            Ok(charge) => return charge.reference,
            Err(ProviderError::Unanswered(_)) => {}
            Err(ProviderError::KeySpent(_)) => match sure_lookup(processor, &hold).await {
                Some(reference) => return reference,
                None => hold.epoch += 1,
            },
            Err(other) => panic!("{other}"),
        }
    }
    panic!("payment {payment} was never held");
}

async fn sure_lookup(processor: &Processor, key: &Key) -> Option<Reference> {
    for _ in 0..200 {
        if let Ok(found) = processor.lookup(key).await {
            return found.map(|charge| charge.reference);
        }
    }
    panic!("the books were never open");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_weather_makes_a_charge_twice() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.ndjson");
    let storm = Weather {
        latency_ms: 1,
        error_rate: 0.1,
        lose_request_rate: 0.05,
        lose_reply_rate: 0.2,
        spend_key_rate: 0.1,
        duplicate_rate: 0.3,
    };
    let remote = Remote::start(&journal, storm, Duration::from_millis(400)).await;
    let processor = &remote.processor;
    let held = join_all((0..200).map(|payment| held_whatever_it_takes(processor, payment))).await;
    remote.stop().await;
    let entries = read_journal(&journal).unwrap();
    let charges: Vec<&str> = entries
        .iter()
        .filter(|entry| matches!(entry.fact, Fact::Authorized { .. }))
        .map(|entry| entry.charge.as_str())
        .collect();
    assert_eq!(charges.len(), held.len(), "one charge for each payment, and no other");
    assert!(held.iter().all(|reference| charges.contains(&reference.0.as_str())));
    assert!(entries.iter().any(|entry| entry.fact == Fact::Failed {}), "no key was spent");
    assert!(entries.iter().any(|entry| entry.fact == Fact::Repeated {}), "nothing was asked twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_or_does_not_know_us_has_not_answered() {
    let nobody = way_to("http://127.0.0.1:1", None, PATIENCE);
    let hold = key(1, Operation::Authorize);
    let answer = nobody.authorize(&hold, amount(), "tok_success").await;
    assert!(matches!(answer, Err(ProviderError::Unanswered(_))), "{answer:?}");

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let answer = way_to(&url, None, Duration::from_millis(300)).lookup(&hold).await;
    assert!(matches!(answer, Err(ProviderError::Unanswered(_))), "{answer:?}");

    let folder = tempfile::tempdir().unwrap();
    let remote = Remote::start(&folder.path().join("journal.ndjson"), Weather::default(), PATIENCE).await;
    let stranger = way_to(&remote.url, Some(Secret::new("sk_test_of_somebody_else")), PATIENCE);
    let answer = stranger.authorize(&hold, amount(), "tok_success").await;
    let Err(ProviderError::Unanswered(reason)) = &answer else { panic!("{answer:?}") };
    assert!(reason.contains("authentication_error") && !reason.contains("sk_test"), "{reason}");
    assert_eq!(remote.processor.lookup(&hold).await.unwrap(), None);
    remote.stop().await;
}
