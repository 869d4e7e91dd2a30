//! What is asked of whom with each step that makes an order happen: one function for each, whatever saga it is a step of.

use saga::{Ask, Facts, ask};

use super::process::telling;
use super::{Item, NOTIFICATION, OrderProcess, PAYMENT, PRODUCTS, Patience, Request, Telling, patient, stubborn};

/// Products hold the goods. Undo: [`release`].
#[must_use]
pub fn reserve(patience: Patience) -> Ask<OrderProcess> {
    ask(reserve_request).of(PRODUCTS).undo(release_request).within(patience.inventory).retry(patient())
}

/// Products let the goods go that were held.
#[must_use]
pub fn release(patience: Patience) -> Ask<OrderProcess> {
    ask(release_request).of(PRODUCTS).within(patience.inventory).retry(stubborn())
}

/// Payment holds the money. Undo: void.
#[must_use]
pub fn authorize(patience: Patience) -> Ask<OrderProcess> {
    ask(authorize_request).of(PAYMENT).undo(void_request).within(patience.payment).retry(patient())
}

/// Payment takes the money.
#[must_use]
pub fn capture(patience: Patience) -> Ask<OrderProcess> {
    ask(capture_request).of(PAYMENT).within(patience.payment).retry(stubborn())
}

/// Products let the goods go to the customer.
#[must_use]
pub fn commit(patience: Patience) -> Ask<OrderProcess> {
    ask(commit_request).of(PRODUCTS).within(patience.inventory).retry(stubborn())
}

/// Customer and farms are told.
#[must_use]
pub fn notify(patience: Patience) -> Ask<OrderProcess> {
    ask(completed_request).of(NOTIFICATION).within(patience.notification).retry(stubborn())
}

fn reserve_request(facts: &Facts<'_, OrderProcess>) -> Request {
    let order = facts.input();
    let items = order.facts.lines.iter().map(|line| Item { product_id: line.product_id, quantity: line.quantity });
    Request::ReserveInventory { order_id: order.order_id, reservation_id: order.reservation_id, items: items.collect() }
}

fn release_request(facts: &Facts<'_, OrderProcess>) -> Request {
    let order = facts.input();
    Request::ReleaseInventory { order_id: order.order_id, reservation_id: order.reservation_id }
}

fn authorize_request(facts: &Facts<'_, OrderProcess>) -> Request {
    let order = facts.input();
    Request::AuthorizePayment {
        order_id: order.order_id,
        payment_id: order.payment_id,
        customer_id: order.facts.customer_id,
        amount: order.facts.total,
        payment_token: order.facts.payment_token.clone(),
    }
}

fn void_request(facts: &Facts<'_, OrderProcess>) -> Request {
    let order = facts.input();
    Request::VoidPayment { order_id: order.order_id, payment_id: order.payment_id }
}

fn capture_request(facts: &Facts<'_, OrderProcess>) -> Request {
    let order = facts.input();
    Request::CapturePayment { order_id: order.order_id, payment_id: order.payment_id }
}

fn commit_request(facts: &Facts<'_, OrderProcess>) -> Request {
    let order = facts.input();
    Request::CommitInventory { order_id: order.order_id, reservation_id: order.reservation_id }
}

fn completed_request(facts: &Facts<'_, OrderProcess>) -> Request {
    telling(facts.input(), Telling::Completed)
}
