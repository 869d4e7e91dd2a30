//! The way in for messages: parse, submit, and tell again what was told before.

use std::sync::Arc;

use chassis::envelope::{Incoming, seal_repeat};
use chassis::reactor::{NotHandled, React};
use chassis::relay::RelayHandle;
use chassis::service::{submit_not_handled, unusable_not_handled};
use eventstore::worker::{SubmitError, WorkerHandle};
use eventstore::{Actor, Aggregate, Cause, Clock, DeadLetter, DomainEvent, EventStore, Version};
use uuid::Uuid;

use crate::domain::{self, Contradiction, Request, Reservation, ReservationEvent};
use crate::handler::{HandleError, Input, Output, ProductsHandler};
use crate::messages;

/// Who is noted down for what a saga asks for.
const ACTOR: &str = "service:orders";

/// Listens to sagas.
pub struct Consumer {
    /// Who decides.
    pub worker: WorkerHandle<ProductsHandler>,
    /// Who tells the answers.
    pub relay: RelayHandle,
    /// The log.
    pub store: Arc<dyn EventStore>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// More events than any reservation has.
const EVENTS_MAX: usize = 100;

impl Consumer {
    fn repeat(&self, reservation_id: Uuid, event: &ReservationEvent, cause: &Cause) -> Result<(), NotHandled> {
        let outgoing =
            messages::answer(reservation_id, event).map_err(|error| NotHandled::Poison(error.to_string()))?;
        let subject = format!("{}/{reservation_id}", Reservation::CATEGORY);
        self.relay.repeat(seal_repeat(messages::SOURCE, outgoing, &subject, self.clock.now(), cause));
        Ok(())
    }

    /// A contradiction is believed when the log says so, too: the worker may have decided on what it knew before
    /// another replica moved the reservation on.
    async fn contradicted(&self, request: &Request, contradiction: Contradiction) -> Result<(), NotHandled> {
        let streams = [(Reservation::stream(request.reservation_id), Version::NONE)];
        let read = self.store.read_streams(&streams, EVENTS_MAX).await;
        let recorded = read.map_err(|error| NotHandled::Later(error.to_string()))?;
        let mut reservation = Reservation::default();
        for event in &recorded {
            let event = ReservationEvent::from_recorded(event);
            reservation = reservation.evolve(&event.map_err(|error| unusable_not_handled(&error.into()))?);
        }
        match domain::decide(&reservation, request) {
            Err(_) => Err(NotHandled::Poison(contradiction.to_string())),
            Ok(_) => Err(NotHandled::Later("another replica knows more of the reservation".to_owned())),
        }
    }
}

#[async_trait::async_trait]
impl React for Consumer {
    async fn react(&self, message: Incoming) -> Result<(), NotHandled> {
        let request = messages::parse(&message).map_err(|unreadable| NotHandled::Poison(unreadable.to_string()))?;
        let cause = message.cause(ACTOR);
        match self.worker.submit(Input::Reservation(request.clone()), cause.clone()).await {
            Ok(done) => match done.output {
                Output::Repeat(event) => self.repeat(request.reservation_id, &event, &cause),
                Output::Answered | Output::Farm | Output::Product(_) => Ok(()),
            },
            Err(SubmitError::Rejected(HandleError::Contradiction(contradiction))) => {
                self.contradicted(&request, contradiction).await
            }
            Err(error) => submit_not_handled(error).map_or(Ok(()), Err),
        }
    }

    async fn park(&self, letter: DeadLetter) -> Result<(), NotHandled> {
        // A dead letter has no saga of its own: what is noted is that it was parked, and by whom.
        let cause = Cause { correlation: Uuid::nil(), causation: Uuid::nil(), trace: None, actor: Actor::new(ACTOR) };
        let parked: Result<(), SubmitError<HandleError>> = self.worker.park(letter, cause).await;
        parked.or_else(|error| submit_not_handled(error).map_or(Ok(()), Err))
    }
}
