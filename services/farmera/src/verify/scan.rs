//! One service's log, from the first stream to the last.

use std::collections::BTreeMap;
use std::iter::Peekable;

use eventstore::StreamKind;
use eventstore::audit::{Audit, Head, StoredRow};
use eventstore_postgres::PostgresStore;
use indicatif::ProgressBar;
use serde::Serialize;
use uuid::Uuid;

use super::checkpoint::{CheckpointError, Draft, Saved};
use crate::failure::Failure;

/// Events per query.
const PAGE: usize = 2_000;
/// Snapshots that are named at most.
const SNAPSHOTS_MAX: usize = 1_000;

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whose log.
    pub service: &'static str,
    /// The stream: `order-0199…`.
    pub stream: String,
    /// The event.
    pub version: u64,
    /// What kind of thing, in one word.
    pub kind: &'static str,
    /// What is wrong.
    pub detail: String,
}

/// What was found, the first ones in full.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Findings {
    /// As many as are shown.
    pub shown: Vec<Finding>,
    /// All of them.
    pub total: u64,
    /// How many to keep.
    pub limit: usize,
}

impl Findings {
    fn push(&mut self, finding: Finding) {
        self.total += 1;
        if self.shown.len() < self.limit {
            self.shown.push(finding);
        }
    }
}

/// What a service's log holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Scanned {
    /// Whose log.
    pub service: &'static str,
    /// Events read.
    pub events: u64,
    /// Streams.
    pub streams: u64,
    /// Events from before there were digests: nothing vouches for them but a checkpoint.
    pub without_digest: u64,
    /// Streams of the checkpoint that were compared.
    pub compared: u64,
    /// What is wrong.
    pub findings: u64,
}

/// The lines of a checkpoint for one service.
pub type Lines = Box<dyn Iterator<Item = Result<Saved, CheckpointError>> + Send>;

/// Goes through one service's log.
pub struct Scan<'a> {
    audit: Audit<'a>,
    scanned: Scanned,
    findings: &'a mut Findings,
    save: Option<&'a mut Draft>,
    against: Peekable<Lines>,
    /// What the checkpoint says of the streams of the current id, and has not been met yet.
    awaited: BTreeMap<String, Saved>,
}

impl<'a> Scan<'a> {
    /// Before the first event of `service`, whose streams are of these kinds.
    pub fn new(
        service: &'static str,
        kinds: &'a [StreamKind],
        findings: &'a mut Findings,
        save: Option<&'a mut Draft>,
        against: Option<Lines>,
    ) -> Self {
        let scanned = Scanned { service, events: 0, streams: 0, without_digest: 0, compared: 0, findings: 0 };
        let against: Lines = against.unwrap_or_else(|| Box::new(std::iter::empty()));
        let awaited = BTreeMap::new();
        Self { audit: Audit::new(kinds), scanned, findings, save, against: against.peekable(), awaited }
    }

    /// Reads everything, page by page.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the database does not answer, [`Failure::Setup`] when a file cannot be used.
    pub async fn run(mut self, store: &PostgresStore, bar: &ProgressBar) -> Result<Scanned, Failure> {
        let mut last: Option<StoredRow> = None;
        loop {
            let page = store.audit_page(last.as_ref(), PAGE).await;
            let mut page = page.map_err(|error| unavailable(self.scanned.service, &error))?;
            page.iter().try_for_each(|row| self.row(row))?;
            bar.inc(page.len() as u64);
            let full = page.len() == PAGE;
            last = page.pop().or(last);
            if !full {
                self.snapshots(store).await?;
                return self.end();
            }
        }
    }

    fn row(&mut self, row: &StoredRow) -> Result<(), Failure> {
        if let Some((stream, heads)) = self.audit.ended(Some(row)) {
            self.stream_ended(stream, &heads)?;
        }
        if self.awaited.is_empty() {
            self.await_saved(row.stream)?;
        }
        self.scanned.events += 1;
        let mut problems = Vec::new();
        let head = self.audit.row(row, |problem| problems.push(problem));
        for problem in problems {
            self.found(&row.category, row.stream, row.version, problem.name(), problem.to_string());
        }
        if let Some(saved) = self.awaited.remove(&row.category) {
            if saved.version == row.version {
                self.compare(&saved, head);
            } else {
                self.awaited.insert(row.category.clone(), saved);
            }
        }
        Ok(())
    }

    /// Copies of states that are not of this log: never used, but they came from somewhere.
    async fn snapshots(&mut self, store: &PostgresStore) -> Result<(), Failure> {
        let found = store.unconfirmed_snapshots(SNAPSHOTS_MAX).await;
        for snapshot in found.map_err(|error| unavailable(self.scanned.service, &error))? {
            let detail = if snapshot.ahead {
                "a snapshot is ahead of its stream: the end of the stream is lost".to_owned()
            } else {
                "a snapshot is of another event than the one that stands there".to_owned()
            };
            self.found(&snapshot.category, snapshot.stream, snapshot.version, "snapshot", detail);
        }
        Ok(())
    }

    fn end(mut self) -> Result<Scanned, Failure> {
        if let Some((stream, heads)) = self.audit.ended(None) {
            self.stream_ended(stream, &heads)?;
        }
        while let Some(saved) = self.against.next().transpose().map_err(unusable)? {
            self.lost(&saved, 0);
        }
        self.scanned.without_digest = self.audit.without_digest();
        Ok(self.scanned)
    }

    fn stream_ended(&mut self, stream: Uuid, heads: &BTreeMap<String, Head>) -> Result<(), Failure> {
        for saved in std::mem::take(&mut self.awaited).into_values() {
            self.lost(&saved, heads.get(&saved.category).map_or(0, |head| head.version));
        }
        self.scanned.streams += heads.len() as u64;
        let Some(draft) = self.save.as_mut() else { return Ok(()) };
        for (category, head) in heads {
            let (service, category) = (self.scanned.service.to_owned(), category.clone());
            let saved = Saved { service, category, stream, version: head.version, digest: head.digest };
            draft.add(&saved).map_err(unusable)?;
        }
        Ok(())
    }

    /// Takes what the checkpoint says of this stream id; what it says of ids before it is not there any more.
    fn await_saved(&mut self, stream: Uuid) -> Result<(), Failure> {
        let due = |saved: &Result<Saved, CheckpointError>| saved.as_ref().map_or(true, |saved| saved.stream <= stream);
        while let Some(saved) = self.against.next_if(due).transpose().map_err(unusable)? {
            if saved.stream == stream {
                self.awaited.insert(saved.category.clone(), saved);
            } else {
                self.lost(&saved, 0);
            }
        }
        Ok(())
    }

    fn compare(&mut self, saved: &Saved, head: Head) {
        self.scanned.compared += 1;
        if head.digest != saved.digest {
            let detail = format!("the events up to version {} are not those of the checkpoint", saved.version);
            self.found(&saved.category, saved.stream, saved.version, "rewritten", detail);
        }
    }

    fn lost(&mut self, saved: &Saved, version: u64) {
        self.scanned.compared += 1;
        let (kind, detail) = if version == 0 {
            ("gone", format!("the checkpoint has {} events, the stream is not there any more", saved.version))
        } else if version < saved.version {
            ("truncated", format!("the checkpoint has {} events, the stream has {version}", saved.version))
        } else {
            ("rewritten", format!("version {} of the checkpoint is not there any more", saved.version))
        };
        self.found(&saved.category, saved.stream, saved.version, kind, detail);
    }

    fn found(&mut self, category: &str, stream: Uuid, version: u64, kind: &'static str, detail: String) {
        self.scanned.findings += 1;
        let (service, stream) = (self.scanned.service, format!("{category}-{stream}"));
        self.findings.push(Finding { service, stream, version, kind, detail });
    }
}

fn unavailable(service: &str, error: &eventstore::ReadError) -> Failure {
    let cause = std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
    Failure::Unavailable(format!("{service}: {error}{cause}"))
}

fn unusable(error: CheckpointError) -> Failure {
    Failure::Setup(error.to_string())
}
