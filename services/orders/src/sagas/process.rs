use money::Money;
use saga::Process;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{Facts, Line};

/// What the sagas of an order are about.
#[derive(Clone, PartialEq, Debug)]
pub struct OrderProcess;

impl Process for OrderProcess {
    type Input = OrderFacts;
    type Request = Request;
    /// Participants answer with yes or no, nothing more.
    type Output = ();
}

/// An order as its sagas see it. The ids name one reservation and one payment over all tries and all sagas.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OrderFacts {
    /// The order.
    pub order_id: Uuid,
    /// Its reservation in products.
    pub reservation_id: Uuid,
    /// Its payment.
    pub payment_id: Uuid,
    /// What was ordered.
    #[serde(flatten)]
    pub facts: Facts,
}

impl OrderFacts {
    /// The facts of an order.
    #[must_use]
    pub fn new(order_id: Uuid, facts: Facts) -> Self {
        Self {
            order_id,
            reservation_id: eventstore::derived_id(order_id, "reservation"),
            payment_id: eventstore::derived_id(order_id, "payment"),
            facts,
        }
    }
}

/// A product and a number of units.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Item {
    /// The product.
    pub product_id: Uuid,
    /// Units.
    pub quantity: u32,
}

/// A line as it is told to customer and farm.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NotifiedLine {
    /// The product's name.
    pub product_name: String,
    /// Units.
    pub quantity: u32,
    /// The farm.
    pub farm_id: Uuid,
    /// Its name.
    pub farm_name: String,
    /// Its e-mail address.
    pub farm_email: String,
}

impl From<&Line> for NotifiedLine {
    fn from(line: &Line) -> Self {
        Self {
            product_name: line.name.clone(),
            quantity: line.quantity,
            farm_id: line.farm.id,
            farm_name: line.farm.name.clone(),
            farm_email: line.farm.email.clone(),
        }
    }
}

/// What there is to tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Telling {
    /// The order is on its way.
    Completed,
    /// The money is on its way back.
    Refunded,
}

/// Everything the sagas ask of participants. Complete: what travels is made from this alone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Hold the goods.
    ReserveInventory {
        /// The order.
        order_id: Uuid,
        /// The reservation.
        reservation_id: Uuid,
        /// What to hold.
        items: Vec<Item>,
    },
    /// Free the goods.
    ReleaseInventory {
        /// The order.
        order_id: Uuid,
        /// The reservation.
        reservation_id: Uuid,
    },
    /// Let the goods go.
    CommitInventory {
        /// The order.
        order_id: Uuid,
        /// The reservation.
        reservation_id: Uuid,
    },
    /// Take the goods back.
    RestockInventory {
        /// The order.
        order_id: Uuid,
        /// The reservation.
        reservation_id: Uuid,
    },
    /// Hold the money.
    AuthorizePayment {
        /// The order.
        order_id: Uuid,
        /// The payment.
        payment_id: Uuid,
        /// Who pays.
        customer_id: Uuid,
        /// How much.
        amount: Money,
        /// With what.
        payment_token: String,
    },
    /// Let go of the money.
    VoidPayment {
        /// The order.
        order_id: Uuid,
        /// The payment.
        payment_id: Uuid,
    },
    /// Take the money.
    CapturePayment {
        /// The order.
        order_id: Uuid,
        /// The payment.
        payment_id: Uuid,
    },
    /// Give the money back.
    RefundPayment {
        /// The order.
        order_id: Uuid,
        /// The payment.
        payment_id: Uuid,
    },
    /// Tell customer and farms.
    Notify {
        /// The order.
        order_id: Uuid,
        /// What.
        telling: Telling,
        /// Who ordered.
        customer_id: Uuid,
        /// Their address.
        email: String,
        /// What was ordered.
        lines: Vec<NotifiedLine>,
        /// For how much.
        total: Money,
    },
}

/// Words the request to tell customer and farms.
pub(super) fn telling(order: &OrderFacts, telling: Telling) -> Request {
    Request::Notify {
        order_id: order.order_id,
        telling,
        customer_id: order.facts.customer_id,
        email: order.facts.email.clone(),
        lines: order.facts.lines.iter().map(NotifiedLine::from).collect(),
        total: order.facts.total,
    }
}
