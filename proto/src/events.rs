//! The messages that travel over NATS, with their names and subjects: one table for all services.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::notification::v1 as notification;
use crate::orders::v1 as orders;
use crate::payment::v1 as payment;
use crate::products::v1 as products;

/// A message of some service's `events.proto`.
pub trait Event: Serialize + DeserializeOwned {
    /// Its full proto name, the CloudEvents type: `farmera.orders.v1.OrderPlaced`.
    const TYPE: &'static str;
    /// Where it is published: `farmera.orders.order_placed`.
    const SUBJECT: &'static str;
}

macro_rules! events {
    ($($service:ident { $($message:ident $subject:literal)* })*) => {
        $($(
            impl Event for crate::$service::v1::$message {
                const TYPE: &'static str = concat!("farmera.", stringify!($service), ".v1.", stringify!($message));
                const SUBJECT: &'static str = concat!("farmera.", stringify!($service), ".", $subject);
            }
        )*)*

        /// Type and subject of every event, by service.
        pub const ALL: &[(&str, &str)] = &[$($(
            (crate::$service::v1::$message::TYPE, crate::$service::v1::$message::SUBJECT),
        )*)*];
    };
}

events! {
    orders {
        InventoryReservationRequested "inventory_reservation_requested"
        InventoryReleaseRequested "inventory_release_requested"
        InventoryCommitRequested "inventory_commit_requested"
        InventoryRestockRequested "inventory_restock_requested"
        PaymentAuthorizationRequested "payment_authorization_requested"
        PaymentVoidRequested "payment_void_requested"
        PaymentCaptureRequested "payment_capture_requested"
        PaymentRefundRequested "payment_refund_requested"
        NotificationRequested "notification_requested"
        OrderPlaced "order_placed"
        OrderCompleted "order_completed"
        OrderFailed "order_failed"
        OrderCancelled "order_cancelled"
    }
    products {
        InventoryReserved "inventory_reserved"
        InventoryRejected "inventory_rejected"
        InventoryReleased "inventory_released"
        InventoryCommitted "inventory_committed"
        InventoryRestocked "inventory_restocked"
        StockLow "stock_low"
    }
    payment {
        PaymentAuthorized "payment_authorized"
        PaymentDeclined "payment_declined"
        PaymentVoided "payment_voided"
        PaymentCaptured "payment_captured"
        PaymentCaptureRejected "payment_capture_rejected"
        PaymentRefunded "payment_refunded"
        PaymentRefundRejected "payment_refund_rejected"
    }
    notification {
        NotificationAccepted "notification_accepted"
        NotificationDelivered "notification_delivered"
    }
}

/// What sagas ask of participants, and the answers to it. No saga asks the same thing for two of its steps.
pub const QUESTIONS: &[(&str, &[&str])] = &[
    (
        orders::InventoryReservationRequested::TYPE,
        &[products::InventoryReserved::TYPE, products::InventoryRejected::TYPE],
    ),
    (orders::InventoryReleaseRequested::TYPE, &[products::InventoryReleased::TYPE]),
    (orders::InventoryCommitRequested::TYPE, &[products::InventoryCommitted::TYPE]),
    (orders::InventoryRestockRequested::TYPE, &[products::InventoryRestocked::TYPE]),
    (orders::PaymentAuthorizationRequested::TYPE, &[payment::PaymentAuthorized::TYPE, payment::PaymentDeclined::TYPE]),
    (orders::PaymentVoidRequested::TYPE, &[payment::PaymentVoided::TYPE]),
    (orders::PaymentCaptureRequested::TYPE, &[payment::PaymentCaptured::TYPE, payment::PaymentCaptureRejected::TYPE]),
    (orders::PaymentRefundRequested::TYPE, &[payment::PaymentRefunded::TYPE, payment::PaymentRefundRejected::TYPE]),
    (orders::NotificationRequested::TYPE, &[notification::NotificationAccepted::TYPE]),
];

/// The type of the question that a message of this type asks or answers; `None` for news.
#[must_use]
pub fn question(message_type: &str) -> Option<&'static str> {
    let asks_or_answers =
        |(question, answers): &&(&str, &[&str])| *question == message_type || answers.contains(&message_type);
    QUESTIONS.iter().find(asks_or_answers).map(|(question, _)| *question)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::{ALL, QUESTIONS, question};

    #[test]
    fn whatever_is_requested_is_a_question_and_an_answer_is_to_one_question_only() {
        for (message_type, _) in ALL {
            assert_eq!(
                message_type.ends_with("Requested"),
                question(message_type) == Some(*message_type),
                "{message_type}"
            );
        }
        let mut answers: Vec<&str> = QUESTIONS.iter().flat_map(|(_, answers)| answers.iter().copied()).collect();
        let count = answers.len();
        answers.sort_unstable();
        answers.dedup();
        assert_eq!(answers.len(), count);
        assert!(answers.iter().all(|answer| ALL.iter().any(|(known, _)| known == answer)));
    }

    /// `OrderPlaced` is published as `order_placed`.
    fn snake(name: &str) -> String {
        let mut snake = String::new();
        for letter in name.chars() {
            if letter.is_uppercase() && !snake.is_empty() {
                snake.push('_');
            }
            snake.extend(letter.to_lowercase());
        }
        snake
    }

    #[test]
    fn every_message_of_every_events_proto_is_in_the_table_under_its_own_name() {
        let files = descriptors::FileDescriptorSet::decode(crate::DESCRIPTORS).unwrap().file;
        let events = files.iter().filter(|file| file.name.ends_with("/events.proto"));
        let mut declared: Vec<(String, String)> = events
            .flat_map(|file| file.message_type.iter().map(|message| (file.package.clone(), message.name.clone())))
            .map(|(package, name)| {
                let service = package.trim_end_matches(".v1").to_owned();
                (format!("{package}.{name}"), format!("{service}.{}", snake(&name)))
            })
            .collect();
        let mut known: Vec<(String, String)> = ALL.iter().map(|(t, s)| ((*t).to_owned(), (*s).to_owned())).collect();
        declared.sort();
        known.sort();
        assert_eq!(declared, known);
    }

    /// The three fields of a descriptor that the test looks at.
    mod descriptors {
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct FileDescriptorSet {
            #[prost(message, repeated, tag = "1")]
            pub file: Vec<File>,
        }

        #[derive(Clone, PartialEq, prost::Message)]
        pub struct File {
            #[prost(string, tag = "1")]
            pub name: String,
            #[prost(string, tag = "2")]
            pub package: String,
            #[prost(message, repeated, tag = "4")]
            pub message_type: Vec<Named>,
        }

        #[derive(Clone, PartialEq, prost::Message)]
        pub struct Named {
            #[prost(string, tag = "1")]
            pub name: String,
        }
    }
}
