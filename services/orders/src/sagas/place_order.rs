use saga::{Definition, DefinitionError, Facts, ask, local, retriable, saga};

use super::process::telling;
use super::{Item, NOTIFICATION, OrderProcess, PAYMENT, PRODUCTS, Patience, Request, Telling, patient, stubborn};

/// The saga that makes an order happen.
pub const PLACE_ORDER: &str = "place-order";
/// Products hold the goods. Undo: release.
pub const RESERVE_INVENTORY: &str = "reserve-inventory";
/// Payment holds the money. Undo: void.
pub const AUTHORIZE_PAYMENT: &str = "authorize-payment";
/// The point of no return.
pub const CONFIRM: &str = "confirm";
/// Payment takes the money.
pub const CAPTURE_PAYMENT: &str = "capture-payment";
/// Products let the goods go.
pub const COMMIT_INVENTORY: &str = "commit-inventory";
/// Customer and farms are told.
pub const NOTIFY: &str = "notify";

/// Hold goods and money, confirm, then take the money and let the goods go, then tell everybody.
///
/// # Errors
/// A programmer made a mistake here.
pub fn place_order(patience: Patience) -> Result<Definition<OrderProcess>, DefinitionError> {
    saga(PLACE_ORDER, patience.version)
        .compensatable(
            RESERVE_INVENTORY,
            ask(reserve).of(PRODUCTS).undo(release).within(patience.inventory).retry(patient()),
        )
        .compensatable(
            AUTHORIZE_PAYMENT,
            ask(authorize).of(PAYMENT).undo(void).within(patience.payment).retry(patient()),
        )
        .pivot(CONFIRM, local())
        .in_parallel([
            retriable(CAPTURE_PAYMENT, ask(capture).of(PAYMENT).within(patience.payment).retry(stubborn())),
            retriable(COMMIT_INVENTORY, ask(commit).of(PRODUCTS).within(patience.inventory).retry(stubborn())),
        ])
        .retriable(NOTIFY, ask(notify).of(NOTIFICATION).within(patience.notification).retry(stubborn()))
        .build()
}

fn reserve(facts: &Facts<'_, OrderProcess>) -> Request {
    let order = facts.input();
    let items = order.facts.lines.iter().map(|line| Item { product_id: line.product_id, quantity: line.quantity });
    Request::ReserveInventory { order_id: order.order_id, reservation_id: order.reservation_id, items: items.collect() }
}

fn release(facts: &Facts<'_, OrderProcess>) -> Request {
    let order = facts.input();
    Request::ReleaseInventory { order_id: order.order_id, reservation_id: order.reservation_id }
}

fn authorize(facts: &Facts<'_, OrderProcess>) -> Request {
    let order = facts.input();
    Request::AuthorizePayment {
        order_id: order.order_id,
        payment_id: order.payment_id,
        customer_id: order.facts.customer_id,
        amount: order.facts.total,
        payment_token: order.facts.payment_token.clone(),
    }
}

fn void(facts: &Facts<'_, OrderProcess>) -> Request {
    let order = facts.input();
    Request::VoidPayment { order_id: order.order_id, payment_id: order.payment_id }
}

fn capture(facts: &Facts<'_, OrderProcess>) -> Request {
    let order = facts.input();
    Request::CapturePayment { order_id: order.order_id, payment_id: order.payment_id }
}

fn commit(facts: &Facts<'_, OrderProcess>) -> Request {
    let order = facts.input();
    Request::CommitInventory { order_id: order.order_id, reservation_id: order.reservation_id }
}

fn notify(facts: &Facts<'_, OrderProcess>) -> Request {
    telling(facts.input(), Telling::Completed)
}
