//! What an input leads to.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use eventstore::worker::Handler;
use eventstore::{Aggregate as _, Need, Unit};
use uuid::Uuid;

use crate::domain::{Command, LetterResult, News, Notification, Rejection, decide, retry_delay};

/// How long whoever has taken up a notification may take to deliver it; after that, anybody may.
pub const LEASE: Duration = Duration::from_secs(30);

/// Everything that comes in.
#[derive(Debug)]
pub enum Input {
    /// There is something to tell.
    Accept {
        /// The notification.
        id: Uuid,
        /// What.
        news: Arc<News>,
    },
    /// Delivery was tried.
    NoteTry {
        /// The notification.
        id: Uuid,
        /// What became of its letters; empty when there was nothing to do any more.
        results: Vec<LetterResult>,
    },
}

/// What became of an input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// It was recorded; the relay tells whoever wants to know.
    Recorded,
    /// It was known before. Whoever asked is to be told again.
    Known,
}

/// Why an input has no effect.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// A stream is not at hand.
    #[error(transparent)]
    Need(#[from] Need),
    /// The rules.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

/// The rules of notification.
#[derive(Clone, Copy, Debug, Default)]
pub struct NotificationHandler;

impl Handler for NotificationHandler {
    type Input = Input;
    type Output = Output;
    type Error = HandleError;

    fn handle(&self, unit: &mut Unit<'_>, input: &Input) -> Result<Output, HandleError> {
        match input {
            Input::Accept { id, news } => accept(unit, *id, news),
            Input::NoteTry { id, results } => note_try(unit, *id, results),
        }
    }
}

/// A new notification is born claimed: the process that wrote it is handed the event in memory and delivers at once, so
/// its timer is armed to the end of the lease, for whoever finds it after a crash.
fn accept(unit: &mut Unit<'_>, id: Uuid, news: &Arc<News>) -> Result<Output, HandleError> {
    let events = decide(unit.get_or_new::<Notification>(id)?, &Command::Accept { news: Arc::clone(news) })?;
    if events.is_empty() {
        return Ok(Output::Known);
    }
    unit.record::<Notification>(id, &events)?;
    let due = later(unit.now(), LEASE);
    unit.wake::<Notification>(id, Some(due))?;
    Ok(Output::Recorded)
}

fn note_try(unit: &mut Unit<'_>, id: Uuid, results: &[LetterResult]) -> Result<Output, HandleError> {
    let events = decide(unit.get::<Notification>(id)?, &Command::NoteTry { results: results.to_vec() })?;
    unit.record::<Notification>(id, &events)?;
    let due = match unit.get::<Notification>(id)? {
        Notification::Accepted(accepted) => Some(retry_delay(accepted.failed_tries)),
        Notification::Absent | Notification::Delivered(_) | Notification::Failed(_) => None,
    };
    let due = due.map(|delay| later(unit.now(), delay));
    unit.timer_claimed(Notification::stream(id));
    unit.wake::<Notification>(id, due)?;
    Ok(Output::Recorded)
}

fn later(time: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    chrono::Duration::from_std(by).ok().and_then(|by| time.checked_add_signed(by)).unwrap_or(time)
}
