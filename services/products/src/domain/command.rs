use money::Money;
use uuid::Uuid;

use super::Lines;

/// Register a farm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegisterFarm {
    /// Its name.
    pub name: String,
    /// Where it is told of orders.
    pub email: String,
}

/// List a product of a farm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListProduct {
    /// The farm.
    pub farm_id: Uuid,
    /// The product's name.
    pub name: String,
    /// The price of a unit.
    pub price: Money,
}

/// Change a price.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SetPrice {
    /// The price of a unit from now on.
    pub price: Money,
}

/// Open or close a product.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SetActive {
    /// Whether it can be ordered.
    pub active: bool,
}

/// Add units to a product's stock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddStock {
    /// The client's name for this delivery: the same one is taken in once.
    pub request_id: Uuid,
    /// Units.
    pub quantity: u64,
}

/// What a saga asks of a reservation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The saga that asks, and is answered.
    pub saga_id: Uuid,
    /// The order.
    pub order_id: Uuid,
    /// The reservation.
    pub reservation_id: Uuid,
    /// What is asked.
    pub wish: Wish,
}

/// What may be asked of a reservation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wish {
    /// Hold these goods.
    Reserve(Lines),
    /// Let go of them (undo).
    Release,
    /// They leave with the order.
    Commit,
    /// They come back: the order was undone after it was complete.
    Restock,
}
