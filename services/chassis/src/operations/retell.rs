//! Telling again what the broker has lost, as an operation ([`transport::rebuild`]): whoever dies on the way is followed
//! by one who compares anew.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use eventstore::Transport;
use farmera_proto::saga::v1 as pb;
use pb::act::Kind;
use tokio::time::timeout;
use tonic::Status;

use super::{Acts, Became, Foreseen, Item, Job, Later, Mandate, only, time};
use crate::broker::Broker;
use crate::problem::{self, Violations};
use crate::relay::RelaySpec;
use crate::transport::{self, CompareError, Missing, Plan};

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
        act: &pb::Act,
        selection: &pb::Selection,
        _mandate: &Mandate,
        _now: DateTime<Utc>,
    ) -> Result<Foreseen, Status> {
        let mut violations = Violations::new();
        only(&mut violations, selection, &pb::Selection::default(), "the service's own stream");
        let from = since(&mut violations, act);
        violations.finish(self.domain)?;
        let mut unheard = |_: &'static str, _: u64, _: u64| {};
        let compared = transport::missing(self.spec, &*self.store, &self.broker, from, &mut unheard);
        let late = "log and broker could not be compared in time; compare with `farmera transport verify`";
        let compared = timeout(COMPARE_LIMIT, compared).await.map_err(|_| problem::unavailable(self.domain, late))?;
        let missing = compared.map_err(|error| problem::unavailable(self.domain, error.to_string()))?;
        Ok(Foreseen { items: vec![self.item(&missing, from)], repeated_requests: 0 })
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
    fn item(&self, missing: &Missing, from: Option<DateTime<Utc>>) -> pb::PlanItem {
        let Missing { report, wanted, number } = missing;
        let item = pb::PlanItem { id: self.spec.stream.to_owned(), version: *number, ..pb::PlanItem::default() };
        let older = report.missing - wanted;
        let besides =
            if older > 0 { format!("; {older} older ones are missing, too, and stay so") } else { String::new() };
        let since = from.map(|from| format!(" since {}", from.to_rfc3339_opts(SecondsFormat::Millis, true)));
        let since = since.unwrap_or_default();
        if *wanted == 0 {
            let refused = match older {
                0 => format!("the broker holds all {} messages that were told", report.told),
                _ => format!("the broker lacks nothing that was told{since}{besides}"),
            };
            return pb::PlanItem { refused, ..item };
        }
        let event = format!(
            "{wanted} events of the log{since} are told again, marked as restored; the broker lacks them{besides}"
        );
        pb::PlanItem { events: vec![event], affected: *wanted, ..item }
    }

    async fn tell_again(&self, job: &Job<'_>) -> Became {
        let act = job.operation.act.clone().unwrap_or_default();
        let plan = Plan { from: since(&mut Violations::new(), &act), dry_run: false, run: job.id };
        let mut tell = |what: &'static str, done: u64, of: u64| job.progress.tell(format!("{what}: {done} of {of}"));
        match transport::rebuild(self.spec, &*self.store, &self.broker, plan, &mut tell).await {
            Ok(restored) => {
                let left = restored.left;
                job.progress.tell(format!("{} told again, {left} missing", restored.told_again));
                Ok((left > 0).then(|| format!("{left} are still missing")))
            }
            Err(error @ (CompareError::Broker(_) | CompareError::Store(_) | CompareError::Refused(_))) => {
                Err(Later(error.to_string()))
            }
            Err(error @ CompareError::Untellable(_)) => Ok(Some(error.to_string())),
        }
    }
}

/// From when on messages are told again; `None` for the beginning. Nothing else of a range can be said.
fn since(violations: &mut Violations, act: &pb::Act) -> Option<DateTime<Utc>> {
    let told = act.event_range.clone().unwrap_or_default();
    if told != (pb::EventRange { from_time: told.from_time, ..pb::EventRange::default() }) {
        violations
            .add("act.event_range", "names more than from_time: the act is one on whatever is missing since then");
    }
    time(violations, "act.event_range.from_time", told.from_time.as_ref())
}
