use chassis::envelope::Incoming;
use uuid::Uuid;

use super::{asked, lines};
use crate::domain::{ReservationEvent, Shortage, Wish, held, rejected};
use crate::messages::{CONSUMER, answer, parse};

const RESERVE: &str = "farmera.orders.inventory_reservation_requested";

fn incoming(subject: &str, body: &str) -> Incoming {
    Incoming {
        subject: subject.to_owned(),
        message_type: "farmera.orders.v1.Any".to_owned(),
        id: Uuid::from_u128(1),
        correlation: Uuid::from_u128(2),
        causation: Uuid::from_u128(3),
        request: None,
        trace: None,
        source: "/farmera/orders".to_owned(),
        body: body.as_bytes().to_vec().into(),
    }
}

fn body(items: &str) -> String {
    let request = asked(1, Wish::Release);
    format!(
        r#"{{"sagaId":"{}","orderId":"{}","reservationId":"{}"{items}}}"#,
        request.saga_id, request.order_id, request.reservation_id
    )
}

#[test]
fn every_subject_that_is_listened_to_is_understood() {
    let product = super::id(20);
    let items = format!(r#","items":[{{"productId":"{product}","quantity":3}}]"#);
    let wishes = [Wish::Reserve(lines(&[(20, 3)])), Wish::Release, Wish::Commit, Wish::Restock];
    for ((subject, wish), items) in CONSUMER.subjects.iter().zip(wishes).zip([items.as_str(), "", "", ""]) {
        assert_eq!(parse(&incoming(subject, &body(items))).unwrap(), asked(1, wish));
    }
}

#[test]
fn what_cannot_be_understood_is_refused_by_name() {
    let product = super::id(20);
    let twice =
        format!(r#","items":[{{"productId":"{product}","quantity":1}},{{"productId":"{product}","quantity":2}}]"#);
    let none = format!(r#","items":[{{"productId":"{product}","quantity":0}}]"#);
    let cases = [
        (RESERVE, body(&twice), "items"),
        (RESERVE, body(""), "items"),
        (RESERVE, body(&none), "items.quantity"),
        (RESERVE, body(r#","items":[{"productId":"seven","quantity":1}]"#), "items.product_id"),
        ("farmera.orders.inventory_release_requested", "{}".to_owned(), "saga_id"),
        (RESERVE, "nothing".to_owned(), "InventoryReservationRequested"),
        ("farmera.orders.order_placed", body(""), "order_placed"),
    ];
    for (subject, body, named) in cases {
        let error = parse(&incoming(subject, &body)).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn an_answer_names_saga_order_and_reservation() {
    let request = asked(1, Wish::Reserve(lines(&[(20, 3)])));
    let short = Shortage::OutOfStock { name: "Carrots".to_owned(), wanted: 3, available: 2 };
    let refused = rejected(&request, &lines(&[(20, 3)]), &short);
    let told = answer(request.reservation_id, &refused).unwrap();
    assert_eq!(told.subject, "farmera.products.inventory_rejected");
    assert_eq!(told.message_type, "farmera.products.v1.InventoryRejected");
    let expected = format!(
        r#"{{"sagaId":"{}","orderId":"{}","reservationId":"{}","reason":"OUT_OF_STOCK","message":"Carrots: 3 wanted, 2 available"}}"#,
        request.saga_id, request.order_id, request.reservation_id
    );
    assert_eq!(String::from_utf8(told.body).unwrap(), expected);
}

#[test]
fn every_answer_has_a_subject_of_its_own() {
    let request = asked(1, Wish::Release);
    let (saga_id, order_id) = (request.saga_id, request.order_id);
    let events = [
        held(&request, &lines(&[(20, 3)])),
        ReservationEvent::InventoryReleased { saga_id, order_id },
        ReservationEvent::InventoryCommitted { saga_id, order_id },
        ReservationEvent::InventoryRestocked { saga_id, order_id },
    ];
    let subjects = events.map(|event| answer(request.reservation_id, &event).unwrap().subject);
    let words = subjects.map(|subject| subject.trim_start_matches("farmera.products.inventory_"));
    assert_eq!(words, ["reserved", "released", "committed", "restocked"]);
}
