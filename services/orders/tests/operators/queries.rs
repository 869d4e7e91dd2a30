//! What queries of customers, texts and times find.

use chrono::{DateTime, SecondsFormat, Utc};
use orders::handler::place_saga_id;
use orders::operations::query::parse;
use orders::projections::sagas::{Order, Page};
use orders::sagas::{AUTHORIZE_PAYMENT, RESERVE_INVENTORY};
use saga::Outcome;
use uuid::Uuid;

use crate::read_model::{all, busy, find};
use crate::support::Market;

/// How many sagas a list and a count of them say there are.
async fn found(market: &Market, query: &str) -> (usize, usize) {
    let asked = parse(query).unwrap();
    let mut page = Page { order: Order::Oldest, after: None, size: 7_000 };
    let mut listed = 0;
    loop {
        let (rows, has_more) = market.sagas().find(&asked, page, market.clock.now()).await.unwrap();
        page.after = rows.last().map(|row| (row.key, row.saga_id));
        listed += rows.len();
        if !has_more {
            break;
        }
    }
    let counted = market.sagas().count(&asked, market.clock.now()).await.unwrap();
    (listed, counted.0.iter().map(|group| usize::try_from(group.count).unwrap()).sum())
}

/// Lists, counts and plans see all of it, however much a customer orders.
#[tokio::test(flavor = "multi_thread")]
async fn no_order_of_a_customer_is_left_out_however_many_there_are() {
    const ORDERS: usize = 20_001;
    let market = Market::open().await;
    market.place(1, 1_000).await;
    market.project(10).await;
    let (sagas, orders): (Vec<_>, Vec<_>) =
        std::iter::repeat_with(|| market.ids.next_id()).take(ORDERS).map(|id| (place_saga_id(id), id)).unzip();
    sqlx::query(
        "insert into order_view (order_id, customer_id, state, minor_units, currency, cancelling, created_at, updated_at,
                                 version)
         select n.order_id, $2, state, minor_units, currency, cancelling, created_at, updated_at, version
         from order_view
         cross join unnest($1::uuid[]) as n (order_id)",
    )
    .bind(&orders)
    .bind(Uuid::from_u128(2))
    .execute(&market.pool)
    .await
    .unwrap();
    sqlx::query(
        "insert into saga_view (saga_id, definition, definition_version, order_id, customer_id, state, started_at,
                                updated_at, version, amount, currency, units, step, lane, attempt, error_code, error,
                                authorized, captured, reserved, reserved_units)
         select n.saga_id, definition, definition_version, n.order_id, $3, state, started_at, updated_at, version,
                amount, currency, units, step, lane, attempt, error_code, error, authorized, captured, reserved,
                reserved_units
         from saga_view
         cross join unnest($1::uuid[], $2::uuid[]) as n (saga_id, order_id)",
    )
    .bind(&sagas)
    .bind(&orders)
    .bind(Uuid::from_u128(2))
    .execute(&market.pool)
    .await
    .unwrap();
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    for (query, expected) in [
        (format!("customer = {two}"), ORDERS),
        (format!("customer = {two} and state = RUNNING"), ORDERS),
        (format!("customer = {two} and not step = nothing"), ORDERS),
        (format!("customer in ({one}, {two})"), ORDERS + 1),
        (format!("customer = {one} or customer = {two}"), ORDERS + 1),
        (format!("customer = {two} and id = {}", sagas[0]), 1),
        (format!("customer = {one} and id = {}", sagas[0]), 0),
        (format!("not customer = {one}"), ORDERS),
    ] {
        assert_eq!(found(&market, &query).await, (expected, expected), "{query}");
    }
}

/// The database folds as the program does, whatever its locale is.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_an_error_is_found_in_every_case_and_script() {
    let market = Market::open().await;
    let errors = ["PROVIDER_DOWN: Ärger bei Müller", "PROVIDER_DOWN: ΛΆΘΟΣ, 5 K", "PROVIDER_DOWN: İstanbul 10\u{212a}"];
    for error in errors {
        let saga = market.place(1, 1_000).await;
        market.done(saga, RESERVE_INVENTORY).await;
        market.reply(saga, AUTHORIZE_PAYMENT, Outcome::Unknown(error.to_owned())).await;
    }
    market.project(10).await;
    for (part, expected) in [
        ("Ä", 1),
        ("ä", 1),
        ("ärger BEI mÜLLER", 1),
        ("down", 3),
        ("λάθος", 1),
        ("5 k", 1),
        ("10k", 0),
        ("İSTANBUL", 1),
        ("istanbul", 0),
        ("ö", 0),
    ] {
        for query in [format!("error ~ '{part}'"), format!("error ~ '{part}' and state = RUNNING")] {
            assert_eq!(found(&market, &query).await, (expected, expected), "{query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sagas_are_found_by_the_time_they_started_or_changed_to_the_microsecond() {
    let (market, ids) = busy().await;
    market.project(5).await;
    let rows = all(&market).await;
    let written = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Micros, true);
    let [first, second, third, _] =
        rows.iter().map(|row| written(row.started_at)).collect::<Vec<_>>().try_into().unwrap();
    let last = written(rows.iter().map(|row| row.updated_at).max().unwrap());
    for (query, expected) in [
        (format!("started > {first}"), vec![1, 2, 3]),
        (format!("started >= {second}"), vec![1, 2, 3]),
        (format!("started < {second}"), vec![0]),
        (format!("started <= {second}"), vec![0, 1]),
        (format!("started = {second}"), vec![1]),
        (format!("started != {second}"), vec![0, 2, 3]),
        (format!("started between {second} and {third}"), vec![1, 2]),
        (format!("started not between {second} and {third}"), vec![0, 3]),
        (format!("started between {second} and {third} and state = RUNNING"), vec![2]),
        (format!("updated = {last}"), vec![3]),
        (format!("updated < {last} and started > {first}"), vec![1, 2]),
    ] {
        let listed = find(&market, &query, Order::Oldest).await;
        let expected: Vec<_> = expected.into_iter().map(|index: usize| ids[index]).collect();
        assert_eq!(listed.iter().map(|row| row.saga_id).collect::<Vec<_>>(), expected, "{query}");
        assert_eq!(found(&market, &query).await, (expected.len(), expected.len()), "{query}");
    }
}
