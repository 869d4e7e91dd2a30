//! What sagas ask for. A request that was answered before is answered the same way again.

use uuid::Uuid;

use crate::domain::{Lines, Reason, Request, Reservation, ReservationEvent, Shortage, Step, Wish};

/// What a request leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Hold these lines, all of them or none; then record that.
    Hold(Lines),
    /// Move these lines on; then record the event.
    Settle(Step, Lines, ReservationEvent),
    /// No goods are touched; record the event.
    Record(ReservationEvent),
    /// Nothing changes; the event says what the answer was. It is not recorded again.
    Repeat(ReservationEvent),
}

/// A request that no saga makes in this state: it is parked, and an operator must look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Contradiction {
    /// The reservation belongs to another order.
    #[error("the reservation belongs to order {order_id}")]
    OtherOrder {
        /// Whose it is.
        order_id: Uuid,
    },
    /// The same reservation, for other goods.
    #[error("the reservation was asked for with other items before")]
    OtherItems,
    /// The goods left already and cannot be released, only restocked.
    #[error("the goods have left with the order and cannot be released")]
    LeftAlready,
    /// The goods are not held, so they cannot leave.
    #[error("the goods are not held and cannot be committed")]
    NotHeld,
    /// The goods did not leave, so they cannot come back.
    #[error("the goods have not left with the order and cannot be restocked")]
    NotCommitted,
}

/// What follows when `request` meets this reservation.
///
/// # Errors
/// [`Contradiction`].
pub fn decide(reservation: &Reservation, request: &Request) -> Result<Decision, Contradiction> {
    if let Some(order_id) = reservation.order_id()
        && order_id != request.order_id
    {
        return Err(Contradiction::OtherOrder { order_id });
    }
    match &request.wish {
        Wish::Reserve(lines) => hold(reservation, request, lines),
        Wish::Release => release(reservation, request),
        Wish::Commit => commit(reservation, request),
        Wish::Restock => restock(reservation, request),
    }
}

fn hold(reservation: &Reservation, request: &Request, wanted: &Lines) -> Result<Decision, Contradiction> {
    if reservation.lines().is_some_and(|lines| lines != wanted) {
        return Err(Contradiction::OtherItems);
    }
    Ok(match reservation {
        Reservation::Absent => Decision::Hold(wanted.clone()),
        Reservation::Reserved { .. } | Reservation::Committed { .. } | Reservation::Restocked { .. } => {
            Decision::Repeat(held(request, wanted))
        }
        Reservation::Rejected { refused, .. } => {
            Decision::Repeat(refusal(request, wanted, refused.reason, refused.message.clone()))
        }
        // What was answered before the release is not true any more: nothing is held.
        Reservation::Released { .. } | Reservation::ReleasedBefore { .. } => {
            let message = "the reservation was released before it was asked for".to_owned();
            Decision::Repeat(refusal(request, wanted, Reason::ReleasedBefore, message))
        }
    })
}

fn release(reservation: &Reservation, request: &Request) -> Result<Decision, Contradiction> {
    let Request { saga_id, order_id, .. } = *request;
    let released = ReservationEvent::InventoryReleased { saga_id, order_id };
    match reservation {
        Reservation::Absent => Ok(Decision::Record(released)),
        Reservation::Reserved { lines, .. } => Ok(Decision::Settle(Step::Release, lines.clone(), released)),
        Reservation::Rejected { .. } | Reservation::Released { .. } | Reservation::ReleasedBefore { .. } => {
            Ok(Decision::Repeat(released))
        }
        Reservation::Committed { .. } | Reservation::Restocked { .. } => Err(Contradiction::LeftAlready),
    }
}

fn commit(reservation: &Reservation, request: &Request) -> Result<Decision, Contradiction> {
    let Request { saga_id, order_id, .. } = *request;
    let committed = ReservationEvent::InventoryCommitted { saga_id, order_id };
    match reservation {
        Reservation::Reserved { lines, .. } => Ok(Decision::Settle(Step::Ship, lines.clone(), committed)),
        Reservation::Committed { .. } | Reservation::Restocked { .. } => Ok(Decision::Repeat(committed)),
        Reservation::Absent
        | Reservation::Rejected { .. }
        | Reservation::Released { .. }
        | Reservation::ReleasedBefore { .. } => Err(Contradiction::NotHeld),
    }
}

fn restock(reservation: &Reservation, request: &Request) -> Result<Decision, Contradiction> {
    let Request { saga_id, order_id, .. } = *request;
    let restocked = ReservationEvent::InventoryRestocked { saga_id, order_id };
    match reservation {
        Reservation::Committed { lines, .. } => Ok(Decision::Settle(Step::Return, lines.clone(), restocked)),
        Reservation::Restocked { .. } => Ok(Decision::Repeat(restocked)),
        Reservation::Absent
        | Reservation::Reserved { .. }
        | Reservation::Rejected { .. }
        | Reservation::Released { .. }
        | Reservation::ReleasedBefore { .. } => Err(Contradiction::NotCommitted),
    }
}

/// What a reservation records when all of its lines are held.
#[must_use]
pub fn held(request: &Request, lines: &Lines) -> ReservationEvent {
    let Request { saga_id, order_id, .. } = *request;
    ReservationEvent::InventoryReserved { saga_id, order_id, lines: lines.clone() }
}

/// What a reservation records when one of its lines could not be held.
#[must_use]
pub fn rejected(request: &Request, lines: &Lines, shortage: &Shortage) -> ReservationEvent {
    refusal(request, lines, shortage.reason(), shortage.to_string())
}

fn refusal(request: &Request, lines: &Lines, reason: Reason, message: String) -> ReservationEvent {
    let Request { saga_id, order_id, .. } = *request;
    ReservationEvent::InventoryRejected { saga_id, order_id, lines: lines.clone(), reason, message }
}
