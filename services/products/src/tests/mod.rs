//! What this service promises.

mod handling;
mod messages;
mod rules;
mod service;

use eventstore::Aggregate;
use money::{Currency, Money};
use uuid::Uuid;

use crate::domain::{Line, Lines, Product, ProductEvent, Request, Wish};

/// Under this many units a farm is told.
const LOW: u64 = 10;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0000 + number)
}

fn euros(minor_units: i64) -> Money {
    Money::new(minor_units, Currency::EUR)
}

fn listed(name: &str) -> ProductEvent {
    ProductEvent::ProductListed {
        farm_id: id(1),
        farm_name: "Sunny".to_owned(),
        farm_email: "farm@sunny.example".to_owned(),
        name: name.to_owned(),
        price: euros(250),
    }
}

fn added(request: u128, quantity: u64) -> ProductEvent {
    ProductEvent::StockAdded { request_id: id(request), quantity }
}

fn fold<A: Aggregate>(events: &[A::Event]) -> A {
    events.iter().fold(A::default(), A::evolve)
}

fn stocked(quantity: u64) -> Product {
    fold(&[listed("Carrots"), added(9, quantity)])
}

fn lines(lines: &[(u128, u32)]) -> Lines {
    let lines = lines.iter().map(|(product, quantity)| Line { product_id: id(*product), quantity: *quantity });
    Lines::new(lines.collect()).unwrap()
}

/// A request for the reservation of that number, by the saga and for the order that go with it.
fn asked(number: u128, wish: Wish) -> Request {
    let number = 1_000 * number;
    Request { saga_id: id(number + 1), order_id: id(number + 2), reservation_id: id(number + 3), wish }
}
