use std::collections::BTreeMap;

use chassis::projection::{Projection, ProjectionError};
use chrono::{DateTime, Utc};
use eventstore::{Aggregate as _, Category, Recorded};
use sqlx::postgres::{PgConnection, PgPool};
use uuid::Uuid;

use super::view::{Change, State, Step, View};
use crate::domain::Notification;

/// Keeps `notification_view`.
#[derive(Clone, Copy, Debug, Default)]
pub struct NotificationView;

#[async_trait::async_trait]
impl Projection for NotificationView {
    fn name(&self) -> &'static str {
        "notification_view"
    }

    fn categories(&self) -> &'static [Category] {
        &[Notification::CATEGORY]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["notification_view"]
    }

    async fn apply(&self, connection: &mut PgConnection, events: &[Recorded]) -> Result<(), ProjectionError> {
        let (created, changed) = coalesce(events)?;
        insert(connection, created).await?;
        update(connection, &changed).await?;
        Ok(())
    }
}

type Coalesced = (BTreeMap<Uuid, View>, BTreeMap<Uuid, Change>);

/// One row change per notification: most are accepted and delivered within one batch.
fn coalesce(events: &[Recorded]) -> Result<Coalesced, ProjectionError> {
    let mut created: BTreeMap<Uuid, View> = BTreeMap::new();
    let mut changed: BTreeMap<Uuid, Change> = BTreeMap::new();
    for event in events {
        let id = event.stream.id;
        match Step::of(event)? {
            Step::Created(view) => {
                created.insert(id, view);
            }
            Step::Changed(change) => match created.get_mut(&id) {
                Some(view) => view.change(change),
                None => {
                    let before = changed.get(&id).map_or(0, |before| before.failed_tries);
                    changed.insert(id, Change { failed_tries: before + change.failed_tries, ..change });
                }
            },
        }
    }
    Ok((created, changed))
}

async fn insert(connection: &mut PgConnection, created: BTreeMap<Uuid, View>) -> Result<(), sqlx::Error> {
    if created.is_empty() {
        return Ok(());
    }
    let views: Vec<View> = created.into_values().collect();
    let column = |of: fn(&View) -> Uuid| views.iter().map(of).collect::<Vec<Uuid>>();
    let times = |of: fn(&View) -> DateTime<Utc>| views.iter().map(of).collect::<Vec<_>>();
    sqlx::query(
        "insert into notification_view
             (id, subject_id, kind, recipients, state, create_time, update_time, failed_tries)
         select id, subject_id, kind, string_to_array(recipients, e'\\n'), state, create_time, update_time, failed_tries
         from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::smallint[], $6::timestamptz[],
             $7::timestamptz[], $8::integer[])
             as created (id, subject_id, kind, recipients, state, create_time, update_time, failed_tries)",
    )
    .bind(column(|view| view.id))
    .bind(column(|view| view.subject_id))
    .bind(views.iter().map(|view| view.kind.as_str()).collect::<Vec<_>>())
    // Addresses hold no line ends, and arrays of arrays cannot be unnested.
    .bind(views.iter().map(|view| view.recipients.join("\n")).collect::<Vec<_>>())
    .bind(views.iter().map(|view| view.state.number()).collect::<Vec<_>>())
    .bind(times(|view| view.create_time))
    .bind(times(|view| view.update_time))
    .bind(views.iter().map(|view| integer(view.failed_tries)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

async fn update(connection: &mut PgConnection, changed: &BTreeMap<Uuid, Change>) -> Result<(), sqlx::Error> {
    if changed.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update notification_view as view
         set state = changed.state,
             update_time = changed.update_time,
             failed_tries = view.failed_tries + changed.failed_tries
         from unnest($1::uuid[], $2::smallint[], $3::timestamptz[], $4::integer[])
             as changed (id, state, update_time, failed_tries)
         where view.id = changed.id",
    )
    .bind(changed.keys().copied().collect::<Vec<_>>())
    .bind(changed.values().map(|change| change.state.number()).collect::<Vec<_>>())
    .bind(changed.values().map(|change| change.update_time).collect::<Vec<_>>())
    .bind(changed.values().map(|change| integer(change.failed_tries)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

fn integer(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Which notifications to list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Filter {
    /// Only those about this order or product.
    pub subject_id: Option<Uuid>,
    /// Only those behind this one.
    pub after: Option<Uuid>,
    /// At most so many.
    pub limit: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    subject_id: Uuid,
    kind: String,
    recipients: Vec<String>,
    state: i16,
    create_time: DateTime<Utc>,
    update_time: DateTime<Utc>,
    failed_tries: i32,
}

impl From<Row> for View {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            subject_id: row.subject_id,
            kind: row.kind,
            recipients: row.recipients,
            // The table's check admits no other number.
            state: match row.state {
                2 => State::Delivered,
                3 => State::Failed,
                _ => State::Accepted,
            },
            create_time: row.create_time,
            update_time: row.update_time,
            failed_tries: u32::try_from(row.failed_tries).unwrap_or(0),
        }
    }
}

/// Notifications by id.
///
/// # Errors
/// The database does not answer.
pub async fn list(pool: &PgPool, filter: Filter) -> Result<Vec<View>, sqlx::Error> {
    let after = filter.after.unwrap_or(Uuid::nil());
    let rows: Vec<Row> = match filter.subject_id {
        None => {
            sqlx::query_as(
                "select id, subject_id, kind, recipients, state, create_time, update_time, failed_tries
                 from notification_view
                 where id > $1
                 order by id
                 limit $2",
            )
            .bind(after)
            .bind(filter.limit)
            .fetch_all(pool)
            .await?
        }
        Some(subject_id) => {
            sqlx::query_as(
                "select id, subject_id, kind, recipients, state, create_time, update_time, failed_tries
                 from notification_view
                 where subject_id = $3
                     and id > $1
                 order by id
                 limit $2",
            )
            .bind(after)
            .bind(filter.limit)
            .bind(subject_id)
            .fetch_all(pool)
            .await?
        }
    };
    Ok(rows.into_iter().map(View::from).collect())
}
