//! Plans, kept until they are applied or too old.

use crate::problem::{self, Problem};
use chrono::{DateTime, Utc};
use eventstore::Actor;
use farmera_proto::saga::v1 as pb;
use pb::plan::State;
use sqlx::postgres::PgPool;
use tonic::{Code, Status};
use uuid::Uuid;

use super::plan::{LIFETIME, PREFIX_LENGTH_MIN};
use super::rows;

/// Keeps plans.
#[derive(Clone)]
pub struct PlanBook {
    /// The service's database.
    pub pool: PgPool,
    /// Whose plans: `orders.farmera.dev`.
    pub domain: &'static str,
}

/// A plan and what has become of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The plan, every item included.
    pub plan: pb::Plan,
}

/// Why a plan cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Make it anew, or look at its hash again.
    #[error("there is no plan {0}; plans are kept for ten minutes")]
    Unknown(String),
    /// Give more of its hash.
    #[error("{0} names more than one plan: give more digits")]
    Ambiguous(String),
    /// It says of the plan itself.
    #[error("the plan was made more than ten minutes ago: make it anew")]
    Expired,
    /// Watch the operation instead.
    #[error("the plan was applied: operation {0}")]
    Applied(String),
    /// Have somebody else approve it.
    #[error("a second person has to approve the plan: {0}")]
    NeedsApproval(String),
    /// Have somebody else approve it.
    #[error("{0} made the plan, and somebody else has to approve it")]
    OwnApproval(String),
    /// Make it anew: what it would do may be different now.
    #[error("{moved} of what it is about have moved since the plan was made, {first} first: make it anew")]
    Stale {
        /// How many.
        moved: usize,
        /// One of them.
        first: String,
    },
    /// Nothing to do.
    #[error("the plan would change nothing")]
    Empty,
}

impl PlanError {
    /// For the one who asked.
    #[must_use]
    pub fn into_status(self, domain: &'static str) -> Status {
        let message = self.to_string();
        let problem = match &self {
            Self::Unknown(_) => Problem::new(Code::NotFound, "PLAN_NOT_FOUND", message),
            Self::Ambiguous(_) => Problem::new(Code::InvalidArgument, "PLAN_AMBIGUOUS", message),
            Self::Expired => Problem::new(Code::FailedPrecondition, "PLAN_EXPIRED", message),
            Self::Applied(operation) => {
                Problem::new(Code::FailedPrecondition, "PLAN_APPLIED", message).with("operation_id", operation)
            }
            Self::NeedsApproval(_) => Problem::new(Code::FailedPrecondition, "APPROVAL_REQUIRED", message),
            Self::OwnApproval(_) => Problem::new(Code::PermissionDenied, "APPROVAL_BY_ANOTHER_REQUIRED", message),
            Self::Stale { moved, first } => {
                Problem::new(Code::Aborted, "PLAN_STALE", message).with("moved", moved).with("first", first)
            }
            Self::Empty => Problem::new(Code::FailedPrecondition, "PLAN_EMPTY", message),
        };
        problem.into_status(domain)
    }
}

type Row = (String, DateTime<Utc>, DateTime<Utc>, Option<String>, Option<Uuid>);

impl PlanBook {
    /// Keeps a plan for ten minutes from `now`, and drops those that are too old. The same plan made again is kept anew
    /// unless it was applied.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn keep(&self, plan: &pb::Plan, now: DateTime<Utc>) -> Result<(), Status> {
        let json = serde_json::to_string(plan).map_err(|_| problem::internal(self.domain))?;
        let kept = async {
            sqlx::query("delete from operation_plan where expires_at < $1 - interval '1 hour'")
                .bind(now)
                .execute(&self.pool)
                .await?;
            sqlx::query(
                "insert into operation_plan as p (hash, actor, created_at, expires_at, plan)
                 values ($1, $2, $3, $4, $5::text::json)
                 on conflict (hash) do update
                 set created_at = excluded.created_at, expires_at = excluded.expires_at
                 where p.operation_id is null",
            )
            .bind(&plan.hash)
            .bind(&plan.actor)
            .bind(now)
            .bind(now + LIFETIME)
            .bind(json)
            .execute(&self.pool)
            .await?;
            Ok(Vec::<()>::new())
        };
        rows(self.domain, kept).await.map(drop)
    }

    /// The plan whose hash begins like this, as it stands at `now`.
    ///
    /// # Errors
    /// NOT_FOUND, INVALID_ARGUMENT, or UNAVAILABLE.
    pub async fn find(&self, prefix: &str, now: DateTime<Utc>) -> Result<Kept, Status> {
        let is_hash = |c: char| c.is_ascii_hexdigit();
        if prefix.len() < PREFIX_LENGTH_MIN || prefix.len() > 64 || !prefix.chars().all(is_hash) {
            return Err(PlanError::Unknown(prefix.chars().take(64).collect()).into_status(self.domain));
        }
        let prefix = prefix.to_ascii_lowercase();
        let mut found: Vec<Row> = rows(
            self.domain,
            sqlx::query_as(
                "select plan::text, created_at, expires_at, approved_by, operation_id
                 from operation_plan
                 where hash >= $1 and hash < $1 || 'g'
                 limit 2",
            )
            .bind(&prefix)
            .fetch_all(&self.pool),
        )
        .await?;
        match (found.pop(), found.is_empty()) {
            (Some(row), true) => read(self.domain, row, now),
            (Some(_), false) => Err(PlanError::Ambiguous(prefix).into_status(self.domain)),
            (None, _) => Err(PlanError::Unknown(prefix).into_status(self.domain)),
        }
    }

    /// Notes a second person's approval.
    ///
    /// # Errors
    /// [`PlanError`] as a status, or UNAVAILABLE.
    pub async fn approve(&self, prefix: &str, by: &Actor, now: DateTime<Utc>) -> Result<Kept, Status> {
        let kept = self.find(prefix, now).await?;
        match kept.plan.state() {
            State::Expired => return Err(PlanError::Expired.into_status(self.domain)),
            State::Applied => return Err(PlanError::Applied(kept.plan.operation_id).into_status(self.domain)),
            State::Ready => return Ok(kept),
            State::NeedsApproval | State::Unspecified => {}
        }
        if kept.plan.actor == by.as_str() {
            return Err(PlanError::OwnApproval(kept.plan.actor).into_status(self.domain));
        }
        let approved = sqlx::query_scalar::<_, String>(
            "update operation_plan
             set approved_by = $2, approved_at = $3
             where hash = $1 and operation_id is null and approved_by is null and actor <> $2
             returning hash",
        )
        .bind(&kept.plan.hash)
        .bind(by.as_str())
        .bind(now)
        .fetch_all(&self.pool);
        rows(self.domain, approved).await?;
        self.find(&kept.plan.hash, now).await
    }
}

fn read(
    domain: &'static str,
    (json, created_at, expires_at, approved_by, operation_id): Row,
    now: DateTime<Utc>,
) -> Result<Kept, Status> {
    let mut plan: pb::Plan = serde_json::from_str(&json).map_err(|error| {
        tracing::error!(%error, "a kept plan cannot be read");
        problem::internal(domain)
    })?;
    let state = match (operation_id, &approved_by) {
        (Some(_), _) => State::Applied,
        (None, _) if expires_at <= now => State::Expired,
        (None, None) if !plan.approval_reason.is_empty() => State::NeedsApproval,
        (None, _) => State::Ready,
    };
    plan.create_time = Some(created_at.into());
    plan.expire_time = Some(expires_at.into());
    plan.approved_by = approved_by.unwrap_or_default();
    plan.operation_id = operation_id.map(|id| id.to_string()).unwrap_or_default();
    plan.state = state.into();
    Ok(Kept { plan })
}
