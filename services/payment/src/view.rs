//! How a payment looks to others: the contract's form of state and events. Pure.

use chrono::{DateTime, Utc};
use eventstore::{Aggregate as _, DecodeError, DomainEvent as _, Recorded};
use farmera_proto::payment::v1 as pb;

use crate::domain::{Event, Payment};
use crate::provider::Charge;

/// A payment from its whole stream; `None` for an empty one.
///
/// # Errors
/// An event is of a newer program.
pub fn payment(recorded: &[Recorded]) -> Result<Option<pb::Payment>, DecodeError> {
    let (Some(first), Some(last)) = (recorded.first(), recorded.last()) else { return Ok(None) };
    let mut state = Payment::default();
    let mut decline_reason = String::new();
    for event in recorded {
        let event = Event::from_recorded(event)?;
        if let Event::Declined { refusal, .. } = &event {
            decline_reason.clone_from(&refusal.reason);
        }
        state = state.evolve(&event);
    }
    Ok(Some(pb::Payment {
        id: first.stream.id.to_string(),
        order_id: state.order_id().map(|id| id.to_string()).unwrap_or_default(),
        customer_id: state.terms().map(|terms| terms.customer_id.to_string()).unwrap_or_default(),
        amount: state.terms().map(|terms| chassis::money::to_proto(terms.amount)),
        state: state_of(&state).into(),
        provider_reference: state.charge().map(ToString::to_string).unwrap_or_default(),
        decline_reason,
        create_time: Some(timestamp(first.time)),
        update_time: Some(timestamp(last.time)),
        version: last.version.get(),
    }))
}

/// The contract's word for where a payment stands.
#[must_use]
pub const fn state_of(payment: &Payment) -> pb::payment::State {
    match payment {
        Payment::Absent => pb::payment::State::Unspecified,
        Payment::Authorizing { .. } => pb::payment::State::Authorizing,
        Payment::Authorized(_) | Payment::CaptureRejected { .. } => pb::payment::State::Authorized,
        Payment::Declined { .. } => pb::payment::State::Declined,
        Payment::Capturing { .. } => pb::payment::State::Capturing,
        Payment::Captured(_) | Payment::RefundRejected { .. } => pb::payment::State::Captured,
        Payment::AuthorizingToVoid { .. } | Payment::Voiding { .. } => pb::payment::State::Voiding,
        Payment::VoidedBefore { .. } | Payment::Voided { .. } => pb::payment::State::Voided,
        Payment::Refunding { .. } => pb::payment::State::Refunding,
        Payment::Refunded(_) => pb::payment::State::Refunded,
    }
}

/// Where a payment stands after `event`: the same as [`state_of`] the state that it leads to.
#[must_use]
pub const fn state_after(event: &Event) -> pb::payment::State {
    match event {
        Event::AuthorizationStarted { .. } | Event::AuthorizationRestarted { .. } => pb::payment::State::Authorizing,
        Event::Authorized { .. } | Event::CaptureRejected { .. } => pb::payment::State::Authorized,
        Event::Declined { .. } => pb::payment::State::Declined,
        Event::CaptureStarted { .. } => pb::payment::State::Capturing,
        Event::Captured { .. } | Event::RefundRejected { .. } => pb::payment::State::Captured,
        Event::VoidRequested {} | Event::VoidStarted { .. } => pb::payment::State::Voiding,
        Event::VoidedBefore { .. } | Event::Voided { .. } => pb::payment::State::Voided,
        Event::RefundStarted { .. } => pb::payment::State::Refunding,
        Event::Refunded { .. } => pb::payment::State::Refunded,
    }
}

/// A charge in the provider's books.
#[must_use]
pub fn charge(charge: Charge) -> pb::ProviderCharge {
    pb::ProviderCharge {
        status: charge.status.as_str().to_owned(),
        reference: charge.reference.0,
        payment_id: charge.payment_id.to_string(),
        amount: Some(chassis::money::to_proto(charge.amount)),
        requests: charge.requests,
    }
}

/// The contract's form of a time.
#[must_use]
pub fn timestamp(time: DateTime<Utc>) -> pbjson_types::Timestamp {
    pbjson_types::Timestamp::from(time)
}
