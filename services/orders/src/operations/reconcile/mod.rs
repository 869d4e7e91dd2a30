//! What participants hold, held against the sagas: whatever no saga explains is listed, with what to do about it.

mod ledgers;
mod orphans;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chassis::problem;
use chassis::projection::{Projection, until_current};
use chassis::scan::LogScan;
use chassis::shutdown::Shutdown;
use chrono::{DateTime, TimeDelta, Utc};
use eventstore::Clock;
use farmera_proto::saga::v1 as pb;
use metrics::gauge;
use pb::reconcile_response::Orphan;
use sqlx::postgres::PgPool;
use tonic::Status;
use tracing::warn;

pub use ledgers::Ledgers;
use orphans::{Known, judge_order, judge_payment, judge_reservation};

use crate::operations::debts;
use crate::projections::orders::OrderProjection;
use crate::projections::sagas::SagaProjection;
use crate::status::DOMAIN;

/// What is younger is under way, most likely.
const OLDER_THAN: TimeDelta = TimeDelta::minutes(5);
/// So long the read models may take to catch up.
const CURRENT_WITHIN: Duration = Duration::from_secs(5);
/// Orphans told at most.
const ORPHANS_MAX: usize = 1_000;
/// Between two looks on a schedule.
pub const INTERVAL: Duration = Duration::from_secs(600);

/// Every kind of orphan.
pub const KINDS: [&str; 7] = [
    debts::KIND,
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
    /// How far the log has come.
    pub scan: LogScan,
}

impl Reconciliation {
    /// Asks everybody, and lists what no saga explains. A participant that does not answer is named; what the others hold
    /// is told all the same.
    ///
    /// Books that are read one after another never show one moment: a saga may end between them. So whatever looks like
    /// an orphan is looked at again, and is one when both looks say so. Each look reads the ledgers first and then waits
    /// until the read models hold everything that was in the log by then: the second look's ledgers know of every saga
    /// that had ended at the first.
    ///
    /// # Errors
    /// UNAVAILABLE when the read models do not answer, or lag behind for too long.
    pub async fn run(
        &self,
        older_than: Option<pbjson_types::Duration>,
        now: DateTime<Utc>,
    ) -> Result<pb::ReconcileResponse, Status> {
        let asked = older_than.and_then(|span| TimeDelta::try_seconds(span.seconds)).unwrap_or(OLDER_THAN);
        let before = now.checked_sub_signed(asked).unwrap_or(now);
        let first = self.look(before).await?;
        if first.orphans.is_empty() {
            return Ok(first);
        }
        let suspects: HashSet<_> =
            first.orphans.into_iter().map(|orphan| (orphan.kind, orphan.service, orphan.id)).collect();
        let mut answer = self.look(before).await?;
        let seen = |one: &Orphan| suspects.contains(&(one.kind.clone(), one.service.clone(), one.id.clone()));
        answer.orphans.retain(seen);
        for service in first.missing_services {
            if !answer.missing_services.contains(&service) {
                answer.missing_services.push(service);
            }
        }
        answer.total = answer.orphans.len() as u64;
        answer.orphans.truncate(ORPHANS_MAX);
        Ok(answer)
    }

    /// One look: everything that seems to be an orphan.
    async fn look(&self, before: DateTime<Utc>) -> Result<pb::ReconcileResponse, Status> {
        let mut answer = pb::ReconcileResponse::default();
        let (payments, reservations) = tokio::join!(self.ledgers.payments(), self.ledgers.reservations());
        for projection in [&OrderProjection as &dyn Projection, &SagaProjection] {
            let current = until_current(projection, &self.pool, &self.scan, CURRENT_WITHIN).await;
            current.map_err(|why| {
                warn!(error = &why as &dyn std::error::Error, "the books cannot be compared");
                problem::unavailable(
                    DOMAIN,
                    "the read models are not as of now; try again, see `sagactl projection list`",
                )
            })?;
        }
        match payments {
            Ok(payments) => {
                answer.payments = payments.len() as u64;
                for chunk in payments.chunks(1_000) {
                    let known = Known::of(&self.pool, chunk.iter().map(|payment| payment.order_id)).await?;
                    answer.orphans.extend(chunk.iter().filter_map(|payment| judge_payment(payment, &known, before)));
                }
            }
            Err(missing) => self.missing(&mut answer, "payment", &missing),
        }
        match reservations {
            Ok(reservations) => {
                answer.reservations = reservations.looked_at;
                for chunk in reservations.held.chunks(1_000) {
                    let known = Known::of(&self.pool, chunk.iter().map(|held| held.order_id)).await?;
                    answer.orphans.extend(chunk.iter().filter_map(|held| judge_reservation(held, &known, before)));
                }
            }
            Err(missing) => self.missing(&mut answer, "products", &missing),
        }
        // A debt is listed however young it is, and once: the participant's books say the same.
        let owed: Vec<_> = debts::all(&self.pool).await?.iter().flat_map(debts::Debt::findings).collect();
        let is_owed =
            |one: &Orphan| owed.iter().any(|debt| (&debt.order_id, &debt.service) == (&one.order_id, &one.service));
        answer.orphans.retain(|orphan| !is_owed(orphan));
        answer.orphans.extend(owed);
        let open = Known::open(&self.pool, before).await?;
        answer.sagas = open.len() as u64;
        answer.orphans.extend(open.iter().filter_map(judge_order));
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
