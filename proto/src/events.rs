//! The messages that travel over NATS, with their names and subjects: one table for all services.

use serde::Serialize;
use serde::de::DeserializeOwned;

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
        OrderProductsReserved "order_products_reserved"
        OrderConfirmed "order_confirmed"
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

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::ALL;

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
