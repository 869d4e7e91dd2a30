use saga::{Definition, DefinitionError, local, retriable, saga};

use super::{OrderProcess, Patience, steps};

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
        .compensatable(RESERVE_INVENTORY, steps::reserve(patience))
        .compensatable(AUTHORIZE_PAYMENT, steps::authorize(patience))
        .pivot(CONFIRM, local())
        .in_parallel([
            retriable(CAPTURE_PAYMENT, steps::capture(patience)),
            retriable(COMMIT_INVENTORY, steps::commit(patience)),
        ])
        .retriable(NOTIFY, steps::notify(patience))
        .build()
}
