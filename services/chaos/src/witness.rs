//! What the load client wrote down: read after it, line by line.

use std::collections::BTreeMap;
use std::path::Path;

use farmera::failure::Failure;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// Written and synced before the first request is sent.
    Asked {
        /// The idempotency key.
        request: Uuid,
        /// Who.
        customer: Uuid,
        /// Paid how.
        token: String,
    },
    /// The order was accepted.
    Accepted {
        /// The idempotency key.
        request: Uuid,
        /// The order, as the answer names it.
        order: Uuid,
        /// How often it was asked for until then.
        tries: u32,
    },
    /// A definite no.
    Refused {
        /// The idempotency key.
        request: Uuid,
        /// The status.
        code: String,
    },
    /// No answer until patience was used up: the order may be there or not.
    Unanswered {
        /// The idempotency key.
        request: Uuid,
        /// What was said last.
        last: String,
    },
    /// Asked once more under the same key with the same wish.
    Again {
        /// The idempotency key.
        request: Uuid,
        /// The order, as the answer names it.
        order: Uuid,
    },
    /// Asked under the same key with another wish.
    Contradicted {
        /// The idempotency key.
        request: Uuid,
        /// The status; OK would be wrong.
        code: String,
    },
    /// Asked to be cancelled; the answer's status.
    Cancelled {
        /// The order.
        order: Uuid,
        /// The status.
        code: String,
    },
}

/// All that was asked and answered, by idempotency key.
#[derive(Clone, Debug, Default)]
pub struct Testimony {
    /// Who asked, by key.
    pub asked: BTreeMap<Uuid, Uuid>,
    /// The orders that were accepted, by key.
    pub accepted: BTreeMap<Uuid, Uuid>,
    /// What was refused for good.
    pub refused: BTreeMap<Uuid, String>,
    /// What was never answered.
    pub unanswered: BTreeMap<Uuid, String>,
    /// Second answers to the same question.
    pub again: Vec<(Uuid, Uuid)>,
    /// Answers to another question under the same key.
    pub contradicted: Vec<(Uuid, String)>,
    /// Answers to cancellations.
    pub cancelled: Vec<(Uuid, String)>,
    /// Requests beyond the first, for orders that were accepted.
    pub retries: u64,
}

impl Testimony {
    /// Adds a log.
    ///
    /// # Errors
    /// [`Failure::Failed`]: it cannot be read.
    pub fn add(&mut self, log: &Path) -> Result<(), Failure> {
        let text = std::fs::read_to_string(log)
            .map_err(|error| Failure::Failed(format!("cannot read {}: {error}", log.display())))?;
        for line in text.lines() {
            let line = serde_json::from_str(line)
                .map_err(|error| Failure::Failed(format!("{} holds {line:?}: {error}", log.display())))?;
            self.take(line);
        }
        Ok(())
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Asked { request, customer, .. } => {
                self.asked.insert(request, customer);
            }
            Line::Accepted { request, order, tries } => {
                self.accepted.insert(request, order);
                self.retries += u64::from(tries.saturating_sub(1));
            }
            Line::Refused { request, code } => {
                self.refused.insert(request, code);
            }
            Line::Unanswered { request, last } => {
                self.unanswered.insert(request, last);
            }
            Line::Again { request, order } => self.again.push((request, order)),
            Line::Contradicted { request, code } => self.contradicted.push((request, code)),
            Line::Cancelled { order, code } => self.cancelled.push((order, code)),
        }
    }
}
