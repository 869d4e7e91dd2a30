//! The port to whoever moves the money.

use std::fmt;

use async_trait::async_trait;
use money::Money;
use uuid::Uuid;

use crate::domain::{Operation, Reference, Refusal};

/// Names one intent at the provider: the same key never has an effect twice. Printed `{payment}:{operation}:{epoch}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// The payment.
    pub payment_id: Uuid,
    /// What is to be done.
    pub operation: Operation,
    /// Kept over all tries; only after the books proved that nothing happened there is a next one.
    pub epoch: u32,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.payment_id, self.operation.as_str(), self.epoch)
    }
}

/// Where a charge stands in the provider's books.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChargeStatus {
    /// Held.
    Authorized,
    /// Taken.
    Captured,
    /// Let go.
    Voided,
    /// Given back.
    Refunded,
    /// Never held.
    Declined(Refusal),
}

impl ChargeStatus {
    /// The contract's word for it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Authorized => "authorized",
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Refunded => "refunded",
            Self::Declined(_) => "declined",
        }
    }
}

/// A charge in the provider's books.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Charge {
    /// The provider's name for it.
    pub reference: Reference,
    /// The payment it was made for.
    pub payment_id: Uuid,
    /// How much.
    pub amount: Money,
    /// Where it stands.
    pub status: ChargeStatus,
    /// How often the provider was asked to change it.
    pub requests: u32,
}

/// Why the provider did not do as asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProviderError {
    /// No answer, or one that says nothing: it may have had effect, or may yet have. Look, or ask again with the same key.
    #[error("the payment provider did not answer: {0}")]
    Unanswered(String),
    /// A definite no; it had no effect, and asking again gives the same.
    #[error("the payment provider refuses: {}", .0.reason)]
    Refused(Refusal),
    /// The provider failed and will repeat that for this key. Look whether it had effect, then use the next key.
    #[error("the payment provider failed for good: {0}")]
    KeySpent(String),
    /// The request makes no sense to the provider: the same key with other parameters, an unknown charge. A defect here;
    /// an operator must look.
    #[error("the payment provider does not understand the request: {0}")]
    Malformed(String),
    /// There is no charge of this name to go on after in the books. Begin at their beginning.
    #[error("there is no charge {0}")]
    Unknown(Reference),
}

/// A payment provider. Every method is idempotent by its key: the same key with the same parameters has one effect and
/// one answer, whenever it is asked. Callers set deadlines; an implementation must stand being dropped at any await.
#[async_trait]
pub trait PaymentProvider: Send + Sync + 'static {
    /// Holds money on the card behind `token`. A refusal is a charge that is [`ChargeStatus::Declined`].
    ///
    /// # Errors
    /// [`ProviderError`] says whether anything may have happened.
    async fn authorize(&self, key: &Key, amount: Money, token: &str) -> Result<Charge, ProviderError>;

    /// Takes all that is held.
    ///
    /// # Errors
    /// [`ProviderError`] says whether anything may have happened.
    async fn capture(&self, key: &Key, reference: &Reference) -> Result<Charge, ProviderError>;

    /// Lets go of what is held.
    ///
    /// # Errors
    /// [`ProviderError`] says whether anything may have happened.
    async fn void(&self, key: &Key, reference: &Reference) -> Result<Charge, ProviderError>;

    /// Gives back all that was taken.
    ///
    /// # Errors
    /// [`ProviderError`] says whether anything may have happened.
    async fn refund(&self, key: &Key, reference: &Reference) -> Result<Charge, ProviderError>;

    /// The charge that was made under an authorization's key, as it stands now; `None` when there is none.
    ///
    /// # Errors
    /// [`ProviderError::Unanswered`]: ask again.
    async fn lookup(&self, key: &Key) -> Result<Option<Charge>, ProviderError>;

    /// All charges by reference, those after `after`, at most `limit` (1..=1,000).
    ///
    /// # Errors
    /// [`ProviderError`]: unanswered, or `after` is unknown.
    async fn list(&self, after: Option<&Reference>, limit: usize) -> Result<Vec<Charge>, ProviderError>;
}
