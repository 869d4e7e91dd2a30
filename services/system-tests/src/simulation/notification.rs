//! Notification in the world. Its letters always arrive: who is told what is not what this world is about.

use std::rc::Rc;
use std::sync::Arc;

use eventstore::worker::SubmitError;
use eventstore::{Aggregate, Category, Cause, DecodeError, Recorded, StreamId};
use notification::domain::{LetterResult, Notification as Aggregated, Outcome};
use notification::handler::{Input, NotificationHandler, Output};
use notification::messages;
use saga_simulator::{ErrorOf, Follow, Message, Origin, OutputOf, Service, Task, Wish};

use super::envelope;

/// More recipients than any order has.
const RECIPIENTS: u16 = 8;

/// Notification.
pub struct Notification {
    /// The rules.
    pub rules: Rc<NotificationHandler>,
}

impl Service for Notification {
    type Rules = NotificationHandler;
    type Call = ();
    type Answer = ();

    fn name(&self) -> &'static str {
        "notification"
    }

    fn rules(&self) -> Rc<NotificationHandler> {
        Rc::clone(&self.rules)
    }

    fn hears(&self) -> Vec<&'static str> {
        vec![messages::REQUESTED, messages::ORDER_FAILED, messages::ORDER_CANCELLED, messages::STOCK_LOW]
    }

    fn incoming(&self, message: &Message) -> Result<Option<Wish<Self>>, String> {
        let incoming = envelope::open(message);
        let news = messages::news(&incoming).map_err(|error| error.to_string())?;
        let actor = messages::actor(&incoming);
        Ok(news.map(|(id, news)| {
            let input = Input::Accept { id, news: Arc::new(news) };
            Wish { input, cause: incoming.cause(actor) }
        }))
    }

    fn outgoing(&self, event: &Recorded) -> Result<Option<Message>, DecodeError> {
        Ok(messages::translate(event)?.map(|outgoing| envelope::seal(outgoing, event)))
    }

    fn told(&self) -> &[Category] {
        messages::CATEGORIES
    }

    fn woken(&self) -> &[Category] {
        const { &[Aggregated::CATEGORY] }
    }

    fn wake(&self, stream: StreamId, last: Option<&Recorded>) -> Option<Wish<Self>> {
        let cause: Cause = last?.cause.clone();
        let told = |recipient| LetterResult { recipient, outcome: Outcome::Told };
        let results = (0..RECIPIENTS).map(told).collect();
        Some(Wish { input: Input::NoteTry { id: stream.id, results }, cause })
    }

    fn looked_after(&self) -> &[Category] {
        &[]
    }

    fn is_over(&self, _: &Recorded) -> bool {
        true
    }

    fn command(&self, _: u64) -> Option<Wish<Self>> {
        None
    }

    fn follow(&mut self, task: &Task<Self>, met: Result<&OutputOf<Self>, &SubmitError<ErrorOf<Self>>>) -> Follow<Self> {
        match (met, &task.origin, &*task.input) {
            (Ok(Output::Known), Origin::Message(_), Input::Accept { id, news }) => match messages::answer(*id, news) {
                Some(outgoing) => Follow::Say(envelope::seal_repeat(outgoing, &task.cause)),
                None => Follow::Done,
            },
            (Ok(_), _, _) => Follow::Done,
            (Err(SubmitError::Rejected(reason)), _, _) => Follow::Park(reason.to_string()),
            (Err(SubmitError::Parked(need)), _, _) => Follow::Park(need.to_string()),
            (Err(SubmitError::Unstorable(reason)), _, _) => Follow::Park(reason.clone()),
            (Err(SubmitError::Duplicate), _, _) => Follow::Done,
            (Err(SubmitError::Unavailable(_) | SubmitError::Stopping), _, _) => Follow::Later,
        }
    }

    fn call(&mut self, (): &()) {}

    fn answered(&mut self, _: &Task<Self>, (): &(), _: Option<&()>) -> Follow<Self> {
        Follow::Done
    }
}
