//! The way in for messages.

use std::sync::Arc;

use chassis::envelope::{Incoming, seal_repeat};
use chassis::reactor::{NotHandled, React};
use chassis::relay::RelayHandle;
use chassis::service::submit_not_handled;
use eventstore::worker::{SubmitError, WorkerHandle};
use eventstore::{Actor, Cause, Clock, DeadLetter};
use uuid::Uuid;

use crate::handler::{HandleError, Input, NotificationHandler, Output};
use crate::messages::{self, SOURCE};

/// Hands messages to the worker.
pub struct Reactor {
    /// Who decides.
    pub worker: WorkerHandle<NotificationHandler>,
    /// Who repeats an answer.
    pub relay: RelayHandle,
    /// When.
    pub clock: Arc<dyn Clock>,
}

#[async_trait::async_trait]
impl React for Reactor {
    async fn react(&self, message: Incoming) -> Result<(), NotHandled> {
        let news = messages::news(&message).map_err(|failed| NotHandled::Poison(failed.to_string()))?;
        let Some((id, news)) = news else { return Ok(()) };
        let (news, cause) = (Arc::new(news), message.cause(messages::actor(&message)));
        let input = Input::Accept { id, news: Arc::clone(&news) };
        match self.worker.submit(input, cause.clone()).await {
            Ok(done) if done.output == Output::Known => {
                if let Some(answer) = messages::answer(id, &news) {
                    let subject = format!("notification/{id}");
                    self.relay.repeat(seal_repeat(SOURCE, answer, &subject, self.clock.now(), &cause));
                }
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(failed) => not_handled(failed),
        }
    }

    async fn park(&self, letter: DeadLetter) -> Result<(), NotHandled> {
        let cause = Cause {
            correlation: Uuid::nil(),
            causation: Uuid::nil(),
            trace: None,
            actor: Actor::new("service:notification"),
        };
        self.worker.park(letter, cause).await.or_else(not_handled)
    }
}

fn not_handled(failed: SubmitError<HandleError>) -> Result<(), NotHandled> {
    submit_not_handled(failed).map_or(Ok(()), Err)
}
