//! Background tasks: whoever starts one keeps it, and ends it.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::{error, warn};

use crate::shutdown::Shutdown;

/// The tasks of one service. Dropping it aborts them.
#[derive(Debug, Default)]
pub struct Tasks(JoinSet<&'static str>);

impl Tasks {
    /// No tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task under a name that logs can show.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(async move {
            task.await;
            name
        });
    }

    /// Waits until every task has ended, at most `limit`; then aborts what is left. True when all ended by themselves.
    pub async fn finish(mut self, limit: Duration) -> bool {
        let all = async {
            while let Some(ended) = self.0.join_next().await {
                if let Err(failed) = ended {
                    error!(error = &failed as &dyn std::error::Error, "a task failed");
                }
            }
        };
        let in_time = tokio::time::timeout(limit, all).await.is_ok();
        if !in_time {
            warn!(left = self.0.len(), "tasks did not end in time and are aborted");
            self.0.shutdown().await;
        }
        in_time
    }

    /// Waits until `shutdown`, or until a task ends without it, and says which.
    pub async fn ends_early(&mut self, shutdown: &mut Shutdown) -> Option<&'static str> {
        tokio::select! {
            () = shutdown.triggered() => None,
            ended = self.first_to_end() => {
                // What ended because of the shutdown may be seen before the shutdown is.
                (!shutdown.is_triggered()).then(|| ended.unwrap_or("a panicked one"))
            }
        }
    }

    async fn first_to_end(&mut self) -> Option<&'static str> {
        match self.0.join_next().await? {
            Ok(name) => Some(name),
            Err(failed) => {
                error!(error = &failed as &dyn std::error::Error, "a task failed");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn what_ends_because_of_the_shutdown_did_not_end_early() {
        // Which of the two is looked at first is chance.
        for _ in 0..64 {
            let (trigger, mut shutdown) = Shutdown::new();
            let mut tasks = Tasks::new();
            tasks.spawn("obedient", async move { trigger.trigger() });
            tokio::task::yield_now().await;
            assert_eq!(tasks.ends_early(&mut shutdown).await, None);
        }
    }

    #[tokio::test]
    async fn whoever_ends_without_being_told_is_named() {
        let (_trigger, mut shutdown) = Shutdown::new();
        let mut tasks = Tasks::new();
        tasks.spawn("steady", pending());
        tasks.spawn("early", async {});
        assert_eq!(tasks.ends_early(&mut shutdown).await, Some("early"));
    }
}
