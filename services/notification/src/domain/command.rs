use std::sync::Arc;

use super::News;

/// What may be wanted of a notification.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Tell this.
    Accept {
        /// What there is to tell.
        news: Arc<News>,
    },
    /// Delivery was tried.
    NoteTry {
        /// What became of each letter that was tried.
        results: Vec<LetterResult>,
    },
}

/// What became of one letter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LetterResult {
    /// The recipient's number.
    pub recipient: u16,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a letter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The transport has taken it.
    Told,
    /// The transport will never take it.
    Refused {
        /// Why.
        reason: String,
    },
    /// Not this time; whether it arrived may even be unknown.
    NotNow {
        /// Why.
        reason: String,
    },
}
