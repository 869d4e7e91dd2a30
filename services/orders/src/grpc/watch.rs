//! Watching an order: as it is now, and after every change, until it has ended.
//!
//! The first answer is read from the log, so it is the same at every replica, and no answer is older than one before it.

use std::time::Duration;

use chassis::problem::{self, Problem};
use chassis::shutdown::Shutdown;
use eventstore::Version;
use farmera_proto::orders::v1 as pb;
use futures::{Stream, stream};
use tonic::{Code, Status};
use uuid::Uuid;

use super::Reads;
use crate::live::{Following, Live};
use crate::status::DOMAIN;
use crate::view::View;

/// How often a watcher looks into the log for what another replica may have written.
const REFRESH: Duration = Duration::from_secs(1);

/// What watching needs. Cheap to clone.
#[derive(Clone)]
pub struct Watching {
    /// Where orders are read.
    pub reads: Reads,
    /// What hurries.
    pub live: Live,
    /// Ends every watch.
    pub shutdown: Shutdown,
}

impl Watching {
    /// Watches an order for a client that has seen it at version `seen` (0: never).
    ///
    /// # Errors
    /// NOT_FOUND, UNAVAILABLE, or FAILED_PRECONDITION when the order never had version `seen`.
    pub async fn watch(
        &self,
        order_id: Uuid,
        seen: u64,
    ) -> Result<impl Stream<Item = Result<pb::WatchOrderResponse, Status>> + Send + use<>, Status> {
        // Followed before it is read: no change falls between the two.
        let following = self.live.follow(order_id);
        let view = self.reads.order(order_id).await?;
        if view.version.get() < seen {
            return Err(never_seen(&view, seen));
        }
        following.learn(view);
        let Self { reads, shutdown, .. } = self.clone();
        let watch = Watch { following, reads, shutdown, told: Version::NONE, unread: false, over: false };
        Ok(stream::unfold(watch, |mut watch| async move { Some((watch.next().await?, watch)) }))
    }
}

/// Only a log that was set back has less than what a client saw.
fn never_seen(view: &View, seen: u64) -> Status {
    let known = view.version;
    let message =
        format!("the order is at version {known}, {seen} never was; watch it with the version that an answer gave");
    Problem::new(Code::FailedPrecondition, "VERSION_NEVER_SEEN", message)
        .with("version", known.get())
        .with("seen_version", seen)
        .into_status(DOMAIN)
}

/// One client watching one order.
struct Watch {
    following: Following,
    reads: Reads,
    shutdown: Shutdown,
    /// The version that was told last.
    told: Version,
    /// The log could not be read when it was looked into last.
    unread: bool,
    over: bool,
}

impl Watch {
    async fn next(&mut self) -> Option<Result<pb::WatchOrderResponse, Status>> {
        while !self.over {
            let known = self.following.known();
            let behind = known.is_behind();
            if let Some(view) = known.view.as_ref().filter(|view| view.version > self.told) {
                self.told = view.version;
                self.over = view.placed.stage.is_ended() && !behind;
                return Some(Ok(pb::WatchOrderResponse { order: Some(view.to_proto()) }));
            }
            let pause = if behind && !self.unread { Duration::ZERO } else { REFRESH };
            tokio::select! {
                () = self.following.changed() => {}
                () = self.shutdown.triggered() => {
                    self.over = true;
                    return Some(Err(problem::unavailable(DOMAIN, "the service is stopping; watch again")));
                }
                () = tokio::time::sleep(pause) => self.look(known.view).await,
            }
        }
        None
    }

    /// Looks into the log. One that cannot be read is looked into again after a while.
    async fn look(&mut self, known: Option<View>) {
        let read = self.reads.order_after(self.following.order_id(), known).await;
        self.unread = read.is_err();
        if let Ok(view) = read {
            self.following.learn(view);
        }
    }
}
