//! The whole of [`decide`] as a table: what every state answers to every input.
//!
//! The table is a file beside this one (`snapshots/`), made by this test and read by people. A change of a rule is a
//! change of a line there; accept it with `INSTA_UPDATE=always` once it is what you want.

use std::fmt::Write as _;

use eventstore::{Aggregate as _, DomainEvent as _};
use money::{Currency, Money};
use uuid::Uuid;

use super::tests::{amount, ask, ask_by, authorization, authorized, charge, given, refusal, told};
use super::*;

const SECOND: Uuid = Uuid::from_u128(11);

/// The last key that an authorization, a capture or a refund may use.
const LAST_KEY: u32 = 5;

type Named<T> = (String, T);

fn named<T>(name: impl Into<String>, value: T) -> Named<T> {
    (name.into(), value)
}

/// So often the provider proves that a key had no effect.
fn keys_used_up(operation: Operation) -> Vec<Input> {
    (1..LAST_KEY).map(|epoch| told(Outcome::Unchanged(operation, epoch))).collect()
}

fn after(steps: &[&[Input]]) -> Payment {
    given(steps.iter().flat_map(|inputs| inputs.iter().cloned()))
}

fn states() -> Vec<Named<Payment>> {
    let ordered = [ask(authorization())];
    let held = [ask(authorization()), told(authorized())];
    let (capture, refund, void) = ([ask(Wish::Capture)], [ask(Wish::Refund)], [ask(Wish::Void)]);
    let captured = [told(Outcome::Captured(amount()))];
    let declined = [told(Outcome::Declined(refusal()))];
    let last = keys_used_up;
    vec![
        named("absent", Payment::Absent),
        named("voided before it was asked for", after(&[&void])),
        named("authorizing", after(&[&ordered])),
        named("authorizing under the last key", after(&[&ordered, &last(Operation::Authorize)])),
        named("authorizing, to be voided", after(&[&ordered, &void])),
        named("authorized", after(&[&held])),
        named("declined", after(&[&ordered, &declined])),
        named("capturing", after(&[&held, &capture])),
        named("capturing under the last key", after(&[&held, &capture, &last(Operation::Capture)])),
        named("captured", after(&[&held, &capture, &captured])),
        named("capture rejected", after(&[&held, &capture, &[told(Outcome::CaptureRejected(refusal()))]])),
        named("voiding", after(&[&held, &void])),
        named("voiding under a second key", after(&[&held, &void, &[told(Outcome::Unchanged(Operation::Void, 1))]])),
        named("voided: let go", after(&[&held, &void, &[told(Outcome::Voided)]])),
        named("voided: refused", after(&[&ordered, &void, &declined])),
        named("voided: not found", after(&[&ordered, &void, &[told(Outcome::NotFound { epoch: 1 })]])),
        named("refunding", after(&[&held, &capture, &captured, &refund])),
        named("refunding under the last key", after(&[&held, &capture, &captured, &refund, &last(Operation::Refund)])),
        named("refunded", after(&[&held, &capture, &captured, &refund, &[told(Outcome::Refunded(amount()))]])),
        named(
            "refund rejected",
            after(&[&held, &capture, &captured, &refund, &[told(Outcome::RefundRejected(refusal()))]]),
        ),
    ]
}

fn requests() -> Vec<Named<Input>> {
    let other = Wish::Authorize { customer_id: Uuid::from_u128(2), amount: other_amount(), token: "tok".to_owned() };
    let of_another_order = Request { message: SECOND, order_id: Uuid::from_u128(99), wish: Wish::Void };
    vec![
        named("authorize", ask(authorization())),
        named("authorize another amount", ask(other)),
        named("void", ask(Wish::Void)),
        named("void for another order", Input::Request(of_another_order)),
        named("capture", ask(Wish::Capture)),
        named("capture, a new message", ask_by(SECOND, Wish::Capture)),
        named("refund", ask(Wish::Refund)),
        named("refund, a new message", ask_by(SECOND, Wish::Refund)),
        named("look again", Input::LookAgain),
    ]
}

fn other_amount() -> Money {
    Money::new(1251, Currency::EUR)
}

fn outcomes() -> Vec<Named<Input>> {
    let authorized =
        |epoch, charge: Reference, amount| told(Outcome::Authorized { epoch, charge: charge.clone(), amount });
    let mut outcomes = vec![
        named("authorized", authorized(1, charge(), amount())),
        named("authorized under key 2", authorized(2, charge(), amount())),
        named("another charge authorized", authorized(1, Reference("ch_2".to_owned()), amount())),
        named("another amount authorized", authorized(1, charge(), other_amount())),
        named("declined", told(Outcome::Declined(refusal()))),
        named("captured", told(Outcome::Captured(amount()))),
        named("another amount captured", told(Outcome::Captured(other_amount()))),
        named("capture rejected", told(Outcome::CaptureRejected(refusal()))),
        named("voided", told(Outcome::Voided)),
        named("void rejected", told(Outcome::VoidRejected(refusal()))),
        named("refunded", told(Outcome::Refunded(amount()))),
        named("another amount refunded", told(Outcome::Refunded(other_amount()))),
        named("refund rejected", told(Outcome::RefundRejected(refusal()))),
    ];
    let keys = [1, 2, LAST_KEY];
    outcomes.extend(keys.map(|epoch| named(format!("nothing under key {epoch}"), told(Outcome::NotFound { epoch }))));
    for operation in [Operation::Authorize, Operation::Capture, Operation::Void, Operation::Refund] {
        let name = operation.as_str();
        outcomes.push(named(format!("{name} unanswered"), told(Outcome::Unanswered(operation))));
        for epoch in keys {
            outcomes.push(named(format!("{name} key {epoch} spent"), told(Outcome::Spent(operation, epoch))));
            outcomes
                .push(named(format!("{name} key {epoch} had no effect"), told(Outcome::Unchanged(operation, epoch))));
        }
    }
    outcomes
}

fn reaction(payment: &Payment, input: &Input) -> String {
    let decision = match decide(payment, input) {
        Ok(decision) => decision,
        Err(rejection) => return format!("refused: {rejection}"),
    };
    let next = match decision.next {
        Next::Answered(answer) => format!("answer {}", answered(&answer)),
        Next::Repeat(answer) => format!("repeat {}", answered(&answer)),
        Next::Run(effect) => effect_in_words(&effect),
        Next::AskAgain => "ask again".to_owned(),
        Next::Nothing => "nothing".to_owned(),
    };
    match decision.event {
        Some(event) => {
            let state = payment.clone().evolve(&event);
            format!("{}, now {}; {next}", event.type_name(), crate::view::state_of(&state).as_str_name())
        }
        None => next,
    }
}

fn answered(answer: &Answer) -> String {
    match answer {
        Answer::Authorized(amount) => format!("authorized {amount}"),
        Answer::Declined(refusal) => format!("declined {}", refusal.reason),
        Answer::Captured(amount) => format!("captured {amount}"),
        Answer::CaptureRejected(refusal) => format!("capture rejected {}", refusal.reason),
        Answer::Voided => "voided".to_owned(),
        Answer::Refunded(amount) => format!("refunded {amount}"),
        Answer::RefundRejected(refusal) => format!("refund rejected {}", refusal.reason),
    }
}

fn effect_in_words(effect: &Effect) -> String {
    match effect {
        Effect::Authorize { epoch, amount, token } => format!("authorize {amount} of {token} under key {epoch}"),
        Effect::Capture { epoch, charge } => format!("capture {charge} under key {epoch}"),
        Effect::Void { epoch, charge } => format!("void {charge} under key {epoch}"),
        Effect::Refund { epoch, charge } => format!("refund {charge} under key {epoch}"),
        Effect::Lookup { authorization, doubt: Doubt::Unanswered } => {
            format!("look for a charge under key {authorization}")
        }
        Effect::Lookup { authorization, doubt: Doubt::Spent(operation, epoch) } => {
            format!("look whether {} key {epoch} had an effect on charge of key {authorization}", operation.as_str())
        }
    }
}

/// One state: its reactions, each with the inputs that lead to it, in the order in which they first come up. The most
/// common reaction stands last, for all inputs that are not named.
fn paragraph(name: &str, payment: &Payment) -> String {
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    for (input_name, input) in requests().into_iter().chain(outcomes()) {
        let reaction = reaction(payment, &input);
        match rows.iter_mut().find(|(known, _)| *known == reaction) {
            Some((_, inputs)) => inputs.push(input_name),
            None => rows.push((reaction, vec![input_name])),
        }
    }
    let common = rows.iter().enumerate().max_by_key(|(_, (_, inputs))| inputs.len()).map_or(0, |(place, _)| place);
    let (rest, _) = rows.remove(common);
    let mut text = format!("{name}\n");
    for (reaction, inputs) in rows {
        writeln!(text, "  {reaction}").unwrap();
        for inputs in inputs.chunks(4) {
            writeln!(text, "      {}", inputs.join(" | ")).unwrap();
        }
    }
    writeln!(text, "  {rest}\n      all else").unwrap();
    text
}

#[test]
fn every_state_answers_every_input_as_the_table_says() {
    let table: Vec<String> = states().iter().map(|(name, payment)| paragraph(name, payment)).collect();
    insta::assert_snapshot!("decisions", table.join("\n"));
}
