use std::sync::Arc;

use super::{Facts, Failure};

/// What may be wanted of an order. All but the first come from its sagas.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Accept it.
    Place {
        /// What is ordered.
        facts: Arc<Facts>,
        /// The digest of the client's request.
        fingerprint: String,
    },
    /// The goods are held.
    NoteReserved,
    /// Pass the point of no return.
    Confirm,
    /// Everything is done.
    Complete,
    /// Begin to undo a completed order.
    StartCancellation {
        /// Why.
        reason: String,
    },
    /// It is not possible, and undone.
    Fail {
        /// Why.
        failure: Failure,
    },
    /// It is undone before completion, at somebody's wish.
    Cancel {
        /// Why.
        failure: Failure,
    },
    /// It is undone after completion.
    FinishCancellation,
}
