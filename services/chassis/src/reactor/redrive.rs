//! Dead letters that an operator wants handled after all: each line in order, by the same way in.

use std::sync::Arc;
use std::time::Duration;

use eventstore::{DeadLetters, ReadError, StoredDeadLetter};
use tokio::time::sleep;
use tracing::{info, warn};

use super::blockade::Blockade;
use super::{NotHandled, React, message};
use crate::shutdown::Shutdown;

/// How often it is looked whether keys were blocked or freed elsewhere, and whether anything is to be redriven.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long whoever has claimed a letter may take; then anybody may handle it again.
const LEASE: Duration = Duration::from_secs(30);
/// Letters handled before looking around again.
const LETTERS_MAX: usize = 64;
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Redrives the lines of one consumer.
pub(super) struct Redriver<'a> {
    pub(super) consumer: &'static str,
    pub(super) letters: Arc<dyn DeadLetters>,
    pub(super) react: &'a dyn React,
    pub(super) blockade: &'a Blockade,
}

impl Redriver<'_> {
    pub(super) async fn run(&self, mut shutdown: Shutdown) {
        while !shutdown.is_triggered() {
            if let Err(error) = self.look().await {
                // The reactor says that the store is away; here it only means to wait.
                tracing::debug!(consumer = self.consumer, %error, "cannot look for letters to redrive");
            }
            tokio::select! {
                () = shutdown.triggered() => {}
                () = sleep(LOOK_INTERVAL) => {}
            }
        }
    }

    /// Learns which keys are blocked, and redrives what is asked for.
    ///
    /// # Errors
    /// The store does not answer. A letter in work stays claimed for a while, and is handled again then.
    pub(super) async fn look(&self) -> Result<(), ReadError> {
        if self.blockade.refresh().await? == 0 {
            return Ok(());
        }
        for _ in 0..LETTERS_MAX {
            match self.letters.claim_redrive(self.consumer, LEASE).await? {
                Some(letter) => self.redrive(letter).await?,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    async fn redrive(&self, stored: StoredDeadLetter) -> Result<(), ReadError> {
        let (id, consumer) = (stored.id, self.consumer);
        let handled = match message::reopen(&stored.letter) {
            Ok(incoming) => self.react.react(incoming).await,
            Err(unsound) => Err(NotHandled::Poison(unsound)),
        };
        match handled {
            Ok(()) => {
                info!(consumer, id, "a dead letter is handled after all");
                self.letters.redriven(id).await
            }
            Err(NotHandled::Poison(reason) | NotHandled::Stray(reason)) => {
                warn!(consumer, id, reason, "a dead letter failed again; its line waits");
                self.letters.failed_again(id, &reason).await
            }
            Err(NotHandled::Later(reason)) => {
                let delay = RETRY_MAX.min(RETRY_FIRST * 2_u32.saturating_pow(stored.attempts.min(16)));
                self.letters.redrive_later(id, delay, &reason).await
            }
        }
    }
}
