//! Between orders and JetStream: answers of participants in ([`incoming`]), requests and news out. Pure.

mod incoming;

pub use self::incoming::incoming;

use chassis::envelope::Outgoing;
use chassis::money::to_proto;
use chassis::reactor::ConsumerSpec;
use chassis::relay::RelaySpec;
use eventstore::{Aggregate, DecodeError, DomainEvent as _, Recorded};
use farmera_proto::events::Event as _;
use farmera_proto::notification::v1 as notification;
use farmera_proto::orders::v1 as pb;
use farmera_proto::payment::v1 as payment;
use farmera_proto::products::v1 as products;
use saga::{Saga, SagaEvent};

use crate::domain::{Failure, Line, Order, OrderEvent};
use crate::sagas::{Item, NotifiedLine, OrderProcess, Request, Telling};

/// Whose answers orders listens to.
pub const CONSUMERS: [ConsumerSpec; 3] = [
    ConsumerSpec {
        stream: "FARMERA_PRODUCTS",
        durable: "orders-products",
        subjects: &[
            products::InventoryReserved::SUBJECT,
            products::InventoryRejected::SUBJECT,
            products::InventoryReleased::SUBJECT,
            products::InventoryCommitted::SUBJECT,
            products::InventoryRestocked::SUBJECT,
        ],
    },
    ConsumerSpec {
        stream: "FARMERA_PAYMENT",
        durable: "orders-payment",
        subjects: &[
            payment::PaymentAuthorized::SUBJECT,
            payment::PaymentDeclined::SUBJECT,
            payment::PaymentVoided::SUBJECT,
            payment::PaymentCaptured::SUBJECT,
            payment::PaymentCaptureRejected::SUBJECT,
            payment::PaymentRefunded::SUBJECT,
            payment::PaymentRefundRejected::SUBJECT,
        ],
    },
    ConsumerSpec {
        stream: "FARMERA_NOTIFICATION",
        durable: "orders-notification",
        subjects: &[notification::NotificationAccepted::SUBJECT],
    },
];

/// What orders tells the world.
pub const RELAY: RelaySpec = RelaySpec {
    source: "/farmera/orders",
    stream: "FARMERA_ORDERS",
    categories: &[Order::CATEGORY, Saga::<OrderProcess>::CATEGORY],
    translate: outgoing,
};

/// What others hear of a stored event.
///
/// # Errors
/// [`DecodeError`]: it is of a newer program.
pub fn outgoing(event: &Recorded) -> Result<Option<Outgoing>, DecodeError> {
    if event.stream.category == Order::CATEGORY {
        return Ok(news(event.stream.id, OrderEvent::from_recorded(event)?));
    }
    if event.type_name != "StepRequested" && event.type_name != "CompensationRequested" {
        SagaEvent::<OrderProcess>::check(event)?;
        return Ok(None);
    }
    let saga_id = event.stream.id.to_string();
    match SagaEvent::<OrderProcess>::from_recorded(event)? {
        SagaEvent::StepRequested { request, .. } | SagaEvent::CompensationRequested { request, .. } => {
            Ok(Some(asked(saga_id, &request)))
        }
        SagaEvent::Started { .. }
        | SagaEvent::StepAwaited { .. }
        | SagaEvent::StepSkipped { .. }
        | SagaEvent::StepRetried { .. }
        | SagaEvent::Paused { .. }
        | SagaEvent::Unpaused { .. }
        | SagaEvent::ChildRequested { .. }
        | SagaEvent::ChildUndoRequested { .. }
        | SagaEvent::StepHeld { .. }
        | SagaEvent::StepReleased { .. }
        | SagaEvent::TimersShifted { .. }
        | SagaEvent::TimersFrozen { .. }
        | SagaEvent::TimersThawed { .. }
        | SagaEvent::TimerCancelled { .. }
        | SagaEvent::Migrated { .. }
        | SagaEvent::StepSucceeded { .. }
        | SagaEvent::StepRejected { .. }
        | SagaEvent::StepUnknown { .. }
        | SagaEvent::CompensationStarted { .. }
        | SagaEvent::CompensationSucceeded { .. }
        | SagaEvent::CompensationFailed { .. }
        | SagaEvent::CancelRequested { .. }
        | SagaEvent::Parked { .. }
        | SagaEvent::Resumed { .. }
        | SagaEvent::Abandoned { .. }
        | SagaEvent::Completed
        | SagaEvent::Compensated { .. } => Ok(None),
    }
}

fn asked(saga_id: String, request: &Request) -> Outgoing {
    match request {
        Request::ReserveInventory { order_id, reservation_id, items } => {
            let (order_id, reservation_id) = (order_id.to_string(), reservation_id.to_string());
            let items = items.iter().map(item).collect();
            Outgoing::of(&pb::InventoryReservationRequested { saga_id, order_id, reservation_id, items })
        }
        Request::ReleaseInventory { order_id, reservation_id } => {
            let (order_id, reservation_id) = (order_id.to_string(), reservation_id.to_string());
            Outgoing::of(&pb::InventoryReleaseRequested { saga_id, order_id, reservation_id })
        }
        Request::CommitInventory { order_id, reservation_id } => {
            let (order_id, reservation_id) = (order_id.to_string(), reservation_id.to_string());
            Outgoing::of(&pb::InventoryCommitRequested { saga_id, order_id, reservation_id })
        }
        Request::RestockInventory { order_id, reservation_id } => {
            let (order_id, reservation_id) = (order_id.to_string(), reservation_id.to_string());
            Outgoing::of(&pb::InventoryRestockRequested { saga_id, order_id, reservation_id })
        }
        Request::AuthorizePayment { order_id, payment_id, customer_id, amount, payment_token } => {
            Outgoing::of(&pb::PaymentAuthorizationRequested {
                saga_id,
                order_id: order_id.to_string(),
                payment_id: payment_id.to_string(),
                customer_id: customer_id.to_string(),
                amount: Some(to_proto(*amount)),
                payment_token: payment_token.clone(),
            })
        }
        Request::VoidPayment { order_id, payment_id } => {
            let (order_id, payment_id) = (order_id.to_string(), payment_id.to_string());
            Outgoing::of(&pb::PaymentVoidRequested { saga_id, order_id, payment_id })
        }
        Request::CapturePayment { order_id, payment_id } => {
            let (order_id, payment_id) = (order_id.to_string(), payment_id.to_string());
            Outgoing::of(&pb::PaymentCaptureRequested { saga_id, order_id, payment_id })
        }
        Request::RefundPayment { order_id, payment_id } => {
            let (order_id, payment_id) = (order_id.to_string(), payment_id.to_string());
            Outgoing::of(&pb::PaymentRefundRequested { saga_id, order_id, payment_id })
        }
        Request::Notify { order_id, telling, customer_id, email, lines, total } => {
            Outgoing::of(&pb::NotificationRequested {
                saga_id,
                order_id: order_id.to_string(),
                kind: kind(*telling).into(),
                customer_id: customer_id.to_string(),
                email: email.clone(),
                lines: lines.iter().map(notified_line).collect(),
                total: Some(to_proto(*total)),
            })
        }
    }
}

fn item(item: &Item) -> pb::inventory_reservation_requested::Item {
    let (product_id, quantity) = (item.product_id.to_string(), item.quantity);
    pb::inventory_reservation_requested::Item { product_id, quantity }
}

fn kind(telling: Telling) -> pb::notification_requested::Kind {
    match telling {
        Telling::Completed => pb::notification_requested::Kind::OrderCompleted,
        Telling::Refunded => pb::notification_requested::Kind::OrderRefunded,
    }
}

/// News of the order for whoever wants to hear them. `None` for what is nobody's business.
fn news(order_id: uuid::Uuid, event: OrderEvent) -> Option<Outgoing> {
    let order_id = order_id.to_string();
    Some(match event {
        OrderEvent::OrderPlaced { facts, .. } => Outgoing::of(&pb::OrderPlaced {
            order_id,
            customer_id: facts.customer_id.to_string(),
            lines: facts.lines.iter().map(line).collect(),
            total: Some(to_proto(facts.total)),
        }),
        OrderEvent::OrderCompleted => Outgoing::of(&pb::OrderCompleted { order_id }),
        // How far an order has come is for whoever watches it; news is how it begins and how it ends.
        OrderEvent::ProductsReserved | OrderEvent::OrderConfirmed | OrderEvent::CancellationStarted { .. } => {
            return None;
        }
        OrderEvent::OrderFailed { failure, customer_id, email } => {
            let (failure, customer_id) = (Some(reason(failure)), customer_id.to_string());
            Outgoing::of(&pb::OrderFailed { order_id, failure, customer_id, email })
        }
        OrderEvent::OrderCancelled { failure, after_completion, customer_id, email } => {
            let (failure, customer_id) = (Some(reason(failure)), customer_id.to_string());
            Outgoing::of(&pb::OrderCancelled { order_id, failure, customer_id, email, after_completion })
        }
    })
}

/// A line in the contract's form.
#[must_use]
pub fn line(line: &Line) -> pb::Line {
    pb::Line {
        product_id: line.product_id.to_string(),
        quantity: line.quantity,
        unit_price: Some(to_proto(line.unit_price)),
        product_name: line.name.clone(),
    }
}

/// A failure in the contract's form.
#[must_use]
pub fn reason(failure: Failure) -> pb::Failure {
    pb::Failure { reason: failure.reason, message: failure.message }
}

fn notified_line(line: &NotifiedLine) -> pb::notification_requested::NotifiedLine {
    pb::notification_requested::NotifiedLine {
        product_name: line.product_name.clone(),
        quantity: line.quantity,
        farm_id: line.farm_id.to_string(),
        farm_name: line.farm_name.clone(),
        farm_email: line.farm_email.clone(),
    }
}
