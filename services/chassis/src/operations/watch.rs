//! Watching an operation.

use std::time::Duration;

use farmera_proto::saga::v1 as pb;
use pb::operation::State;
use tonic::Status;
use uuid::Uuid;

use super::book::OperationBook;
use crate::problem;
use crate::shutdown::Shutdown;

/// How often a watched operation is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Somebody watching an operation.
pub(super) struct Watch {
    pub(super) operations: OperationBook,
    pub(super) shutdown: Shutdown,
    pub(super) id: Uuid,
    pub(super) told: Option<pb::Operation>,
    pub(super) over: bool,
}

impl Watch {
    /// What is new, once there is something; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Result<pb::Operation, Status>> {
        while !self.over {
            match self.operations.get(self.id).await {
                Ok(now) if self.told.as_ref() != Some(&now) => {
                    self.over = now.state() != State::Running;
                    self.told = Some(now.clone());
                    return Some(self.operations.stamped(now).await);
                }
                Ok(_) => {}
                Err(status) => {
                    self.over = true;
                    return Some(Err(status));
                }
            }
            tokio::select! {
                () = self.shutdown.triggered() => {
                    self.over = true;
                    return Some(Err(problem::unavailable(self.operations.domain(), "the service is stopping; watch again")));
                }
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
        None
    }
}
