//! What operations there are, and what became of their items.

use std::sync::Arc;
use std::time::Duration;

use crate::problem::{self, Problem};
use crate::projection::{token, written};
use chrono::{DateTime, Utc};
use farmera_proto::saga::v1 as pb;
use pb::operation::State;
use sqlx::postgres::PgPool;
use tokio::sync::Notify;
use tonic::{Code, Status};
use uuid::Uuid;

use super::plan_book::PlanError;
use super::rows;

/// Keeps operations.
#[derive(Clone)]
pub struct OperationBook {
    pool: PgPool,
    service: &'static str,
    domain: &'static str,
    begun: Arc<Notify>,
}

/// An operation to begin.
#[derive(Clone, Debug)]
pub struct Begin {
    /// Its id.
    pub id: Uuid,
    /// The plan.
    pub plan: pb::Plan,
    /// Who.
    pub actor: String,
    /// At most so many a second.
    pub rate: u32,
    /// First so many alone.
    pub canary: u32,
    /// Stops when more than this many have failed.
    pub failures_max: u32,
}

/// An item that waits.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Item {
    /// Its number in the operation, from 1.
    pub ordinal: i32,
    /// The saga's id, or the letter's number.
    pub item: String,
    /// What the plan rests on.
    pub version: i64,
}

/// What became of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which.
    pub ordinal: i32,
    /// Why it failed; `None` when it did not.
    pub failure: Option<String>,
}

/// An operation that this process is on.
#[derive(Clone, Debug, PartialEq)]
pub struct Claimed {
    /// The operation.
    pub operation: pb::Operation,
    /// Its id.
    pub id: Uuid,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    plan_hash: String,
    act: String,
    reason: String,
    actor: String,
    approved_by: String,
    state: i16,
    total: i32,
    succeeded: i64,
    failed: i64,
    rate: i32,
    canary: i32,
    failures_max: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    detail: String,
}

macro_rules! operations {
    ($which:literal) => {
        concat!(
            "select o.id, o.plan_hash, o.act::text as act, o.reason, o.actor, o.approved_by, o.state, o.total, o.rate,
                    o.canary, o.failures_max, o.created_at, o.updated_at, o.detail,
                    (select count(*) from operation_item as i where i.operation_id = o.id and i.state = 1) as succeeded,
                    (select count(*) from operation_item as i where i.operation_id = o.id and i.state = 2) as failed
             from operation as o ",
            $which
        )
    };
}

impl OperationBook {
    /// The operations of a `service` (`orders`, whose are those of `orders.farmera.dev`) in its database.
    #[must_use]
    pub fn new(pool: PgPool, service: &'static str, domain: &'static str) -> Self {
        Self { pool, service, domain, begun: Arc::default() }
    }

    /// Of whom it is told what goes wrong: `orders.farmera.dev`.
    #[must_use]
    pub fn domain(&self) -> &'static str {
        self.domain
    }

    /// Waits until an operation is begun by this book or a clone of it; at once when one was since the last wait.
    pub async fn until_begun(&self) {
        self.begun.notified().await;
    }

    /// Begins an operation; the plan is applied by it, and by no other.
    ///
    /// # Errors
    /// FAILED_PRECONDITION when somebody has applied the plan, or UNAVAILABLE.
    pub async fn begin(&self, begin: &Begin, now: DateTime<Utc>) -> Result<(), Status> {
        let act = serde_json::to_string(&begin.plan.act.clone().unwrap_or_default())
            .map_err(|_| problem::internal(self.domain))?;
        let items: Vec<_> = begin.plan.items.iter().filter(|item| item.refused.is_empty()).collect();
        let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        // One statement: the plan is taken, the operation written, the items written, or nothing.
        let begun = sqlx::query_scalar::<_, Uuid>(
            "with taken as (
                 update operation_plan
                 set operation_id = $2
                 where hash = $1 and operation_id is null
                 returning hash
             ),
             begun as (
                 insert into operation (
                     id, plan_hash, act, reason, actor, approved_by, state, total, rate, canary, failures_max, created_at,
                     updated_at, detail
                 )
                 select $2, hash, $3::text::json, $4, $5, $6, 1, $7, $8, $9, $10, $11, $11, ''
                 from taken
                 returning id
             ),
             written as (
                 insert into operation_item (operation_id, ordinal, item, version)
                 select begun.id, i.ordinal, i.item, i.version
                 from begun, unnest($12::text[], $13::bigint[]) with ordinality as i (item, version, ordinal)
             )
             select id from begun",
        )
        .bind(&begin.plan.hash)
        .bind(begin.id)
        .bind(act)
        .bind(&begin.plan.reason)
        .bind(&begin.actor)
        .bind(&begin.plan.approved_by)
        .bind(i32::try_from(items.len()).unwrap_or(i32::MAX))
        .bind(number(begin.rate))
        .bind(number(begin.canary))
        .bind(number(begin.failures_max))
        .bind(now)
        .bind(items.iter().map(|item| item.id.clone()).collect::<Vec<_>>())
        .bind(items.iter().map(|item| i64::try_from(item.version).unwrap_or(i64::MAX)).collect::<Vec<_>>())
        .fetch_all(&self.pool);
        match rows(self.domain, begun).await?.as_slice() {
            [] => Err(PlanError::Applied("another one".to_owned()).into_status(self.domain)),
            [_, ..] => {
                self.begun.notify_one();
                Ok(())
            }
        }
    }

    /// One operation.
    ///
    /// # Errors
    /// NOT_FOUND, or UNAVAILABLE.
    pub async fn get(&self, id: Uuid) -> Result<pb::Operation, Status> {
        let found =
            rows(self.domain, sqlx::query_as(operations!("where o.id = $1")).bind(id).fetch_all(&self.pool)).await?;
        let found = found.into_iter().next().map(|row| operation(self.service, row));
        found.ok_or_else(|| {
            Problem::new(Code::NotFound, "OPERATION_NOT_FOUND", "there is no such operation")
                .with("operation_id", id)
                .into_status(self.domain)
        })
    }

    /// An operation with the token for everything that it had done when it was read.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn stamped(&self, operation: pb::Operation) -> Result<pb::Operation, Status> {
        let place = rows(self.domain, async { Ok(vec![written(&self.pool).await?]) }).await?;
        let written_token = place.first().map(|place| token(self.service, *place)).unwrap_or_default();
        Ok(pb::Operation { written_token, ..operation })
    }

    /// Operations that began before this one, newest first.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn list(&self, before: Option<Uuid>, limit: usize) -> Result<Vec<pb::Operation>, Status> {
        let statement = operations!("where ($1::uuid is null or o.id < $1) order by o.id desc limit $2");
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = rows(self.domain, sqlx::query_as(statement).bind(before).bind(limit).fetch_all(&self.pool)).await?;
        Ok(found.into_iter().map(|row| operation(self.service, row)).collect())
    }

    /// What failed of an operation, at most `limit`.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn failures(&self, id: Uuid, limit: i64) -> Result<Vec<pb::OperationItem>, Status> {
        let found: Vec<(String, String)> = rows(
            self.domain,
            sqlx::query_as(
                "select item, failure
                 from operation_item
                 where operation_id = $1 and state = 2
                 order by ordinal
                 limit $2",
            )
            .bind(id)
            .bind(limit)
            .fetch_all(&self.pool),
        )
        .await?;
        Ok(found.into_iter().map(|(id, failure)| pb::OperationItem { id, failure }).collect())
    }

    /// Ends an operation that is at work; one that is over stays as it is.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn end(&self, id: Uuid, state: State, detail: &str) -> Result<(), Status> {
        let ended = sqlx::query_scalar::<_, Uuid>(
            "update operation
             set state = $2, detail = coalesce(nullif($3, ''), detail), updated_at = now(), claimed_until = null
             where id = $1 and state = 1
             returning id",
        )
        .bind(id)
        .bind(i16::try_from(i32::from(state)).unwrap_or(0))
        .bind(detail)
        .fetch_all(&self.pool);
        rows(self.domain, ended).await.map(drop)
    }

    /// Ends an operation that has not moved for `patience`, as failed; one that has goes on.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn give_up(&self, id: Uuid, patience: Duration, detail: &str) -> Result<(), Status> {
        let ended = sqlx::query_scalar::<_, Uuid>(
            "update operation
             set state = $2, detail = $3, updated_at = now(), claimed_until = null
             where id = $1 and state = 1 and updated_at < now() - $4 * interval '1 second'
             returning id",
        )
        .bind(id)
        .bind(i16::try_from(i32::from(State::Failed)).unwrap_or(0))
        .bind(detail)
        .bind(patience.as_secs_f64())
        .fetch_all(&self.pool);
        rows(self.domain, ended).await.map(drop)
    }

    /// Takes up the oldest operation that nobody is on, until `lease` is over.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn claim(&self, lease: Duration) -> Result<Option<Claimed>, Status> {
        let claimed: Vec<Uuid> = rows(
            self.domain,
            sqlx::query_scalar(
                "update operation
                 set claimed_until = now() + $1 * interval '1 second'
                 where id = (
                     select id
                     from operation
                     where state = 1 and (claimed_until is null or claimed_until <= now())
                     order by created_at
                     limit 1
                     for update skip locked
                 )
                 returning id",
            )
            .bind(lease.as_secs_f64())
            .fetch_all(&self.pool),
        )
        .await?;
        match claimed.first() {
            Some(id) => Ok(Some(Claimed { operation: self.get(*id).await?, id: *id })),
            None => Ok(None),
        }
    }

    /// The next items that wait.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn waiting(&self, id: Uuid, limit: u32) -> Result<Vec<Item>, Status> {
        rows(
            self.domain,
            sqlx::query_as(
                "select ordinal, item, version
                 from operation_item
                 where operation_id = $1 and state = 0
                 order by ordinal
                 limit $2",
            )
            .bind(id)
            .bind(i64::from(limit))
            .fetch_all(&self.pool),
        )
        .await
    }

    /// Notes what became of some items and what is told of it (unless that is nothing), and stays on the operation for another `lease`. False when it was stopped.
    ///
    /// # Errors
    /// UNAVAILABLE: the items are tried again, which is noticed.
    pub async fn note(&self, id: Uuid, outcomes: &[Outcome], told: &str, lease: Duration) -> Result<bool, Status> {
        let noted = sqlx::query_scalar::<_, Uuid>(
            "with noted as (
                 update operation_item as i
                 set state = case when n.failure is null then 1 else 2 end, failure = coalesce(n.failure, '')
                 from unnest($2::integer[], $3::text[]) as n (ordinal, failure)
                 where i.operation_id = $1 and i.ordinal = n.ordinal
             )
             update operation
             set updated_at = case when cardinality($2) = 0 and $5 in ('', detail) then updated_at else now() end,
                 detail = coalesce(nullif($5, ''), detail),
                 claimed_until = now() + $4 * interval '1 second'
             where id = $1 and state = 1
             returning id",
        )
        .bind(id)
        .bind(outcomes.iter().map(|outcome| outcome.ordinal).collect::<Vec<_>>())
        .bind(outcomes.iter().map(|outcome| outcome.failure.clone()).collect::<Vec<_>>())
        .bind(lease.as_secs_f64())
        .bind(told)
        .fetch_all(&self.pool);
        Ok(!rows(self.domain, noted).await?.is_empty())
    }
}

fn operation(service: &'static str, row: Row) -> pb::Operation {
    let number = |number: i64| u32::try_from(number).unwrap_or(0);
    pb::Operation {
        id: row.id.to_string(),
        plan_hash: row.plan_hash,
        act: serde_json::from_str(&row.act).ok(),
        reason: row.reason,
        actor: row.actor,
        approved_by: row.approved_by,
        state: row.state.into(),
        total: number(row.total.into()),
        succeeded: number(row.succeeded),
        failed: number(row.failed),
        rate: number(row.rate.into()),
        canary: number(row.canary.into()),
        failures_max: number(row.failures_max.into()),
        create_time: Some(row.created_at.into()),
        update_time: Some(row.updated_at.into()),
        detail: row.detail,
        service: service.to_owned(),
        written_token: String::new(),
    }
}
