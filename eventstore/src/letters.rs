use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::{DeadLetter, ReadError};

/// A dead letter and what has become of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredDeadLetter {
    /// Its number.
    pub id: i64,
    /// When it was parked.
    pub parked_at: DateTime<Utc>,
    /// What it is.
    pub letter: DeadLetter,
    /// How often it was tried again in vain.
    pub attempts: u32,
    /// What came of the last try.
    pub last_error: Option<String>,
    /// Where it stands.
    pub state: LetterState,
}

/// Where a dead letter stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LetterState {
    /// It waits for an operator, and so does whatever comes later for its key.
    Waiting,
    /// It waits for its turn: its line is being redriven.
    Redriving,
    /// It was handled after all.
    Redriven {
        /// When.
        at: DateTime<Utc>,
        /// Who asked for it.
        by: String,
    },
    /// It will never be handled.
    Discarded {
        /// When.
        at: DateTime<Utc>,
        /// Who decided so.
        by: String,
        /// Why.
        reason: String,
    },
}

/// The keys for which messages are parked without being looked at.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Blocked {
    /// The keys, at most as many as were asked for: when there are so many, there may be more.
    pub keys: Vec<String>,
    /// Lines with letters waiting, those of messages without a key included; counted up to 10,000.
    pub lines: u64,
}

/// Dead letters, each in the line of its key.
///
/// A key is blocked from the [`Commit`](crate::Commit) that parks its first letter until its last letter has ended.
/// While it is, whoever gets a message for it parks it behind ([`DeadLetters::park_behind`]): so nothing overtakes, on
/// any replica, however often it is restarted. Lines are redriven from their head: each letter is
/// [claimed](DeadLetters::claim_redrive), handled, and [ended](DeadLetters::redriven); the first that fails again stops
/// its line. Whoever dies in between leaves a claim that runs out; the letter is handled again then.
#[async_trait::async_trait]
pub trait DeadLetters: Send + Sync + 'static {
    /// The blocked keys of a consumer, at most `limit` (1..=100,000).
    ///
    /// # Errors
    /// [`ReadError`]; nothing is known then.
    async fn blocked(&self, consumer: &str, limit: usize) -> Result<Blocked, ReadError>;

    /// Parks a message behind those of its key; false when the key is not blocked: then it is to be handled, nothing is
    /// parked. A letter that was discarded before stays so and counts as parked.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`]: whether it is parked is unknown. Doing it again is harmless.
    async fn park_behind(&self, letter: DeadLetter) -> Result<bool, ReadError>;

    /// The head of a line that is to be redriven, and that nobody else has claimed within `lease`.
    ///
    /// # Errors
    /// [`ReadError`]; a claim may have been made, it runs out by itself.
    async fn claim_redrive(&self, consumer: &str, lease: Duration) -> Result<Option<StoredDeadLetter>, ReadError>;

    /// The letter was handled. With the last one its key is free, unless another was parked behind in this instant.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`]: it may come again.
    async fn redriven(&self, id: i64) -> Result<(), ReadError>;

    /// The letter failed again: its line waits for an operator.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`]: it may come again.
    async fn failed_again(&self, id: i64, reason: &str) -> Result<(), ReadError>;

    /// The letter can neither be handled nor given up now: its line goes on after `delay`.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`]: it comes again when the claim runs out.
    async fn redrive_later(&self, id: i64, delay: Duration, reason: &str) -> Result<(), ReadError>;

    /// Asks for the whole line of this letter to be redriven, in order. False when the letter does not wait.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`]: it may have been asked for.
    async fn ask_redrive(&self, id: i64, by: &str) -> Result<bool, ReadError>;

    /// Ends a letter unhandled; what waits behind it moves up. False when the letter does not wait.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`]: it may be discarded.
    async fn discard(&self, id: i64, by: &str, reason: &str) -> Result<bool, ReadError>;
}
