//! From news to mails to outcomes: one go at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use eventstore::Cause;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::Instant;
use uuid::Uuid;

use super::mail::{Composer, Mail, MailId};
use super::mailbox::Mailbox;
use super::smtp::Smtp;
use crate::domain::{LetterResult, News, Outcome};

/// A go takes this long at most, and is part of the lease.
pub const GO_DEADLINE: Duration = Duration::from_secs(20);
/// A go ends with the notification that reaches this size. A single one, of at most a broker's message, is bounded, too:
/// both together stay below what a mailbox reads at its start.
const GO_BYTES_MAX: usize = 2 * 1024 * 1024;

/// A notification that is to be delivered now, by us.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Which.
    pub id: Uuid,
    /// When it was accepted.
    pub accepted_at: DateTime<Utc>,
    /// What there is to tell.
    pub news: Arc<News>,
    /// To whom.
    pub open: Vec<u16>,
    /// What the outcome is stamped with.
    pub cause: Cause,
    /// Until when it may be begun; after that somebody else may have it.
    pub begin_by: DateTime<Utc>,
}

/// A notification whose delivery was tried.
#[derive(Clone, Debug)]
pub struct Tried {
    /// Which.
    pub id: Uuid,
    /// What became of its letters.
    pub results: Vec<LetterResult>,
    /// What the outcome is stamped with.
    pub cause: Cause,
}

/// Where mails go.
pub enum Transport {
    /// Into a folder.
    File(Arc<Mutex<Mailbox>>),
    /// To a mail server.
    Smtp(Smtp),
}

/// Writes letters and hands them over.
pub struct Post {
    composer: Arc<Composer>,
    transport: Transport,
    mails_max: usize,
}

/// The mails of one go, and whose they are: an index into `tried`.
struct Go {
    tried: Vec<Tried>,
    mails: Vec<Mail>,
    owners: Vec<usize>,
}

impl Post {
    /// Letters by `composer`, handed to `transport`.
    #[must_use]
    pub fn new(composer: Composer, transport: Transport) -> Self {
        let mails_max = match transport {
            Transport::File(_) => 1_024,
            Transport::Smtp(_) => 64,
        };
        Self { composer: Arc::new(composer), transport, mails_max }
    }

    /// Delivers what stands in front of `queue`, as many as make one go, and says what became of them. Whatever is
    /// handed over is so when this returns; the next go must wait until the outcome is recorded.
    ///
    /// # Errors
    /// A defect; what was taken from the queue comes again by its timer.
    pub async fn go(&self, queue: &mut VecDeque<Pending>) -> Result<Vec<Tried>, JoinError> {
        let (composer, mails_max) = (Arc::clone(&self.composer), self.mails_max);
        let mut taken = std::mem::take(queue);
        let (mut go, rest) = match &self.transport {
            Transport::File(mailbox) => {
                let mailbox = Arc::clone(mailbox);
                let work = move || {
                    let mut go = compose(&composer, &mut taken, mails_max);
                    let written = mailbox.lock().unwrap_or_else(PoisonError::into_inner).write(&go.mails);
                    let outcome = match written {
                        Ok(()) => Outcome::Told,
                        Err(failed) => Outcome::NotNow { reason: format!("the mailbox cannot be written: {failed}") },
                    };
                    let outcomes = vec![outcome; go.mails.len()];
                    go.note(outcomes);
                    (go, taken)
                };
                spawn_blocking(work).await?
            }
            Transport::Smtp(smtp) => {
                let deadline = Instant::now() + GO_DEADLINE;
                let work = move || (compose(&composer, &mut taken, mails_max), taken);
                let (mut go, rest) = spawn_blocking(work).await?;
                let outcomes = smtp.send(&go.mails, deadline).await;
                go.note(outcomes);
                (go, rest)
            }
        };
        *queue = rest;
        count(&go.tried);
        Ok(std::mem::take(&mut go.tried))
    }

    /// Lets go of connections.
    pub async fn close(&self) {
        match &self.transport {
            Transport::File(_) => {}
            Transport::Smtp(smtp) => smtp.close().await,
        }
    }
}

impl Go {
    fn note(&mut self, outcomes: Vec<Outcome>) {
        for ((outcome, mail), owner) in outcomes.into_iter().zip(&self.mails).zip(&self.owners) {
            if let Some(tried) = self.tried.get_mut(*owner) {
                tried.results.push(LetterResult { recipient: mail.id.recipient, outcome });
            }
        }
    }
}

/// Takes from the front of the queue what makes one go: at least one notification.
fn compose(composer: &Composer, queue: &mut VecDeque<Pending>, mails_max: usize) -> Go {
    let mut go = Go { tried: Vec::with_capacity(queue.len()), mails: Vec::new(), owners: Vec::new() };
    let mut bytes = 0;
    while bytes < GO_BYTES_MAX && go.mails.len() < mails_max {
        let Some(pending) = queue.pop_front() else { break };
        let mut results = Vec::new();
        for recipient in pending.open {
            let id = MailId { notification: pending.id, recipient };
            match composer.compose(id, &pending.news, pending.accepted_at) {
                Ok(mail) => {
                    bytes += mail.bytes.len();
                    go.mails.push(mail);
                    go.owners.push(go.tried.len());
                }
                Err(reason) => results.push(LetterResult { recipient, outcome: Outcome::Refused { reason } }),
            }
        }
        go.tried.push(Tried { id: pending.id, results, cause: pending.cause });
    }
    go
}

fn count(tried: &[Tried]) {
    let (mut told, mut refused, mut not_now) = (0, 0, 0);
    for result in tried.iter().flat_map(|tried| &tried.results) {
        match result.outcome {
            Outcome::Told => told += 1,
            Outcome::Refused { .. } => refused += 1,
            Outcome::NotNow { .. } => not_now += 1,
        }
    }
    metrics::counter!("farmera_notification_mails_total", "outcome" => "told").increment(told);
    metrics::counter!("farmera_notification_mails_total", "outcome" => "refused").increment(refused);
    metrics::counter!("farmera_notification_mails_total", "outcome" => "not_now").increment(not_now);
}
