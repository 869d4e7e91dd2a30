//! Which keys are blocked: the database knows, this process remembers.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventstore::{DeadLetter, DeadLetters, ReadError};
use tracing::warn;

use super::NotHandled;

/// Keys that are remembered. With more, the database is asked for each message: slow, and right.
const REMEMBERED_MAX: usize = 10_000;

/// The blocked keys of one consumer.
///
/// What is remembered may be out of date in two ways. A key that has become free is found out by parking behind it: the
/// database refuses, the message is handled. A key that another replica has blocked becomes known with the next
/// [`Blockade::refresh`]; a message that overtakes until then is as if it had arrived there a moment earlier.
pub(super) struct Blockade {
    consumer: &'static str,
    letters: Arc<dyn DeadLetters>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keys: HashSet<String>,
    /// Blocked by ourselves since the last refresh began, which may not have seen it.
    recent: HashSet<String>,
    too_many: bool,
}

impl Blockade {
    pub(super) fn new(consumer: &'static str, letters: Arc<dyn DeadLetters>) -> Self {
        Self { consumer, letters, known: Mutex::default() }
    }

    /// True when the key is blocked as far as is known here.
    pub(super) fn may_block(&self, key: &str) -> bool {
        let known = self.lock();
        known.too_many || known.keys.contains(key)
    }

    /// A letter of this key was parked.
    pub(super) fn block(&self, key: &str) {
        let mut known = self.lock();
        known.keys.insert(key.to_owned());
        known.recent.insert(key.to_owned());
    }

    /// Parks a message behind those of its key; false when it is to be handled.
    ///
    /// # Errors
    /// The store does not answer; the message comes again.
    pub(super) async fn park_behind(&self, key: &str, letter: DeadLetter) -> Result<bool, NotHandled> {
        let parked = self.letters.park_behind(letter).await.map_err(|error| NotHandled::Later(error.to_string()))?;
        if parked {
            metrics::counter!("farmera_letters_parked_behind_total", "consumer" => self.consumer).increment(1);
        } else {
            let mut known = self.lock();
            known.keys.remove(key);
            known.recent.remove(key);
        }
        Ok(parked)
    }

    /// Learns what the database knows. Says how many lines there are, at most 10,000.
    ///
    /// # Errors
    /// The store does not answer; what was known stays.
    pub(super) async fn refresh(&self) -> Result<u64, ReadError> {
        self.lock().recent.clear();
        let blocked = self.letters.blocked(self.consumer, REMEMBERED_MAX).await?;
        metrics::gauge!("farmera_dead_letter_lines", "consumer" => self.consumer).set(blocked.lines as f64);
        let mut known = self.lock();
        let too_many = blocked.keys.len() >= REMEMBERED_MAX;
        if too_many && !known.too_many {
            warn!(
                consumer = self.consumer,
                "too many keys are blocked to be remembered: every message costs a question"
            );
        }
        known.too_many = too_many;
        known.keys = blocked.keys.into_iter().chain(known.recent.iter().cloned()).collect();
        Ok(blocked.lines)
    }

    /// Never poisoned for good: every change is complete before the lock is let go.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
