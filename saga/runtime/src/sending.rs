use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use eventstore::{Aggregate, Clock, EventStore, ReadError, Recorded, TxId};
use saga::{Process, Saga};
use tokio::time::Instant;
use uuid::Uuid;

/// What is told in time has left the outbox by then.
const LEAVES_WITHIN: Duration = Duration::from_secs(1);
/// For so long it is believed that nothing waits in the outbox.
const GLANCE: Duration = Duration::from_millis(100);
/// Events looked at: those of the last askings are among them.
const EVENTS_MAX: usize = 16;
/// A question that has not left after this time is taken for one that nobody answers: every wait has an end.
const UNSENT_MAX: TimeDelta = TimeDelta::hours(1);
/// Sagas of which it is remembered that their question had not left.
const REMEMBERED_MAX: usize = 10_000;

/// How far a saga's questions are on their way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// They have left: time counts.
    Sent,
    /// At least one waits in the outbox: nobody can have answered it.
    Unsent,
    /// They have left since this process last looked: time begins to count.
    JustSent,
}

/// Looks whether the questions of sagas have left the service that asks them.
///
/// What it remembers is no truth: without it a question that left late costs one attempt.
pub struct Sending<P> {
    store: Arc<dyn EventStore>,
    clock: Arc<dyn Clock>,
    unsent: Mutex<HashMap<Uuid, DateTime<Utc>>>,
    quiet_until: tokio::sync::Mutex<Option<Instant>>,
    process: PhantomData<fn() -> P>,
}

impl<P: Process> Sending<P> {
    /// A look into the outbox of `store`.
    #[must_use]
    pub fn new(store: Arc<dyn EventStore>, clock: Arc<dyn Clock>) -> Self {
        let (unsent, quiet_until) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { store, clock, unsent, quiet_until, process: PhantomData }
    }

    /// How far the last questions of this saga are.
    ///
    /// # Errors
    /// [`ReadError`]: nobody knows. Wake the saga later.
    pub async fn of(&self, saga_id: Uuid) -> Result<Way, ReadError> {
        if !self.is_quiet().await? && self.waits(saga_id).await? {
            self.remember(saga_id);
            return Ok(Way::Unsent);
        }
        let was_unsent = self.lock().remove(&saga_id).is_some();
        Ok(if was_unsent { Way::JustSent } else { Way::Sent })
    }

    /// True when nothing has waited in the outbox for long. Asked once for all sagas that are woken together.
    async fn is_quiet(&self) -> Result<bool, ReadError> {
        let mut quiet_until = self.quiet_until.lock().await;
        if quiet_until.is_some_and(|until| Instant::now() < until) {
            return Ok(true);
        }
        let is_quiet = self.store.outbox_pending(TxId(0), LEAVES_WITHIN, 1).await?.is_empty();
        *quiet_until = is_quiet.then(|| Instant::now() + GLANCE);
        Ok(is_quiet)
    }

    async fn waits(&self, saga_id: Uuid) -> Result<bool, ReadError> {
        let oldest = self.clock.now() - UNSENT_MAX;
        let last = self.store.read_stream_backwards(Saga::<P>::stream(saga_id), EVENTS_MAX).await?;
        let mut asked: Vec<TxId> = last.iter().filter(|event| asks(event) && event.time > oldest).map(tx).collect();
        asked.dedup();
        for tx in asked {
            let before = TxId(tx.0.saturating_sub(1));
            if self.store.outbox_pending(before, Duration::ZERO, 1).await?.first() == Some(&tx) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn remember(&self, saga_id: Uuid) {
        let now = self.clock.now();
        let mut unsent = self.lock();
        if unsent.len() >= REMEMBERED_MAX {
            unsent.retain(|_, seen| *seen > now - UNSENT_MAX);
        }
        if unsent.len() < REMEMBERED_MAX {
            unsent.insert(saga_id, now);
        }
    }

    /// Never poisoned for good: every change is complete before the lock is let go.
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, DateTime<Utc>>> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn asks(event: &Recorded) -> bool {
    event.type_name == "StepRequested" || event.type_name == "CompensationRequested"
}

fn tx(event: &Recorded) -> TxId {
    event.cursor.tx
}
