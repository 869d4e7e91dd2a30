use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn saga() -> Subject<'static> {
    Subject {
        id: Uuid::from_u128(1),
        order_id: Uuid::from_u128(2),
        customer_id: Uuid::from_u128(3),
        definition: "place-order",
        definition_version: 1,
        state: 3,
        step: "refund-payment",
        error_code: "PROVIDER_DOWN",
        error: "PROVIDER_DOWN: the provider is away",
        started_at: now() - TimeDelta::seconds(660),
        updated_at: now() - TimeDelta::seconds(60),
        amount: 1_250,
        exposure: 1_250,
        currency: "EUR",
    }
}

fn admits(query: &str) -> bool {
    parse(query).unwrap().admits(&saga(), now())
}

#[test]
fn every_field_can_be_asked_for() {
    let order = Uuid::from_u128(2);
    for query in [
        "",
        "state = PARKED",
        "state=open",
        "state != COMPLETED",
        "state in (RUNNING, parked)",
        "saga = place-order and saga = place-order@1",
        "step = \"refund-payment\"",
        "error = PROVIDER_DOWN",
        "error ~ 'IS AWAY'",
        "age > 10m AND age < 12m",
        "idle<=1m",
        "started = 2027-01-15T07:49:00Z and started < 2027-01-15T08:49:00.000001+01:00",
        "started between 2027-01-15T07:49Z and 2027-01-15T07:49:00.5Z",
        "updated > '2027-01-15 07:58:59.9999999Z' and not updated > 2027-01-15T07:59:00Z",
        "updated not between 2027-01-15T08:00Z and 2027-01-15T09:00Z",
        "age between 10m and 11m AND amount between 12.50EUR and 13EUR and idle >= 1m",
        &format!("order = {order}"),
        "customer in (00000000-0000-0000-0000-000000000003)",
        "id != 00000000-0000-0000-0000-000000000009",
        "amount = 12.50EUR",
        "amount >= 12.5EUR and amount < 12.51EUR",
        "amount > 0 and exposure != 0",
        "exposure > 12EUR",
        "amount != 12.50USD",
    ] {
        assert!(admits(query), "{query}");
    }
}

#[test]
fn what_is_not_meant_is_not_admitted() {
    for query in [
        "state = RUNNING",
        "state = ENDED",
        "saga = place-order@2",
        "step not in (refund-payment)",
        "error = OUT_OF_STOCK",
        "age < 10m",
        "started > 2027-01-15T07:49:00Z",
        "started between 2027-01-15T07:49:00.000001Z and 2027-01-15T09:00:00Z",
        "updated not between 2027-01-15T07:59:00Z and 2027-01-15T07:59:00Z",
        "amount > 12.50EUR",
        "amount = 12.50USD",
        "NOT state = PARKED",
    ] {
        assert!(!admits(query), "{query}");
    }
}

#[test]
fn not_binds_closest_then_and_then_or() {
    assert!(admits("state = PARKED OR state = RUNNING AND step = nothing"));
    assert!(!admits("(state = PARKED OR state = RUNNING) AND step = nothing"));
    assert!(!admits("not state = PARKED and step = refund-payment"));
    assert!(admits("not (state = PARKED and step = nothing)"));
}

#[test]
fn a_mistake_is_told_with_its_place() {
    for (query, offset, message) in [
        ("state = STUCK", 8, "`STUCK` is not a state: RUNNING"),
        ("colour = red", 0, "there is no field `colour`"),
        ("state PARKED", 6, "expected one of = != < <= > >= ~ in between, found `PARKED`"),
        ("state = PARKED age > 1m", 15, "expected AND, OR, or the end, found `age`"),
        ("(state = PARKED", 15, "expected `)`, found the end"),
        ("age > soon", 6, "`soon` is not a time such as 90s"),
        ("state in (PARKED", 16, "expected `,` or `)`, found the end"),
        ("step = \"open", 7, "the quote is not closed"),
        ("amount > 1.23456", 9, "`1.23456` is not an amount"),
        ("amount > 25.5JPY", 9, "`25.5JPY` is not an amount"),
        ("amount = 1.234EUR", 9, "`1.234EUR` is not an amount"),
        ("state = OPEN and amount > 10.5", 26, "amount needs a currency: say 10.5EUR"),
        ("exposure != 1", 12, "exposure needs a currency: say 1EUR"),
        ("state > PARKED", 6, "it has no order"),
        ("step ~ pay", 5, "only `error` can be searched"),
        ("state = ", 8, "expected a value, found the end"),
        ("a & b", 2, "`&` has no meaning here"),
        ("started > 2026-11-29T23:00", 10, "say 2026-11-29T23:00:00Z for UTC, or 2026-11-29T23:00:00+01:00"),
        ("updated <= 2026-11-29", 11, "updated needs the zone of its time: say 2026-11-29T00:00:00Z"),
        ("started between '2026-11-29 23:00' and 2026-11-30T00:00Z", 16, "started needs the zone"),
        ("started > yesterday", 10, "`yesterday` is not a point in time such as 2026-11-29T23:00:00Z"),
        ("started > 10m", 10, "`10m` is not a point in time"),
        ("age > 2026-11-29T23:00:00Z", 6, "is not a time such as 90s"),
        ("started between 2026-11-30T00:00Z and 2026-11-29T23:00Z", 16, "nothing is between these two"),
        ("amount between 3EUR and 2EUR", 15, "nothing is between these two"),
        ("age between 2h and 1h", 12, "nothing is between these two"),
        ("started between 2026-11-30T00:00Z", 33, "expected AND, and what it ends with, found the end"),
        ("started in (2026-11-30T00:00Z)", 12, "or BETWEEN, not by IN"),
        ("state between OPEN and ENDED", 14, "it has no order"),
        ("state not PARKED", 10, "expected IN or BETWEEN"),
        ("customer = ana", 11, "`ana` is not a UUID"),
    ] {
        let error = parse(query).unwrap_err();
        assert_eq!(error.offset, offset, "{query}: {error}");
        assert!(error.message.contains(message), "{query}: {error}");
    }
}

#[test]
fn limits_are_kept() {
    assert_eq!(parse(&"x".repeat(LENGTH_MAX + 1)).unwrap_err().offset, LENGTH_MAX);
    let deep = format!("{}state = PARKED{}", "(".repeat(DEPTH_MAX + 1), ")".repeat(DEPTH_MAX + 1));
    assert!(parse(&deep).unwrap_err().message.contains("nested"));
}

#[test]
fn bounds_say_when_nothing_is_left_to_be_looked_at() {
    let exact = |query: &str| Bounds::of(&parse(query).unwrap(), now()).exact;
    assert!(exact("state = PARKED and step = refund-payment and error = PROVIDER_DOWN"));
    assert!(exact("state = PARKED or not state in (COMPLETED, COMPENSATED)"));
    assert!(!exact("state = PARKED or step = refund-payment"));
    assert!(exact("state = OPEN and amount > 3EUR and exposure <= 12.50EUR and error ~ away"));
    assert!(exact("exposure > 0") && exact("amount = 0"), "nothing is nothing in every currency");
    assert!(exact(
        "started > 2027-01-15T07:49:00.0000001Z and updated between 2027-01-15T07:49Z and 2027-01-15T08:00Z"
    ));
    assert!(!exact("started != 2027-01-15T07:49:00Z"), "no span says it all");
    assert!(!exact("amount != 3EUR"), "no range says it all");
    assert!(!exact("error ~ Ärger"), "a database folds ASCII alone alike in every locale");
    assert!(!exact("not step = refund-payment"));
}

prop_compose! {
    fn leaf()(
        query in prop::sample::select(vec![
            "state = PARKED", "state in (RUNNING, COMPLETED)", "state != ABANDONED", "step = a", "step != b",
            "error = X", "error ~ x", "error ~ 'ä'", "error ~ 'XÄ'", "error ~ ÖX", "age > 10m", "age <= 10m", "idle < 90s",
            "started > 2027-01-15T07:50:00Z", "started <= 2027-01-15T07:50:00.0000005Z", "started = 2027-01-15T07:50:00Z",
            "updated >= 2027-01-15T07:59:00.0000005Z", "updated != 2027-01-15T07:59:00Z", "updated = 2027-01-15T07:59:00.0000005Z",
            "started between 2027-01-15T07:45Z and 2027-01-15T07:50Z", "updated not between 2027-01-15T07:59Z and 2027-01-15T08:00Z", "saga = place-order@1", "saga = place-order@2",
            "saga in (c, place-order@1)", "saga != c",
            "exposure > 0", "exposure = 0", "amount != 0", "amount > 10EUR", "amount <= 10.5EUR", "amount != 10EUR", "amount = 10EUR",
            "exposure >= 0.01EUR", "exposure < 0.01EUR", "amount > 1USD", "amount = 9.99EUR", "error ~ y", "customer = 00000000-0000-0000-0000-000000000003",
            "order = 00000000-0000-0000-0000-000000000002", "id in (00000000-0000-0000-0000-000000000001)",
        ])
    ) -> String { query.to_owned() }
}

fn query() -> impl Strategy<Value = String> {
    leaf().prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one} and {other})")),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one} or {other})")),
            inner.prop_map(|one| format!("not {one}")),
        ]
    })
}

fn within(bounds: &Bounds, saga: &Subject<'_>) -> bool {
    let span = |span: Span, time| span.from.is_none_or(|from| from <= time) && span.to.is_none_or(|to| time <= to);
    let range = |range: Range, units: i64| range.low <= units && units <= range.high;
    bounds.states.has(saga.state)
        && bounds.ids.as_ref().is_none_or(|ids| ids.contains(&saga.id))
        && bounds.customers.as_ref().is_none_or(|ids| ids.contains(&saga.customer_id))
        && bounds.definitions.as_ref().is_none_or(|names| names.contains(saga.definition))
        && bounds.steps.as_ref().is_none_or(|names| names.contains(saga.step))
        && bounds.errors.as_ref().is_none_or(|codes| codes.contains(saga.error_code))
        && span(bounds.started, saga.started_at)
        && span(bounds.updated, saga.updated_at)
        && bounds.currencies.as_ref().is_none_or(|codes| codes.contains(saga.currency))
        && range(bounds.version, saga.definition_version.into())
        && range(bounds.amount, saga.amount)
        && range(bounds.exposure, saga.exposure)
        && bounds.error_part.as_ref().is_none_or(|part| saga.error.to_ascii_lowercase().contains(part))
}

proptest! {
    #[test]
    fn bounds_hold_whatever_a_query_admits_and_exact_ones_nothing_else(
        text in query(),
        state in 1_i16..=7,
        step in prop::sample::select(vec!["a", "b", ""]),
        error_code in prop::sample::select(vec!["X", "Y", "xÄ", "Öx", ""]),
        (age, idle) in (0_i64..1_200, prop_oneof![0_i64..120, 59_i64..62]),
        (amount, exposure) in (900_i64..1_100, 0_i64..2),
    ) {
        let order_id = Uuid::from_u128(2);
        let saga = Subject {
            id: crate::handler::place_saga_id(order_id), order_id, state, step, error_code, error: error_code,
            started_at: now() - TimeDelta::seconds(age), updated_at: now() - TimeDelta::seconds(idle), amount, exposure,
            ..saga()
        };
        let query = parse(&text).unwrap();
        let bounds = Bounds::of(&query, now());
        let (admitted, inside) = (query.admits(&saga, now()), within(&bounds, &saga));
        prop_assert!(!admitted || inside, "{} admits what its bounds leave out", text);
        prop_assert!(!bounds.exact || admitted == inside, "{} is not exact", text);
    }

    #[test]
    fn no_text_makes_the_parser_fall_over(text in "\\PC{0,60}") {
        let _ = parse(&text);
    }
}
