//! Every released shape of the events that payment stores.

use std::path::Path;

use eventstore::golden;
use money::{Currency, Money};
use payment::domain::{Event, Fate, Payment, Reference, Refusal, Terms};
use uuid::Uuid;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0000 + number)
}

fn events() -> Vec<(&'static str, Event)> {
    let (order_id, amount, message) = (id(10), Money::new(1_250, Currency::EUR), id(90));
    let charge = || Reference("ch_1".to_owned());
    let refusal = || Refusal::new("CARD_DECLINED", "the card's bank says no");
    let terms = Terms { order_id, customer_id: id(1), amount };
    let held = |epoch| Event::Authorized { order_id, amount, charge: charge(), epoch };
    let letting_go = |authorization, epoch| Event::VoidStarted { charge: charge(), authorization, epoch };
    let voided = |fate| Event::Voided { order_id, fate };
    vec![
        ("", Event::AuthorizationStarted { terms, token: "tok_success".to_owned() }),
        ("", Event::AuthorizationRestarted { epoch: 2 }),
        ("", held(1)),
        ("epoch", held(2)),
        ("", Event::Declined { order_id, refusal: refusal() }),
        ("", Event::VoidedBefore { order_id }),
        ("", Event::VoidRequested {}),
        ("", letting_go(1, 1)),
        ("epochs", letting_go(2, 3)),
        ("", voided(Fate::LetGo(charge()))),
        ("refused", voided(Fate::Refused)),
        ("not_found", voided(Fate::NotFound(1))),
        ("", Event::CaptureStarted { epoch: 1 }),
        ("epoch", Event::CaptureStarted { epoch: 2 }),
        ("", Event::Captured { order_id, amount }),
        ("", Event::CaptureRejected { order_id, refusal: refusal(), message }),
        ("", Event::RefundStarted { epoch: 1 }),
        ("epoch", Event::RefundStarted { epoch: 2 }),
        ("", Event::Refunded { order_id, amount }),
        ("", Event::RefundRejected { order_id, refusal: refusal(), message }),
    ]
}

#[test]
fn every_event_of_a_payment_is_read_as_it_was_released() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    golden::check::<Payment>(folder, &events()).unwrap_or_else(|findings| panic!("{findings}"));
}
