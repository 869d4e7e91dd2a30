//! Which sagas wait at which hold, for whoever lets them go. Kept with the list of sagas, by the same projection.

use std::collections::BTreeMap;

use chassis::projection::ProjectionError;
use chrono::{DateTime, Utc};
use eventstore::{DomainEvent as _, ReadError, Recorded};
use saga::SagaEvent;
use saga::hold::HoldTarget;
use saga_runtime::HeldSagas;
use sqlx::postgres::{PgConnection, PgPool};
use tonic::Status;
use uuid::Uuid;

use super::sagas::{Group, SagaList};
use crate::operations::query::{Condition, Query, States};
use crate::sagas::{OrderProcess, participant};

/// What events say about a saga's holds, the last word counts.
#[derive(Default)]
struct Change {
    /// Whatever was held before is not any more.
    cleared: bool,
    /// By step: what holds it and since when, or that nothing does.
    steps: BTreeMap<String, Option<(String, DateTime<Utc>)>>,
}

/// Most events say nothing of holds and need not be decoded.
fn is_about_holds(type_name: &str) -> bool {
    const TELLING: [&str; 5] = ["StepHeld", "StepReleased", "CompensationStarted", "SagaAbandoned", "SagaCompensated"];
    TELLING.contains(&type_name)
}

/// Writes down what `events` say about holds.
///
/// # Errors
/// [`ProjectionError`]; the projection tries again.
pub async fn apply(connection: &mut PgConnection, events: &[Recorded]) -> Result<(), ProjectionError> {
    let mut changes: BTreeMap<Uuid, Change> = BTreeMap::new();
    for event in events.iter().filter(|event| is_about_holds(&event.type_name)) {
        let told = SagaEvent::<OrderProcess>::from_recorded(event)?;
        let change = changes.entry(event.stream.id).or_default();
        if let SagaEvent::StepHeld { step, hold, at, .. } = told {
            change.steps.insert(step.to_string(), Some((hold.to_string(), at)));
        } else if let SagaEvent::StepReleased { step, .. } = told {
            change.steps.insert(step.to_string(), None);
        } else {
            *change = Change { cleared: true, steps: BTreeMap::new() };
        }
    }
    if changes.is_empty() {
        return Ok(());
    }
    forget(connection, &changes).await?;
    note(connection, &changes).await?;
    Ok(())
}

async fn forget(connection: &mut PgConnection, changes: &BTreeMap<Uuid, Change>) -> Result<(), sqlx::Error> {
    let cleared: Vec<Uuid> = changes.iter().filter(|(_, change)| change.cleared).map(|(id, _)| *id).collect();
    let gone: Vec<(Uuid, String)> = changes
        .iter()
        .flat_map(|(id, change)| change.steps.iter().map(move |(step, held)| (*id, step, held)))
        .filter(|(_, _, held)| held.is_none())
        .map(|(id, step, _)| (id, step.clone()))
        .collect();
    sqlx::query(
        "delete from saga_held as h
         where h.saga_id = any($1)
            or exists (select from unnest($2::uuid[], $3::text[]) as g (saga_id, step)
                       where h.saga_id = g.saga_id and h.step = g.step)",
    )
    .bind(cleared)
    .bind(gone.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(gone.into_iter().map(|(_, step)| step).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

async fn note(connection: &mut PgConnection, changes: &BTreeMap<Uuid, Change>) -> Result<(), sqlx::Error> {
    let (mut ids, mut steps, mut holds, mut since) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (id, change) in changes {
        for (step, (hold, at)) in change.steps.iter().filter_map(|(step, held)| Some((step, held.as_ref()?))) {
            ids.push(*id);
            steps.push(step.clone());
            holds.push(hold.clone());
            since.push(*at);
        }
    }
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into saga_held (saga_id, step, hold, since)
         select * from unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[])
         on conflict (saga_id, step) do update set hold = excluded.hold, since = excluded.since",
    )
    .bind(ids)
    .bind(steps)
    .bind(holds)
    .bind(since)
    .execute(connection)
    .await?;
    Ok(())
}

/// Reads `saga_held`.
#[derive(Clone)]
pub struct HeldList(PgPool);

impl HeldList {
    /// Over the service's database.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self(pool)
    }
}

impl HeldList {
    /// How many sagas wait at a hold.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn count(&self, hold: &HoldTarget) -> Result<u64, Status> {
        let count = sqlx::query_scalar::<_, i64>("select count(distinct saga_id) from saga_held where hold = $1");
        let found = super::rows(count.bind(hold.to_string()).fetch_all(&self.0)).await?;
        Ok(found.first().and_then(|count| u64::try_from(*count).ok()).unwrap_or(0))
    }

    /// How many sagas are at what would be held.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn at(&self, target: &HoldTarget, list: &SagaList, now: DateTime<Utc>) -> Result<u64, Status> {
        let open = list.count(&Query::Is(Condition::State(States::OPEN)), now).await?;
        let is_there = |group: &&Group| match target {
            HoldTarget::Participant(name) => participant(&group.step) == name,
            HoldTarget::Step { definition, step } => group.definition == *definition && *step == *group.step.as_str(),
        };
        Ok(open.0.iter().filter(is_there).map(|group| u64::try_from(group.count).unwrap_or(0)).sum())
    }
}

impl HeldSagas for HeldList {
    async fn held(&self, hold: &HoldTarget, limit: usize) -> Result<Vec<Uuid>, ReadError> {
        let found = sqlx::query_scalar::<_, Uuid>(
            "select saga_id
             from saga_held
             where hold = $1
             order by since, saga_id
             limit $2",
        )
        .bind(hold.to_string())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.0);
        match tokio::time::timeout(super::DEADLINE, found).await {
            Ok(found) => found.map_err(|error| ReadError::Unavailable(error.into())),
            Err(late) => Err(ReadError::Unavailable(late.into())),
        }
    }
}
