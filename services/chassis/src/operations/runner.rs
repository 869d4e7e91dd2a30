//! Carries operations out.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use farmera_proto::saga::v1 as pb;
use pb::operation::State;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tonic::Status;
use tracing::{info, warn};
use uuid::Uuid;

use super::book::{Claimed, OperationBook, Outcome};
use super::pace::{Next, Pace, TICK};
use super::{Acts, Job, Told};
use crate::shutdown::Shutdown;

/// How long a claim keeps other replicas away; a process that dies is followed after this long.
const LEASE: Duration = Duration::from_secs(10);
/// How often a claim is made longer while items are seen to.
const STAY_INTERVAL: Duration = Duration::from_secs(2);
/// How often it is looked for operations that other processes have begun and left. This process's own are told of.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// An operation that nothing can be done for is given up after this long.
const PATIENCE: Duration = Duration::from_secs(3_600);
/// What items are given to end by themselves when the process ends; what they did by then is found again.
const FAREWELL: Duration = Duration::from_secs(2);

/// Works operations off, one at a time.
pub struct Runner {
    book: OperationBook,
    acts: Vec<Arc<dyn Acts>>,
}

/// What came of some items: how many were seen to, and how many of them failed.
type Turned = Option<(u32, u32)>;

impl Runner {
    /// A runner of the operations in `book`.
    #[must_use]
    pub fn new(book: OperationBook, acts: Vec<Arc<dyn Acts>>) -> Self {
        Self { book, acts }
    }

    /// Goes on until `shutdown`.
    pub async fn run(self, mut shutdown: Shutdown) {
        while !shutdown.is_triggered() {
            match self.book.claim(LEASE).await {
                Ok(Some(claimed)) => self.work(&claimed, &shutdown).await,
                Ok(None) => {
                    tokio::select! {
                        () = shutdown.triggered() => {}
                        () = self.book.until_begun() => {}
                        () = sleep(LOOK_INTERVAL) => {}
                    }
                }
                Err(status) => {
                    warn!(error = &status as &dyn Error, "operations cannot be looked for, will retry");
                    tokio::select! {
                        () = shutdown.triggered() => {}
                        () = sleep(LEASE) => {}
                    }
                }
            }
        }
    }

    /// Works one operation off, until it is over, stopped, or the process ends.
    async fn work(&self, Claimed { operation, id }: &Claimed, shutdown: &Shutdown) {
        info!(operation = %id, actor = operation.actor, total = operation.total, "an operation is carried out");
        let mut pace = Pace {
            rate: operation.rate,
            canary: operation.canary,
            failures_max: operation.failures_max,
            done: operation.succeeded + operation.failed,
            failed: operation.failed,
            total: operation.total,
        };
        let told = Told::default();
        let mut ticks = 0;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !shutdown.is_triggered() {
            let turned = match pace.next(ticks) {
                Next::Done => self.book.end(*id, State::Done, &told.last()).await.map(|()| None),
                Next::Stop(why) => self.book.end(*id, State::Failed, &why).await.map(|()| None),
                Next::Take(count) => self.batch(operation, *id, count, &told, shutdown.clone()).await,
            };
            match turned {
                Ok(Some((done, failed))) => {
                    pace = Pace { done: pace.done + done, failed: pace.failed + failed, ..pace };
                }
                Ok(None) => return,
                Err(status) => {
                    // Whoever claims it next goes on.
                    warn!(operation = %id, error = &status as &dyn Error, "an operation waits");
                    return;
                }
            }
            ticks += 1;
            tick.tick().await;
        }
    }

    /// Sees to the next items. `None` when the operation was stopped, or the process ends.
    async fn batch(
        &self,
        operation: &pb::Operation,
        id: Uuid,
        count: u32,
        told: &Told,
        shutdown: Shutdown,
    ) -> Result<Turned, Status> {
        let items = if count == 0 { Vec::new() } else { self.book.waiting(id, count).await? };
        let kind = operation.act.as_ref().map_or(pb::act::Kind::Unspecified, pb::Act::kind);
        let became = match self.acts.iter().find(|acts| acts.include(kind)) {
            Some(_) if items.is_empty() => Vec::new(),
            Some(acts) => {
                let work = acts.carry_out(Job { operation, id, progress: told }, &items);
                let Some(became) = self.stay(id, told, work, shutdown).await? else { return Ok(None) };
                became
            }
            None => items.iter().map(|_| Ok(Some("this program does not know the act".to_owned()))).collect(),
        };
        let mut outcomes = Vec::with_capacity(items.len());
        for (item, became) in items.iter().zip(became) {
            match became {
                Ok(failure) => outcomes.push(Outcome { ordinal: item.ordinal, failure }),
                Err(later) => warn!(operation = %id, item = item.item, why = later.0, "an item waits"),
            }
        }
        let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
        let goes_on = self.book.note(id, &outcomes, &told.last(), LEASE).await?;
        if outcomes.is_empty() && !items.is_empty() {
            // Nothing can be done now: it is taken up again when the claim runs out.
            self.book.give_up(id, PATIENCE, "nothing could be done for an hour, see the service's log").await?;
            return Ok(None);
        }
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(goes_on.then_some((number(outcomes.len()), number(failed))))
    }

    /// Stays on the operation while `work` is done. `None` when it was stopped, or the process ends: `work` is cut off
    /// then.
    async fn stay<T>(
        &self,
        id: Uuid,
        told: &Told,
        work: impl Future<Output = T>,
        mut shutdown: Shutdown,
    ) -> Result<Option<T>, Status> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(Some(done)),
                () = shutdown.triggered() => return Ok(tokio::time::timeout(FAREWELL, work).await.ok()),
                () = sleep(STAY_INTERVAL) => {
                    if !self.book.note(id, &[], &told.last(), LEASE).await? {
                        return Ok(None);
                    }
                }
            }
        }
    }
}
