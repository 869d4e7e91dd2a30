//! What participants hold, held against the sagas: whatever no saga explains is listed, with what to do about it.

mod ledgers;
mod orphans;

use std::sync::Arc;
use std::time::Duration;

use chassis::shutdown::Shutdown;
use chrono::{DateTime, TimeDelta, Utc};
use eventstore::Clock;
use farmera_proto::saga::v1 as pb;
use metrics::gauge;
use sqlx::postgres::PgPool;
use tonic::Status;
use tracing::warn;

pub use ledgers::Ledgers;
use orphans::{Known, judge_order, judge_payment, judge_reservation};

/// What is younger is under way, most likely.
const OLDER_THAN: TimeDelta = TimeDelta::minutes(5);
/// Orphans told at most.
const ORPHANS_MAX: usize = 1_000;
/// Between two looks on a schedule.
pub const INTERVAL: Duration = Duration::from_secs(600);

/// Every kind of orphan.
pub const KINDS: [&str; 6] = [
    "PAYMENT_WITHOUT_ORDER",
    "PAYMENT_HELD_AFTER_END",
    "CAPTURED_WITHOUT_COMPLETED_ORDER",
    "RESERVATION_WITHOUT_ORDER",
    "RESERVATION_HELD_AFTER_END",
    "ORDER_WITHOUT_END",
];

/// Holds ledgers against sagas.
#[derive(Clone)]
pub struct Reconciliation {
    /// Where ledgers are asked for.
    pub ledgers: Ledgers,
    /// The read models of orders and sagas.
    pub pool: PgPool,
}

impl Reconciliation {
    /// Asks everybody, and lists what no saga explains. A participant that does not answer is named; what the others hold
    /// is told all the same.
    ///
    /// # Errors
    /// UNAVAILABLE when the read models do not answer.
    pub async fn run(
        &self,
        older_than: Option<pbjson_types::Duration>,
        now: DateTime<Utc>,
    ) -> Result<pb::ReconcileResponse, Status> {
        let asked = older_than.and_then(|span| TimeDelta::try_seconds(span.seconds)).unwrap_or(OLDER_THAN);
        let before = now.checked_sub_signed(asked).unwrap_or(now);
        let mut answer = pb::ReconcileResponse::default();
        let mut orphans = Vec::new();
        let (payments, reservations) = tokio::join!(self.ledgers.payments(), self.ledgers.reservations());
        match payments {
            Ok(payments) => {
                answer.payments = payments.len() as u64;
                for chunk in payments.chunks(1_000) {
                    let known = Known::of(&self.pool, chunk.iter().map(|payment| payment.order_id)).await?;
                    orphans.extend(chunk.iter().filter_map(|payment| judge_payment(payment, &known, before)));
                }
            }
            Err(missing) => self.missing(&mut answer, "payment", &missing),
        }
        match reservations {
            Ok(reservations) => {
                answer.reservations = reservations.looked_at;
                for chunk in reservations.held.chunks(1_000) {
                    let known = Known::of(&self.pool, chunk.iter().map(|held| held.order_id)).await?;
                    orphans.extend(chunk.iter().filter_map(|held| judge_reservation(held, &known, before)));
                }
            }
            Err(missing) => self.missing(&mut answer, "products", &missing),
        }
        let open = Known::open(&self.pool, before).await?;
        answer.sagas = open.len() as u64;
        orphans.extend(open.iter().filter_map(judge_order));
        answer.total = orphans.len() as u64;
        orphans.truncate(ORPHANS_MAX);
        answer.orphans = orphans;
        Ok(answer)
    }

    fn missing(&self, answer: &mut pb::ReconcileResponse, service: &str, why: &Status) {
        warn!(service, error = why as &dyn std::error::Error, "a ledger cannot be asked for");
        answer.missing_services.push(service.to_owned());
    }

    /// Looks every ten minutes, and says in the metrics what it found: `farmera_reconcile_orphans{kind}`, of participants
    /// that answered.
    pub async fn look_now_and_then(self, clock: Arc<dyn Clock>, mut shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.triggered() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
            match self.run(None, clock.now()).await {
                Ok(found) => {
                    for kind in KINDS {
                        let count = found.orphans.iter().filter(|orphan| orphan.kind == kind).count();
                        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
                        gauge!("farmera_reconcile_orphans", "kind" => kind).set(count as f64);
                    }
                    if found.total > 0 {
                        warn!(
                            orphans = found.total,
                            "participants hold what no saga explains: see `sagactl reconcile`"
                        );
                    }
                }
                Err(status) => warn!(error = &status as &dyn std::error::Error, "reconciling waits"),
            }
        }
    }
}
