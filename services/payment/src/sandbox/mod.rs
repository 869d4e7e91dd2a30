//! A payment provider in the same process, for development, tests and benches.
//!
//! It behaves like a card processor: it keeps durable books of its own (`sandbox_charge`, over a pool of its own), has
//! one effect per idempotency key, repeats stored answers, refuses a key that comes back with other parameters, and
//! counts how often it was asked. What a card does is in its token, see [`Token`]:
//!
//! | token | what happens |
//! |---|---|
//! | `tok_success` | money is held |
//! | `tok_declined` | declined, `CARD_DECLINED` |
//! | `tok_insufficient_funds` | declined, `INSUFFICIENT_FUNDS` |
//! | `tok_timeout_charged` | money is held, but the first request is never answered |
//! | `tok_timeout_not_charged` | the first request is lost and never answered; from the second on money is held |
//! | `tok_flaky` | two requests fail without a word about the effect; from the third on money is held |
//! | anything else | declined, `UNKNOWN_TOKEN` |
//!
//! "Never answered" is a call that hangs for a minute. What the first request was is in the books, so a restart does not
//! forget it. Thousands of calls per second share their statements: whatever is asked while one is under way goes into
//! the next, in one round trip.

mod books;
pub mod server;
mod standing;
mod token;

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use chassis::coalesce::{Coalescer, Stopped};
use money::Money;
use sqlx::PgPool;
use tokio::time::sleep;
use uuid::Uuid;

use books::{Answered, Authorization, Books, Move};
pub use standing::{Standing, Transition};
pub use token::Token;

use crate::domain::{Reference, Refusal};
use crate::provider::{Charge, Key, PaymentProvider, ProviderError};

/// Questions in one statement.
const BATCH_MAX: usize = 256;
/// Longer than any client waits.
const NEVER: Duration = Duration::from_secs(60);

/// The sandbox. Cheap to clone.
#[derive(Clone)]
pub struct Sandbox {
    authorizations: Coalescer<Authorization, Answered>,
    moves: Coalescer<Move, Answered>,
    lookups: Coalescer<Uuid, Result<Option<Charge>, ProviderError>>,
    books: Books,
    latency: Duration,
}

impl Sandbox {
    /// The sandbox over `pool`, and the work behind it that must run; it ends with the last clone. Every call takes
    /// `latency` more.
    pub fn new(pool: PgPool, latency: Duration) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let books = Books::new(pool);
        let (for_authorizations, for_moves, for_lookups) = (books.clone(), books.clone(), books.clone());
        let (authorizations, authorizing) = Coalescer::new(BATCH_MAX, move |asked| {
            let books = for_authorizations.clone();
            async move { books.authorize(asked).await }
        });
        let (moves, moving) = Coalescer::new(BATCH_MAX, move |asked| {
            let books = for_moves.clone();
            async move { books.apply(asked).await }
        });
        let (lookups, looking) = Coalescer::new(BATCH_MAX, move |asked| {
            let books = for_lookups.clone();
            async move { books.find(asked).await }
        });
        let run = async move {
            tokio::join!(authorizing, moving, looking);
        };
        (Self { authorizations, moves, lookups, books, latency }, run)
    }

    async fn change(&self, key: &Key, reference: &Reference, transition: Transition) -> Result<Charge, ProviderError> {
        self.travel().await;
        let charge_id = charge_id(reference)?;
        let asked = Move { charge_id, payment_id: key.payment_id, transition, epoch: epoch(key)? };
        self.moves.ask(asked).await.map_err(stopping)?.map(|(charge, _)| charge)
    }

    async fn travel(&self) {
        if !self.latency.is_zero() {
            sleep(self.latency).await;
        }
    }
}

#[async_trait]
impl PaymentProvider for Sandbox {
    async fn authorize(&self, key: &Key, amount: Money, token: &str) -> Result<Charge, ProviderError> {
        self.travel().await;
        let kind = Token::of(token);
        let asked =
            Authorization { charge_id: id_of(key), payment_id: key.payment_id, amount, token: token.to_owned(), kind };
        let (charge, request) = self.authorizations.ask(asked).await.map_err(stopping)??;
        if kind.is_never_answered(request) {
            sleep(NEVER).await;
            return Err(ProviderError::Unanswered("the answer was lost".to_owned()));
        }
        charge_or_failure(charge, kind.fails(request))
    }

    async fn capture(&self, key: &Key, reference: &Reference) -> Result<Charge, ProviderError> {
        self.change(key, reference, Transition::Capture).await
    }

    async fn void(&self, key: &Key, reference: &Reference) -> Result<Charge, ProviderError> {
        self.change(key, reference, Transition::Void).await
    }

    async fn refund(&self, key: &Key, reference: &Reference) -> Result<Charge, ProviderError> {
        self.change(key, reference, Transition::Refund).await
    }

    async fn lookup(&self, key: &Key) -> Result<Option<Charge>, ProviderError> {
        self.travel().await;
        self.lookups.ask(id_of(key)).await.map_err(stopping)?
    }

    async fn list(&self, after: Option<&Reference>, limit: usize) -> Result<Vec<Charge>, ProviderError> {
        let known = |after: &Reference| charge_id(after).map_err(|_| ProviderError::Unknown(after.clone()));
        let after = after.map(known).transpose()?;
        self.books.list(after.unwrap_or_default(), limit).await
    }
}

fn charge_or_failure(charge: Charge, fails: bool) -> Result<Charge, ProviderError> {
    if fails {
        return Err(ProviderError::Unanswered("503 try again".to_owned()));
    }
    Ok(charge)
}

/// The charge that is made under an authorization's key. The time in the payment's id is kept, so that charges made
/// together lie together.
fn id_of(key: &Key) -> Uuid {
    eventstore::derived_id(key.payment_id, &key.to_string())
}

fn reference(charge_id: Uuid) -> Reference {
    Reference(format!("ch_{}", charge_id.simple()))
}

fn charge_id(reference: &Reference) -> Result<Uuid, ProviderError> {
    let id = reference.0.strip_prefix("ch_").and_then(|id| id.parse().ok());
    id.ok_or_else(|| ProviderError::Malformed(format!("{reference} is no charge")))
}

fn epoch(key: &Key) -> Result<i32, ProviderError> {
    i32::try_from(key.epoch).map_err(|_| ProviderError::Malformed(format!("the key {key} is out of range")))
}

fn stopping(_: Stopped) -> ProviderError {
    ProviderError::Unanswered("the sandbox is stopping".to_owned())
}

/// Why a card was declined, from what the books keep of it.
fn declined(reason: Option<String>) -> Refusal {
    let reason = reason.unwrap_or_else(|| "CARD_DECLINED".to_owned());
    let message = match reason.as_str() {
        "INSUFFICIENT_FUNDS" => "the card has not enough funds",
        "UNKNOWN_TOKEN" => "the sandbox knows no such payment token",
        _ => "the card was declined",
    };
    Refusal::new(reason, message)
}
