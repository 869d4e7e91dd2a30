//! The list of sagas; the open ones are what the reconciler walks over.

use std::collections::HashMap;

use chassis::page;
use chassis::problem::Violations;
use chassis::projection::{Projection, ProjectionError};
use chrono::{DateTime, Utc};
use eventstore::{Aggregate as _, Category, DomainEvent as _, ReadError, Recorded};
use farmera_proto::saga::v1 as pb;
use saga::{Saga, SagaEvent};
use saga_runtime::OpenSagas;
use sqlx::postgres::{PgConnection, PgPool};
use tonic::Status;
use uuid::Uuid;

use super::{held, rows};
use crate::sagas::OrderProcess;
use crate::status::DOMAIN;

/// Writes `saga_view`.
pub struct SagaProjection;

#[derive(Default)]
struct Change {
    started: Option<Start>,
    state: Option<pb::saga::State>,
    updated: DateTime<Utc>,
    version: i64,
}

struct Start {
    definition: String,
    version: i32,
    order_id: Uuid,
    at: DateTime<Utc>,
}

/// Only these events change where a saga stands; the others need not even be decoded.
fn state_after(type_name: &str) -> Option<pb::saga::State> {
    match type_name {
        "SagaStarted" => Some(pb::saga::State::Running),
        "CompensationStarted" => Some(pb::saga::State::Compensating),
        "SagaParked" => Some(pb::saga::State::Parked),
        // Which way it goes on is seen with its next event; until then it is on its way.
        "SagaResumed" | "SagaUnpaused" => Some(pb::saga::State::Running),
        "SagaPaused" => Some(pb::saga::State::Paused),
        "SagaCompleted" => Some(pb::saga::State::Completed),
        "SagaCompensated" => Some(pb::saga::State::Compensated),
        "SagaAbandoned" => Some(pb::saga::State::Abandoned),
        "CompensationRequested" | "CompensationSucceeded" => Some(pb::saga::State::Compensating),
        _ => None,
    }
}

#[async_trait::async_trait]
impl Projection for SagaProjection {
    fn name(&self) -> &'static str {
        "saga_view"
    }

    fn categories(&self) -> &'static [Category] {
        &[Saga::<OrderProcess>::CATEGORY]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["saga_view", "saga_held"]
    }

    async fn apply(&self, connection: &mut PgConnection, events: &[Recorded]) -> Result<(), ProjectionError> {
        let mut changes: HashMap<Uuid, Change> = HashMap::new();
        for event in events {
            SagaEvent::<OrderProcess>::check(event)?;
            let Some(state) = state_after(&event.type_name) else { continue };
            let change = changes.entry(event.stream.id).or_default();
            change.state = Some(state);
            change.updated = event.time;
            change.version = i64::try_from(event.version.get()).unwrap_or(i64::MAX);
            if event.type_name == "SagaStarted"
                && let SagaEvent::Started { definition, input, .. } = SagaEvent::<OrderProcess>::from_recorded(event)?
            {
                change.started = Some(Start {
                    definition: definition.name.to_string(),
                    version: i32::try_from(definition.version).unwrap_or(i32::MAX),
                    order_id: input.order_id,
                    at: event.time,
                });
            }
        }
        let (new, old): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(_, change)| change.started.is_some());
        insert(connection, &new).await?;
        update(connection, &old).await?;
        held::apply(connection, events).await
    }
}

fn state(change: &Change) -> i16 {
    change.state.and_then(|state| i16::try_from(i32::from(state)).ok()).unwrap_or(0)
}

async fn insert(connection: &mut PgConnection, new: &[(Uuid, Change)]) -> Result<(), sqlx::Error> {
    if new.is_empty() {
        return Ok(());
    }
    let started = || new.iter().filter_map(|(_, change)| change.started.as_ref());
    sqlx::query(
        "insert into saga_view (saga_id, definition, definition_version, order_id, state, started_at, updated_at, version)
         select * from unnest($1::uuid[], $2::text[], $3::integer[], $4::uuid[], $5::smallint[], $6::timestamptz[],
                              $7::timestamptz[], $8::bigint[])",
    )
    .bind(new.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(started().map(|start| start.definition.clone()).collect::<Vec<_>>())
    .bind(started().map(|start| start.version).collect::<Vec<_>>())
    .bind(started().map(|start| start.order_id).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, change)| state(change)).collect::<Vec<_>>())
    .bind(started().map(|start| start.at).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, change)| change.updated).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, change)| change.version).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

async fn update(connection: &mut PgConnection, old: &[(Uuid, Change)]) -> Result<(), sqlx::Error> {
    if old.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update saga_view as s
         set state = c.state, updated_at = c.updated_at, version = c.version
         from unnest($1::uuid[], $2::smallint[], $3::timestamptz[], $4::bigint[])
              as c (saga_id, state, updated_at, version)
         where s.saga_id = c.saga_id",
    )
    .bind(old.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| state(change)).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| change.updated).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| change.version).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Reads `saga_view`.
#[derive(Clone)]
pub struct SagaList(PgPool);

#[derive(sqlx::FromRow)]
struct Row {
    saga_id: Uuid,
    definition: String,
    definition_version: i32,
    order_id: Uuid,
    state: i16,
    started_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i64,
}

impl SagaList {
    /// Over the service's database.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self(pool)
    }

    /// One page, newest first.
    ///
    /// # Errors
    /// INVALID_ARGUMENT, or UNAVAILABLE.
    pub async fn page(&self, request: &pb::ListSagasRequest) -> Result<pb::ListSagasResponse, Status> {
        let mut violations = Violations::new();
        let size = page::size(&mut violations, request.page_size);
        let question = format!("sagas/{}", request.state);
        let after = page::key(&mut violations, &question, &request.page_token).and_then(|key| key.parse::<Uuid>().ok());
        let wanted = pb::saga::State::try_from(request.state);
        if wanted.is_err() {
            violations.add("state", format!("is {}: there is no such state", request.state));
        }
        violations.finish(DOMAIN)?;
        let wanted = wanted.ok().filter(|state| *state != pb::saga::State::Unspecified);
        let found = rows(
            sqlx::query_as::<_, Row>(
                "select saga_id, definition, definition_version, order_id, state, started_at, updated_at, version
                 from saga_view
                 where ($1::uuid is null or saga_id < $1)
                   and ($2::smallint is null or state = $2)
                 order by saga_id desc
                 limit $3",
            )
            .bind(after)
            .bind(wanted.and_then(|state| i16::try_from(i32::from(state)).ok()))
            .bind(i64::try_from(size + 1).unwrap_or(i64::MAX))
            .fetch_all(&self.0),
        )
        .await?;
        let last = (found.len() > size).then(|| found.get(size - 1).map(|row| row.saga_id)).flatten();
        Ok(pb::ListSagasResponse {
            next_page_token: last.map(|id| page::token(&question, &id.to_string())).unwrap_or_default(),
            sagas: found.into_iter().take(size).map(saga).collect(),
        })
    }
}

impl OpenSagas for SagaList {
    async fn open(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<Uuid>, ReadError> {
        // What moved within the last seconds needs no help.
        let found = sqlx::query_scalar::<_, Uuid>(
            "select saga_id
             from saga_view
             where state in (1, 2, 3)
               and ($1::uuid is null or saga_id > $1)
               and updated_at < now() - interval '5 seconds'
             order by saga_id
             limit $2",
        )
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.0);
        match tokio::time::timeout(super::DEADLINE, found).await {
            Ok(found) => found.map_err(|error| ReadError::Unavailable(error.into())),
            Err(late) => Err(ReadError::Unavailable(late.into())),
        }
    }
}

fn saga(row: Row) -> pb::Saga {
    pb::Saga {
        id: row.saga_id.to_string(),
        definition: row.definition,
        definition_version: u32::try_from(row.definition_version).unwrap_or(0),
        order_id: row.order_id.to_string(),
        state: row.state.into(),
        version: u64::try_from(row.version).unwrap_or(0),
        start_time: Some(row.started_at.into()),
        update_time: Some(row.updated_at.into()),
        ..pb::Saga::default()
    }
}
