//! Farmera's contracts: what travels between services and clients.
//!
//! Generated from the `.proto` files beside this crate. `<x>::v1` holds the messages and services of one service;
//! messages named in `events.proto` travel over NATS as proto3 JSON (every message implements serde's traits that way),
//! all others over gRPC. `<X>Service` is the edge for clients, `<X>QueryService` is what other services may call.

#![expect(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    reason = "generated code; comments stand in the .proto files"
)]
#![allow(
    clippy::allow_attributes_without_reason,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "generated code"
)]

pub mod events;

/// Shared values.
pub mod common {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/farmera.common.v1.rs"));
        include!(concat!(env!("OUT_DIR"), "/farmera.common.v1.serde.rs"));
    }
}

/// Orders, the orchestrator.
pub mod orders {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/farmera.orders.v1.rs"));
        include!(concat!(env!("OUT_DIR"), "/farmera.orders.v1.serde.rs"));
    }
}

/// Products: catalogue and stock.
pub mod products {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/farmera.products.v1.rs"));
        include!(concat!(env!("OUT_DIR"), "/farmera.products.v1.serde.rs"));
    }
}

/// Payment.
pub mod payment {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/farmera.payment.v1.rs"));
        include!(concat!(env!("OUT_DIR"), "/farmera.payment.v1.serde.rs"));
    }
}

/// Notification.
pub mod notification {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/farmera.notification.v1.rs"));
        include!(concat!(env!("OUT_DIR"), "/farmera.notification.v1.serde.rs"));
    }
}

/// Looking into sagas.
pub mod saga {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/farmera.saga.v1.rs"));
        include!(concat!(env!("OUT_DIR"), "/farmera.saga.v1.serde.rs"));
    }
}

/// The encoded descriptors of every file, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
