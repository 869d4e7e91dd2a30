//! Background tasks: whoever starts one keeps it, and ends it.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::{error, warn};

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

    /// Waits until one task ends, and says which; `None` when a task panicked or none is left.
    pub async fn first_to_end(&mut self) -> Option<&'static str> {
        match self.0.join_next().await? {
            Ok(name) => Some(name),
            Err(failed) => {
                error!(error = &failed as &dyn std::error::Error, "a task failed");
                None
            }
        }
    }
}
