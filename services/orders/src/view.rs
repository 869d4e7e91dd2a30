//! An order as clients see it: its stream, folded together with when things happened.

use chassis::money::to_proto;
use chrono::{DateTime, Utc};
use eventstore::{Aggregate as _, DecodeError, DomainEvent as _, Recorded, Version};
use farmera_proto::orders::v1 as pb;
use uuid::Uuid;

use crate::domain::{Order, OrderEvent, Placed, Stage};
use crate::handler::{Told, cancel_saga_id, place_saga_id};
use crate::messages;

/// An order at one version.
#[derive(Clone, Debug)]
pub struct View {
    /// Which.
    pub order_id: Uuid,
    /// What it is.
    pub placed: Placed,
    /// The version of its stream.
    pub version: Version,
    /// When it was placed.
    pub created: DateTime<Utc>,
    /// When it last changed.
    pub updated: DateTime<Utc>,
}

impl View {
    /// The order that `events` (its whole stream, in order) tell about; `None` when there is none.
    ///
    /// # Errors
    /// [`DecodeError`]: an event is of a newer program.
    pub fn fold(events: &[Recorded]) -> Result<Option<Self>, DecodeError> {
        Self::fold_on(None, events)
    }

    /// The order after `events`, in order; the first of them follows what is known.
    ///
    /// # Errors
    /// [`DecodeError`]: an event is of a newer program.
    pub fn fold_on(known: Option<Self>, events: &[Recorded]) -> Result<Option<Self>, DecodeError> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(known) };
        let (order_id, mut created, mut order) = (first.stream.id, first.time, Order::default());
        if let Some(known) = known {
            (created, order) = (known.created, Order::Placed(known.placed));
        }
        for event in events {
            order = order.evolve(&OrderEvent::from_recorded(event)?);
        }
        let Order::Placed(placed) = order else { return Ok(None) };
        Ok(Some(Self { order_id, placed, version: last.version, created, updated: last.time }))
    }

    /// The order after one more event.
    #[must_use]
    pub fn next(self, event: &OrderEvent, version: Version, time: DateTime<Utc>) -> Self {
        match Order::Placed(self.placed.clone()).evolve(event) {
            Order::Placed(placed) => Self { placed, version, updated: time, ..self },
            Order::Unplaced => self,
        }
    }

    /// An order that was told of just now.
    #[must_use]
    pub fn of_told(order_id: Uuid, told: Told, created: DateTime<Utc>, updated: DateTime<Utc>) -> Self {
        Self { order_id, placed: told.placed, version: told.version, created, updated }
    }

    /// The contract's form.
    #[must_use]
    pub fn to_proto(&self) -> pb::Order {
        let facts = &self.placed.facts;
        let cancelled_late = match &self.placed.stage {
            Stage::Cancelling { .. } | Stage::Cancelled { after_completion: true, .. } => true,
            Stage::Cancelled { after_completion: false, .. }
            | Stage::Pending
            | Stage::ProductsReserved
            | Stage::Confirmed
            | Stage::Completed
            | Stage::Failed(_) => false,
        };
        pb::Order {
            id: self.order_id.to_string(),
            customer_id: facts.customer_id.to_string(),
            lines: facts.lines.iter().map(messages::line).collect(),
            total: Some(to_proto(facts.total)),
            state: state_of(&self.placed.stage).into(),
            failure: match &self.placed.stage {
                Stage::Failed(failure) | Stage::Cancelled { failure, .. } => Some(messages::reason(failure.clone())),
                Stage::Pending
                | Stage::ProductsReserved
                | Stage::Confirmed
                | Stage::Completed
                | Stage::Cancelling { .. } => None,
            },
            create_time: Some(self.created.into()),
            update_time: Some(self.updated.into()),
            version: self.version.get(),
            saga_id: place_saga_id(self.order_id).to_string(),
            cancel_saga_id: if cancelled_late { cancel_saga_id(self.order_id).to_string() } else { String::new() },
        }
    }
}

/// Where an order stands, in the contract's words. An order that is being refunded still counts as completed: that is
/// what holds until it is cancelled.
#[must_use]
pub fn state_of(stage: &Stage) -> pb::order::State {
    match stage {
        Stage::Pending => pb::order::State::Pending,
        Stage::ProductsReserved => pb::order::State::ProductReserved,
        Stage::Confirmed => pb::order::State::Confirmed,
        Stage::Completed | Stage::Cancelling { .. } => pb::order::State::Completed,
        Stage::Failed(_) => pb::order::State::Failed,
        Stage::Cancelled { .. } => pb::order::State::Cancelled,
    }
}
