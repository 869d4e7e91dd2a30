//! The batch loop: what has queued up is decided together and committed once (law 3).
//!
//! Under load batches form by themselves, because inputs arrive while the previous commit is under way. When idle an
//! input leaves at once: there is no timer here.

mod handle;

use std::fmt::Debug;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use faults::{Plant, Point};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, warn};

pub use self::handle::{Done, SubmitError, WorkerHandle};
use self::handle::{Request, Work};
use crate::keeper::{Drafts, Keeper, count};
use crate::unit::record_of;
use crate::{
    Append, Cache, Clock, Commit, CommitError, Committed, Cursor, EventStore, IdSource, Need, ReadError, Recorded, Unit,
};

/// The rules of a service: what an input leads to. Pure; everything it may use is in the [`Unit`].
pub trait Handler: Send + Sync + 'static {
    /// Whatever comes in: commands, messages, timers.
    type Input: Send + Sync + 'static;
    /// The answer to whoever sent it.
    type Output: Send + 'static;
    /// Why an input is refused.
    type Error: From<Need> + Send + Debug + 'static;

    /// Decides one input and records what follows. May be called several times for the same input: nothing it does
    /// lasts but through `unit`.
    ///
    /// # Errors
    /// The input is refused; what it recorded is taken back, its neighbours are not affected.
    fn handle(&self, unit: &mut Unit<'_>, input: &Self::Input) -> Result<Self::Output, Self::Error>;
}

/// Hears of committed events, in commit order as far as this process is concerned. Must not block.
pub trait CommitListener: Send + Sync + 'static {
    /// The events of one commit; at least one.
    fn committed(&self, events: &Arc<[Recorded]>, committed: Committed);
}

/// Limits of a worker.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Inputs that wait at most; whoever comes then waits to be let in.
    pub queue_max: usize,
    /// Inputs in one commit at most.
    pub batch_max: usize,
    /// How often a batch is decided anew when other writers are faster.
    pub attempts_max: u32,
    /// Streams kept folded between batches.
    pub cached_streams: usize,
    /// After how many events a long stream's state is written down anew; loading reads about as many at most.
    pub snapshot_every: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { queue_max: 4_096, batch_max: 512, attempts_max: 16, cached_streams: 8_192, snapshot_every: 500 }
    }
}

/// The most events read to fold the streams of one batch, a page at a time.
const PAGE: usize = 10_000;

/// The surroundings of a worker.
pub struct Shell {
    /// Where commits go.
    pub store: Arc<dyn EventStore>,
    /// What time it is there.
    pub clock: Arc<dyn Clock>,
    /// Where ids come from.
    pub ids: Arc<dyn IdSource>,
    /// Who hears of committed events.
    pub listeners: Vec<Arc<dyn CommitListener>>,
}

/// One service's batch loop: the single writer of this process.
pub struct Worker<H: Handler> {
    handler: H,
    shell: Shell,
    limits: Limits,
    cache: Cache,
    requests: mpsc::Receiver<Request<H>>,
}

/// How a batch ended.
enum Verdict {
    /// Stored, or nothing to store.
    Stored(Option<Committed>),
    /// One of several is at fault: halve.
    Split,
    /// None of it took place, or nobody knows.
    Failed(Failure),
}

enum Failure {
    Duplicate,
    Unstorable(String),
    Unavailable(String),
}

impl Failure {
    fn to_error<E>(&self) -> SubmitError<E> {
        match self {
            Self::Duplicate => SubmitError::Duplicate,
            Self::Unstorable(reason) => SubmitError::Unstorable(reason.clone()),
            Self::Unavailable(reason) => SubmitError::Unavailable(reason.clone()),
        }
    }
}

impl<H: Handler> Worker<H> {
    /// A worker and the handle to reach it.
    #[must_use]
    pub fn new(handler: H, shell: Shell, limits: Limits) -> (Self, WorkerHandle<H>) {
        let (sender, requests) = mpsc::channel(limits.queue_max);
        let cache = Cache::new(limits.cached_streams);
        (Self { handler, shell, limits, cache, requests }, WorkerHandle(sender))
    }

    /// Works until the last handle is gone and the queue is empty.
    pub async fn run(self) {
        let (keeper, drafts) = Keeper::new(Arc::clone(&self.shell.store));
        tokio::join!(self.work(drafts), keeper.run());
    }

    async fn work(mut self, drafts: Drafts) {
        let mut batch = Vec::new();
        while self.requests.recv_many(&mut batch, self.limits.batch_max).await > 0 {
            metrics::histogram!("farmera_worker_batch_inputs").record(batch.len() as f64);
            self.process(std::mem::take(&mut batch), &drafts).await;
        }
    }

    /// Commits a batch; when one of its inputs can never be stored, halves it until the culprit is alone.
    async fn process(&mut self, batch: Vec<Request<H>>, drafts: &Drafts) {
        let mut stack = vec![batch];
        while let Some(mut batch) = stack.pop() {
            let mut outputs = Vec::new();
            match self.commit(&batch, &mut outputs, drafts).await {
                Verdict::Stored(committed) => answer(batch, outputs, committed),
                Verdict::Failed(failure) => {
                    batch.into_iter().for_each(|request| reply(request.answer, Err(failure.to_error())));
                }
                Verdict::Split => {
                    let second = batch.split_off(batch.len() / 2);
                    stack.push(second);
                    stack.push(batch);
                }
            }
        }
    }

    /// Decides a batch, loading what it needs, and commits it; again when another writer was faster.
    async fn commit(&mut self, batch: &[Request<H>], outputs: &mut Outputs<H>, drafts: &Drafts) -> Verdict {
        let Some(first) = batch.first() else { return Verdict::Stored(None) };
        let shell = &self.shell;
        let mut unit = Unit::new(&mut self.cache, &*shell.ids, &*shell.clock, first.cause.clone());
        for _ in 0..self.limits.attempts_max {
            faults::reach(Point::InboxBefore);
            *outputs = decide(&self.handler, &mut unit, batch);
            faults::reach(Point::InboxAfter);
            match complete(&*shell.store, &mut unit).await {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => return unavailable(unit, &error),
            }
            let commit = unit.to_commit();
            if commit.is_empty() {
                return Verdict::Stored(None);
            }
            if faults::planted(Plant::PublishBeforeCommit) {
                shell.foretell(&commit, unit.now());
            }
            faults::reach(Point::AppendBefore);
            match shell.store.commit(commit).await {
                Ok(committed) => {
                    faults::reach(Point::AppendAfter);
                    unit.overdue(self.limits.snapshot_every).into_iter().for_each(|draft| drafts.offer(draft));
                    shell.committed(unit, committed);
                    return Verdict::Stored(Some(committed));
                }
                Err(CommitError::Conflict { stream, expected, actual }) => {
                    debug!(%stream, %expected, %actual, "another writer was faster; deciding again");
                    unit.conflict(stream);
                }
                Err(error) => return refused(error, unit, batch.len()),
            }
        }
        warn!(attempts = self.limits.attempts_max, "gave a batch back: other writers were faster each time");
        unit.forget();
        Verdict::Failed(Failure::Unavailable("too many writers compete".to_owned()))
    }
}

impl Shell {
    /// The bug [`Plant::PublishBeforeCommit`].
    fn foretell(&self, commit: &Commit, now: DateTime<Utc>) {
        let committed = Committed { last: Cursor::START, now };
        let recorded: Arc<[Recorded]> = commit.appends.iter().flat_map(|append| foretold(append, committed)).collect();
        self.listeners.iter().for_each(|listener| listener.committed(&recorded, committed));
    }

    fn committed(&self, unit: Unit<'_>, committed: Committed) {
        self.clock.observe(committed.now);
        let recorded: Arc<[Recorded]> = unit.into_recorded(committed).into();
        if !recorded.is_empty() {
            self.listeners.iter().for_each(|listener| listener.committed(&recorded, committed));
        }
    }
}

fn foretold(append: &Append, committed: Committed) -> impl Iterator<Item = Recorded> {
    let events = append.events().iter().cloned().zip(append.digests().iter().copied()).enumerate();
    events.map(move |(index, (event, digest))| {
        record_of(append.stream, append.expected.plus(index + 1), event, digest, committed)
    })
}

type Outputs<H> = Vec<Result<Option<<H as Handler>::Output>, SubmitError<<H as Handler>::Error>>>;

/// Runs every input of the batch through the rules.
fn decide<H: Handler>(handler: &H, unit: &mut Unit<'_>, batch: &[Request<H>]) -> Outputs<H> {
    let mut outputs = Vec::with_capacity(batch.len());
    for request in batch {
        unit.begin(request.cause.clone());
        let output = match &request.work {
            Work::Input(input) => handler.handle(unit, input).map(Some),
            Work::Park(letter) => {
                unit.park(letter.clone());
                Ok(None)
            }
        };
        match output {
            Ok(_) => unit.accept(),
            Err(_) => unit.refuse(),
        }
        outputs.push(output.map_err(|refusal| match unit.met_unusable() {
            Some(need) => SubmitError::Parked(need.clone()),
            None => SubmitError::Rejected(refusal),
        }));
    }
    outputs
}

/// True when the batch has seen all it asked for, and nothing stale; otherwise it is to be decided again.
async fn complete(store: &dyn EventStore, unit: &mut Unit<'_>) -> Result<bool, ReadError> {
    if !unit.missing().is_empty() {
        unit.restart();
        load(store, unit).await?;
        unit.loaded();
        return Ok(false);
    }
    let doubtful = unit.doubtful();
    if doubtful.is_empty() {
        return Ok(true);
    }
    Ok(unit.confirm(&store.read_streams(&doubtful, PAGE).await?))
}

/// Snapshots first, where there may be some, then the events after them.
async fn load(store: &dyn EventStore, unit: &mut Unit<'_>) -> Result<(), ReadError> {
    let snapshotted = unit.snapshotted();
    if !snapshotted.is_empty() {
        let snapshots = match store.read_snapshots(&snapshotted).await {
            Ok(snapshots) => snapshots,
            Err(ReadError::Corrupt(reason)) => {
                warn!(reason, "snapshots cannot be read; their streams are folded from the beginning");
                count("ignored", snapshotted.len());
                Vec::new()
            }
            Err(unavailable @ ReadError::Unavailable(_)) => return Err(unavailable),
        };
        let useless = unit.begin_with(&snapshots);
        count("ignored", useless);
        count("used", snapshots.len() - useless);
    }
    let mut from = unit.hungry();
    loop {
        let page = store.read_streams(&from, PAGE).await?;
        unit.feed(&page);
        let last = page.last().map(|event| (event.stream, event.version));
        let (true, Some((stream, version))) = (page.len() >= PAGE, last) else { return Ok(()) };
        from.retain(|(other, _)| *other >= stream);
        if let Some(first) = from.first_mut() {
            first.1 = version;
        }
    }
}

fn answer<H: Handler>(batch: Vec<Request<H>>, outputs: Outputs<H>, committed: Option<Committed>) {
    for (request, output) in batch.into_iter().zip(outputs) {
        let answer = output.map(|output| Done { output, committed });
        reply(request.answer, answer);
    }
}

/// A caller that went away does not want its answer; its work is done all the same.
fn reply<T>(to: oneshot::Sender<T>, answer: T) {
    drop(to.send(answer));
}

fn unavailable(mut unit: Unit<'_>, error: &(dyn std::error::Error + 'static)) -> Verdict {
    unit.forget();
    warn!(error, "the event store does not answer");
    Verdict::Failed(Failure::Unavailable(error.to_string()))
}

fn refused(error: CommitError, mut unit: Unit<'_>, inputs: usize) -> Verdict {
    unit.forget();
    match error {
        CommitError::Duplicate { .. } | CommitError::Refused(_) if inputs > 1 => Verdict::Split,
        CommitError::Duplicate { .. } => Verdict::Failed(Failure::Duplicate),
        CommitError::Refused(source) => {
            error!(error = &*source as &dyn std::error::Error, "the store refuses what an input leads to");
            Verdict::Failed(Failure::Unstorable(source.to_string()))
        }
        CommitError::Conflict { .. } | CommitError::Unavailable(_) => unavailable(unit, &error),
    }
}
