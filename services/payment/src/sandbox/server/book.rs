//! The books and their journal: nobody is told anything that is not on disk.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventstore::Clock;
use tokio::sync::{Notify, watch};

use super::entry::Entry;
use super::journal::Journal;
use super::ledger::{Answer, Asked, Filter, Intent, Ledger, Misasked, Spend};
use crate::sandbox::server::entry::Fact;

/// Lines in a journal. Some 5 GB, and as much memory: nobody wants to wait for such a start.
const ENTRIES_MAX: u64 = 20_000_000;

/// How much is on disk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OnDisk {
    /// The last line.
    pub(super) number: u64,
    /// The file's length.
    pub(super) bytes: u64,
}

struct Inner {
    ledger: Ledger,
    /// The last line, on disk or not.
    number: u64,
    /// Lines that are not given to the journal yet.
    unwritten: Vec<u8>,
}

/// The books. Requests that come while the disk is busy share the next sync.
pub(super) struct Book {
    inner: Mutex<Inner>,
    work: Notify,
    on_disk: watch::Sender<OnDisk>,
    clock: Arc<dyn Clock>,
}

impl Book {
    pub(super) fn new(ledger: Ledger, on_disk: OnDisk, clock: Arc<dyn Clock>) -> Self {
        let inner = Inner { ledger, number: on_disk.number, unwritten: Vec::new() };
        Self { inner: Mutex::new(inner), work: Notify::new(), on_disk: watch::Sender::new(on_disk), clock }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what is asked, or repeats what was said; returns when it is on disk.
    pub(super) async fn ask(&self, asked: &Asked, spend: Spend) -> Result<Answer, Misasked> {
        let (answer, number) = self.change(asked, spend)?;
        self.work.notify_one();
        self.reached(number).await;
        Ok(answer)
    }

    fn change(&self, asked: &Asked, spend: Spend) -> Result<(Answer, u64), Misasked> {
        let time = self.clock.now();
        let mut inner = self.inner();
        if inner.number >= ENTRIES_MAX {
            return Err(Misasked::Full);
        }
        let decision = inner.ledger.decide(asked, spend)?;
        let is_replay = decision.facts.iter().any(|fact| matches!(fact, Fact::Repeated {}));
        for fact in decision.facts {
            let entry = Entry {
                number: inner.number + 1,
                time,
                charge: decision.charge.clone(),
                payment_id: decision.payment_id,
                amount: decision.amount,
                key: asked.key.clone(),
                fingerprint: asked.fingerprint,
                fact,
            };
            // Cannot fail: no map in it has keys that are no strings.
            let Ok(mut line) = serde_json::to_vec(&entry) else { return Err(Misasked::Full) };
            line.push(b'\n');
            inner.unwritten.append(&mut line);
            inner.number = entry.number;
            inner.ledger.apply(&entry);
        }
        Ok((inner.ledger.answer(&asked.key, is_replay), inner.number))
    }

    /// A charge as it stands; what is told of it is on disk.
    pub(super) async fn find(&self, charge: &str) -> Option<Intent> {
        let (found, number) = {
            let inner = self.inner();
            (inner.ledger.find(charge).cloned(), inner.number)
        };
        self.reached(number).await;
        found
    }

    /// A page of charges; what is told of them is on disk.
    pub(super) async fn list(&self, filter: &Filter, limit: usize) -> Vec<Intent> {
        let (found, number) = {
            let inner = self.inner();
            (inner.ledger.list(filter, limit), inner.number)
        };
        self.reached(number).await;
        found
    }

    /// How much is on disk now.
    pub(super) fn on_disk(&self) -> OnDisk {
        *self.on_disk.borrow()
    }

    async fn reached(&self, number: u64) {
        // The sender is ours: it cannot be gone.
        drop(self.on_disk.subscribe().wait_for(|on_disk| on_disk.number >= number).await);
    }

    /// Writes what is asked for until that fails; says why.
    pub(super) async fn write(self: Arc<Self>, mut journal: Journal) -> io::Error {
        loop {
            let (lines, number) = {
                let mut inner = self.inner();
                (std::mem::take(&mut inner.unwritten), inner.number)
            };
            if lines.is_empty() {
                self.work.notified().await;
                continue;
            }
            let written = tokio::task::spawn_blocking(move || {
                let appended = journal.append(&lines);
                (journal, appended)
            });
            let bytes = match written.await {
                Ok((returned, Ok(bytes))) => {
                    journal = returned;
                    bytes
                }
                Ok((_, Err(failed))) => return failed,
                Err(failed) => return io::Error::other(failed),
            };
            self.on_disk.send_replace(OnDisk { number, bytes });
        }
    }
}
