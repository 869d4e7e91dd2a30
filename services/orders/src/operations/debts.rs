//! What abandoned sagas owe: what they held when somebody ended them as they stood, until it is undone or somebody says
//! that they have seen to it.

use std::sync::Arc;
use std::time::Duration;

use chassis::shutdown::Shutdown;
use chrono::{DateTime, TimeDelta, Utc};
use eventstore::Clock;
use farmera_proto::saga::v1 as pb;
use metrics::gauge;
use pb::reconcile_response::Orphan;
use sqlx::postgres::PgPool;
use tonic::Status;
use tracing::warn;
use uuid::Uuid;

use crate::projections::rows;
use crate::sagas::{AUTHORIZE_PAYMENT, CANCEL_ORDER, CAPTURE_PAYMENT, REFUND_PAYMENT, RESERVE_INVENTORY};

/// The kind of a finding of `reconcile` that is a debt.
pub const KIND: &str = "OWED_BY_ABANDONED_SAGA";
/// Debts looked at together at most, the oldest first.
const DEBTS_MAX: i64 = 10_000;
/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(30);
/// A debt that is older is shouted about.
const OLD: TimeDelta = TimeDelta::hours(1);
/// Looks between two shouts.
const LOOKS_PER_SHOUT: u32 = 20;

/// What one saga owes.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Debt {
    /// The saga.
    pub saga_id: Uuid,
    /// Its order.
    pub order_id: Uuid,
    /// Its definition's name.
    pub definition: String,
    /// Since when.
    pub owed_since: DateTime<Utc>,
    /// Of this currency.
    pub currency: String,
    /// Money held, minor units.
    pub authorized: i64,
    /// Money taken, minor units.
    pub captured: i64,
    /// Goods held, at order value, minor units.
    pub reserved: i64,
    /// Goods held, units.
    pub reserved_units: i64,
}

/// The debts there are, the oldest first.
///
/// # Errors
/// UNAVAILABLE.
pub async fn all(pool: &PgPool) -> Result<Vec<Debt>, Status> {
    let query = sqlx::query_as::<_, Debt>(
        "select saga_id, order_id, definition, owed_since, currency, authorized, captured, reserved, reserved_units
         from saga_view
         where owed_since is not null
           and (authorized <> 0 or captured <> 0 or reserved_units <> 0)
         order by owed_since, saga_id
         limit $1",
    );
    rows(query.bind(DEBTS_MAX).fetch_all(pool)).await
}

impl Debt {
    /// What `reconcile` says of it: one finding for each participant that holds something.
    #[must_use]
    pub fn findings(&self) -> Vec<Orphan> {
        let mut found = Vec::new();
        if self.authorized != 0 || self.captured != 0 {
            let step = match (self.captured != 0, self.definition.as_str()) {
                (false, _) => AUTHORIZE_PAYMENT,
                (true, CANCEL_ORDER) => REFUND_PAYMENT,
                (true, _) => CAPTURE_PAYMENT,
            };
            let held = pb::Exposure {
                authorized_minor_units: self.authorized,
                captured_minor_units: self.captured,
                ..pb::Exposure::default()
            };
            found.push(self.finding("payment", step, held));
        }
        if self.reserved_units != 0 {
            let held = pb::Exposure {
                reserved_minor_units: self.reserved,
                reserved_units: self.reserved_units,
                ..pb::Exposure::default()
            };
            found.push(self.finding("products", RESERVE_INVENTORY, held));
        }
        found
    }

    fn finding(&self, service: &str, step: &str, held: pb::Exposure) -> Orphan {
        let settle = |act: &str| format!("sagactl saga {act} {} --step {step} --reason WHY --plan", self.saga_id);
        let proposal = if step == AUTHORIZE_PAYMENT || step == RESERVE_INVENTORY {
            format!("{} (asks {service} to undo it); seen to by hand: {}", settle("retry"), settle("skip"))
        } else {
            format!("pay it back or deliver, by hand; then {}", settle("skip"))
        };
        Orphan {
            kind: KIND.to_owned(),
            service: service.to_owned(),
            id: self.saga_id.to_string(),
            order_id: self.order_id.to_string(),
            saga_id: self.saga_id.to_string(),
            exposure: Some(pb::Exposure { currency_code: self.currency.clone(), ..held }),
            since: Some(self.owed_since.into()),
            detail: format!("its saga was abandoned and owes it ({step})"),
            proposal,
        }
    }
}

/// What is said of these debts once the oldest is too old; `None` before.
#[must_use]
pub fn alarm(debts: &[Debt], now: DateTime<Utc>) -> Option<String> {
    let oldest = debts.iter().min_by_key(|debt| debt.owed_since)?;
    let age = now - oldest.owed_since;
    (age >= OLD).then(|| {
        format!(
            "abandoned sagas owe what nobody has seen to: {} of them, the oldest, {}, for {} min; see `sagactl reconcile`",
            debts.len(),
            oldest.saga_id,
            age.num_minutes()
        )
    })
}

/// Looks every half minute, and says in the metrics what is owed and for how long: `farmera_saga_debts` and
/// `farmera_saga_debts_oldest_seconds`. What is older than an hour is a warning every ten minutes.
pub async fn look_now_and_then(pool: PgPool, clock: Arc<dyn Clock>, mut shutdown: Shutdown) {
    let mut looks = 0_u32;
    loop {
        match all(&pool).await {
            Ok(debts) => {
                let now = clock.now();
                tell(&debts, now);
                if let Some(alarm) = alarm(&debts, now).filter(|_| looks.is_multiple_of(LOOKS_PER_SHOUT)) {
                    warn!(debts = debts.len(), "{alarm}");
                }
                looks = looks.wrapping_add(1);
            }
            Err(status) => warn!(error = &status as &dyn std::error::Error, "what is owed cannot be read"),
        }
        tokio::select! {
            () = shutdown.triggered() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn tell(debts: &[Debt], now: DateTime<Utc>) {
    let oldest = debts.iter().map(|debt| (now - debt.owed_since).num_seconds()).max().unwrap_or(0);
    gauge!("farmera_saga_debts").set(debts.len() as f64);
    gauge!("farmera_saga_debts_oldest_seconds").set(oldest as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn debt(definition: &str, (authorized, captured, reserved_units): (i64, i64, i64)) -> Debt {
        Debt {
            saga_id: Uuid::from_u128(7),
            order_id: Uuid::from_u128(8),
            definition: definition.to_owned(),
            owed_since: DateTime::from_timestamp(1_000, 0).unwrap(),
            currency: "EUR".to_owned(),
            authorized,
            captured,
            reserved: reserved_units * 195,
            reserved_units,
        }
    }

    #[test]
    fn every_participant_that_holds_something_is_named_with_the_step_and_the_command() {
        let found = debt("place-order", (890, 0, 1)).findings();
        let told: Vec<_> = found.iter().map(|one| (one.service.as_str(), one.detail.as_str())).collect();
        assert_eq!(
            told,
            [
                ("payment", "its saga was abandoned and owes it (authorize-payment)"),
                ("products", "its saga was abandoned and owes it (reserve-inventory)")
            ]
        );
        let id = Uuid::from_u128(7);
        assert!(
            found[1].proposal.starts_with(&format!("sagactl saga retry {id} --step reserve-inventory")),
            "{}",
            found[1].proposal
        );
        let refund = &debt(CANCEL_ORDER, (0, 890, 0)).findings()[0];
        assert!(refund.proposal.contains("--step refund-payment"), "{}", refund.proposal);
    }

    #[test]
    fn a_debt_is_shouted_about_once_it_is_old_with_its_age() {
        let debts = [debt("place-order", (0, 0, 1))];
        assert_eq!(alarm(&debts, debts[0].owed_since + TimeDelta::minutes(59)), None);
        let alarm = alarm(&debts, debts[0].owed_since + TimeDelta::minutes(61)).unwrap();
        assert!(alarm.contains("for 61 min") && alarm.contains("reconcile"), "{alarm}");
    }
}
