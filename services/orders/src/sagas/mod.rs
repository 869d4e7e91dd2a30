//! The processes that orders owns: what they ask of whom, in which order, and how it is undone.

mod cancel_order;
mod holdings;
mod place_order;
mod process;

use std::time::Duration;

use saga::{DefinitionError, Library, LibraryError, RetryPolicy};

pub use cancel_order::{CANCEL_ORDER, NOTIFY_REFUNDED, REFUND_PAYMENT, RESTOCK_INVENTORY, cancel_order};
pub use holdings::{Holdings, Moves, participant};
pub use place_order::{
    AUTHORIZE_PAYMENT, CAPTURE_PAYMENT, COMMIT_INVENTORY, CONFIRM, NOTIFY, PLACE_ORDER, RESERVE_INVENTORY, place_order,
};
pub use process::{Item, NotifiedLine, OrderFacts, OrderProcess, Request, Telling};

/// The participants, as operators name them.
pub const PRODUCTS: &str = "products";
/// See [`PRODUCTS`].
pub const PAYMENT: &str = "payment";
/// See [`PRODUCTS`].
pub const NOTIFICATION: &str = "notification";

/// How long each participant is waited for, with each attempt. Part of the definitions: sagas in flight are pinned to
/// them, so another patience is another deployment, not a switch at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For products.
    pub inventory: Duration,
    /// For payment, which waits for its provider in turn.
    pub payment: Duration,
    /// For notification.
    pub notification: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            inventory: Duration::from_secs(5),
            payment: Duration::from_secs(10),
            notification: Duration::from_secs(5),
        }
    }
}

/// Why the sagas cannot be run. A programmer must look.
#[derive(Debug, thiserror::Error)]
pub enum SagasError {
    /// One of them is unsound.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// Two of them cannot be told apart.
    #[error(transparent)]
    Library(#[from] LibraryError),
}

/// All of them.
///
/// # Errors
/// [`SagasError`]: they are unsound.
pub fn library(patience: Patience) -> Result<Library<OrderProcess>, SagasError> {
    Ok(Library::new([place_order(patience)?, cancel_order(patience)?])?)
}

/// Before the point of no return: give up after a while, so that the customer knows.
fn patient() -> RetryPolicy {
    RetryPolicy::new(6, Duration::from_millis(250), Duration::from_secs(10))
}

/// After it: a participant may be away for four hours before an operator is asked. The long waits cost nothing when it
/// comes back: the requests wait for it in the broker, and asking again only mends what the broker lost.
fn stubborn() -> RetryPolicy {
    RetryPolicy::new(60, Duration::from_millis(250), Duration::from_secs(300))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sagas_are_sound() {
        assert_eq!(library(Patience::default()).unwrap().definitions().count(), 2);
    }
}
