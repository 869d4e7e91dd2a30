//! What can become of an order.

use std::time::Duration;

use chassis::clock::Uuids;
use eventstore::IdSource as _;
use farmera_proto::orders::v1 as pb;
use farmera_proto::orders::v1::order::State;
use farmera_proto::saga::v1::GetSagaResponse;
use farmera_proto::saga::v1::saga::State as SagaState;
use tokio::time::timeout;

use crate::catalogue;
use crate::clients::{Clients, Peer};
use crate::failure::Failure;
use crate::order::{has_ended, state_name, until};
use crate::output::{self, Paint};
use crate::saga;

/// An order that has not ended by then never will.
const END_LIMIT: Duration = Duration::from_secs(30);

/// When the customer changes their mind.
enum Cancel {
    Never,
    /// As soon as the goods are held.
    WhenReserved,
    /// When everything is done already.
    WhenCompleted,
}

/// One play.
pub(super) struct Fate {
    pub(super) title: &'static str,
    pub(super) story: &'static str,
    lines: &'static [(&'static str, u32)],
    token: &'static str,
    cancel: Cancel,
    state: State,
    /// The failure's reason; empty when there is none.
    reason: &'static str,
    sagas: &'static [SagaState],
    /// How the provider's record may stand at the end; none at all is fine unless the order is completed.
    pub(super) charge: [&'static str; 2],
}

pub(super) static FATES: [Fate; 6] = [
    Fate {
        title: "Completed",
        story: "Stock is reserved, the card authorized; then captured, shipped, and everybody told.",
        lines: &[("Topaz apples", 3), ("Linden honey", 2)],
        token: "tok_success",
        cancel: Cancel::Never,
        state: State::Completed,
        reason: "",
        sagas: &[SagaState::Completed],
        charge: ["captured", "captured"],
    },
    Fate {
        title: "Declined card: the reserved goods are released",
        story: "The provider says no after the goods were reserved; the saga undoes the reservation.",
        lines: &[("Mountain cheese", 4)],
        token: "tok_declined",
        cancel: Cancel::Never,
        state: State::Failed,
        reason: "CARD_DECLINED",
        sagas: &[SagaState::Compensated],
        charge: ["declined", "voided"],
    },
    Fate {
        title: "Out of stock: nobody is charged",
        story: "More cheese than there is; the provider is never asked.",
        lines: &[("Butter", 1), ("Mountain cheese", 5_000)],
        token: "tok_success",
        cancel: Cancel::Never,
        state: State::Failed,
        reason: "OUT_OF_STOCK",
        sagas: &[SagaState::Compensated],
        charge: ["voided", "declined"],
    },
    Fate {
        title: "Cancelled while in flight",
        story: "The provider is slow; the customer cancels while the goods are held and the card is being asked.",
        lines: &[("Walnuts", 2)],
        token: "tok_timeout_not_charged",
        cancel: Cancel::WhenReserved,
        state: State::Cancelled,
        reason: "CANCELLED_BY_CUSTOMER",
        sagas: &[SagaState::Compensated],
        charge: ["voided", "declined"],
    },
    Fate {
        title: "Unknown outcome, resolved without a double charge",
        story: "The provider holds the money but its answer is lost; payment looks into its books instead of charging again.",
        lines: &[("Goat cheese", 1), ("Whole milk", 2)],
        token: "tok_timeout_charged",
        cancel: Cancel::Never,
        state: State::Completed,
        reason: "",
        sagas: &[SagaState::Completed],
        charge: ["captured", "captured"],
    },
    Fate {
        title: "Completed, then cancelled: refunded and restocked",
        story: "Past the point of no return nothing is undone; a second saga gives money and goods back.",
        lines: &[("Free-range eggs", 3)],
        token: "tok_success",
        cancel: Cancel::WhenCompleted,
        state: State::Cancelled,
        reason: "CANCELLED_BY_CUSTOMER",
        sagas: &[SagaState::Completed, SagaState::Completed],
        charge: ["refunded", "refunded"],
    },
];

/// Variables that let what takes many seconds in earnest take one.
pub(super) fn impatience() -> Vec<(String, String)> {
    [("FARMERA_PAYMENT__PROVIDER_TIMEOUT_MS", "1000")].map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

/// How it went.
pub(super) struct Told {
    pub(super) order: pb::Order,
    pub(super) sagas: Vec<GetSagaResponse>,
}

impl Fate {
    /// Places the order and waits for its end.
    pub(super) async fn enact(&self, clients: &Clients) -> Result<Told, Failure> {
        let played = timeout(END_LIMIT, self.play(clients)).await;
        played.unwrap_or_else(|_| Err(Failure::Failed(format!("{}: the order did not end in time", self.title))))
    }

    async fn play(&self, clients: &Clients) -> Result<Told, Failure> {
        let placed = self.place(clients).await?;
        let order = match self.cancel {
            Cancel::Never => until(clients, &placed.id, |order| has_ended(order.state())).await?,
            Cancel::WhenReserved => {
                let reserved = |order: &pb::Order| order.state() == State::ProductReserved || has_ended(order.state());
                until(clients, &placed.id, reserved).await?;
                cancel(clients, &placed.id).await?;
                until(clients, &placed.id, |order| has_ended(order.state())).await?
            }
            Cancel::WhenCompleted => {
                until(clients, &placed.id, |order| has_ended(order.state())).await?;
                cancel(clients, &placed.id).await?;
                until(clients, &placed.id, |order| order.state() == State::Cancelled).await?
            }
        };
        let sagas = saga::ended(clients, &order.id).await?;
        Ok(Told { order, sagas })
    }

    async fn place(&self, clients: &Clients) -> Result<pb::Order, Failure> {
        let products = catalogue::products(clients).await?;
        let line = |(name, quantity): &(&str, u32)| {
            let product_id = catalogue::find(&products, name)?.id.clone();
            Ok(pb::PlaceOrderLine { product_id, quantity: *quantity })
        };
        let request = pb::PlaceOrderRequest {
            request_id: Uuids.next_id().to_string(),
            customer_id: Uuids.next_id().to_string(),
            lines: self.lines.iter().map(line).collect::<Result<_, Failure>>()?,
            payment_token: self.token.to_owned(),
            email: "customer@example.org".to_owned(),
        };
        let answer = clients.ask(Peer::Orders, clients.orders.clone().place_order(request)).await?;
        Ok(answer.order.unwrap_or_default())
    }
}

async fn cancel(clients: &Clients, order_id: &str) -> Result<(), Failure> {
    let request = pb::CancelOrderRequest { order_id: order_id.to_owned(), reason: "changed my mind".to_owned() };
    clients.ask(Peer::Orders, clients.orders.clone().cancel_order(request)).await?;
    Ok(())
}

impl Told {
    /// The order's end and why, one line.
    pub(super) fn ending(&self, paint: Paint) -> String {
        let state = state_name(self.order.state());
        let state = if self.order.state() == State::Completed { paint.good(state) } else { paint.bad(state) };
        let total = output::amount(self.order.total.as_ref());
        match &self.order.failure {
            Some(failure) => format!("=> the order of {total} is {state}: {} ({})", failure.reason, failure.message),
            None => format!("=> the order of {total} is {state}"),
        }
    }

    /// What is not as the fate wants it.
    pub(super) fn surprises(&self, fate: &Fate) -> Vec<String> {
        let mut surprises = Vec::new();
        let (title, order) = (fate.title, &self.order);
        if order.state() != fate.state {
            let (found, expected) = (state_name(order.state()), state_name(fate.state));
            surprises.push(format!("{title}: the order is {found}, expected {expected}"));
        }
        let reason = order.failure.as_ref().map_or("", |failure| failure.reason.as_str());
        if reason != fate.reason {
            surprises.push(format!("{title}: the reason is {reason:?}, expected {:?}", fate.reason));
        }
        let states: Vec<SagaState> = self
            .sagas
            .iter()
            .map(|saga| saga.saga.as_ref().map_or(SagaState::Unspecified, |saga| saga.state()))
            .collect();
        if states != fate.sagas {
            surprises.push(format!("{title}: the sagas are {states:?}, expected {:?}", fate.sagas));
        }
        surprises
    }
}
