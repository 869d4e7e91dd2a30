//! What is an orphan, and what to do about it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use farmera_proto::orders::v1::order::State as OrderState;
use farmera_proto::payment::v1::payment::State as PaymentState;
use farmera_proto::saga::v1 as pb;
use pb::reconcile_response::Orphan;
use sqlx::postgres::PgPool;
use tonic::Status;
use uuid::Uuid;

use super::ledgers::{HeldGoods, HeldPayment};
use crate::handler::{cancel_saga_id, place_saga_id};
use crate::operations::query::States;
use crate::projections::rows;
use crate::sagas::{AUTHORIZE_PAYMENT, RESERVE_INVENTORY};

/// The numbers of `Saga.State` of sagas that are over and have undone what they did, or not.
const COMPENSATED: i16 = 5;
const ABANDONED: i16 = 6;

/// An order and its sagas, as the read models show them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    order_id: Uuid,
    state: OrderState,
    amount: i64,
    currency: String,
    updated_at: DateTime<Utc>,
    /// Where the saga stands that makes the order happen, if it is known.
    place: Option<i16>,
    /// Where the saga stands that undoes it, if there is one.
    cancel: Option<i16>,
}

impl Place {
    fn is_under_way(&self) -> bool {
        self.place.into_iter().chain(self.cancel).any(|state| States::OPEN.has(state))
    }

    /// The planned act that has a step of the saga that makes the order happen undone, now that it is over: a participant
    /// did what the saga was told it had not done. `None` where nothing can be undone any more.
    fn undo(&self, step: &str) -> Option<String> {
        let saga = place_saga_id(self.order_id);
        let undone = States::one(COMPENSATED).or(States::one(ABANDONED));
        let may = self.cancel.is_none() && self.place.is_some_and(|state| undone.has(state));
        may.then(|| format!("sagactl saga retry {saga} --step {step} --reason WHY --plan"))
    }

    /// The saga that had the last word.
    fn saga_id(&self) -> Uuid {
        if self.cancel.is_some() { cancel_saga_id(self.order_id) } else { place_saga_id(self.order_id) }
    }
}

/// Orders by id.
pub(super) struct Known(HashMap<Uuid, Place>);

type Row = (Uuid, i16, i64, String, DateTime<Utc>);

impl Known {
    /// The orders that are known of these, with their sagas.
    pub(super) async fn of(pool: &PgPool, orders: impl Iterator<Item = Uuid>) -> Result<Self, Status> {
        let found: Vec<Row> = rows(
            sqlx::query_as(
                "select order_id, state, minor_units, currency, updated_at
                 from order_view
                 where order_id = any($1)",
            )
            .bind(orders.collect::<Vec<_>>())
            .fetch_all(pool),
        )
        .await?;
        let places = with_sagas(pool, found).await?;
        Ok(Self(places.into_iter().map(|place| (place.order_id, place)).collect()))
    }

    /// The orders that are not over and have not moved since `before`.
    pub(super) async fn open(pool: &PgPool, before: DateTime<Utc>) -> Result<Vec<Place>, Status> {
        let found: Vec<Row> = rows(
            sqlx::query_as(
                "select order_id, state, minor_units, currency, updated_at
                 from order_view
                 where state not in (4, 5, 6)
                   and updated_at < $1
                 order by order_id
                 limit 10000",
            )
            .bind(before)
            .fetch_all(pool),
        )
        .await?;
        with_sagas(pool, found).await
    }
}

async fn with_sagas(pool: &PgPool, found: Vec<Row>) -> Result<Vec<Place>, Status> {
    let sagas: Vec<Uuid> = found.iter().flat_map(|row| [place_saga_id(row.0), cancel_saga_id(row.0)]).collect();
    let states: Vec<(Uuid, i16)> = rows(
        sqlx::query_as("select saga_id, state from saga_view where saga_id = any($1)").bind(sagas).fetch_all(pool),
    )
    .await?;
    let states: HashMap<Uuid, i16> = states.into_iter().collect();
    let place = |(order_id, state, amount, currency, updated_at): Row| Place {
        order_id,
        state: OrderState::try_from(i32::from(state)).unwrap_or(OrderState::Unspecified),
        amount,
        currency,
        updated_at,
        place: states.get(&place_saga_id(order_id)).copied(),
        cancel: states.get(&cancel_saga_id(order_id)).copied(),
    };
    Ok(found.into_iter().map(place).collect())
}

/// A payment that no saga explains.
pub(super) fn judge_payment(payment: &HeldPayment, known: &Known, before: DateTime<Utc>) -> Option<Orphan> {
    if payment.since.is_none_or(|since| since >= before) {
        return None;
    }
    let captured = payment.state == PaymentState::Captured;
    let amount = payment.amount;
    let orphan = |kind: &str, place: Option<&Place>, detail: String, proposal: String| Orphan {
        kind: kind.to_owned(),
        service: "payment".to_owned(),
        id: payment.id.clone(),
        order_id: payment.order_id.to_string(),
        saga_id: place.map(|place| place.saga_id().to_string()).unwrap_or_default(),
        exposure: Some(pb::Exposure {
            currency_code: payment.currency.clone(),
            authorized_minor_units: if captured { 0 } else { amount },
            captured_minor_units: if captured { amount } else { 0 },
            ..pb::Exposure::default()
        }),
        since: payment.since.map(Into::into),
        detail,
        proposal,
    };
    let by_hand = |what: &str| format!("no saga can do it: {what} payment {} at the provider, by hand", payment.id);
    let Some(place) = known.0.get(&payment.order_id) else {
        let what = if captured { "refund" } else { "void" };
        return Some(orphan("PAYMENT_WITHOUT_ORDER", None, "its order is not known here".to_owned(), by_hand(what)));
    };
    if place.is_under_way() {
        return None;
    }
    let detail = format!("its order is {}, and no saga of it is under way", place.state.as_str_name());
    match (captured, place.state) {
        (true, OrderState::Completed) => None,
        (true, _) => Some(orphan("CAPTURED_WITHOUT_COMPLETED_ORDER", Some(place), detail, by_hand("refund"))),
        (false, _) => {
            let proposal = place.undo(AUTHORIZE_PAYMENT).unwrap_or_else(|| by_hand("void"));
            Some(orphan("PAYMENT_HELD_AFTER_END", Some(place), detail, proposal))
        }
    }
}

/// A reservation that no saga explains.
pub(super) fn judge_reservation(goods: &HeldGoods, known: &Known, before: DateTime<Utc>) -> Option<Orphan> {
    if goods.since.is_none_or(|since| since >= before) {
        return None;
    }
    let place = known.0.get(&goods.order_id);
    let (kind, detail) = match place {
        None => ("RESERVATION_WITHOUT_ORDER", "its order is not known here".to_owned()),
        Some(place) if place.is_under_way() => return None,
        Some(place) => (
            "RESERVATION_HELD_AFTER_END",
            format!("its order is {}, and no saga of it is under way", place.state.as_str_name()),
        ),
    };
    Some(Orphan {
        kind: kind.to_owned(),
        service: "products".to_owned(),
        id: goods.id.clone(),
        order_id: goods.order_id.to_string(),
        saga_id: place.map(|place| place.saga_id().to_string()).unwrap_or_default(),
        exposure: Some(pb::Exposure {
            currency_code: place.map(|place| place.currency.clone()).unwrap_or_default(),
            reserved_minor_units: place.map_or(0, |place| place.amount),
            reserved_units: goods.units,
            ..pb::Exposure::default()
        }),
        since: goods.since.map(Into::into),
        detail,
        proposal: place.and_then(|place| place.undo(RESERVE_INVENTORY)).unwrap_or_else(|| {
            format!("no saga can do it: add {} units back to the stock of its products, by hand", goods.units)
        }),
    })
}

/// An order that is not over although none of its sagas is under way.
pub(super) fn judge_order(place: &Place) -> Option<Orphan> {
    if place.is_under_way() {
        return None;
    }
    let saga_id = place.saga_id();
    let (detail, proposal) = match place.place {
        None => (
            "it has no saga in the read model".to_owned(),
            format!("sagactl replay check: if the log has saga {saga_id}, the read model has to be made anew"),
        ),
        Some(_) => (
            "its saga is over and it is not".to_owned(),
            format!("sagactl saga show {saga_id}: an abandoned saga leaves its order to you"),
        ),
    };
    Some(Orphan {
        kind: "ORDER_WITHOUT_END".to_owned(),
        service: "orders".to_owned(),
        id: place.order_id.to_string(),
        order_id: place.order_id.to_string(),
        saga_id: saga_id.to_string(),
        exposure: Some(pb::Exposure { currency_code: place.currency.clone(), ..pb::Exposure::default() }),
        since: Some(place.updated_at.into()),
        detail,
        proposal,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: Uuid = Uuid::from_u128(7);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn known(state: OrderState, place: Option<i16>, cancel: Option<i16>) -> Known {
        let place =
            Place { order_id: ORDER, state, amount: 500, currency: "EUR".to_owned(), updated_at: at(5), place, cancel };
        Known(HashMap::from([(ORDER, place)]))
    }

    fn paid(state: PaymentState) -> HeldPayment {
        HeldPayment {
            id: "p".to_owned(),
            order_id: ORDER,
            state,
            amount: 500,
            currency: "EUR".to_owned(),
            since: Some(at(10)),
        }
    }

    fn kind(orphan: Option<Orphan>) -> Option<String> {
        orphan.map(|orphan| orphan.kind)
    }

    #[test]
    fn money_is_explained_by_a_completed_order_or_a_saga_under_way() {
        let before = at(100);
        let captured = paid(PaymentState::Captured);
        let judged = |known: Known| kind(judge_payment(&captured, &known, before));
        assert_eq!(judged(known(OrderState::Completed, Some(4), None)), None);
        assert_eq!(judged(known(OrderState::Completed, Some(4), Some(1))), None);
        assert_eq!(judged(known(OrderState::Confirmed, Some(3), None)), None);
        assert_eq!(
            judged(known(OrderState::Failed, Some(5), None)).as_deref(),
            Some("CAPTURED_WITHOUT_COMPLETED_ORDER")
        );
        assert_eq!(
            judged(known(OrderState::Confirmed, Some(6), None)).as_deref(),
            Some("CAPTURED_WITHOUT_COMPLETED_ORDER")
        );
        assert_eq!(judged(Known(HashMap::new())).as_deref(), Some("PAYMENT_WITHOUT_ORDER"));
        let held =
            kind(judge_payment(&paid(PaymentState::Authorized), &known(OrderState::Failed, Some(5), None), before));
        assert_eq!(held.as_deref(), Some("PAYMENT_HELD_AFTER_END"));
    }

    #[test]
    fn what_a_saga_that_was_undone_left_behind_has_a_planned_act() {
        let failed = known(OrderState::Failed, Some(5), None);
        let undo =
            |step: &str| format!("sagactl saga retry {} --step {step} --reason WHY --plan", place_saga_id(ORDER));
        let money = judge_payment(&paid(PaymentState::Authorized), &failed, at(100)).unwrap();
        assert_eq!(money.proposal, undo("authorize-payment"));
        let goods = HeldGoods { id: "r".to_owned(), order_id: ORDER, units: 2, since: Some(at(10)) };
        assert_eq!(judge_reservation(&goods, &failed, at(100)).unwrap().proposal, undo("reserve-inventory"));
        let completed = known(OrderState::Completed, Some(4), None);
        let kept = judge_payment(&paid(PaymentState::Authorized), &completed, at(100)).unwrap();
        assert!(kept.proposal.contains("by hand"), "{}", kept.proposal);
    }

    #[test]
    fn what_moved_a_moment_ago_is_not_judged() {
        assert_eq!(judge_payment(&paid(PaymentState::Captured), &Known(HashMap::new()), at(10)), None);
    }

    #[test]
    fn goods_are_explained_by_a_saga_under_way_alone() {
        let goods = HeldGoods { id: "r".to_owned(), order_id: ORDER, units: 2, since: Some(at(10)) };
        let judged = |known: Known| kind(judge_reservation(&goods, &known, at(100)));
        assert_eq!(judged(known(OrderState::Pending, Some(1), None)), None);
        assert_eq!(judged(known(OrderState::Failed, Some(5), None)).as_deref(), Some("RESERVATION_HELD_AFTER_END"));
        assert_eq!(judged(Known(HashMap::new())).as_deref(), Some("RESERVATION_WITHOUT_ORDER"));
    }

    #[test]
    fn an_order_ends_with_its_saga() {
        let of = |place| known(OrderState::Confirmed, place, None).0.remove(&ORDER).unwrap();
        assert_eq!(kind(judge_order(&of(Some(1)))), None);
        assert_eq!(kind(judge_order(&of(Some(6)))).as_deref(), Some("ORDER_WITHOUT_END"));
        assert_eq!(kind(judge_order(&of(None))).as_deref(), Some("ORDER_WITHOUT_END"));
    }
}
