//! The list of payments.

use std::collections::BTreeMap;

use chassis::projection::{Projection, ProjectionError};
use chrono::{DateTime, Utc};
use eventstore::{Aggregate as _, Category, DomainEvent as _, Recorded};
use farmera_proto::{common::v1::Money, payment::v1 as pb};
use sqlx::postgres::{PgConnection, PgPool};
use uuid::Uuid;

use crate::domain::{Event, Payment, Terms};
use crate::view::{state_after, timestamp};

/// Writes `payment_view`.
#[derive(Clone, Copy, Debug, Default)]
pub struct PaymentProjection;

#[async_trait::async_trait]
impl Projection for PaymentProjection {
    fn name(&self) -> &'static str {
        "payment_view"
    }

    fn categories(&self) -> &'static [Category] {
        &[Payment::CATEGORY]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["payment_view"]
    }

    async fn apply(&self, connection: &mut PgConnection, events: &[Recorded]) -> Result<(), ProjectionError> {
        let mut changes: BTreeMap<Uuid, Change> = BTreeMap::new();
        for recorded in events {
            changes.entry(recorded.stream.id).or_default().note(recorded, Event::from_recorded(recorded)?);
        }
        let (new, old): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(_, change)| change.order_id.is_some());
        insert(connection, &new).await?;
        update(connection, &old).await?;
        Ok(())
    }
}

/// What a batch makes of one payment.
#[derive(Default)]
struct Change {
    /// Set by the first event of a payment only.
    order_id: Option<Uuid>,
    terms: Option<Terms>,
    created: DateTime<Utc>,
    state: i16,
    charge: Option<String>,
    decline_reason: Option<String>,
    updated: DateTime<Utc>,
    version: i64,
}

impl Change {
    fn note(&mut self, recorded: &Recorded, event: Event) {
        self.state = i16::try_from(i32::from(state_after(&event))).unwrap_or(0);
        self.updated = recorded.time;
        self.version = i64::try_from(recorded.version.get()).unwrap_or(i64::MAX);
        match event {
            Event::AuthorizationStarted { terms, .. } => {
                self.order_id = Some(terms.order_id);
                self.created = recorded.time;
                self.terms = Some(terms);
            }
            Event::VoidedBefore { order_id } => {
                self.order_id = Some(order_id);
                self.created = recorded.time;
            }
            Event::Authorized { charge, .. } | Event::VoidStarted { charge, .. } => self.charge = Some(charge.0),
            Event::Declined { refusal, .. } => self.decline_reason = Some(refusal.reason),
            Event::AuthorizationRestarted { .. }
            | Event::VoidRequested {}
            | Event::Voided { .. }
            | Event::CaptureStarted { .. }
            | Event::Captured { .. }
            | Event::CaptureRejected { .. }
            | Event::RefundStarted { .. }
            | Event::Refunded { .. }
            | Event::RefundRejected { .. } => {}
        }
    }
}

async fn insert(connection: &mut PgConnection, new: &[(Uuid, Change)]) -> Result<(), sqlx::Error> {
    if new.is_empty() {
        return Ok(());
    }
    let terms = || new.iter().map(|(_, change)| change.terms.as_ref());
    sqlx::query(
        "insert into payment_view (payment_id, order_id, customer_id, minor_units, currency, state, charge,
                                   decline_reason, create_time, update_time, version)
         select *
         from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[], $6::smallint[], $7::text[],
                     $8::text[], $9::timestamptz[], $10::timestamptz[], $11::bigint[])
         on conflict (payment_id) do update
         set state = excluded.state,
             charge = excluded.charge,
             decline_reason = excluded.decline_reason,
             update_time = excluded.update_time,
             version = excluded.version",
    )
    .bind(new.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, change)| change.order_id).collect::<Vec<_>>())
    .bind(terms().map(|terms| terms.map(|terms| terms.customer_id)).collect::<Vec<_>>())
    .bind(terms().map(|terms| terms.map(|terms| terms.amount.minor_units)).collect::<Vec<_>>())
    .bind(terms().map(|terms| terms.map(|terms| terms.amount.currency.code())).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, change)| change.state).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, change)| change.charge.as_deref()).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, change)| change.decline_reason.as_deref()).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, change)| change.created).collect::<Vec<_>>())
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
        "update payment_view as view
         set state = change.state,
             charge = coalesce(change.charge, view.charge),
             decline_reason = coalesce(change.decline_reason, view.decline_reason),
             update_time = change.update_time,
             version = change.version
         from unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::timestamptz[], $6::bigint[])
             as change (payment_id, state, charge, decline_reason, update_time, version)
         where view.payment_id = change.payment_id",
    )
    .bind(old.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| change.state).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| change.charge.as_deref()).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| change.decline_reason.as_deref()).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| change.updated).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| change.version).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Reads `payment_view`.
#[derive(Clone, Debug)]
pub struct PaymentList(PgPool);

#[derive(sqlx::FromRow)]
struct Row {
    payment_id: Uuid,
    order_id: Uuid,
    customer_id: Option<Uuid>,
    minor_units: Option<i64>,
    currency: Option<String>,
    state: i16,
    charge: Option<String>,
    decline_reason: Option<String>,
    create_time: DateTime<Utc>,
    update_time: DateTime<Utc>,
    version: i64,
}

impl From<Row> for pb::Payment {
    fn from(row: Row) -> Self {
        let amount = row.minor_units.zip(row.currency);
        Self {
            id: row.payment_id.to_string(),
            order_id: row.order_id.to_string(),
            customer_id: row.customer_id.map(|id| id.to_string()).unwrap_or_default(),
            amount: amount.map(|(minor_units, currency_code)| Money { currency_code, minor_units }),
            state: row.state.into(),
            provider_reference: row.charge.unwrap_or_default(),
            decline_reason: row.decline_reason.unwrap_or_default(),
            create_time: Some(timestamp(row.create_time)),
            update_time: Some(timestamp(row.update_time)),
            version: u64::try_from(row.version).unwrap_or(0),
        }
    }
}

impl PaymentList {
    /// Where it is read from.
    pub(crate) fn pool(&self) -> &PgPool {
        &self.0
    }

    /// The read model in `pool`.
    #[must_use]
    pub const fn new(pool: PgPool) -> Self {
        Self(pool)
    }

    /// Payments by id, those after `after`, at most `limit`; of one order only when it is given.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn page(&self, after: Uuid, order_id: Option<Uuid>, limit: i64) -> Result<Vec<pb::Payment>, sqlx::Error> {
        let rows: Vec<Row> =
            match order_id {
                None => sqlx::query_as(
                    "select payment_id, order_id, customer_id, minor_units, currency, state, charge, decline_reason,
                         create_time, update_time, version
                     from payment_view
                     where payment_id > $1
                     order by payment_id
                     limit $2",
                )
                .bind(after)
                .bind(limit)
                .fetch_all(&self.0)
                .await?,
                Some(order_id) => sqlx::query_as(
                    "select payment_id, order_id, customer_id, minor_units, currency, state, charge, decline_reason,
                         create_time, update_time, version
                     from payment_view
                     where payment_id > $1 and order_id = $3
                     order by payment_id
                     limit $2",
                )
                .bind(after)
                .bind(limit)
                .bind(order_id)
                .fetch_all(&self.0)
                .await?,
            };
        Ok(rows.into_iter().map(pb::Payment::from).collect())
    }

    /// The payments of these orders.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn of_orders(&self, order_ids: &[Uuid]) -> Result<Vec<pb::Payment>, sqlx::Error> {
        let rows: Vec<Row> = sqlx::query_as(
            "select payment_id, order_id, customer_id, minor_units, currency, state, charge, decline_reason,
                 create_time, update_time, version
             from payment_view
             where order_id = any($1)
             order by payment_id",
        )
        .bind(order_ids)
        .fetch_all(&self.0)
        .await?;
        Ok(rows.into_iter().map(pb::Payment::from).collect())
    }
}
