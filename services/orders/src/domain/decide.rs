use super::{Command, Facts, Failure, Order, OrderEvent, Placed, Stage};

/// The reason of an order that its customer cancelled.
pub const CANCELLED_BY_CUSTOMER: &str = "CANCELLED_BY_CUSTOMER";

/// Why a command has no effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rejection {
    /// Check the id.
    #[error("there is no such order")]
    NotFound,
    /// The id of this request was used for another one. Make a new id for a new order.
    #[error("the request id was used for another order")]
    RequestIdReused,
    /// The payment is being taken. Wait until the order is completed, then cancel it.
    #[error("the order is past its point of no return; cancel it when it is completed")]
    PastPivot,
    /// Somebody sees to the order by hand, and nothing may come in between. Ask them.
    #[error("the order is being seen to by hand; ask whom you bought from")]
    InHands,
    /// Nothing to cancel: the order has failed, and everything was undone.
    #[error("the order has failed already")]
    AlreadyFailed,
    /// The orders' own saga contradicts the order: a defect.
    #[error("an order cannot go this way from where it stands")]
    OutOfOrder,
}

/// What follows when `command` meets this order. A command that was carried out before has no further effect.
///
/// # Errors
/// [`Rejection`] says what to do.
pub fn decide(order: &Order, command: Command) -> Result<Vec<OrderEvent>, Rejection> {
    match (order, command) {
        (Order::Unplaced, Command::Place { facts, fingerprint }) => {
            Ok(vec![OrderEvent::OrderPlaced { facts, fingerprint }])
        }
        (Order::Placed(placed), Command::Place { fingerprint, .. }) if *placed.fingerprint == *fingerprint => {
            Ok(vec![])
        }
        (Order::Placed(_), Command::Place { .. }) => Err(Rejection::RequestIdReused),
        (Order::Placed(placed), Command::NoteReserved) => note_reserved(placed),
        (Order::Placed(placed), Command::Confirm) => confirm(placed),
        (Order::Placed(placed), Command::Complete) => complete(placed),
        (Order::Placed(placed), Command::StartCancellation { reason }) => start_cancellation(placed, reason),
        (Order::Placed(placed), Command::Fail { failure }) => end_undone(placed, failed(placed, failure)),
        (Order::Placed(placed), Command::Cancel { failure }) => end_undone(placed, cancelled(placed, failure, false)),
        (Order::Placed(placed), Command::FinishCancellation) => finish_cancellation(placed),
        (
            Order::Unplaced,
            Command::NoteReserved
            | Command::Confirm
            | Command::Complete
            | Command::StartCancellation { .. }
            | Command::Fail { .. }
            | Command::Cancel { .. }
            | Command::FinishCancellation,
        ) => Err(Rejection::NotFound),
    }
}

fn note_reserved(placed: &Placed) -> Result<Vec<OrderEvent>, Rejection> {
    match placed.stage {
        Stage::Pending => Ok(vec![OrderEvent::ProductsReserved]),
        Stage::ProductsReserved | Stage::Confirmed | Stage::Completed | Stage::Cancelling { .. } => Ok(vec![]),
        Stage::Failed(_) | Stage::Cancelled { .. } => Err(Rejection::OutOfOrder),
    }
}

fn confirm(placed: &Placed) -> Result<Vec<OrderEvent>, Rejection> {
    match placed.stage {
        Stage::Pending | Stage::ProductsReserved => Ok(vec![OrderEvent::OrderConfirmed]),
        Stage::Confirmed | Stage::Completed | Stage::Cancelling { .. } => Ok(vec![]),
        Stage::Failed(_) | Stage::Cancelled { .. } => Err(Rejection::OutOfOrder),
    }
}

fn complete(placed: &Placed) -> Result<Vec<OrderEvent>, Rejection> {
    match placed.stage {
        Stage::Confirmed => Ok(vec![OrderEvent::OrderCompleted]),
        Stage::Completed | Stage::Cancelling { .. } => Ok(vec![]),
        Stage::Pending | Stage::ProductsReserved | Stage::Failed(_) | Stage::Cancelled { .. } => {
            Err(Rejection::OutOfOrder)
        }
    }
}

fn start_cancellation(placed: &Placed, reason: String) -> Result<Vec<OrderEvent>, Rejection> {
    match placed.stage {
        Stage::Completed => Ok(vec![OrderEvent::CancellationStarted { reason }]),
        Stage::Cancelling { .. } | Stage::Cancelled { .. } => Ok(vec![]),
        Stage::Confirmed => Err(Rejection::PastPivot),
        Stage::Failed(_) => Err(Rejection::AlreadyFailed),
        Stage::Pending | Stage::ProductsReserved => Err(Rejection::OutOfOrder),
    }
}

fn finish_cancellation(placed: &Placed) -> Result<Vec<OrderEvent>, Rejection> {
    match &placed.stage {
        Stage::Cancelling { reason } => {
            let failure = Failure { reason: CANCELLED_BY_CUSTOMER.to_owned(), message: reason.clone() };
            Ok(vec![cancelled(placed, failure, true)])
        }
        Stage::Cancelled { .. } => Ok(vec![]),
        Stage::Pending | Stage::ProductsReserved | Stage::Confirmed | Stage::Completed | Stage::Failed(_) => {
            Err(Rejection::OutOfOrder)
        }
    }
}

fn failed(placed: &Placed, failure: Failure) -> OrderEvent {
    let Facts { customer_id, email, .. } = &*placed.facts;
    OrderEvent::OrderFailed { failure, customer_id: *customer_id, email: email.clone() }
}

fn cancelled(placed: &Placed, failure: Failure, after_completion: bool) -> OrderEvent {
    let Facts { customer_id, email, .. } = &*placed.facts;
    OrderEvent::OrderCancelled { failure, after_completion, customer_id: *customer_id, email: email.clone() }
}

fn end_undone(placed: &Placed, event: OrderEvent) -> Result<Vec<OrderEvent>, Rejection> {
    match placed.stage {
        Stage::Pending | Stage::ProductsReserved => Ok(vec![event]),
        Stage::Failed(_) | Stage::Cancelled { .. } => Ok(vec![]),
        Stage::Confirmed | Stage::Completed | Stage::Cancelling { .. } => Err(Rejection::OutOfOrder),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use eventstore::Aggregate as _;
    use money::{Currency, Money};
    use uuid::Uuid;

    use super::*;

    fn placed() -> OrderEvent {
        let facts = Facts {
            customer_id: Uuid::from_u128(1),
            email: "ana@example.org".to_owned(),
            payment_token: "tok_success".to_owned(),
            lines: vec![],
            total: Money::new(500, Currency::EUR),
        };
        OrderEvent::OrderPlaced { facts: Arc::new(facts), fingerprint: "a".to_owned() }
    }

    fn order(events: &[OrderEvent]) -> Order {
        events.iter().fold(Order::default(), Order::evolve)
    }

    fn place(fingerprint: &str) -> Command {
        let OrderEvent::OrderPlaced { facts, .. } = placed() else { unreachable!() };
        Command::Place { facts, fingerprint: fingerprint.to_owned() }
    }

    fn failure() -> Failure {
        Failure { reason: "OUT_OF_STOCK".to_owned(), message: "no apples".to_owned() }
    }

    #[test]
    fn the_same_request_again_is_the_same_order_and_another_is_refused() {
        assert_eq!(decide(&order(&[placed()]), place("a")), Ok(vec![]));
        assert_eq!(decide(&order(&[placed()]), place("b")), Err(Rejection::RequestIdReused));
    }

    #[test]
    fn an_order_goes_from_pending_to_completed_once() {
        let mut events = vec![placed()];
        for command in [Command::NoteReserved, Command::Confirm, Command::Complete] {
            let decided = decide(&order(&events), command.clone()).unwrap();
            assert_eq!(decided.len(), 1);
            events.extend(decided);
            assert_eq!(decide(&order(&events), command), Ok(vec![]), "told twice, done once");
        }
        assert_eq!(events.last(), Some(&OrderEvent::OrderCompleted));
    }

    #[test]
    fn a_confirmed_order_can_neither_fail_nor_be_cancelled() {
        let confirmed = order(&[placed(), OrderEvent::OrderConfirmed]);
        assert_eq!(decide(&confirmed, Command::Fail { failure: failure() }), Err(Rejection::OutOfOrder));
        assert_eq!(decide(&confirmed, Command::StartCancellation { reason: String::new() }), Err(Rejection::PastPivot));
    }

    #[test]
    fn a_completed_order_is_cancelled_in_two_acts() {
        let mut events = vec![placed(), OrderEvent::OrderConfirmed, OrderEvent::OrderCompleted];
        events.extend(decide(&order(&events), Command::StartCancellation { reason: "too late".to_owned() }).unwrap());
        events.extend(decide(&order(&events), Command::FinishCancellation).unwrap());
        let Order::Placed(Placed { stage: Stage::Cancelled { failure, .. }, .. }) = order(&events) else {
            panic!("{events:?}")
        };
        assert_eq!((failure.reason.as_str(), failure.message.as_str()), (CANCELLED_BY_CUSTOMER, "too late"));
    }

    #[test]
    fn a_failed_order_stays_failed() {
        let pending = order(&[placed()]);
        let events = decide(&pending, Command::Fail { failure: failure() }).unwrap();
        let failed = events.iter().fold(pending, Order::evolve);
        for command in [Command::NoteReserved, Command::Confirm, Command::Complete, Command::FinishCancellation] {
            assert_eq!(decide(&failed, command), Err(Rejection::OutOfOrder));
        }
        assert_eq!(decide(&failed, Command::Fail { failure: failure() }), Ok(vec![]));
    }
}
