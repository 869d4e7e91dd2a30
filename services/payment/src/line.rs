//! The line to the provider: whether it answers, and what becomes of calls while it does not.
//!
//! A provider that is gone is not asked by everybody again and again. Once [`UNANSWERED_MIN`] calls in a row, over at
//! least [`SILENCE_MIN`], had no answer, the line is closed: requests are given back at once and come again later, and one
//! probe at a time looks whether somebody is there, every half second at first, every [`PROBE_MAX`] at last. The first
//! answer, even a refusal, opens it. Meanwhile the part `provider` is down, and says since when and why.
//!
//! An open line that nobody has used for [`IDLE_MAX`] is probed, too: a provider that went away unseen is seen.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chassis::health::Component;
use chassis::shutdown::Shutdown;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use crate::domain::Reference;
use crate::provider::{Charge, PaymentProvider, ProviderError};

/// Calls in a row without an answer, before the line is closed.
pub const UNANSWERED_MIN: u32 = 5;
/// How long there was no answer, before the line is closed.
pub const SILENCE_MIN: Duration = Duration::from_secs(5);
/// The longest pause between probes.
pub const PROBE_MAX: Duration = Duration::from_secs(5);
/// How long a line may be silent because nobody calls.
pub const IDLE_MAX: Duration = Duration::from_secs(60);
const PROBE_FIRST: Duration = Duration::from_millis(500);
/// A line where a call had no answer is probed so soon after the last one.
const DOUBT: Duration = Duration::from_secs(1);
/// Of what the provider's silence looked like, characters that are told.
const REASON_MAX: usize = 200;

/// What is known of the line.
#[derive(Debug)]
enum State {
    Open {
        /// When somebody was heard, or called in vain, last.
        used_at: Instant,
        /// Calls in a row without an answer, and since when.
        silence: Option<(u32, Instant)>,
    },
    Closed {
        since: Instant,
        reason: String,
        probes: u32,
        probed_at: Instant,
    },
}

/// The rules of the line. Pure.
#[derive(Debug)]
struct Breaker(State);

impl Breaker {
    fn new(now: Instant) -> Self {
        Self(State::Open { used_at: now, silence: None })
    }

    /// True when this opened the line.
    fn answered(&mut self, now: Instant) -> bool {
        let opened = matches!(self.0, State::Closed { .. });
        self.0 = State::Open { used_at: now, silence: None };
        opened
    }

    /// True when this closed the line.
    fn unanswered(&mut self, reason: &str, now: Instant) -> bool {
        match &mut self.0 {
            State::Closed { reason: known, .. } => {
                reason.clone_into(known);
                false
            }
            State::Open { used_at, silence } => {
                *used_at = now;
                let (count, since) = silence.map_or((1, now), |(count, since)| (count + 1, since));
                if count < UNANSWERED_MIN || now < since + SILENCE_MIN {
                    *silence = Some((count, since));
                    return false;
                }
                self.0 = State::Closed { since, reason: reason.to_owned(), probes: 0, probed_at: now };
                true
            }
        }
    }

    /// A probe goes out.
    fn probed(&mut self, now: Instant) {
        match &mut self.0 {
            State::Open { used_at, .. } => *used_at = now,
            State::Closed { probes, probed_at, .. } => {
                *probes = probes.saturating_add(1);
                *probed_at = now;
            }
        }
    }

    /// When the next probe goes out, unless something happens before.
    fn probe_at(&self) -> Instant {
        match &self.0 {
            State::Open { used_at, silence: None } => *used_at + IDLE_MAX,
            State::Open { used_at, silence: Some(_) } => *used_at + DOUBT,
            State::Closed { probes, probed_at, .. } => {
                *probed_at + PROBE_MAX.min(PROBE_FIRST * 2_u32.saturating_pow(*probes.min(&16)))
            }
        }
    }

    /// Why nobody is to call; `None` when the line is open.
    fn refusal(&self, now: Instant) -> Option<String> {
        match &self.0 {
            State::Open { .. } => None,
            State::Closed { since, reason, .. } => {
                let seconds = now.saturating_duration_since(*since).as_secs();
                Some(format!("the payment provider has not answered for {seconds} s: {reason}"))
            }
        }
    }
}

/// The line to one provider.
pub struct Line {
    provider: Arc<dyn PaymentProvider>,
    breaker: Mutex<Breaker>,
    component: Component,
    /// How long a look may take.
    timeout: Duration,
}

impl Line {
    /// An open line to `provider`, where a call may take `timeout`; `component` says how it is.
    #[must_use]
    pub fn new(provider: Arc<dyn PaymentProvider>, timeout: Duration, component: Component) -> Self {
        component.up();
        Self { provider, breaker: Mutex::new(Breaker::new(Instant::now())), component, timeout }
    }

    /// Whom one calls.
    #[must_use]
    pub fn provider(&self) -> &dyn PaymentProvider {
        &*self.provider
    }

    /// Why nobody is to call now; `None` when the line is open.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        self.lock().refusal(Instant::now())
    }

    /// A page of the provider's books, for whoever only looks: not asked for while the line is closed.
    ///
    /// # Errors
    /// As [`PaymentProvider::list`]; [`ProviderError::Unanswered`] says since when nobody answers.
    pub async fn books(&self, after: Option<&Reference>, limit: usize) -> Result<Vec<Charge>, ProviderError> {
        if let Some(refusal) = self.refusal() {
            return Err(ProviderError::Unanswered(refusal));
        }
        let told = self.list(after, limit).await;
        self.heard(&told);
        told
    }

    async fn list(&self, after: Option<&Reference>, limit: usize) -> Result<Vec<Charge>, ProviderError> {
        let late = || Err(ProviderError::Unanswered(format!("nothing within {:?}", self.timeout)));
        timeout(self.timeout, self.provider.list(after, limit)).await.unwrap_or_else(|_| late())
    }

    /// Takes note of what came of a call. Whatever the provider says, it is there.
    pub fn heard<T>(&self, called: &Result<T, ProviderError>) {
        let now = Instant::now();
        match called {
            Ok(_) | Err(ProviderError::Refused(_) | ProviderError::KeySpent(_) | ProviderError::Malformed(_)) => {
                if self.lock().answered(now) {
                    info!("the payment provider answers again");
                    metrics::gauge!("farmera_payment_provider_down").set(0.0);
                    self.component.up();
                }
            }
            // Who asked was wrong, and the provider may not have heard of it.
            Err(ProviderError::Unknown(_)) => {}
            Err(ProviderError::Unanswered(reason)) => {
                let reason: String = reason.chars().take(REASON_MAX).collect();
                let closed = self.lock().unanswered(&reason, now);
                let Some(refusal) = self.lock().refusal(now) else { return };
                if closed {
                    warn!(reason, "the payment provider does not answer: calls wait until it does");
                    metrics::gauge!("farmera_payment_provider_down").set(1.0);
                }
                self.component.down(refusal);
            }
        }
    }

    /// Probes when it is time, until the shutdown.
    pub async fn run(self: Arc<Self>, mut shutdown: Shutdown) {
        metrics::gauge!("farmera_payment_provider_down").set(0.0);
        while !shutdown.is_triggered() {
            let due = self.lock().probe_at();
            if due <= Instant::now() {
                self.probe().await;
                continue;
            }
            tokio::select! {
                () = shutdown.triggered() => {}
                // Calls move the time: it is looked again.
                () = sleep_until(due.min(Instant::now() + PROBE_FIRST)) => {}
            }
        }
    }

    async fn probe(&self) {
        self.lock().probed(Instant::now());
        self.heard(&self.list(None, 1).await);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn five_calls_in_a_row_over_five_seconds_close_the_line_and_one_answer_opens_it() {
        let start = Instant::now();
        let mut breaker = Breaker::new(start);
        for millis in [0, 10, 20, 30, 40, 50] {
            assert!(!breaker.unanswered("refused", at(start, millis)), "a burst is no silence");
        }
        assert!(!breaker.answered(at(start, 60)));
        for millis in [1_000, 2_000, 5_000, 6_000] {
            assert!(!breaker.unanswered("refused", at(start, millis)), "four are no silence");
        }
        assert!(breaker.unanswered("reset", at(start, 6_001)));
        assert!(!breaker.unanswered("refused", at(start, 6_002)), "it is closed");
        let refusal = breaker.refusal(at(start, 9_000)).unwrap();
        assert_eq!(refusal, "the payment provider has not answered for 8 s: refused");
        assert!(breaker.answered(at(start, 9_001)));
        assert_eq!(breaker.refusal(at(start, 9_002)), None);
        assert!(!breaker.unanswered("refused", at(start, 60_000)), "it is counted anew");
    }

    #[test]
    fn a_closed_line_is_probed_ever_more_rarely() {
        let start = Instant::now();
        let mut breaker = Breaker::new(start);
        assert_eq!(breaker.probe_at(), start + IDLE_MAX);
        breaker.unanswered("refused", start);
        assert_eq!(breaker.probe_at(), start + DOUBT);
        for _ in 1..UNANSWERED_MIN {
            breaker.unanswered("refused", start + SILENCE_MIN);
        }
        let mut now = start + SILENCE_MIN;
        let mut pauses = Vec::new();
        for _ in 0..6 {
            pauses.push((breaker.probe_at() - now).as_millis());
            now = breaker.probe_at();
            breaker.probed(now);
            breaker.unanswered("refused", now);
        }
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 5_000, 5_000]);
    }
}
