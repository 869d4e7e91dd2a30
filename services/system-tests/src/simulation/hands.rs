//! What operators did by hand, as the log has it, and what that excuses.

use std::collections::{BTreeMap, BTreeSet};

use ::orders::sagas::{AUTHORIZE_PAYMENT, CAPTURE_PAYMENT, COMMIT_INVENTORY, OrderProcess, RESERVE_INVENTORY};
use eventstore::{Aggregate, DomainEvent as _, Recorded, derived_id};
use payment::domain::Operation;
use products::domain::{Reservation, ReservationEvent};
use saga::{Saga, SagaEvent, StepName};
use saga_simulator::{judge, short};
use uuid::Uuid;

use super::definitions::{GOODS, SETTLE};
use super::judges::Verdict;
use super::provider::Provider;

/// What is counted, by the name of its event.
const ACTS: [(&str, &str); 14] = [
    ("SagaPaused", "pauses"),
    ("TimersFrozen", "timers frozen"),
    ("TimersShifted", "timers shifted"),
    ("TimerCancelled", "timers cancelled"),
    ("SagaResumed", "resumed"),
    ("StepRetried", "retried"),
    ("SagaAbandoned", "abandoned"),
    ("SagaMigrated", "migrated"),
    ("HoldPlaced", "holds"),
    ("StepHeld", "steps held"),
    ("HeldSagasLetGo", "batches let go"),
    ("HoldReleaseStopped", "releases stopped"),
    ("ChildRequested", "sagas run as steps"),
    ("ChildUndoRequested", "of these undone"),
];

/// What operators did.
#[derive(Debug, Default)]
pub struct Hands {
    /// How often what was done.
    pub acts: BTreeMap<&'static str, u64>,
    /// Orders of whose sagas some step was skipped.
    skipped: BTreeSet<Uuid>,
    /// Orders whose saga was abandoned, and what it owes.
    abandoned: BTreeMap<Uuid, Vec<StepName>>,
}

impl Hands {
    /// As the log of orders has it.
    #[must_use]
    pub fn of(log: &[Recorded]) -> Self {
        let mut hands = Self::default();
        for event in log {
            if let Some((_, name)) = ACTS.iter().find(|(of, _)| *of == event.type_name) {
                *hands.acts.entry(name).or_default() += 1;
            }
        }
        let is_saga = |event: &&Recorded| event.stream.category == Saga::<OrderProcess>::CATEGORY;
        let by_hand: BTreeSet<Uuid> = log
            .iter()
            .filter(is_saga)
            .filter(|event| ["StepSkipped", "SagaAbandoned"].contains(&event.type_name.as_str()))
            .map(|event| event.stream.id)
            .collect();
        let mut orders: BTreeMap<Uuid, Uuid> = BTreeMap::new();
        for event in log.iter().filter(is_saga).filter(|event| by_hand.contains(&event.stream.id)) {
            match SagaEvent::<OrderProcess>::from_recorded(event) {
                Ok(SagaEvent::Started { input, .. }) => drop(orders.insert(event.stream.id, input.order_id)),
                Ok(told) => hands.told(orders.get(&event.stream.id).copied(), &told),
                // The judge of histories says so.
                Err(_) => {}
            }
        }
        hands
    }

    fn told(&mut self, order: Option<Uuid>, event: &SagaEvent<OrderProcess>) {
        let Some(order) = order else { return };
        if let SagaEvent::StepSkipped { by_hand: Some(_), .. } = event {
            *self.acts.entry("skipped").or_default() += 1;
            self.skipped.insert(order);
        } else if let SagaEvent::Abandoned { owed, .. } = event {
            self.abandoned.insert(order, owed.clone());
        }
    }

    /// True when somebody answers for what became of an order: its money and goods may be anywhere on their way.
    #[must_use]
    pub fn answer_for(&self, order: Uuid) -> bool {
        self.skipped.contains(&order) || self.has_abandoned(order)
    }

    /// True when somebody answers for what became of a payment's order.
    #[must_use]
    pub fn answer_for_payment(&self, payment: Uuid) -> bool {
        self.skipped.iter().chain(self.abandoned.keys()).any(|order| derived_id(*order, "payment") == payment)
    }

    /// True when an order was left where it stood.
    #[must_use]
    pub fn has_abandoned(&self, order: Uuid) -> bool {
        self.abandoned.contains_key(&order)
    }
}

/// What is done for an order that was abandoned is on the list of what is owed.
pub fn owed(verdict: &mut Verdict, hands: &Hands, products: &[Recorded], provider: &Provider) {
    let reserved = still_reserved(products);
    for (order, owed) in hands.abandoned.iter().filter(|(order, _)| !hands.skipped.contains(order)) {
        let owes = |steps: &[&str]| owed.iter().any(|step| steps.contains(&step.as_str()));
        let payment = derived_id(*order, "payment");
        let entries = || provider.entries.iter().filter(|entry| entry.payment_id == payment);
        let count = |operation| entries().filter(|entry| entry.operation == operation).count();
        let money = count(Operation::Authorize) > count(Operation::Void) + count(Operation::Refund);
        verdict.unless(!money || owes(&[AUTHORIZE_PAYMENT, CAPTURE_PAYMENT, SETTLE]), OWED, || {
            format!("order {} owes {owed:?}, and money is held or taken", short(*order))
        });
        let goods = reserved.contains(&derived_id(*order, "reservation"));
        verdict.unless(!goods || owes(&[RESERVE_INVENTORY, COMMIT_INVENTORY, GOODS, SETTLE]), OWED, || {
            format!("order {} owes {owed:?}, and goods are reserved or gone", short(*order))
        });
    }
}

const OWED: &str = "whoever is abandoned owes what is done";

/// Reservations that hold goods, or have let them go for good.
fn still_reserved(products: &[Recorded]) -> BTreeSet<Uuid> {
    let streams = judge::streams(products).into_iter();
    let reservations = streams.filter(|(stream, _)| stream.category == Reservation::CATEGORY);
    let holds = |events: &[&Recorded]| {
        let last = events.last().and_then(|event| ReservationEvent::from_recorded(event).ok());
        last.is_some_and(|last| match last {
            ReservationEvent::InventoryReserved { .. } | ReservationEvent::InventoryCommitted { .. } => true,
            ReservationEvent::InventoryRejected { .. }
            | ReservationEvent::InventoryReleased { .. }
            | ReservationEvent::InventoryRestocked { .. } => false,
        })
    };
    reservations.filter(|(_, events)| holds(events)).map(|(stream, _)| stream.id).collect()
}
