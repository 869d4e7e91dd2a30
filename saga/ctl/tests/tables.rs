//! Every table, as people see it: narrow and wide.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fmt::Write as _;
use std::path::Path;

use chrono::{DateTime, SecondsFormat};
use farmera_proto::common::v1::Money;
use farmera_proto::saga::v1 as pb;
use pbjson_types::{Duration, Timestamp};
use sagactl::output::Listed;
use sagactl::output::paint::Paint;
use sagactl::output::table::Table;
use support::golden;

const NOW: i64 = 1_800_000_000;

fn ago(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds: NOW - seconds, nanos: 0 })
}

fn euro(captured_minor_units: i64) -> pb::Exposure {
    pb::Exposure { currency_code: "EUR".to_owned(), captured_minor_units, ..pb::Exposure::default() }
}

fn draw<T: Listed>(title: &str, things: &[T], text: &mut String) {
    let now = DateTime::from_timestamp(NOW, 0).unwrap();
    let rows: Vec<_> = things.iter().map(|thing| thing.cells(now)).collect();
    for (form, wide) in [("table", false), ("wide", true)] {
        let lines = Table::new(T::COLUMNS, wide).lines(&rows, Paint::plain());
        assert!(lines.iter().all(|line| !line.ends_with(' ')), "{lines:?}");
        writeln!(text, "{title} -o {form}\n{}\n", lines.join("\n")).unwrap();
    }
    let names: Vec<_> = things.iter().map(Listed::name).collect();
    writeln!(text, "{title} -o name\n{}\n", names.join("\n")).unwrap();
}

fn sagas() -> [pb::Saga; 2] {
    let saga = |id: &str, state: pb::saga::State, step: &str, error: &str, held| pb::Saga {
        id: id.to_owned(),
        definition: "place-order".to_owned(),
        definition_version: 1,
        order_id: "0199-order".to_owned(),
        customer_id: "0199-customer".to_owned(),
        state: state.into(),
        step: step.to_owned(),
        attempt: 2,
        error: error.to_owned(),
        exposure: Some(euro(held)),
        amount: Some(Money { currency_code: "EUR".to_owned(), minor_units: 24_000 }),
        start_time: ago(7_200),
        update_time: ago(41),
        ..pb::Saga::default()
    };
    let mut undoing = saga("0199-b", pb::saga::State::Compensating, "reserve-inventory", "", 1_250);
    undoing.lane = pb::timeline_entry::Lane::Undo.into();
    undoing.cause = "card declined".to_owned();
    [saga("0199-a", pb::saga::State::Parked, "refund-payment", "PROVIDER_DOWN\u{1b}[31m", 24_000), undoing]
}

fn operation() -> pb::Operation {
    pb::Operation {
        id: "0199-op".to_owned(),
        plan_hash: "7f3c1e001122334455".to_owned(),
        act: Some(pb::Act { kind: pb::act::Kind::Retry.into(), ..pb::Act::default() }),
        reason: "provider is back".to_owned(),
        actor: "operator:ana".to_owned(),
        state: pb::operation::State::Running.into(),
        total: 37,
        succeeded: 14,
        rate: 5,
        service: "orders".to_owned(),
        create_time: ago(3),
        ..pb::Operation::default()
    }
}

fn letters() -> (pb::DeadLetter, pb::group_dead_letters_response::Group) {
    let letter = pb::DeadLetter {
        id: 12,
        consumer: "orders-payment-authorized".to_owned(),
        key: "saga/0199-a".to_owned(),
        reason: "no sound message".to_owned(),
        state: pb::dead_letter::State::Waiting.into(),
        attempts: 1,
        park_time: ago(600),
        group: "g-1a9".to_owned(),
        service: "orders".to_owned(),
        ..pb::DeadLetter::default()
    };
    let group = pb::group_dead_letters_response::Group {
        group: "g-1a9".to_owned(),
        cause: "no sound message".to_owned(),
        consumer: "orders-payment-authorized".to_owned(),
        participant: "payment".to_owned(),
        message: "payment_authorized".to_owned(),
        count: 212,
        lines: 200,
        exposures: vec![euro(512_000)],
        first_time: ago(18_000),
        last_time: ago(120),
        sample_id: 12,
        service: "orders".to_owned(),
    };
    (letter, group)
}

#[test]
fn every_table_is_as_it_was() {
    let mut text = String::new();
    draw("saga list", &sagas(), &mut text);
    let group = pb::count_sagas_response::Group {
        key: "place-order PARKED refund-payment".to_owned(),
        count: 1_234,
        exposures: vec![euro(512_000)],
        first_start_time: ago(7_200),
        last_update_time: ago(41),
    };
    draw("saga count", &[group], &mut text);
    draw("op list", &[operation()], &mut text);
    let (letter, group) = letters();
    draw("dlq list", &[letter], &mut text);
    draw("dlq groups", &[group], &mut text);
    let model = pb::list_projections_response::ProjectionStatus {
        name: "order_view".to_owned(),
        cursor: "4711/12".to_owned(),
        update_time: ago(2),
        lag_events: 1_200,
        service: "orders".to_owned(),
        ..pb::list_projections_response::ProjectionStatus::default()
    };
    draw("projection list", &[model], &mut text);
    let timer = |due_time, id: &str| pb::Timer {
        saga_id: id.to_owned(),
        due_time,
        step: "authorize-payment".to_owned(),
        definition: "place-order".to_owned(),
        state: pb::saga::State::Running.into(),
        ..pb::Timer::default()
    };
    draw("timer list", &[timer(ago(90), "0199-a"), timer(ago(-7_260), "0199-b")], &mut text);
    // Wherever this runs.
    for seconds in [90, -7_260] {
        let due = DateTime::from_timestamp(NOW - seconds, 0).unwrap();
        let shown = sagactl::clock::local(due).to_rfc3339_opts(SecondsFormat::Secs, true);
        text = text.replace(&shown, &due.to_rfc3339_opts(SecondsFormat::Secs, true));
    }
    let step = pb::DefinitionStep {
        name: "confirm".to_owned(),
        kind: pb::definition_step::Kind::Pivot.into(),
        usual: Some(pb::Usual { p50: Some(Duration { seconds: 0, nanos: 4_000_000 }), ..pb::Usual::default() }),
        ..pb::DefinitionStep::default()
    };
    draw("def show", &[step], &mut text);
    golden(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tables.txt"), &text);
}
