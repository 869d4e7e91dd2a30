//! Brings one request to its answer: the loop between the rules and the provider.
//!
//! Decide, and make the intent durable; run the effect at the provider, under a deadline; decide what came of it, and so
//! on until the answer is on record. Whatever dies in between, the request's message comes again and the loop starts
//! from what is on record. Calls run outside of the worker, many at a time.
//!
//! Patience is bounded: after `tries_max` calls without answer the request is given back, to come again later; at once
//! while the provider is known to be away ([`crate::line`]).

use std::sync::Arc;
use std::time::Duration;

use chassis::reactor::NotHandled;
use chassis::service::submit_not_handled;
use eventstore::Cause;
use eventstore::worker::{SubmitError, WorkerHandle};
use faults::Plant;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};
use uuid::Uuid;

use crate::domain::{Answer, Effect, Input, Next, Operation, Outcome, Request};
use crate::handler::{Payments, Refused, Work};
use crate::heard::{Heard, heard, operation};
use crate::line::Line;
use crate::provider::{Charge, Key, ProviderError};

/// Rounds between rules and provider for one request, whatever happens.
const ROUNDS_MAX: usize = 64;
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// How patient we are with the provider.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long one call may take.
    pub timeout: Duration,
    /// Calls without answer before the request is given back.
    pub tries_max: u32,
    /// Calls in flight at a time.
    pub concurrency_max: usize,
}

/// How a request ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Settled {
    /// Its answer is an event that was just recorded; the relay tells it.
    Told,
    /// Its answer was known before: tell it once more.
    Repeat(Answer),
}

/// How far rules and effects have led.
enum Driven {
    Told(Answer),
    Known(Answer),
    AskAgain,
    Done,
}

/// What is used up of our patience with one request.
#[derive(Default)]
struct Used {
    rounds: usize,
    unanswered: u32,
}

/// The loop.
pub struct Settler {
    worker: WorkerHandle<Payments>,
    line: Arc<Line>,
    patience: Patience,
    slots: Semaphore,
}

impl Settler {
    /// A loop between `worker` and the provider at the other end of `line`.
    #[must_use]
    pub fn new(worker: WorkerHandle<Payments>, line: Arc<Line>, patience: Patience) -> Self {
        Self { worker, line, patience, slots: Semaphore::new(patience.concurrency_max) }
    }

    /// The worker behind it.
    #[must_use]
    pub const fn worker(&self) -> &WorkerHandle<Payments> {
        &self.worker
    }

    /// Brings `request` to its answer.
    ///
    /// # Errors
    /// [`NotHandled`]: the provider or the store does not answer, or the request cannot be followed.
    pub async fn settle(&self, payment_id: Uuid, request: &Request, cause: &Cause) -> Result<Settled, NotHandled> {
        let asked = request.wish.operation();
        let mut patience = Used::default();
        loop {
            match self.drive(payment_id, Input::Request(request.clone()), cause, &mut patience).await? {
                Driven::Told(answer) if answer.operation() == asked => return Ok(Settled::Told),
                Driven::Known(answer) if answer.operation() == asked => return Ok(Settled::Repeat(answer)),
                Driven::Told(_) | Driven::Known(_) | Driven::AskAgain => {}
                Driven::Done => return Ok(Settled::Told),
            }
        }
    }

    /// Looks whether a charge has turned up after a void that found none, and lets go of it.
    ///
    /// # Errors
    /// [`NotHandled`]: the provider or the store does not answer, or their books contradict each other.
    pub async fn look_again(&self, payment_id: Uuid, cause: &Cause) -> Result<(), NotHandled> {
        self.drive(payment_id, Input::LookAgain, cause, &mut Used::default()).await?;
        match self.worker.submit(Work::LookedAgain { payment_id }, cause.clone()).await {
            Ok(_) => Ok(()),
            Err(failed) => not_handled(payment_id, failed).map(|_| ()),
        }
    }

    /// Decides, runs effects and decides again until there is nothing to run.
    async fn drive(
        &self,
        payment_id: Uuid,
        input: Input,
        cause: &Cause,
        used: &mut Used,
    ) -> Result<Driven, NotHandled> {
        let mut input = input;
        while used.rounds < ROUNDS_MAX {
            used.rounds += 1;
            let next = match self.worker.submit(Work::Decide { payment_id, input }, cause.clone()).await {
                Ok(done) => done.output,
                Err(failed) => return not_handled(payment_id, failed),
            };
            input = match next {
                Next::Answered(answer) => return Ok(Driven::Told(answer)),
                Next::Repeat(answer) => return Ok(Driven::Known(answer)),
                Next::AskAgain => return Ok(Driven::AskAgain),
                Next::Nothing => return Ok(Driven::Done),
                Next::Run(effect) => {
                    let outcome = self.run(payment_id, effect, &mut used.unanswered).await?;
                    Input::Outcome { message: cause.causation, outcome }
                }
            };
        }
        Err(NotHandled::Later(format!("payment {payment_id} is not settled after {ROUNDS_MAX} rounds")))
    }

    /// Runs one effect and says what came of it. A look into the books is repeated here until it is answered.
    async fn run(&self, payment_id: Uuid, mut effect: Effect, unanswered: &mut u32) -> Result<Outcome, NotHandled> {
        loop {
            if *unanswered > 0 {
                sleep(backoff(*unanswered)).await;
            }
            if let Some(refusal) = self.line.refusal() {
                return Err(NotHandled::Later(refusal));
            }
            let (label, called) = self.call(payment_id, &effect).await;
            if let Err(failed @ ProviderError::Unanswered(reason)) = &called {
                *unanswered += 1;
                debug!(%payment_id, operation = label, reason, unanswered, "no answer from the provider");
                if *unanswered >= self.patience.tries_max {
                    return Err(NotHandled::Later(failed.to_string()));
                }
                if faults::planted(Plant::ChargeWithNewKey) && operation(&effect).is_some() {
                    effect = with_new_key(effect);
                    continue;
                }
            }
            match heard(&effect, called) {
                Heard::Outcome(outcome) => return Ok(outcome),
                Heard::Silence => {}
                Heard::Defect(reason) => {
                    warn!(%payment_id, operation = label, reason, "a defect between us and the provider");
                    return Err(NotHandled::Poison(reason));
                }
            }
        }
    }

    /// One call, under its deadline.
    async fn call(&self, payment_id: Uuid, effect: &Effect) -> (&'static str, Result<Option<Charge>, ProviderError>) {
        let Ok(_slot) = self.slots.acquire().await else {
            return ("none", Err(ProviderError::Unanswered("stopping".to_owned())));
        };
        let provider = self.line.provider();
        let started = Instant::now();
        let key = |operation, epoch| Key { payment_id, operation, epoch };
        let (label, call) = match effect {
            Effect::Authorize { epoch, amount, token } => {
                let call = async move { provider.authorize(&key(Operation::Authorize, *epoch), *amount, token).await };
                ("authorize", timeout(self.patience.timeout, call).await.map(|charge| charge.map(Some)))
            }
            Effect::Capture { epoch, charge } => {
                let call = async move { provider.capture(&key(Operation::Capture, *epoch), charge).await };
                ("capture", timeout(self.patience.timeout, call).await.map(|charge| charge.map(Some)))
            }
            Effect::Void { epoch, charge } => {
                let call = async move { provider.void(&key(Operation::Void, *epoch), charge).await };
                ("void", timeout(self.patience.timeout, call).await.map(|charge| charge.map(Some)))
            }
            Effect::Refund { epoch, charge } => {
                let call = async move { provider.refund(&key(Operation::Refund, *epoch), charge).await };
                ("refund", timeout(self.patience.timeout, call).await.map(|charge| charge.map(Some)))
            }
            Effect::Lookup { authorization, .. } => {
                let call = async move { provider.lookup(&key(Operation::Authorize, *authorization)).await };
                ("lookup", timeout(self.patience.timeout, call).await)
            }
        };
        let late = || Err(ProviderError::Unanswered(format!("nothing within {:?}", self.patience.timeout)));
        let called = call.unwrap_or_else(|_| late());
        self.line.heard(&called);
        let labels = [("operation", label), ("outcome", word(&called))];
        metrics::counter!("farmera_payment_provider_calls_total", &labels).increment(1);
        metrics::histogram!("farmera_payment_provider_call_seconds", &labels).record(started.elapsed().as_secs_f64());
        (label, called)
    }
}

/// The bug [`Plant::ChargeWithNewKey`].
fn with_new_key(effect: Effect) -> Effect {
    match effect {
        Effect::Authorize { epoch, amount, token } => Effect::Authorize { epoch: epoch + 1, amount, token },
        other @ (Effect::Capture { .. } | Effect::Void { .. } | Effect::Refund { .. } | Effect::Lookup { .. }) => other,
    }
}

fn not_handled(payment_id: Uuid, failed: SubmitError<Refused>) -> Result<Driven, NotHandled> {
    if let SubmitError::Rejected(reason) = &failed {
        warn!(%payment_id, error = reason as &dyn std::error::Error, "a payment needs an operator");
    }
    submit_not_handled(failed).map_or(Ok(Driven::Done), Err)
}

const fn word(called: &Result<Option<Charge>, ProviderError>) -> &'static str {
    match called {
        Ok(_) => "answered",
        Err(ProviderError::Unanswered(_)) => "unanswered",
        Err(ProviderError::Refused(_)) => "refused",
        Err(ProviderError::KeySpent(_)) => "key_spent",
        Err(ProviderError::Malformed(_) | ProviderError::Unknown(_)) => "malformed",
    }
}

/// 50 ms, doubling, at most 1 s.
fn backoff(unanswered: u32) -> Duration {
    BACKOFF_MAX.min(BACKOFF_FIRST * 2_u32.saturating_pow(unanswered.saturating_sub(1).min(16)))
}
