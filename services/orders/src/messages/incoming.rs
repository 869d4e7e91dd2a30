//! Messages of participants as answers. Whether they answer anything is for [`Answer::check`] to say.

use chassis::envelope::Incoming;
use chassis::money::from_proto;
use chassis::reactor::NotHandled;
use eventstore::EventId;
use farmera_proto::common::v1 as common;
use farmera_proto::events::Event;
use farmera_proto::{notification::v1 as notification, payment::v1 as payment, products::v1 as products};
use money::Money;
use saga::Rejection;
use uuid::Uuid;

use crate::handler::{Input, cancel_saga_id};
use crate::sagas::{
    AUTHORIZE_PAYMENT, Answer, CAPTURE_PAYMENT, COMMIT_INVENTORY, NOTIFY, NOTIFY_REFUNDED, Of, REFUND_PAYMENT,
    RESERVE_INVENTORY, RESTOCK_INVENTORY, Said,
};

/// What a message says to the saga that asked.
///
/// # Errors
/// [`NotHandled::Stray`]: nobody here asks for such an answer, or it cannot be read.
pub fn incoming(message: &Incoming) -> Result<Input, NotHandled> {
    let answer = match message.message_type.as_str() {
        products::InventoryReserved::TYPE => {
            let read: products::InventoryReserved = read(message)?;
            reservation(message, RESERVE_INVENTORY, Said::Done, &read.order_id, &read.reservation_id)
        }
        products::InventoryRejected::TYPE => {
            let read: products::InventoryRejected = read(message)?;
            let said = rejected(read.reason, read.message);
            reservation(message, RESERVE_INVENTORY, said, &read.order_id, &read.reservation_id)
        }
        products::InventoryReleased::TYPE => {
            let read: products::InventoryReleased = read(message)?;
            reservation(message, RESERVE_INVENTORY, Said::Undone, &read.order_id, &read.reservation_id)
        }
        products::InventoryCommitted::TYPE => {
            let read: products::InventoryCommitted = read(message)?;
            reservation(message, COMMIT_INVENTORY, Said::Done, &read.order_id, &read.reservation_id)
        }
        products::InventoryRestocked::TYPE => {
            let read: products::InventoryRestocked = read(message)?;
            reservation(message, RESTOCK_INVENTORY, Said::Done, &read.order_id, &read.reservation_id)
        }
        notification::NotificationAccepted::TYPE => notified(message, &read(message)?),
        _ => of_payment(message),
    };
    Ok(Input::Answer { saga_id: message.correlation, answer: answer? })
}

fn of_payment(message: &Incoming) -> Result<Answer, NotHandled> {
    match message.message_type.as_str() {
        payment::PaymentAuthorized::TYPE => {
            let read: payment::PaymentAuthorized = read(message)?;
            paid(message, AUTHORIZE_PAYMENT, &read.order_id, &read.payment_id, read.amount.as_ref())
        }
        payment::PaymentDeclined::TYPE => {
            let read: payment::PaymentDeclined = read(message)?;
            let said = rejected(read.reason, read.message);
            of(message, AUTHORIZE_PAYMENT, said, &read.order_id, unpaid(&read.payment_id)?)
        }
        payment::PaymentVoided::TYPE => {
            let read: payment::PaymentVoided = read(message)?;
            of(message, AUTHORIZE_PAYMENT, Said::Undone, &read.order_id, unpaid(&read.payment_id)?)
        }
        payment::PaymentCaptured::TYPE => {
            let read: payment::PaymentCaptured = read(message)?;
            paid(message, CAPTURE_PAYMENT, &read.order_id, &read.payment_id, read.amount.as_ref())
        }
        payment::PaymentCaptureRejected::TYPE => {
            let read: payment::PaymentCaptureRejected = read(message)?;
            let said = rejected(read.reason, read.message);
            of(message, CAPTURE_PAYMENT, said, &read.order_id, unpaid(&read.payment_id)?)
        }
        payment::PaymentRefunded::TYPE => {
            let read: payment::PaymentRefunded = read(message)?;
            paid(message, REFUND_PAYMENT, &read.order_id, &read.payment_id, read.amount.as_ref())
        }
        payment::PaymentRefundRejected::TYPE => {
            let read: payment::PaymentRefundRejected = read(message)?;
            let said = rejected(read.reason, read.message);
            of(message, REFUND_PAYMENT, said, &read.order_id, unpaid(&read.payment_id)?)
        }
        other => Err(NotHandled::Stray(format!("orders never asked for a {other}"))),
    }
}

fn read<E: Event>(message: &Incoming) -> Result<E, NotHandled> {
    message.read().map_err(|unreadable| NotHandled::Stray(unreadable.to_string()))
}

fn rejected(code: String, message: String) -> Said {
    Said::Rejected(Rejection::new(code, message))
}

fn reservation(
    message: &Incoming,
    step: &'static str,
    said: Said,
    order_id: &str,
    reservation_id: &str,
) -> Result<Answer, NotHandled> {
    let reservation_id = uuid("reservation_id", reservation_id)?;
    of(message, step, said, order_id, Of::Reservation(reservation_id))
}

/// Money was moved: how much has to be said.
fn paid(
    message: &Incoming,
    step: &'static str,
    order_id: &str,
    payment_id: &str,
    amount: Option<&common::Money>,
) -> Result<Answer, NotHandled> {
    let Some(amount): Option<Money> = amount.and_then(from_proto) else {
        return Err(NotHandled::Stray(format!("amount is {amount:?}: expected an amount of a known currency")));
    };
    let payment_id = uuid("payment_id", payment_id)?;
    of(message, step, Said::Done, order_id, Of::Payment(payment_id, Some(amount)))
}

fn unpaid(payment_id: &str) -> Result<Of, NotHandled> {
    Ok(Of::Payment(uuid("payment_id", payment_id)?, None))
}

/// Both sagas tell something; which one asked follows from the order.
fn notified(message: &Incoming, read: &notification::NotificationAccepted) -> Result<Answer, NotHandled> {
    let cancels = cancel_saga_id(uuid("order_id", &read.order_id)?) == message.correlation;
    let step = if cancels { NOTIFY_REFUNDED } else { NOTIFY };
    of(message, step, Said::Done, &read.order_id, Of::Notification)
}

fn of(message: &Incoming, step: &'static str, said: Said, order_id: &str, of: Of) -> Result<Answer, NotHandled> {
    if message.request.is_none() {
        return Err(NotHandled::Stray(
            "it answers nothing that was asked: it names no question (requestid)".to_owned(),
        ));
    }
    let order_id = uuid("order_id", order_id)?;
    Ok(Answer { step, said, question: EventId(message.causation), order_id, of })
}

fn uuid(field: &'static str, text: &str) -> Result<Uuid, NotHandled> {
    let found: String = text.chars().take(64).collect();
    text.parse().map_err(|_| NotHandled::Stray(format!("{field} is {found:?}: expected a UUID")))
}
