//! A void that finds no charge may have been faster than an authorization still on its way to the provider. So a minute
//! later the books are looked into once more, and what turned up is let go. Money never stays held for nobody.
//!
//! The wish to look is a timer, committed with the void; any replica may follow it, and one that dies leaves it behind.

use std::sync::Arc;
use std::time::Duration;

use chassis::shutdown::Shutdown;
use eventstore::{Aggregate as _, EventStore, ReadError, StreamId};
use tokio::time::sleep;
use tracing::warn;

use crate::domain::Payment;
use crate::settle::Settler;

const INTERVAL: Duration = Duration::from_secs(5);
const CLAIMED_MAX: usize = 64;
/// Longer than a look may take.
const LEASE: Duration = Duration::from_secs(60);

/// The loop over due looks.
pub struct SecondLook {
    store: Arc<dyn EventStore>,
    settler: Arc<Settler>,
}

impl SecondLook {
    /// Looks through `settler` at what `store` says is due.
    #[must_use]
    pub fn new(store: Arc<dyn EventStore>, settler: Arc<Settler>) -> Self {
        Self { store, settler }
    }

    /// Looks until `shutdown`.
    pub async fn run(self, mut shutdown: Shutdown) {
        while !shutdown.is_triggered() {
            if let Err(failed) = self.look_once().await {
                warn!(error = &failed as &dyn std::error::Error, "cannot look after voided payments now, will retry");
            }
            tokio::select! {
                () = shutdown.triggered() => {}
                () = sleep(INTERVAL) => {}
            }
        }
    }

    /// Looks at the payments whose time has come; says how many. One that cannot be looked at now comes again.
    ///
    /// # Errors
    /// The log does not answer.
    pub async fn look_once(&self) -> Result<usize, ReadError> {
        let timers = self.store.claim_due_timers(&[Payment::CATEGORY], CLAIMED_MAX, LEASE).await?;
        for timer in &timers.due {
            self.look(timer.stream).await?;
        }
        Ok(timers.due.len())
    }

    async fn look(&self, stream: StreamId) -> Result<(), ReadError> {
        // On behalf of whoever asked last: the saga that wanted the void.
        let Some(last) = self.store.read_stream_backwards(stream, 1).await?.pop() else { return Ok(()) };
        if let Err(failed) = self.settler.look_again(stream.id, &last.cause).await {
            warn!(payment_id = %stream.id, error = &failed as &dyn std::error::Error, "will look at this payment again");
        }
        Ok(())
    }
}
