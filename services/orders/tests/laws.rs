//! The laws of sagas, for ours: every step may fail, every answer may repeat, come late or before its turn, every commit
//! may be the last, every timer may fire twice.

use money::{Currency, Money};
use orders::domain::{Facts, Farm, Line};
use orders::sagas::{CAPTURE_PAYMENT, COMMIT_INVENTORY, OrderFacts, OrderProcess, Patience, cancel_order, place_order};
use saga::Status;
use saga::laws::{self, Sample};
use saga::prover::{End, Prover, Side};
use uuid::Uuid;

fn input() -> OrderFacts {
    let farm = Farm { id: Uuid::from_u128(3), name: "Hof".to_owned(), email: "hof@example.org".to_owned() };
    let price = Money::new(250, Currency::EUR);
    let line = Line { product_id: Uuid::from_u128(2), name: "Apples".to_owned(), quantity: 2, unit_price: price, farm };
    let facts = Facts {
        customer_id: Uuid::from_u128(1),
        email: "ana@example.org".to_owned(),
        payment_token: "tok_success".to_owned(),
        lines: vec![line],
        total: Money::new(500, Currency::EUR),
    };
    OrderFacts::new(Uuid::from_u128(9), facts)
}

fn sample(definition: &saga::Definition<OrderProcess>) -> Sample<'_, OrderProcess> {
    Sample { definition, input: input(), output: |_| None }
}

#[test]
fn place_order_obeys_the_laws() {
    let definition = place_order(Patience::default()).unwrap();
    laws::all(&sample(&definition));
}

#[test]
fn cancel_order_obeys_the_laws() {
    let definition = cancel_order(Patience::default()).unwrap();
    laws::all(&sample(&definition));
}

/// Everything that may happen is tried out: every answer twice, late, unknown or never, and a cancellation at any time.
#[test]
fn place_order_is_proven_to_take_money_and_goods_for_completed_orders_only() {
    let definition = place_order(Patience::default()).unwrap();
    let in_vain = |step: &'static str| move |end: &End| end.side(step) == Side::Done && end.status != Status::Completed;
    let prover = Prover::new(&definition, input())
        .never("money captured, and the order not completed", in_vain(CAPTURE_PAYMENT))
        .never("goods gone, and the order not completed", in_vain(COMMIT_INVENTORY));
    let proof = prover.prove().unwrap_or_else(|unsound| panic!("{unsound}"));
    assert!(proof.states > 300, "{proof:?}");
}

#[test]
fn cancel_order_is_proven() {
    let definition = cancel_order(Patience::default()).unwrap();
    let proof = Prover::new(&definition, input()).prove().unwrap_or_else(|unsound| panic!("{unsound}"));
    assert!(proof.states > 30, "{proof:?}");
}

/// Sagas in flight are bound to these hashes. Whoever sees this test fail has changed a released definition: give it a
/// new version, and keep the old one in the library for as long as sagas of it run.
#[test]
fn released_definitions_stay_what_they_are() {
    let shown = |definition: saga::Definition<OrderProcess>| definition.id().hash.to_string();
    let released =
        [shown(place_order(Patience::default()).unwrap()), shown(cancel_order(Patience::default()).unwrap())];
    assert_eq!(
        released,
        [
            "e1a6a3f9e07d368352b5cff3a5511c2f00d471aeb6f533d529513b4ae1f5667b",
            "d3d713633e4124d482b5c26d480d2b219b8cb3de95330ecadda9338c37f2f9f9",
        ]
    );
}
