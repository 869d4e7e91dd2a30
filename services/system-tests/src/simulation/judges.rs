//! Judges that know what an order is. They read the logs, and the provider's own books.

use std::collections::BTreeMap;

use eventstore::{Aggregate, DomainEvent as _, Recorded};
use notification::domain::{Kind, Notification};
use orders::domain::{Facts, Order, Placed, Stage};
use orders::sagas::OrderProcess;
use payment::domain::{Operation, Payment};
use payment::provider::ChargeStatus;
use products::domain::{Product, ProductEvent, Reservation, ReservationEvent};
use saga::{Library, Saga, SagaEvent};
use saga_simulator::{Violation, judge, short, shown};
use uuid::Uuid;

use super::hands::Hands;
use super::orders::{Promises, folded};
use super::provider::{Entry, Provider};

/// Collects what is wrong.
#[derive(Default)]
pub struct Verdict(pub Vec<Violation>);

impl Verdict {
    pub(super) fn unless(&mut self, holds: bool, promise: &'static str, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(Violation { promise, what: what() });
        }
    }
}

/// Every order that was accepted is there, has ended, and its sagas with it.
pub fn ends(verdict: &mut Verdict, log: &[Recorded], promises: &Promises, hands: &Hands) {
    let orders: BTreeMap<Uuid, Order> = folded(log).into_iter().collect();
    for id in &promises.accepted {
        verdict.unless(orders.contains_key(id), "what is accepted is kept", || format!("order {}", short(*id)));
    }
    for (id, order) in orders.iter().filter(|(id, _)| !hands.has_abandoned(**id)) {
        let Order::Placed(placed) = order else { continue };
        let (over, cancelled) = match placed.stage {
            Stage::Completed => (true, false),
            Stage::Failed(_) | Stage::Cancelled { .. } => (true, true),
            Stage::Pending | Stage::ProductsReserved | Stage::Confirmed | Stage::Cancelling { .. } => (false, false),
        };
        verdict.unless(over, "every order ends", || format!("order {} is {:?}", short(*id), placed.stage));
        let promised = promises.cancelling.contains(id);
        verdict.unless(cancelled || !promised || !over, "a cancellation that was taken is kept", || {
            format!("order {} is {:?}", short(*id), placed.stage)
        });
    }
}

/// Every saga's history is one that its definition allows, and it has ended.
pub fn histories(verdict: &mut Verdict, log: &[Recorded], library: &Library<OrderProcess>) {
    let sagas = judge::streams(log).into_iter();
    for (stream, recorded) in sagas.filter(|(stream, _)| stream.category == Saga::<OrderProcess>::CATEGORY) {
        let events = recorded.into_iter().map(SagaEvent::<OrderProcess>::from_recorded).collect::<Result<Vec<_>, _>>();
        let Ok(events) = events else {
            verdict.unless(false, "what is stored can be read", || shown(stream));
            continue;
        };
        let saga = events.iter().fold(Saga::<OrderProcess>::default(), Saga::evolve);
        verdict.unless(saga.is_ended(), "every saga ends", || format!("{} is {:?}", shown(stream), saga.status()));
        for wrong in judge::history(library, &events) {
            verdict.unless(false, "every history is a legal one", || format!("{}: {wrong}", shown(stream)));
        }
    }
}

/// Units are where they came from, at every moment of the log, and never fewer than none.
/// What somebody answers for may be on its way.
pub fn goods(verdict: &mut Verdict, log: &[Recorded], orders: &[Recorded], hands: &Hands) {
    let mut shelves: BTreeMap<Uuid, Shelf> = BTreeMap::new();
    for event in log.iter().filter(|event| event.stream.category == Product::CATEGORY) {
        let Ok(moved) = ProductEvent::from_recorded(event) else { continue };
        let shelf = shelves.entry(event.stream.id).or_default();
        shelf.move_on(&moved);
        let sound = shelf.available >= 0 && shelf.reserved >= 0 && shelf.shipped >= 0;
        verdict.unless(sound, "there are never fewer goods than none", || {
            format!("{} at {}: {shelf:?}", shown(event.stream), event.version)
        });
    }
    let (mut expected, mut by_hand): (BTreeMap<Uuid, i64>, BTreeMap<Uuid, i64>) = Default::default();
    for (id, order) in folded(orders) {
        let Order::Placed(Placed { facts, stage, .. }) = &order else { continue };
        let units = if hands.answer_for(id) { &mut by_hand } else { &mut expected };
        for line in facts.lines.iter().filter(|_| *stage == Stage::Completed || hands.answer_for(id)) {
            *units.entry(line.product_id).or_default() += i64::from(line.quantity);
        }
    }
    for (id, shelf) in &shelves {
        let shipped = expected.get(id).copied().unwrap_or_default();
        let open = by_hand.get(id).copied().unwrap_or_default();
        let is_right = (shipped..=shipped + open).contains(&shelf.shipped);
        verdict.unless(is_right, "what left belongs to completed orders", || {
            format!("product {}: {} left, {shipped} were ordered", short(*id), shelf.shipped)
        });
        verdict.unless((0..=open).contains(&shelf.reserved), "nothing stays reserved for nobody", || {
            format!("product {}: {} reserved", short(*id), shelf.reserved)
        });
    }
}

/// Units of one product, as its events say.
#[derive(Debug, Default)]
struct Shelf {
    available: i64,
    reserved: i64,
    shipped: i64,
}

impl Shelf {
    fn move_on(&mut self, event: &ProductEvent) {
        match event {
            ProductEvent::StockAdded { quantity, .. } => {
                self.available += i64::try_from(*quantity).unwrap_or(i64::MAX);
            }
            ProductEvent::StockReserved { quantity, .. } => {
                self.available -= i64::from(*quantity);
                self.reserved += i64::from(*quantity);
            }
            ProductEvent::StockReleased { quantity, .. } => {
                self.reserved -= i64::from(*quantity);
                self.available += i64::from(*quantity);
            }
            ProductEvent::StockShipped { quantity, .. } => {
                self.reserved -= i64::from(*quantity);
                self.shipped += i64::from(*quantity);
            }
            ProductEvent::StockReturned { quantity, .. } => {
                self.shipped -= i64::from(*quantity);
                self.available += i64::from(*quantity);
            }
            ProductEvent::ProductListed { .. }
            | ProductEvent::PriceSet { .. }
            | ProductEvent::ActiveSet { .. }
            | ProductEvent::ReservationRefused { .. }
            | ProductEvent::StockRanLow { .. } => {}
        }
    }
}

/// Nothing is held after its release (the barrier), nothing leaves twice.
pub fn barrier(verdict: &mut Verdict, log: &[Recorded]) {
    for (stream, events) in judge::streams(log) {
        if stream.category != Reservation::CATEGORY {
            continue;
        }
        let (mut released, mut left) = (0, 0);
        for event in events.iter().filter_map(|event| ReservationEvent::from_recorded(event).ok()) {
            match event {
                ReservationEvent::InventoryReserved { .. } => {
                    verdict.unless(released == 0, "nothing is held after its release", || shown(stream));
                }
                ReservationEvent::InventoryReleased { .. } => released += 1,
                ReservationEvent::InventoryCommitted { .. } => left += 1,
                ReservationEvent::InventoryRejected { .. } | ReservationEvent::InventoryRestocked { .. } => {}
            }
        }
        verdict.unless(left <= 1 && released <= 1, "goods move once", || shown(stream));
    }
}

/// Money is where the orders say, by the provider's books alone.
pub fn money(verdict: &mut Verdict, orders: &[Recorded], provider: &Provider, hands: &Hands) {
    let mut books: BTreeMap<Uuid, Vec<&Entry>> = BTreeMap::new();
    provider.entries.iter().for_each(|entry| books.entry(entry.payment_id).or_default().push(entry));
    let (mut taken, mut owed) = (0, 0);
    for (id, order) in folded(orders) {
        let Order::Placed(Placed { facts, stage, .. }) = &order else { continue };
        let entries = books.remove(&eventstore::derived_id(id, "payment")).unwrap_or_default();
        let count = |operation| entries.iter().filter(|entry| entry.operation == operation).count();
        let sum = |operation| -> i64 {
            let of = entries.iter().filter(|entry| entry.operation == operation);
            of.map(|entry| entry.amount.minor_units).sum()
        };
        let net = sum(Operation::Capture) - sum(Operation::Refund);
        let told = || format!("order {} is {stage:?}, the provider has {}", short(id), entered(&entries));
        verdict.unless(count(Operation::Capture) <= 1, "nobody pays twice", told);
        if hands.answer_for(id) {
            continue;
        }
        let held = count(Operation::Authorize)
            - (count(Operation::Void) + count(Operation::Capture)).min(count(Operation::Authorize));
        verdict.unless(held == 0, "no money stays held for nobody", told);
        let due = price(stage, facts);
        verdict.unless(net == due, "who has the goods has paid, and nobody else", told);
        taken += net;
        owed += due;
    }
    for (payment, entries) in &books {
        verdict.unless(false, "no money moves without an order", || {
            format!("payment {}: {}", short(*payment), entered(entries))
        });
    }
    verdict.unless(taken == owed, "money is conserved", || format!("{taken} taken, {owed} owed"));
}

/// What the customer of such an order has to have paid in the end.
fn price(stage: &Stage, facts: &Facts) -> i64 {
    match stage {
        Stage::Completed => facts.total.minor_units,
        Stage::Pending
        | Stage::ProductsReserved
        | Stage::Confirmed
        | Stage::Cancelling { .. }
        | Stage::Failed(_)
        | Stage::Cancelled { .. } => 0,
    }
}

fn entered(entries: &[&Entry]) -> String {
    let told =
        entries.iter().map(|entry| format!("{} {} of {}", entry.operation.as_str(), entry.amount, entry.reference));
    format!("[{}]", told.collect::<Vec<_>>().join(", "))
}

/// Payment's own log and the provider's books tell the same.
pub fn books(verdict: &mut Verdict, payments: &[Recorded], provider: &Provider, hands: &Hands) {
    let streams = judge::streams(payments);
    let mut states: BTreeMap<Uuid, Payment> = BTreeMap::new();
    for (stream, events) in streams.into_iter().filter(|(stream, _)| stream.category == Payment::CATEGORY) {
        let events = events.into_iter().filter_map(|event| <Payment as Aggregate>::Event::from_recorded(event).ok());
        states.insert(stream.id, events.fold(Payment::default(), |state, event| state.evolve(&event)));
    }
    for charge in provider.charges() {
        let state = states.get(&charge.payment_id);
        let agrees = match charge.status {
            ChargeStatus::Captured => matches!(state, Some(Payment::Captured(_))),
            ChargeStatus::Refunded => matches!(state, Some(Payment::Refunded(_))),
            ChargeStatus::Authorized => false,
            ChargeStatus::Voided | ChargeStatus::Declined(_) => true,
        };
        // Where somebody answers for it, nobody may have asked payment again.
        let agrees = agrees || hands.answer_for_payment(charge.payment_id);
        verdict.unless(agrees, "payment knows what the provider did", || {
            format!(
                "{} of payment {} is {:?}, on record is {state:?}",
                charge.reference,
                short(charge.payment_id),
                charge.status
            )
        });
    }
}

/// News of orders that were not to be are told, unless the broker has lost its memory: nobody asks for them again.
pub fn news(verdict: &mut Verdict, orders: &[Recorded], notifications: &[Recorded], broker_kept_all: bool) {
    if !broker_kept_all {
        return;
    }
    let told = judge::streams(notifications);
    for (id, order) in folded(orders) {
        let Order::Placed(Placed { stage, .. }) = &order else { continue };
        let kind = match stage {
            Stage::Failed(_) => Kind::OrderFailed,
            Stage::Cancelled { after_completion: false, .. } => Kind::OrderCancelled,
            Stage::Cancelled { after_completion: true, .. }
            | Stage::Pending
            | Stage::ProductsReserved
            | Stage::Confirmed
            | Stage::Completed
            | Stage::Cancelling { .. } => continue,
        };
        let notification = Notification::stream(eventstore::derived_id(id, kind.as_str()));
        verdict.unless(told.contains_key(&notification), "what happened is told", || {
            format!("order {} is {stage:?}, and nobody was told", short(id))
        });
    }
}
