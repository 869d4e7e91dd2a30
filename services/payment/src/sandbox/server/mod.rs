//! A card processor as a process of its own: `farmera sandbox-provider`.
//!
//! An HTTP API in the manner of the large processors: payment intents that are held, captured, cancelled and refunded,
//! an `Idempotency-Key` with every change, JSON errors, pages. It keeps its books in a journal of its own and nowhere
//! else, so it is a witness: what it says about money does not come from our tables.
//!
//! | | |
//! |---|---|
//! | `POST /v1/payment_intents` | holds money: `amount`, `currency`, `payment_method` (a [`super::Token`]), `metadata.payment_id` |
//! | `POST /v1/payment_intents/{id}/capture` | takes it |
//! | `POST /v1/payment_intents/{id}/cancel` | lets it go |
//! | `POST /v1/refunds` | gives it back: `payment_intent` |
//! | `GET /v1/payment_intents/{id}` | one |
//! | `GET /v1/payment_intents` | all: `limit`, `starting_after`, `idempotency_key`, `metadata[payment_id]` |
//! | `GET /v1/journal` | the journal, NDJSON |
//! | `GET`, `PUT /v1/sandbox/weather` | what goes wrong from now on, see [`Weather`] |
//! | `GET /v1/sandbox/faults` | what has gone wrong, see [`Fired`] |
//! | `GET /healthz` | it works |
//!
//! The same key with the same request gets the recorded answer, marked `Idempotent-Replayed: true`; with another request
//! 422. `journal` says how a line gets to disk before its answer goes out; `ledger` holds the rules.

mod api;
mod book;
mod entry;
mod journal;
mod ledger;
mod routes;
mod tally;
#[cfg(test)]
mod tests;
mod weather;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chassis::clock::StoreClock;
use chassis::config::Secret;
use chassis::shutdown::Shutdown;
use tokio::net::TcpListener;

use book::{Book, OnDisk};
pub use entry::{Entry, Fact};
use journal::Journal;
pub use journal::{JournalError, read as read_journal};
use ledger::Ledger;
use routes::Place;
pub use tally::{Tally, tally};
use weather::Sky;
pub use weather::{BadRate, Fired, Weather};

/// How to run it.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file that it keeps; made when missing, in a folder that exists.
    pub journal: PathBuf,
    /// What callers must show as bearers; nothing when absent.
    pub key: Option<Secret>,
    /// What goes wrong.
    pub weather: Weather,
    /// What the faults are drawn from.
    pub seed: u64,
}

/// A provider with its books open.
pub struct Provider {
    place: Place,
    journal: Journal,
    entries: u64,
}

impl Provider {
    /// Reads the journal.
    ///
    /// # Errors
    /// [`JournalError`]: it cannot be used, or another process uses it.
    pub fn open(options: Options) -> Result<Self, JournalError> {
        let mut ledger = Ledger::default();
        let (journal, found) = Journal::open(&options.journal, |entry| ledger.apply(&entry))?;
        let bytes = std::fs::metadata(&options.journal).map_or(0, |metadata| metadata.len());
        let on_disk = OnDisk { number: found.entries, bytes };
        let place = Place {
            book: Arc::new(Book::new(ledger, on_disk, Arc::new(StoreClock::new()))),
            sky: Arc::new(Sky::new(options.weather, options.seed)),
            key: options.key,
            journal: Arc::from(Path::new(&options.journal)),
            torn_bytes: found.torn_bytes,
        };
        Ok(Self { place, journal, entries: found.entries })
    }

    /// Lines that the journal held.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// Bytes of half a line that a killed process left behind, and that were cut off.
    #[must_use]
    pub const fn torn_bytes(&self) -> u64 {
        self.place.torn_bytes
    }

    /// Serves until the shutdown. Calls in flight are cut off: whoever made them does not know, and asks again.
    ///
    /// # Errors
    /// The journal cannot be written any more, or the listener failed.
    pub async fn serve(self, listener: TcpListener, mut shutdown: Shutdown) -> io::Result<()> {
        let writing = Arc::clone(&self.place.book).write(self.journal);
        let router = routes::router(self.place);
        tokio::select! {
            failed = writing => Err(failed),
            served = async { axum::serve(listener, router).await } => served,
            () = shutdown.triggered() => Ok(()),
        }
    }
}
