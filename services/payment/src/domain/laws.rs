//! What holds for any sequence of inputs, sensible or not.

use eventstore::{Aggregate as _, DomainEvent as _};
use proptest::prelude::*;

use super::tests::{amount, ask, authorization, told};
use super::*;
use crate::view::{state_after, state_of};

fn outcomes() -> impl Strategy<Value = Outcome> {
    let operation = || {
        prop_oneof![
            Just(Operation::Authorize),
            Just(Operation::Capture),
            Just(Operation::Void),
            Just(Operation::Refund)
        ]
    };
    let refusal = || Refusal::new("NO", "no");
    prop_oneof![
        4 => (1..3_u32, prop_oneof![3 => Just("ch_1"), 1 => Just("ch_2")]).prop_map(|(epoch, charge)| {
            Outcome::Authorized { epoch, charge: Reference(charge.to_owned()), amount: amount() }
        }),
        1 => Just(Outcome::Declined(refusal())),
        2 => (1..3_u32).prop_map(|epoch| Outcome::NotFound { epoch }),
        2 => Just(Outcome::Captured(amount())),
        1 => Just(Outcome::CaptureRejected(refusal())),
        2 => Just(Outcome::Voided),
        1 => Just(Outcome::VoidRejected(refusal())),
        2 => Just(Outcome::Refunded(amount())),
        1 => Just(Outcome::RefundRejected(refusal())),
        1 => operation().prop_map(Outcome::Unanswered),
        1 => (operation(), 1..3_u32).prop_map(|(operation, epoch)| Outcome::Spent(operation, epoch)),
        1 => (operation(), 1..3_u32).prop_map(|(operation, epoch)| Outcome::Unchanged(operation, epoch)),
    ]
}

fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let requests = prop_oneof![
        3 => Just(authorization()),
        1 => Just(Wish::Void),
        2 => Just(Wish::Capture),
        1 => Just(Wish::Refund)
    ];
    prop::collection::vec(prop_oneof![requests.prop_map(ask), outcomes().prop_map(told)], 0..24)
}

/// What a sequence of inputs leads to, refused ones left out.
fn history(inputs: &[Input]) -> (Payment, Vec<Event>) {
    let mut events = Vec::new();
    let payment = inputs.iter().fold(Payment::default(), |payment, input| {
        let event = decide(&payment, input).ok().and_then(|decision| decision.event);
        events.extend(event.clone());
        event.iter().fold(payment, Payment::evolve)
    });
    (payment, events)
}

fn count(events: &[Event], name: &str) -> usize {
    events.iter().filter(|event| event.type_name() == name).count()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn money_is_taken_or_let_go_but_never_both(inputs in inputs()) {
        let (_, events) = history(&inputs);
        let voided = count(&events, "Voided") + count(&events, "VoidedBefore");
        prop_assert!(count(&events, "Captured") == 0 || voided == 0, "{events:?}");
    }

    #[test]
    fn a_payment_is_authorized_captured_and_refunded_at_most_once(inputs in inputs()) {
        let (_, events) = history(&inputs);
        for name in ["AuthorizationStarted", "Authorized", "Captured", "Refunded"] {
            prop_assert!(count(&events, name) <= 1, "{events:?}");
        }
        prop_assert!(count(&events, "Refunded") <= count(&events, "Captured"));
    }

    #[test]
    fn the_same_key_is_never_started_twice(inputs in inputs()) {
        let (_, events) = history(&inputs);
        let mut epochs: Vec<(u8, u32)> = events.iter().filter_map(|event| match event {
            Event::CaptureStarted { epoch } => Some((0, *epoch)),
            Event::RefundStarted { epoch } => Some((1, *epoch)),
            Event::AuthorizationRestarted { epoch } => Some((2, *epoch)),
            Event::AuthorizationStarted { .. }
            | Event::Authorized { .. }
            | Event::Declined { .. }
            | Event::VoidedBefore { .. }
            | Event::VoidRequested {}
            | Event::VoidStarted { .. }
            | Event::Voided { .. }
            | Event::Captured { .. }
            | Event::CaptureRejected { .. }
            | Event::Refunded { .. }
            | Event::RefundRejected { .. } => None,
        }).collect();
        let started = epochs.len();
        epochs.sort_unstable();
        epochs.dedup();
        prop_assert_eq!(epochs.len(), started);
    }

    #[test]
    fn events_alone_tell_the_state_and_survive_storage(inputs in inputs()) {
        let (payment, events) = history(&inputs);
        let stored = events.iter().map(|event| {
            let payload = serde_json::to_string(event).unwrap();
            Event::decode(event.type_name(), 1, &payload).unwrap()
        });
        prop_assert_eq!(&stored.fold(Payment::default(), |payment, event| payment.evolve(&event)), &payment);
        if let Some(last) = events.last() {
            prop_assert_eq!(state_after(last), state_of(&payment));
        }
    }

    #[test]
    fn an_answer_that_is_new_is_told_by_its_event_and_a_repeated_one_by_none(inputs in inputs(), last in outcomes()) {
        let (payment, _) = history(&inputs);
        if let Ok(decision) = decide(&payment, &told(last)) {
            let told = decision.event.and_then(Answer::of).map(|(_, answer)| answer);
            match decision.next {
                Next::Answered(answer) => prop_assert_eq!(told, Some(answer)),
                Next::Repeat(_) | Next::Run(_) | Next::AskAgain | Next::Nothing => prop_assert_eq!(told, None),
            }
        }
    }
}
