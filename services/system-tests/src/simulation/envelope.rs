//! Between the world's messages and the services' own: what production puts into headers.

use chassis::envelope::{Incoming, Outgoing, request_id};
use eventstore::{Cause, Recorded, derived_id};
use saga_simulator::Message;

/// A message as a service opens it.
#[must_use]
pub fn open(message: &Message) -> Incoming {
    Incoming {
        subject: message.subject.to_owned(),
        message_type: message.message_type.to_owned(),
        id: message.id,
        correlation: message.correlation,
        causation: message.causation,
        trace: None,
        request: request_id(message.correlation, message.message_type),
        source: String::new(),
        body: message.body.clone(),
    }
}

/// What a service tells of an event.
#[must_use]
pub fn seal(outgoing: Outgoing, event: &Recorded) -> Message {
    message(outgoing, event.id.0, &event.cause)
}

/// An answer that is given once more: under another name than the first time, and the same for the same question.
#[must_use]
pub fn seal_repeat(outgoing: Outgoing, cause: &Cause) -> Message {
    let id = derived_id(cause.causation, outgoing.message_type);
    message(outgoing, id, cause)
}

fn message(outgoing: Outgoing, id: uuid::Uuid, cause: &Cause) -> Message {
    Message {
        id,
        subject: outgoing.subject,
        message_type: outgoing.message_type,
        correlation: cause.correlation,
        causation: cause.causation,
        body: outgoing.body.into(),
    }
}
