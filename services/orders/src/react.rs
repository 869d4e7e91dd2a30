//! The ways in that nobody waits at: participants' answers and time.

use std::sync::Arc;

use chassis::envelope::Incoming;
use chassis::reactor::{NotHandled, React};
use chassis::service::submit_not_handled;
use eventstore::worker::{SubmitError, WorkerHandle};
use eventstore::{Actor, Cause, DeadLetter, IdSource};
use saga::hold::{HoldInput, HoldTarget};
use saga::{Holds, Input as SagaInput, Refusal};
use saga_runtime::{HoldKeeper, SagaWaker, Sending, WakeError, Way};
use uuid::Uuid;

use crate::handler::{HandleError, Input, OrdersHandler};
use crate::messages;
use crate::sagas::OrderProcess;

const ACTOR: &str = "service:orders";

/// Hands participants' answers to the worker.
pub struct Answers(pub WorkerHandle<OrdersHandler>);

#[async_trait::async_trait]
impl React for Answers {
    async fn react(&self, message: Incoming) -> Result<(), NotHandled> {
        let input = messages::incoming(&message)?;
        match self.0.submit(input, message.cause(ACTOR)).await {
            Ok(_) => Ok(()),
            // A definition this program does not have: a newer program will.
            Err(SubmitError::Rejected(HandleError::Undecidable(reason))) => Err(NotHandled::Later(reason)),
            Err(SubmitError::Rejected(HandleError::Unasked(reason))) => Err(NotHandled::Stray(reason.to_string())),
            Err(error) => submit_not_handled(error).map_or(Ok(()), Err),
        }
    }

    async fn park(&self, letter: DeadLetter) -> Result<(), NotHandled> {
        let cause = Cause { correlation: Uuid::nil(), causation: Uuid::nil(), trace: None, actor: Actor::new(ACTOR) };
        self.0.park(letter, cause).await.map_err(|error| NotHandled::Later(error.to_string()))
    }
}

/// Hands wake-ups to the worker.
pub struct Waker {
    /// Where they go.
    pub worker: WorkerHandle<OrdersHandler>,
    /// A wake-up is nobody's message: it gets an id of its own.
    pub ids: Arc<dyn IdSource>,
    /// Whether what they asked has left.
    pub sending: Sending<OrderProcess>,
}

impl Waker {
    async fn submit(&self, input: Input, correlation: Uuid, actor: &str) -> Result<(), WakeError> {
        let causation = self.ids.next_id();
        let cause = Cause { correlation, causation, trace: None, actor: Actor::new(actor) };
        match self.worker.submit(input, cause).await {
            Ok(_) => Ok(()),
            Err(error) => Err(not_woken(error)),
        }
    }
}

/// Nobody parks what time brings: a defect has to be said here.
fn not_woken(error: SubmitError<HandleError>) -> WakeError {
    if let SubmitError::Rejected(contradiction @ HandleError::Contradiction { .. }) = &error {
        tracing::error!("{contradiction}");
    }
    error.to_string().into()
}

impl HoldKeeper for Waker {
    async fn hold(&self, input: HoldInput) -> Result<(), WakeError> {
        self.submit(Input::Hold { input }, Holds::ID, "hold:orders").await
    }

    async fn release(&self, saga_id: Uuid, hold: HoldTarget) -> Result<(), WakeError> {
        let input = SagaInput::Release { hold };
        self.submit(Input::Saga { saga_id, input }, saga_id, "hold:orders").await
    }
}

impl SagaWaker for Waker {
    async fn wake(&self, saga_id: Uuid) -> Result<(), WakeError> {
        let causation = self.ids.next_id();
        let cause = Cause { correlation: saga_id, causation, trace: None, actor: Actor::new("timer:orders") };
        let input = match self.sending.of(saga_id).await? {
            Way::Sent => Input::Wake { saga_id },
            Way::Unsent => Input::PutOff { saga_id },
            Way::JustSent => Input::BeginPatience { saga_id },
        };
        match self.worker.submit(input, cause).await {
            // A timer without a saga: there is nothing to wake, and nothing to write it away with.
            Ok(_) | Err(SubmitError::Rejected(HandleError::Refused(Refusal::NotStarted))) => Ok(()),
            Err(error) => Err(not_woken(error)),
        }
    }
}
