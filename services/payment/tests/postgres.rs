//! The read model against a real Postgres.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use chassis::projection::Projection as _;
use chrono::DateTime;
use eventstore::{Actor, Aggregate as _, Cause, Cursor, DomainEvent as _, EventId, Recorded, TxId, Version};
use farmera_local::TestServers;
use money::{Currency, Money};
use payment::domain::{Event, Payment, Reference, Terms};
use payment::projections::payments::{PaymentList, PaymentProjection};
use sqlx::postgres::{PgPool, PgPoolOptions};
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

fn amount() -> Money {
    Money::new(1250, Currency::EUR)
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
