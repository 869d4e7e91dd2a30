//! Every released shape of the events that products stores.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use eventstore::golden;
use money::{Currency, Money};
use products::domain::{
    Delivery, DeliveryEvent, Farm, FarmEvent, Line, Lines, Product, ProductEvent, Reason, Reservation, ReservationEvent,
};
use uuid::Uuid;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"))
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0000 + number)
}

fn reasons() -> [(&'static str, Reason); 4] {
    [
        ("", Reason::OutOfStock),
        ("unknown_product", Reason::UnknownProduct),
        ("product_closed", Reason::ProductClosed),
        ("released_before", Reason::ReleasedBefore),
    ]
}

fn of_products() -> Vec<(&'static str, ProductEvent)> {
    let (reservation_id, quantity) = (id(11), 2);
    let (farm_id, farm_email, name) = (id(3), "hof@example.org".to_owned(), "Eggs \"free\" 🥚".to_owned());
    let price = Money::new(250, Currency::EUR);
    let listed = ProductEvent::ProductListed {
        farm_id,
        farm_name: "Hof Brühl".to_owned(),
        farm_email: farm_email.clone(),
        name: name.clone(),
        price,
    };
    let refused = |reason| ProductEvent::ReservationRefused { reservation_id, quantity, reason };
    let mut events = vec![
        ("", listed),
        ("", ProductEvent::PriceSet { price }),
        ("", ProductEvent::ActiveSet { active: false }),
        ("", ProductEvent::StockAdded { request_id: id(30), quantity: 4_000_000_000 }),
        ("", ProductEvent::StockReserved { reservation_id, quantity }),
        ("", ProductEvent::StockReleased { reservation_id, quantity }),
        ("", ProductEvent::StockShipped { reservation_id, quantity }),
        ("", ProductEvent::StockReturned { reservation_id, quantity }),
        ("", ProductEvent::StockRanLow { available: 3, threshold: 10, farm_id, farm_email, name }),
    ];
    events.extend(reasons().map(|(variant, reason)| (variant, refused(reason))));
    events
}

fn of_reservations() -> Vec<(&'static str, ReservationEvent)> {
    let (saga_id, order_id) = (id(9), id(10));
    let line = |product| Line { product_id: id(product), quantity: 2 };
    let lines = || Lines::new(vec![line(21), line(20)]).unwrap();
    let mut events = vec![
        ("", ReservationEvent::InventoryReserved { saga_id, order_id, lines: lines() }),
        ("", ReservationEvent::InventoryReleased { saga_id, order_id }),
        ("", ReservationEvent::InventoryCommitted { saga_id, order_id }),
        ("", ReservationEvent::InventoryRestocked { saga_id, order_id }),
    ];
    events.extend(reasons().map(|(variant, reason)| {
        let message = "Eggs: 2 wanted, 1 available".to_owned();
        (variant, ReservationEvent::InventoryRejected { saga_id, order_id, lines: lines(), reason, message })
    }));
    events
}

#[test]
fn every_event_of_a_farm_is_read_as_it_was_released() {
    let registered = FarmEvent::FarmRegistered { name: "Hof Brühl".to_owned(), email: "hof@example.org".to_owned() };
    golden::check::<Farm>(folder(), &[("", registered)]).unwrap_or_else(|findings| panic!("{findings}"));
}

#[test]
fn every_event_of_a_delivery_is_read_as_it_was_released() {
    let taken = DeliveryEvent::DeliveryTaken { product_id: id(20), quantity: 4_000_000_000 };
    golden::check::<Delivery>(folder(), &[("", taken)]).unwrap_or_else(|findings| panic!("{findings}"));
}

#[test]
fn every_event_of_a_product_is_read_as_it_was_released() {
    golden::check::<Product>(folder(), &of_products()).unwrap_or_else(|findings| panic!("{findings}"));
}

#[test]
fn every_event_of_a_reservation_is_read_as_it_was_released() {
    golden::check::<Reservation>(folder(), &of_reservations()).unwrap_or_else(|findings| panic!("{findings}"));
}
