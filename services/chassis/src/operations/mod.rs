//! What operators do to a service: planned, looked at, approved, carried out.
//!
//! One implementation, served by every service for its own store. A plan says what an act would do to each thing it is
//! about, and is named by a hash over all that it rests on ([`plan`], [`plan_book`]). Applying it is refused when
//! something has moved; otherwise it becomes an operation ([`book`]), which a process of the service carries out
//! ([`runner`]), at a pace ([`pace`]): whoever dies leaves a claim that runs out, and the next one goes on.
//!
//! What can be done is [`Acts`]: to dead letters ([`letters`]), to read models ([`rebuild`]), to the broker's memory
//! ([`retell`]), to its streams ([`renew`]), to ranges of the log ([`range`]), here; to sagas and holds in the service that runs them. [`operator`] and
//! [`machinery`] are the ways in. What changes nothing needs no plan: [`check`] compares a read model with the log.

pub mod book;
pub mod check;
pub mod letters;
pub mod machinery;
mod operate;
pub mod operator;
pub mod pace;
pub mod plan;
pub mod plan_book;
pub mod range;
pub mod rebuild;
pub mod renew;
pub mod retell;
pub mod runner;
mod watch;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use eventstore::{Actor, ReadError};
use farmera_proto::saga::v1 as pb;
use pb::act::Kind;
use pbjson_types::Timestamp;
use tokio::time::timeout;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::problem::{self, Problem, Violations};

pub use book::Item;
pub use operate::Operating;

/// Where a caller says who it is.
const ACTOR: &str = "x-farmera-actor";
/// How long a query of plans and operations may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Who does something and why; both are kept with what comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mandate {
    /// Who.
    pub actor: Actor,
    /// Why, and by which plan.
    pub reason: String,
}

impl Mandate {
    /// Why an operation does something, and by which plan.
    #[must_use]
    pub fn of(operation: &pb::Operation) -> Self {
        let hash: String = operation.plan_hash.chars().take(12).collect();
        let approved = match operation.approved_by.as_str() {
            "" => String::new(),
            approver => format!(", approved by {approver}"),
        };
        let reason = format!("{} [plan {hash}{approved}]", operation.reason);
        Self { actor: Actor::new(&operation.actor), reason }
    }
}

/// What would come of an act.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Foreseen {
    /// An item for each thing it is about.
    pub items: Vec<pb::PlanItem>,
    /// Requests among them that were sent before.
    pub repeated_requests: u32,
}

/// An operation at work.
pub struct Job<'a> {
    /// The operation.
    pub operation: &'a pb::Operation,
    /// Its id.
    pub id: Uuid,
    /// How far it is, for people; kept with the operation.
    pub progress: &'a Told,
}

/// A line for people, the last one counts.
#[derive(Debug, Default)]
pub struct Told(Mutex<String>);

impl Told {
    /// Says it.
    pub fn tell(&self, line: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = line;
    }

    /// What was said last.
    #[must_use]
    pub fn last(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// An item cannot be seen to now: the operation goes on later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Later(pub String);

/// What became of one item: why it failed, or `None` when it did not.
pub type Became = Result<Option<String>, Later>;

/// Acts of one sort: what they would do, and doing it.
#[async_trait::async_trait]
pub trait Acts: Send + Sync + 'static {
    /// Whether acts of this kind are among them.
    fn include(&self, kind: Kind) -> bool;

    /// What an act would do at `now`. Changes nothing.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for an act or a selection that makes no sense, or is too large; UNAVAILABLE.
    async fn foresee(
        &self,
        act: &pb::Act,
        selection: &pb::Selection,
        mandate: &Mandate,
        now: DateTime<Utc>,
    ) -> Result<Foreseen, Status>;

    /// Selects the very things that a plan is about.
    fn select(&self, items: &[pb::PlanItem]) -> pb::Selection;

    /// What of a plan is not as it was, any more: the items' ids.
    ///
    /// # Errors
    /// UNAVAILABLE.
    async fn moved(&self, plan: &pb::Plan, mandate: &Mandate, now: DateTime<Utc>) -> Result<Vec<String>, Status> {
        let act = plan.act.clone().unwrap_or_default();
        let planned: Vec<_> = plan.items.iter().filter(|item| item.refused.is_empty()).cloned().collect();
        let foreseen = self.foresee(&act, &self.select(&planned), mandate, now).await?;
        Ok(plan::moved(&planned, &foreseen.items))
    }

    /// Does it to some items of a plan; what became of each, in their order. It may be cut off anywhere, and be asked for
    /// again by another process: what was done before is done then, and no failure.
    async fn carry_out(&self, job: Job<'_>, items: &[Item]) -> Vec<Became>;
}

/// Notes when something else is selected than `own`, which is all that an act on `what` can select.
pub fn only(violations: &mut Violations, selection: &pb::Selection, own: &pb::Selection, what: &str) {
    if selection != own {
        violations.add("selection", format!("the act is one on {what}, and on nothing else"));
    }
}

/// A point in time that a caller may name; noted when it is none.
fn time(violations: &mut Violations, field: &str, time: Option<&Timestamp>) -> Option<DateTime<Utc>> {
    let time = time?;
    let read = u32::try_from(time.nanos).ok().and_then(|nanos| DateTime::from_timestamp(time.seconds, nanos));
    if read.is_none() {
        violations.add(field, "is no time");
    }
    read
}

/// The operator who calls: `operator:ana`.
///
/// # Errors
/// PERMISSION_DENIED when nobody is named, or the name makes no sense.
pub fn actor(domain: &'static str, metadata: &MetadataMap) -> Result<Actor, Status> {
    let named = metadata.get(ACTOR).and_then(|name| name.to_str().ok()).unwrap_or_default();
    let name = named.strip_prefix("operator:").unwrap_or(named);
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@' | '+');
    if (1..=64).contains(&name.len()) && name.chars().all(is_name) {
        return Ok(Actor::new(format!("operator:{name}")));
    }
    let message = "say who you are in the metadata x-farmera-actor: 1 to 64 letters, digits and . - _ @ +";
    Err(Problem::new(Code::PermissionDenied, "ACTOR_REQUIRED", message).into_status(domain))
}

/// What a caller is told when the log cannot be read.
#[must_use]
pub fn unreadable(domain: &'static str, error: ReadError) -> Status {
    match error {
        ReadError::Corrupt(reason) => {
            tracing::error!(reason, "a stored row is corrupt");
            problem::internal(domain)
        }
        ReadError::Unavailable(_) => problem::unavailable(domain, "the event store does not answer; try again"),
    }
}

/// The rows of a query, in time.
async fn rows<T>(
    domain: &'static str,
    query: impl Future<Output = Result<Vec<T>, sqlx::Error>>,
) -> Result<Vec<T>, Status> {
    match timeout(DEADLINE, query).await {
        Ok(Ok(rows)) => Ok(rows),
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "plans and operations cannot be read");
            Err(problem::unavailable(domain, "the database does not answer; try again"))
        }
        Err(_) => Err(problem::unavailable(domain, "the database does not answer in time; try again")),
    }
}
