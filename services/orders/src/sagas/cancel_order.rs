use saga::{Definition, DefinitionError, Facts, ask, saga};

use super::process::telling;
use super::{NOTIFICATION, OrderProcess, PAYMENT, PRODUCTS, Patience, Request, Telling, stubborn};

/// The saga that undoes a completed order.
pub const CANCEL_ORDER: &str = "cancel-order";
/// Payment gives the money back.
pub const REFUND_PAYMENT: &str = "refund-payment";
/// Products take the goods back.
pub const RESTOCK_INVENTORY: &str = "restock-inventory";
/// Customer and farms are told.
pub const NOTIFY_REFUNDED: &str = "notify-refunded";

/// Refund, restock, tell everybody. There is no way back from the start: each step is tried until it succeeds.
///
/// # Errors
/// A programmer made a mistake here.
pub fn cancel_order(patience: Patience) -> Result<Definition<OrderProcess>, DefinitionError> {
    saga(CANCEL_ORDER, patience.version)
        .retriable(REFUND_PAYMENT, ask(refund).of(PAYMENT).within(patience.payment).retry(stubborn()))
        .retriable(RESTOCK_INVENTORY, ask(restock).of(PRODUCTS).within(patience.inventory).retry(stubborn()))
        .retriable(NOTIFY_REFUNDED, ask(notify).of(NOTIFICATION).within(patience.notification).retry(stubborn()))
        .build()
}

fn refund(facts: &Facts<'_, OrderProcess>) -> Request {
    let order = facts.input();
    Request::RefundPayment { order_id: order.order_id, payment_id: order.payment_id }
}

fn restock(facts: &Facts<'_, OrderProcess>) -> Request {
    let order = facts.input();
    Request::RestockInventory { order_id: order.order_id, reservation_id: order.reservation_id }
}

fn notify(facts: &Facts<'_, OrderProcess>) -> Request {
    telling(facts.input(), Telling::Refunded)
}
