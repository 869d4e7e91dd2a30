//! The processes that orders owns: what they ask of whom, in which order, and how it is undone.

mod answer;
mod cancel_order;
mod holdings;
mod place_order;
mod process;
pub mod steps;

use std::time::Duration;

use saga::{DefinitionError, Library, LibraryError, RetryPolicy};

pub use answer::{Answer, Of, Said, Unasked};
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
/// them, so another patience is another version of them, not a switch at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The version of the definitions that wait like this, from 1.
    pub version: u32,
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
            version: 1,
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

/// All of them, in a version for each patience: new sagas are started with the newest, open ones keep theirs.
///
/// # Errors
/// [`SagasError`]: they are unsound, or two that differ in their patience claim one version.
pub fn library(versions: &[Patience]) -> Result<Library<OrderProcess>, SagasError> {
    let mut definitions = Vec::new();
    for patience in versions {
        definitions.extend([place_order(*patience)?, cancel_order(*patience)?]);
    }
    Ok(Library::new(definitions)?)
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
        assert_eq!(library(&[Patience::default()]).unwrap().definitions().count(), 2);
    }

    #[test]
    fn new_sagas_are_started_with_the_newest_patience_and_the_older_one_is_still_known() {
        let first = Patience::default();
        let second = Patience { version: 2, payment: Duration::from_secs(20), ..first };
        let library = library(&[first, second]).unwrap();
        assert_eq!(library.newest(PLACE_ORDER).unwrap().id(), place_order(second).unwrap().id());
        let pinned = place_order(first).unwrap().id().clone();
        assert_eq!(library.pinned(&pinned).unwrap().id(), &pinned);
    }

    #[test]
    fn two_patiences_of_one_version_are_refused() {
        let first = Patience::default();
        let other = Patience { payment: Duration::from_secs(20), ..first };
        assert!(matches!(library(&[first, other]), Err(SagasError::Library(LibraryError::Twice { version: 1, .. }))));
    }
}
