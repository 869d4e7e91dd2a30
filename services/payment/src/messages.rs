//! The way in from the orchestrator and the answers to it. Pure functions between contracts and domain; the way itself
//! is at the end.

use std::sync::Arc;

use chassis::envelope::{Incoming, Outgoing, seal_repeat};
use chassis::reactor::{ConsumerSpec, NotHandled, React};
use chassis::relay::RelayHandle;
use eventstore::{Aggregate as _, Cause, Clock, DeadLetter, DecodeError, DomainEvent as _, Recorded};
use farmera_proto::{orders::v1 as orders, payment::v1 as pb};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::domain::{Answer, Event, Payment, Request, Wish};
use crate::settle::{Settled, Settler};

/// Payment as a CloudEvents source.
pub const SOURCE: &str = "/farmera/payment";
/// The stream with payment's messages.
pub const STREAM: &str = "FARMERA_PAYMENT";
/// Who asks.
const ACTOR: &str = "service:orders";

const AUTHORIZE: &str = "farmera.orders.payment_authorization_requested";
const VOID: &str = "farmera.orders.payment_void_requested";
const CAPTURE: &str = "farmera.orders.payment_capture_requested";
const REFUND: &str = "farmera.orders.payment_refund_requested";

/// What payment listens to.
pub const CONSUMER: ConsumerSpec =
    ConsumerSpec { stream: "FARMERA_ORDERS", durable: "payment-orders", subjects: &[AUTHORIZE, VOID, CAPTURE, REFUND] };

/// Why a message makes no sense. It is parked.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is of no kind that payment listens to.
    #[error("nobody here listens to {0}")]
    Subject(String),
    /// Its body is no JSON of the contract's message.
    #[error("the body is not what its subject promises: {0}")]
    Body(#[from] serde_json::Error),
    /// A field makes no sense.
    #[error("{field} is {found:?}: expected {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: &'static str,
    },
}

/// Reads a message: which payment, and what is wanted of it.
///
/// # Errors
/// [`Unreadable`]: it is to be parked.
pub fn read(message: &Incoming) -> Result<(Uuid, Request), Unreadable> {
    let (payment_id, order_id, wish) = match message.subject.as_str() {
        AUTHORIZE => authorization(body(message)?)?,
        VOID => {
            let body: orders::PaymentVoidRequested = body(message)?;
            (body.payment_id, body.order_id, Wish::Void)
        }
        CAPTURE => {
            let body: orders::PaymentCaptureRequested = body(message)?;
            (body.payment_id, body.order_id, Wish::Capture)
        }
        REFUND => {
            let body: orders::PaymentRefundRequested = body(message)?;
            (body.payment_id, body.order_id, Wish::Refund)
        }
        other => return Err(Unreadable::Subject(other.to_owned())),
    };
    let order_id = uuid("order_id", &order_id)?;
    Ok((uuid("payment_id", &payment_id)?, Request { message: message.id, order_id, wish }))
}

fn authorization(body: orders::PaymentAuthorizationRequested) -> Result<(String, String, Wish), Unreadable> {
    let customer_id = uuid("customer_id", &body.customer_id)?;
    let amount = body.amount.as_ref().and_then(chassis::money::from_proto).filter(|amount| amount.minor_units > 0);
    let Some(amount) = amount else {
        let found = format!("{:?}", body.amount);
        return Err(Unreadable::Field { field: "amount", found, expected: "a positive amount of a known currency" });
    };
    if body.payment_token.is_empty() || body.payment_token.len() > 256 {
        let found = format!("{} bytes", body.payment_token.len());
        return Err(Unreadable::Field { field: "payment_token", found, expected: "1 to 256 bytes" });
    }
    Ok((body.payment_id, body.order_id, Wish::Authorize { customer_id, amount, token: body.payment_token }))
}

fn body<T: DeserializeOwned>(message: &Incoming) -> Result<T, serde_json::Error> {
    serde_json::from_slice(&message.body)
}

fn uuid(field: &'static str, text: &str) -> Result<Uuid, Unreadable> {
    match text.parse::<Uuid>() {
        Ok(id) if !id.is_nil() => Ok(id),
        Ok(_) | Err(_) => Err(Unreadable::Field { field, found: text.to_owned(), expected: "a UUID that is not nil" }),
    }
}

/// What others hear of a stored event; nothing of intents.
///
/// # Errors
/// The event is of a newer program.
pub fn translate(recorded: &Recorded) -> Result<Option<Outgoing>, DecodeError> {
    if Event::is_intent(&recorded.type_name) {
        Event::check(recorded)?;
        return Ok(None);
    }
    let told = Answer::of(Event::from_recorded(recorded)?);
    Ok(told.map(|(order_id, answer)| tell(answer, recorded.cause.correlation, order_id, recorded.stream.id)))
}

/// The message that tells `answer`.
#[must_use]
pub fn tell(answer: Answer, saga_id: Uuid, order_id: Uuid, payment_id: Uuid) -> Outgoing {
    let (saga_id, order_id, payment_id) = (saga_id.to_string(), order_id.to_string(), payment_id.to_string());
    match answer {
        Answer::Authorized(amount) => {
            let amount = Some(chassis::money::to_proto(amount));
            let body = pb::PaymentAuthorized { saga_id, order_id, payment_id, amount };
            outgoing("farmera.payment.payment_authorized", "farmera.payment.v1.PaymentAuthorized", &body)
        }
        Answer::Declined(refusal) => {
            let (reason, message) = (refusal.reason, refusal.message);
            let body = pb::PaymentDeclined { saga_id, order_id, payment_id, reason, message };
            outgoing("farmera.payment.payment_declined", "farmera.payment.v1.PaymentDeclined", &body)
        }
        Answer::Voided => {
            let body = pb::PaymentVoided { saga_id, order_id, payment_id };
            outgoing("farmera.payment.payment_voided", "farmera.payment.v1.PaymentVoided", &body)
        }
        Answer::Captured(amount) => {
            let amount = Some(chassis::money::to_proto(amount));
            let body = pb::PaymentCaptured { saga_id, order_id, payment_id, amount };
            outgoing("farmera.payment.payment_captured", "farmera.payment.v1.PaymentCaptured", &body)
        }
        Answer::CaptureRejected(refusal) => {
            let (reason, message) = (refusal.reason, refusal.message);
            let body = pb::PaymentCaptureRejected { saga_id, order_id, payment_id, reason, message };
            outgoing("farmera.payment.payment_capture_rejected", "farmera.payment.v1.PaymentCaptureRejected", &body)
        }
        Answer::Refunded(amount) => {
            let amount = Some(chassis::money::to_proto(amount));
            let body = pb::PaymentRefunded { saga_id, order_id, payment_id, amount };
            outgoing("farmera.payment.payment_refunded", "farmera.payment.v1.PaymentRefunded", &body)
        }
        Answer::RefundRejected(refusal) => {
            let (reason, message) = (refusal.reason, refusal.message);
            let body = pb::PaymentRefundRejected { saga_id, order_id, payment_id, reason, message };
            outgoing("farmera.payment.payment_refund_rejected", "farmera.payment.v1.PaymentRefundRejected", &body)
        }
    }
}

fn outgoing(subject: &'static str, message_type: &'static str, body: &impl Serialize) -> Outgoing {
    // Strings and integers only: there is nothing in it that JSON cannot say.
    Outgoing { subject, message_type, body: serde_json::to_vec(body).unwrap_or_default() }
}

/// The way in for messages of the orchestrator.
pub struct Orders {
    settler: Arc<Settler>,
    relay: RelayHandle,
    clock: Arc<dyn Clock>,
}

impl Orders {
    /// Answers through `relay` what `settler` finds.
    #[must_use]
    pub fn new(settler: Arc<Settler>, relay: RelayHandle, clock: Arc<dyn Clock>) -> Self {
        Self { settler, relay, clock }
    }

    fn repeat(&self, answer: Answer, payment_id: Uuid, order_id: Uuid, cause: &Cause) {
        let outgoing = tell(answer, cause.correlation, order_id, payment_id);
        let subject = format!("{}/{payment_id}", Payment::CATEGORY);
        self.relay.repeat(seal_repeat(SOURCE, outgoing, &subject, self.clock.now(), cause));
    }
}

#[async_trait::async_trait]
impl React for Orders {
    async fn react(&self, message: Incoming) -> Result<(), NotHandled> {
        let (payment_id, request) = read(&message).map_err(|unreadable| NotHandled::Poison(unreadable.to_string()))?;
        let cause = message.cause(ACTOR);
        match self.settler.settle(payment_id, &request, &cause).await? {
            Settled::Told => {}
            Settled::Repeat(answer) => self.repeat(answer, payment_id, request.order_id, &cause),
        }
        Ok(())
    }

    async fn park(&self, letter: DeadLetter) -> Result<(), NotHandled> {
        let cause = parking(&letter);
        let parked = self.settler.worker().park(letter.into_storable(), cause).await;
        parked.or_else(|failed| chassis::service::submit_not_handled(failed).map_or(Ok(()), Err))
    }
}

/// Nothing is recorded on behalf of a parked message; its cause only travels along.
fn parking(letter: &DeadLetter) -> Cause {
    let message = letter.message.parse().unwrap_or_default();
    Cause { correlation: message, causation: message, trace: None, actor: eventstore::Actor::new(ACTOR) }
}
