//! Sagas, counted, with what they hold.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use tonic::Status;

use super::super::rows;
use super::list::{Order, Page, Row, SagaList};
use super::statement::{Way, bind, high, low, texts, within};
use crate::operations::query::{Bounds, Query, States};

/// The number of `Saga.State` of a saga that an operator has ended as it stood.
const ABANDONED: i16 = 6;
/// Rows read at a time when a query has to be looked at row by row.
const BATCH: usize = 20_000;

/// Sagas that are alike in everything they are counted by.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Group {
    /// Their definition's name.
    pub definition: String,
    /// Its version.
    pub definition_version: i32,
    /// Where they stand: the number of `Saga.State`.
    pub state: i16,
    /// The step they are at.
    pub step: String,
    /// The code of their last error.
    pub error_code: String,
    /// Their currency.
    pub currency: String,
    /// How many.
    pub count: i64,
    /// Money held.
    pub authorized: i64,
    /// Money taken.
    pub captured: i64,
    /// Goods held, at order value.
    pub reserved: i64,
    /// Goods held, units.
    pub reserved_units: i64,
    /// When the first of them started.
    pub first_started: Option<DateTime<Utc>>,
    /// When the last of them changed.
    pub last_updated: Option<DateTime<Utc>>,
}

/// All groups of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted(pub Vec<Group>);

macro_rules! counting {
    ($way:literal) => {
        concat!(
            "select definition, definition_version, state, step, error_code, currency, count(*) as count,
                    sum(authorized)::bigint as authorized, sum(captured)::bigint as captured,
                    sum(reserved)::bigint as reserved, sum(reserved_units)::bigint as reserved_units,
                    min(started_at) as first_started, max(updated_at) as last_updated
             from saga_view
             where $1::bigint is not distinct from $1 and $2::uuid is not distinct from $2 and ",
            $way,
            within!(),
            "group by definition, definition_version, state, step, error_code, currency"
        )
    };
}

const BY_ID: &str = counting!("saga_id = any($3)");
const NOT_COMPLETED: &str = counting!("state <> 4 and $3::uuid[] is null");
const ALL: &str = counting!("$3::uuid[] is null");
/// A row for each way in which sagas have ended. What is over is at no step and holds nothing; only abandoned sagas may owe
/// something: they are few, and counted as they are.
const ENDED: &str = "
select definition, definition_version, state, '' as step, error_code, currency, count, 0::bigint as authorized,
       0::bigint as captured, 0::bigint as reserved, 0::bigint as reserved_units, first_started, last_updated
from saga_ended
where state = any($1)
  and ($2::text[] is null or definition = any($2))
  and ($3::text[] is null or error_code = any($3))
  and ($4::bigint is null or definition_version >= $4)
  and ($5::bigint is null or definition_version <= $5)";

impl SagaList {
    /// How many sagas `query` admits at `now`, and what they hold.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn count(&self, query: &Query, now: DateTime<Utc>) -> Result<Counted, Status> {
        let bounds = Bounds::of(query, now);
        if bounds.is_empty() {
            return Ok(Counted(Vec::new()));
        }
        if !bounds.exact {
            return self.count_one_by_one(query, &bounds, now).await;
        }
        if bounds.is_of_groups() {
            let holding = States::OPEN.or(States::one(ABANDONED));
            let open = Bounds { states: bounds.states.and(holding), ..bounds.clone() };
            let (mut groups, ended) = tokio::try_join!(self.groups(&open), self.ended(&bounds))?;
            groups.extend(ended);
            return Ok(Counted(groups));
        }
        Ok(Counted(self.groups(&bounds).await?))
    }

    /// Those that are over, counted when they ended.
    async fn ended(&self, bounds: &Bounds) -> Result<Vec<Group>, Status> {
        let states = bounds.states.and(States::OPEN.or(States::one(ABANDONED)).others());
        let at_no_step = bounds.steps.as_ref().is_none_or(|steps| steps.contains(""));
        if states == States::NONE || !at_no_step {
            return Ok(Vec::new());
        }
        let query = sqlx::query_as::<_, Group>(ENDED)
            .bind(states.numbers())
            .bind(texts(&bounds.definitions))
            .bind(texts(&bounds.errors))
            .bind(low(bounds.version))
            .bind(high(bounds.version));
        rows(query.fetch_all(&self.0)).await
    }

    async fn groups(&self, bounds: &Bounds) -> Result<Vec<Group>, Status> {
        if bounds.is_empty() {
            return Ok(Vec::new());
        }
        let statement = match Way::of(bounds) {
            Way::Ids => BY_ID,
            Way::NotCompleted => NOT_COMPLETED,
            Way::All => ALL,
        };
        let query = sqlx::query_as::<_, Group>(statement).persistent(false).bind(None::<i64>).bind(None::<uuid::Uuid>);
        rows(bind(query, bounds).fetch_all(&self.0)).await
    }

    async fn count_one_by_one(&self, query: &Query, bounds: &Bounds, now: DateTime<Utc>) -> Result<Counted, Status> {
        let mut groups: BTreeMap<_, Group> = BTreeMap::new();
        let mut page = Page { order: Order::Oldest, after: None, size: BATCH };
        loop {
            let read = self.batch(bounds, page).await?;
            let is_last = read.len() < BATCH;
            page.after = read.last().map(|row| (row.key, row.saga_id));
            for row in read.into_iter().filter(|row| query.admits(&row.subject(), now)) {
                let (state, version) = (row.state, row.definition_version);
                let names = [&row.definition, &row.step, &row.error_code, &row.currency].map(Clone::clone);
                groups.entry((state, version, names)).or_insert_with(|| Group::like(&row)).add(&row);
            }
            if is_last {
                return Ok(Counted(groups.into_values().collect()));
            }
        }
    }
}

impl Group {
    fn like(row: &Row) -> Self {
        Self {
            definition: row.definition.clone(),
            definition_version: row.definition_version,
            state: row.state,
            step: row.step.clone(),
            error_code: row.error_code.clone(),
            currency: row.currency.clone(),
            count: 0,
            authorized: 0,
            captured: 0,
            reserved: 0,
            reserved_units: 0,
            first_started: None,
            last_updated: None,
        }
    }

    fn add(&mut self, row: &Row) {
        self.count += 1;
        self.authorized = self.authorized.saturating_add(row.authorized);
        self.captured = self.captured.saturating_add(row.captured);
        self.reserved = self.reserved.saturating_add(row.reserved);
        self.reserved_units = self.reserved_units.saturating_add(row.reserved_units);
        self.first_started = self.first_started.into_iter().chain([row.started_at]).min();
        self.last_updated = self.last_updated.into_iter().chain([row.updated_at]).max();
    }
}
