//! Every released shape of the events that orders stores: its own and those of its sagas.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use eventstore::{Actor, golden};
use money::{Currency, Money};
use orders::domain::{Facts, Failure, Farm, Line, Order, OrderEvent};
use orders::sagas::{Item, NotifiedLine, OrderFacts, OrderProcess, Request, Telling};
use saga::hold::{HoldEvent, ReleasePlan};
use saga::{
    ByHand, CompensationCause, Deadline, DefinitionEvent, DefinitionRef, HoldTarget, Holds, Lane, Parent,
    RecordedDefinition, Rejection, Saga, SagaEvent, Shared, StepName,
};
use uuid::Uuid;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"))
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0000 + number)
}

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_767_225_600_250_001).unwrap()
}

fn facts() -> Facts {
    let line = |product: u128, name: &str| Line {
        product_id: id(product),
        name: name.to_owned(),
        quantity: 2,
        unit_price: Money::new(250, Currency::EUR),
        farm: Farm { id: id(3), name: "Hof Brühl".to_owned(), email: "hof@example.org".to_owned() },
    };
    Facts {
        customer_id: id(1),
        email: "ana@example.org".to_owned(),
        payment_token: "tok_success".to_owned(),
        lines: vec![line(20, "Äpfel"), line(21, "Eggs \"free\" 🥚")],
        total: Money::new(1_000, Currency::EUR),
    }
}

fn failure() -> Failure {
    Failure { reason: "OUT_OF_STOCK".to_owned(), message: "Eggs: 2 wanted, 1 available".to_owned() }
}

fn of_orders() -> Vec<(&'static str, OrderEvent)> {
    let (customer_id, email) = (id(1), "ana@example.org".to_owned());
    let cancelled = |after_completion| OrderEvent::OrderCancelled {
        failure: Failure { reason: "CANCELLED_BY_CUSTOMER".to_owned(), message: "too late".to_owned() },
        after_completion,
        customer_id,
        email: email.clone(),
    };
    vec![
        ("", OrderEvent::OrderPlaced { facts: Arc::new(facts()), fingerprint: "9f86d081".to_owned() }),
        ("", OrderEvent::ProductsReserved),
        ("", OrderEvent::OrderConfirmed),
        ("", OrderEvent::OrderCompleted),
        ("", OrderEvent::CancellationStarted { reason: "too late".to_owned() }),
        ("", OrderEvent::OrderFailed { failure: failure(), customer_id, email: email.clone() }),
        ("", cancelled(false)),
        ("after_completion", cancelled(true)),
    ]
}

/// Everything that participants are asked.
fn requests() -> Vec<(&'static str, Request)> {
    let (order_id, reservation_id, payment_id) = (id(10), id(11), id(12));
    let notify = |telling| Request::Notify {
        order_id,
        telling,
        customer_id: id(1),
        email: "ana@example.org".to_owned(),
        lines: facts().lines.iter().map(NotifiedLine::from).collect(),
        total: facts().total,
    };
    let items = vec![Item { product_id: id(20), quantity: 2 }, Item { product_id: id(21), quantity: 2 }];
    let (customer_id, amount, payment_token) = (id(1), facts().total, "tok_success".to_owned());
    vec![
        ("", Request::ReserveInventory { order_id, reservation_id, items }),
        ("release", Request::ReleaseInventory { order_id, reservation_id }),
        ("commit", Request::CommitInventory { order_id, reservation_id }),
        ("restock", Request::RestockInventory { order_id, reservation_id }),
        ("authorize", Request::AuthorizePayment { order_id, payment_id, customer_id, amount, payment_token }),
        ("void", Request::VoidPayment { order_id, payment_id }),
        ("capture", Request::CapturePayment { order_id, payment_id }),
        ("refund", Request::RefundPayment { order_id, payment_id }),
        ("notify", notify(Telling::Completed)),
        ("notify_refunded", notify(Telling::Refunded)),
    ]
}

type Event = SagaEvent<OrderProcess>;

fn of_steps() -> Vec<(&'static str, Event)> {
    let step = || StepName::new("reserve-inventory");
    let detail = || "no answer in time".to_owned();
    let unknown = |retry_at| Event::StepUnknown { step: step(), attempt: 2, detail: detail(), retry_at };
    let failed = |retry_at| Event::CompensationFailed { step: step(), attempt: 3, detail: detail(), retry_at };
    let parked = |lane| Event::Parked { step: step(), lane, detail: detail() };
    let asked = requests().into_iter().map(|(variant, request)| {
        let request = Shared::from(request);
        (variant, Event::StepRequested { step: step(), attempt: 1, request, deadline: at() })
    });
    let by_hand = || ByHand { actor: Actor::new("operator:ana"), reason: "looked into it".to_owned() };
    let held = |hold| {
        let ByHand { actor, reason } = by_hand();
        Event::StepHeld { step: step(), lane: Lane::Undo, hold, actor, reason, at: at() }
    };
    let undo = Shared::from(Request::ReleaseInventory { order_id: id(10), reservation_id: id(11) });
    let mut events: Vec<_> = asked.collect();
    events.extend([
        ("", Event::StepSucceeded { step: step(), output: None }),
        ("", Event::StepRejected { step: step(), reason: Rejection::new("OUT_OF_STOCK", "Eggs") }),
        ("", unknown(Some(at()))),
        ("exhausted", unknown(None)),
        ("", Event::CompensationRequested { step: step(), attempt: 1, request: undo, deadline: at() }),
        ("", Event::CompensationSucceeded { step: step() }),
        ("", failed(Some(at()))),
        ("exhausted", failed(None)),
        ("", Event::StepAwaited { step: step(), attempt: 1, deadline: at() }),
        ("", Event::StepSkipped { step: step(), lane: Lane::Forward, by_hand: None }),
        ("by_hand", Event::StepSkipped { step: step(), lane: Lane::Undo, by_hand: Some(by_hand()) }),
        (
            "",
            Event::StepRetried { step: step(), lane: Lane::Forward, actor: by_hand().actor, reason: by_hand().reason },
        ),
        ("", held(HoldTarget::Participant("products".to_owned()))),
        ("at_step", held(HoldTarget::Step { definition: "place-order".to_owned(), step: step() })),
        ("", Event::StepReleased { step: step(), lane: Lane::Forward, at: at() }),
        ("", parked(Lane::Forward)),
        ("undo", parked(Lane::Undo)),
    ]);
    events
}

fn of_sagas() -> Vec<(&'static str, Event)> {
    let reference = r#"{"name":"place-order","version":1,"hash":"HASH"}"#.replace("HASH", &"5e".repeat(32));
    let definition: DefinitionRef = serde_json::from_str(&reference).unwrap();
    let input = OrderFacts { order_id: id(10), reservation_id: id(11), payment_id: id(12), facts: facts() };
    let input = Shared::from(input);
    let begun =
        |deadline, parent| Event::Started { definition: definition.clone(), input: input.clone(), deadline, parent };
    let started = |deadline| begun(deadline, None);
    let parent = |lane| Some(Parent { saga_id: id(40), step: StepName::new("order"), lane });
    let step = || StepName::new("reserve-inventory");
    let (actor, reason) = (|| Actor::new("operator:ana"), || "looked into it".to_owned());
    let causes = || {
        let rejection = Rejection::new("OUT_OF_STOCK", "Eggs");
        [
            ("", CompensationCause::Rejected { step: step(), rejection }),
            ("exhausted", CompensationCause::Exhausted { step: step(), detail: "no answer".to_owned() }),
            ("late", CompensationCause::Late { deadline: at() }),
            ("cancelled", CompensationCause::Cancelled { reason: reason(), actor: Actor::new("customer:1") }),
        ]
    };
    let mut events = of_steps();
    events.extend(causes().map(|(variant, cause)| (variant, Event::CompensationStarted { cause })));
    events.extend(causes().map(|(variant, cause)| (variant, Event::Compensated { cause })));
    events.extend([
        ("", started(None)),
        ("deadline", started(Some(Deadline { at: at(), binds: 2 }))),
        ("for_parent", begun(None, parent(Lane::Forward))),
        ("undoes_for_parent", begun(None, parent(Lane::Undo))),
        (
            "",
            Event::ChildRequested {
                step: step(),
                attempt: 1,
                child_id: id(41),
                definition: "cancel-order".into(),
                input: input.clone(),
                deadline: at(),
            },
        ),
        ("", Event::ChildUndoRequested { step: step(), attempt: 2, child_id: id(41), deadline: at() }),
        ("", Event::Paused { actor: actor(), reason: reason(), at: at() }),
        ("", Event::Unpaused { actor: actor(), reason: reason(), at: at() }),
        ("", Event::TimersShifted { step: None, by_ms: -60_000, actor: actor(), reason: reason() }),
        ("of_step", Event::TimersShifted { step: Some(step()), by_ms: 7_200_000, actor: actor(), reason: reason() }),
        ("", Event::TimersFrozen { actor: actor(), reason: reason(), at: at() }),
        ("", Event::TimersThawed { actor: actor(), reason: reason(), at: at() }),
        ("", Event::TimerCancelled { step: Some(step()), actor: actor(), reason: reason() }),
        ("of_deadline", Event::TimerCancelled { step: None, actor: actor(), reason: reason() }),
        ("", Event::Migrated { definition: definition.clone(), binds: 2, actor: actor(), reason: reason() }),
        ("", Event::CancelRequested { reason: reason(), actor: actor() }),
        ("", Event::Resumed { actor: actor(), reason: reason() }),
        ("", Event::Abandoned { actor: actor(), reason: reason(), owed: vec![step()] }),
        ("nothing_owed", Event::Abandoned { actor: actor(), reason: reason(), owed: Vec::new() }),
        ("", Event::Completed),
    ]);
    events
}

#[test]
fn every_event_of_an_order_is_read_as_it_was_released() {
    golden::check::<Order>(folder(), &of_orders()).unwrap_or_else(|findings| panic!("{findings}"));
}

fn of_holds() -> Vec<(&'static str, HoldEvent)> {
    let target = || HoldTarget::Participant("payment".to_owned());
    let by_hand = || ByHand { actor: Actor::new("operator:ana"), reason: "payment is down".to_owned() };
    let plan = ReleasePlan { canary: 5, rate_per_second: 50, failures_max: 3 };
    let placed = |until| HoldEvent::Placed { target: target(), by_hand: by_hand(), until, plan, at: at() };
    let started = |by_hand| HoldEvent::ReleaseStarted { target: target(), plan, by_hand, at: at() };
    vec![
        ("", placed(None)),
        ("until", placed(Some(at()))),
        ("", started(Some(by_hand()))),
        ("in_time", started(None)),
        ("", HoldEvent::LetGo { target: target(), sagas: vec![id(1), id(2)], at: at() }),
        ("", HoldEvent::Judged { target: target(), worked: vec![id(1)], failed: vec![id(2)], at: at() }),
        ("", HoldEvent::ReleaseStopped { target: target(), failed: 3, at: at() }),
        ("", HoldEvent::Ended { target: target(), at: at() }),
    ]
}

#[test]
fn every_event_of_recorded_definitions_is_read_as_it_was_released() {
    let reference = r#"{"name":"place-order","version":1,"hash":"HASH"}"#.replace("HASH", &"5e".repeat(32));
    let definition: DefinitionRef = serde_json::from_str(&reference).unwrap();
    let recorded = DefinitionEvent::Recorded { definition: definition.clone() };
    let events = [("", recorded), ("", DefinitionEvent::Replaced { definition })];
    golden::check::<RecordedDefinition>(folder(), &events).unwrap_or_else(|findings| panic!("{findings}"));
}

#[test]
fn every_event_of_holds_is_read_as_it_was_released() {
    golden::check::<Holds>(folder(), &of_holds()).unwrap_or_else(|findings| panic!("{findings}"));
}

#[test]
fn every_event_of_an_orders_sagas_is_read_as_it_was_released() {
    golden::check::<Saga<OrderProcess>>(folder(), &of_sagas()).unwrap_or_else(|findings| panic!("{findings}"));
}
