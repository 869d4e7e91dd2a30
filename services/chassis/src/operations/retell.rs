//! Telling again what the broker has lost, as an operation ([`transport::rebuild`]): whoever dies on the way is followed
//! by one who compares anew.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use eventstore::Transport;
use farmera_proto::saga::v1 as pb;
use pb::act::Kind;
use tokio::time::timeout;
use tonic::Status;

use super::{Acts, Became, Foreseen, Item, Job, Later, Mandate};
use crate::broker::Broker;
use crate::problem::{self, Violations};
use crate::relay::RelaySpec;
use crate::transport::{self, CompareError, Plan, Report};

/// Comparing for a plan may take this long; a longer history is compared by `farmera transport`.
const COMPARE_LIMIT: Duration = Duration::from_secs(15);

/// Acts on what the broker holds of this service's messages: to tell again what it should hold and does not.
pub struct TransportActs {
    /// What this service tells the world.
    pub spec: RelaySpec,
    /// Its log.
    pub store: Arc<dyn Transport>,
    /// Where it is told.
    pub broker: Broker,
    /// Whose: `orders.farmera.dev`.
    pub domain: &'static str,
}

#[async_trait::async_trait]
impl Acts for TransportActs {
    fn include(&self, kind: Kind) -> bool {
        kind == Kind::RebuildTransport
    }

    async fn foresee(
        &self,
        _act: &pb::Act,
        selection: &pb::Selection,
        _mandate: &Mandate,
        _now: DateTime<Utc>,
    ) -> Result<Foreseen, Status> {
        let mut violations = Violations::new();
        if *selection != pb::Selection::default() {
            violations.add("selection", "the act is one on the service's own stream: it selects nothing");
        }
        violations.finish(self.domain)?;
        let mut unheard = |_: &'static str, _: u64, _: u64| {};
        let compared = transport::missing(self.spec, &*self.store, &self.broker, &mut unheard);
        let late = "log and broker could not be compared in time; compare with `farmera transport verify`";
        let compared = timeout(COMPARE_LIMIT, compared).await.map_err(|_| problem::unavailable(self.domain, late))?;
        let (report, version) = compared.map_err(|error| problem::unavailable(self.domain, error.to_string()))?;
        Ok(Foreseen { items: vec![self.item(&report, version)], repeated_requests: 0 })
    }

    fn select(&self, _items: &[pb::PlanItem]) -> pb::Selection {
        pb::Selection::default()
    }

    async fn carry_out(&self, job: Job<'_>, items: &[Item]) -> Vec<Became> {
        let mut became = Vec::with_capacity(items.len());
        for _ in items {
            became.push(self.tell_again(&job).await);
        }
        became
    }
}

impl TransportActs {
    /// A plan rests on which events are missing.
    fn item(&self, report: &Report, version: u64) -> pb::PlanItem {
        let item = pb::PlanItem { id: self.spec.stream.to_owned(), version, ..pb::PlanItem::default() };
        if report.missing == 0 {
            let refused = format!("the broker holds all {} messages that were told", report.told);
            return pb::PlanItem { refused, ..item };
        }
        let missing = report.missing;
        let event = format!("{missing} events of the log are told again, marked as restored; the broker lacks them");
        pb::PlanItem { events: vec![event], affected: missing, ..item }
    }

    async fn tell_again(&self, job: &Job<'_>) -> Became {
        let plan = Plan { from: None, dry_run: false, run: job.id };
        let mut tell = |what: &'static str, done: u64, of: u64| job.progress.tell(format!("{what}: {done} of {of}"));
        match transport::rebuild(self.spec, &*self.store, &self.broker, plan, &mut tell).await {
            Ok(restored) => {
                let after = restored.after.unwrap_or(restored.before);
                job.progress.tell(format!("{} told again, {} missing", restored.told_again, after.missing));
                Ok((after.missing > 0).then(|| format!("{} are still missing", after.missing)))
            }
            Err(error @ (CompareError::Broker(_) | CompareError::Store(_) | CompareError::Refused(_))) => {
                Err(Later(error.to_string()))
            }
            Err(error @ CompareError::Untellable(_)) => Ok(Some(error.to_string())),
        }
    }
}
