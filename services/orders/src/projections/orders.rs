//! The list of orders.

use std::collections::HashMap;

use chassis::page;
use chassis::problem::Violations;
use chassis::projection::{Projection, ProjectionError};
use chrono::{DateTime, Utc};
use eventstore::{Aggregate as _, Category, DomainEvent as _, Recorded};
use farmera_proto::common::v1::Money;
use farmera_proto::orders::v1 as pb;
use sqlx::postgres::{PgConnection, PgPool};
use tonic::Status;
use uuid::Uuid;

use super::rows;
use crate::domain::{Failure, Order, OrderEvent, Stage};
use crate::handler::{cancel_saga_id, place_saga_id};
use crate::status::DOMAIN;
use crate::view::state_of;

/// Writes `order_view`.
pub struct OrderProjection;

/// What a batch makes of one order.
#[derive(Default)]
struct Change {
    placed: Option<New>,
    state: i16,
    failure: Option<Failure>,
    cancelling: bool,
    updated: DateTime<Utc>,
    version: i64,
}

struct New {
    customer_id: Uuid,
    minor_units: i64,
    currency: &'static str,
    created: DateTime<Utc>,
}

impl Change {
    fn note(&mut self, event: &Recorded, decoded: &OrderEvent) {
        let stage = match decoded {
            OrderEvent::OrderPlaced { facts, .. } => {
                self.placed = Some(New {
                    customer_id: facts.customer_id,
                    minor_units: facts.total.minor_units,
                    currency: facts.total.currency.code(),
                    created: event.time,
                });
                Stage::Pending
            }
            OrderEvent::ProductsReserved => Stage::ProductsReserved,
            OrderEvent::OrderConfirmed => Stage::Confirmed,
            OrderEvent::OrderCompleted => Stage::Completed,
            OrderEvent::CancellationStarted { reason } => {
                self.cancelling = true;
                Stage::Cancelling { reason: reason.clone() }
            }
            OrderEvent::OrderFailed { failure, .. } => Stage::Failed(failure.clone()),
            OrderEvent::OrderCancelled { failure, after_completion, .. } => {
                self.cancelling = *after_completion;
                Stage::Cancelled { failure: failure.clone(), after_completion: *after_completion }
            }
        };
        self.state = state(state_of(&stage));
        if let Stage::Failed(failure) | Stage::Cancelled { failure, .. } = stage {
            self.failure = Some(failure);
        }
        self.updated = event.time;
        self.version = i64::try_from(event.version.get()).unwrap_or(i64::MAX);
    }
}

fn state(state: pb::order::State) -> i16 {
    i16::try_from(i32::from(state)).unwrap_or(0)
}

#[async_trait::async_trait]
impl Projection for OrderProjection {
    fn name(&self) -> &'static str {
        "order_view"
    }

    fn categories(&self) -> &'static [Category] {
        &[Order::CATEGORY]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["order_view"]
    }

    async fn apply(&self, connection: &mut PgConnection, events: &[Recorded]) -> Result<(), ProjectionError> {
        let mut changes: HashMap<Uuid, Change> = HashMap::new();
        for event in events {
            changes.entry(event.stream.id).or_default().note(event, &OrderEvent::from_recorded(event)?);
        }
        let (new, old): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(_, change)| change.placed.is_some());
        insert(connection, &new).await?;
        update(connection, &old).await?;
        Ok(())
    }
}

async fn insert(connection: &mut PgConnection, new: &[(Uuid, Change)]) -> Result<(), sqlx::Error> {
    if new.is_empty() {
        return Ok(());
    }
    let placed = || new.iter().filter_map(|(_, change)| change.placed.as_ref());
    sqlx::query(
        "insert into order_view (order_id, customer_id, state, minor_units, currency, failure_reason, failure_message,
                                 cancelling, created_at, updated_at, version)
         select * from unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::bigint[], $5::text[], $6::text[], $7::text[],
                              $8::boolean[], $9::timestamptz[], $10::timestamptz[], $11::bigint[])",
    )
    .bind(new.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(placed().map(|new| new.customer_id).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, change)| change.state).collect::<Vec<_>>())
    .bind(placed().map(|new| new.minor_units).collect::<Vec<_>>())
    .bind(placed().map(|new| new.currency).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, change)| change.failure.as_ref().map(|f| f.reason.clone())).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, change)| change.failure.as_ref().map(|f| f.message.clone())).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, change)| change.cancelling).collect::<Vec<_>>())
    .bind(placed().map(|new| new.created).collect::<Vec<_>>())
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
        "update order_view as o
         set state = c.state, failure_reason = c.reason, failure_message = c.message, cancelling = c.cancelling,
             updated_at = c.updated_at, version = c.version
         from unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::boolean[], $6::timestamptz[], $7::bigint[])
              as c (order_id, state, reason, message, cancelling, updated_at, version)
         where o.order_id = c.order_id",
    )
    .bind(old.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| change.state).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| change.failure.as_ref().map(|f| f.reason.clone())).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| change.failure.as_ref().map(|f| f.message.clone())).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| change.cancelling).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| change.updated).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| change.version).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Reads `order_view`.
#[derive(Clone)]
pub struct OrderList(PgPool);

#[derive(sqlx::FromRow)]
struct Row {
    order_id: Uuid,
    customer_id: Uuid,
    state: i16,
    minor_units: i64,
    currency: String,
    failure_reason: Option<String>,
    failure_message: Option<String>,
    cancelling: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i64,
}

impl OrderList {
    /// Over the service's database.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self(pool)
    }

    /// One page, newest first.
    ///
    /// # Errors
    /// INVALID_ARGUMENT, or UNAVAILABLE.
    pub async fn page(&self, request: &pb::ListOrdersRequest) -> Result<pb::ListOrdersResponse, Status> {
        let mut violations = Violations::new();
        let size = page::size(&mut violations, request.page_size);
        // 2: what is in a token of 1 is another key.
        let question = format!("orders/2/{}/{}", request.customer_id, request.state);
        let after = page::key(&mut violations, &question, &request.page_token, page::moment);
        let customer = match request.customer_id.as_str() {
            "" => None,
            id => violations.uuid("customer_id", id),
        };
        let Ok(wanted) = pb::order::State::try_from(request.state) else {
            violations.add("state", format!("is {}: there is no such state", request.state));
            return Err(violations.finish(DOMAIN).err().unwrap_or_else(|| chassis::problem::internal(DOMAIN)));
        };
        violations.finish(DOMAIN)?;
        let wanted = (wanted != pb::order::State::Unspecified).then(|| state(wanted));
        let found = rows(
            sqlx::query_as::<_, Row>(
                "select order_id, customer_id, state, minor_units, currency, failure_reason, failure_message, cancelling,
                        created_at, updated_at, version
                 from order_view
                 where ($1::timestamptz is null or (created_at, order_id) < ($1, $5))
                   and ($2::uuid is null or customer_id = $2)
                   and ($3::smallint is null or state = $3)
                 order by created_at desc, order_id desc
                 limit $4",
            )
            // Planned anew each time: each way of asking has an index of its own.
            .persistent(false)
            .bind(after.map(|(time, _)| time))
            .bind(customer)
            .bind(wanted)
            .bind(i64::try_from(size + 1).unwrap_or(i64::MAX))
            .bind(after.map(|(_, id)| id))
            .fetch_all(&self.0),
        )
        .await?;
        let last = (found.len() > size).then(|| found.get(size - 1)).flatten();
        let next = last.map(|row| page::token(&question, &page::moment_key(row.created_at, row.order_id)));
        Ok(pb::ListOrdersResponse {
            next_page_token: next.unwrap_or_default(),
            orders: found.into_iter().take(size).map(order).collect(),
            lags: false,
        })
    }
}

fn order(row: Row) -> pb::Order {
    let saga_id = |cancelling: bool| if cancelling { cancel_saga_id(row.order_id).to_string() } else { String::new() };
    pb::Order {
        id: row.order_id.to_string(),
        customer_id: row.customer_id.to_string(),
        lines: Vec::new(),
        total: Some(Money { currency_code: row.currency, minor_units: row.minor_units }),
        state: row.state.into(),
        failure: row
            .failure_reason
            .map(|reason| pb::Failure { reason, message: row.failure_message.unwrap_or_default() }),
        create_time: Some(row.created_at.into()),
        update_time: Some(row.updated_at.into()),
        version: u64::try_from(row.version).unwrap_or(0),
        saga_id: place_saga_id(row.order_id).to_string(),
        cancel_saga_id: saga_id(row.cancelling),
    }
}
