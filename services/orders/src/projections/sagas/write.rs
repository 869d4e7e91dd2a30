//! The rows of `saga_view`.

use chrono::{DateTime, Utc};
use farmera_proto::saga::v1::saga::State;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::change::{Change, Start, Step};
use crate::sagas::Holdings;

fn state(change: &Change) -> Option<i16> {
    change.state.and_then(|state: State| i16::try_from(i32::from(state)).ok())
}

/// Sagas that began in this batch.
pub(super) async fn insert(connection: &mut PgConnection, new: &[(Uuid, Change, Start)]) -> Result<(), sqlx::Error> {
    if new.is_empty() {
        return Ok(());
    }
    let of_start = |field: fn(&Start) -> i64| new.iter().map(|(_, _, start)| field(start)).collect::<Vec<_>>();
    let steps: Vec<Step> = new.iter().map(|(_, change, _)| change.step.clone().unwrap_or_default()).collect();
    let errors: Vec<_> = new.iter().map(|(_, change, _)| change.error.clone().unwrap_or_default()).collect();
    let held: Vec<Holdings> = new
        .iter()
        .map(|(_, change, start)| {
            let value = |so: Option<bool>, value| if so == Some(true) { value } else { 0 };
            Holdings {
                authorized: value(change.moves.authorized, start.amount),
                captured: value(change.moves.captured, start.amount),
                reserved: value(change.moves.reserved, start.amount),
                reserved_units: value(change.moves.reserved, start.units),
            }
        })
        .collect();
    sqlx::query(
        "insert into saga_view (
             saga_id, definition, definition_version, order_id, customer_id, amount, currency, units, started_at,
             state, updated_at, version, step, lane, attempt, error_code, error,
             authorized, captured, reserved, reserved_units, owed_since
         )
         select * from unnest(
             $1::uuid[], $2::text[], $3::integer[], $4::uuid[], $5::uuid[], $6::bigint[], $7::text[], $8::bigint[],
             $9::timestamptz[], $10::smallint[], $11::timestamptz[], $12::bigint[], $13::text[], $14::smallint[],
             $15::integer[], $16::text[], $17::text[], $18::bigint[], $19::bigint[], $20::bigint[], $21::bigint[],
             $22::timestamptz[]
         )",
    )
    .bind(new.iter().map(|(id, _, _)| *id).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, _, start)| start.definition.clone()).collect::<Vec<_>>())
    .bind(
        new.iter()
            .map(|(_, change, start)| change.definition_version.unwrap_or(start.definition_version))
            .collect::<Vec<_>>(),
    )
    .bind(new.iter().map(|(_, _, start)| start.order_id).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, _, start)| start.customer_id).collect::<Vec<_>>())
    .bind(of_start(|start| start.amount))
    .bind(new.iter().map(|(_, _, start)| start.currency).collect::<Vec<_>>())
    .bind(of_start(|start| start.units))
    .bind(new.iter().map(|(_, _, start)| start.at).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, change, _)| state(change).unwrap_or(0)).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, change, _)| change.updated).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, change, _)| change.version).collect::<Vec<_>>())
    .bind(steps.iter().map(|step| step.name.clone()).collect::<Vec<_>>())
    .bind(steps.iter().map(|step| step.lane).collect::<Vec<_>>())
    .bind(steps.iter().map(|step| step.attempt).collect::<Vec<_>>())
    .bind(errors.iter().map(|(code, _)| code.clone()).collect::<Vec<_>>())
    .bind(errors.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>())
    .bind(held.iter().map(|held| held.authorized).collect::<Vec<_>>())
    .bind(held.iter().map(|held| held.captured).collect::<Vec<_>>())
    .bind(held.iter().map(|held| held.reserved).collect::<Vec<_>>())
    .bind(held.iter().map(|held| held.reserved_units).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, change, _)| change.owed_since).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Sagas that began before: what no event of the batch tells about stays as it is. Those that have ended stand where they
/// ended: only what they hold changes, when somebody sees to it.
pub(super) async fn update(connection: &mut PgConnection, old: &[(Uuid, Change)]) -> Result<(), sqlx::Error> {
    if old.is_empty() {
        return Ok(());
    }
    let of_step = |change: &Change| change.step.clone();
    sqlx::query(
        "update saga_view as s
         set updated_at = c.updated_at,
             version = c.version,
             state = case when s.state in (4, 5, 6) then s.state else coalesce(c.state, s.state) end,
             definition_version = coalesce(c.definition_version, s.definition_version),
             step = case when s.state in (4, 5, 6) then s.step else coalesce(c.step, s.step) end,
             lane = case when s.state in (4, 5, 6) then s.lane else coalesce(c.lane, s.lane) end,
             attempt = case when s.state in (4, 5, 6) then s.attempt else coalesce(c.attempt, s.attempt) end,
             error_code = case when s.state in (4, 5, 6) then s.error_code else coalesce(c.error_code, s.error_code) end,
             owed_since = coalesce(c.owed_since, s.owed_since),
             error = case when s.state in (4, 5, 6) then s.error else coalesce(c.error, s.error) end,
             authorized = case c.authorized when true then s.amount when false then 0 else s.authorized end,
             captured = case c.captured when true then s.amount when false then 0 else s.captured end,
             reserved = case c.reserved when true then s.amount when false then 0 else s.reserved end,
             reserved_units = case c.reserved when true then s.units when false then 0 else s.reserved_units end
         from unnest($1::uuid[], $2::timestamptz[], $3::bigint[], $4::smallint[], $5::text[], $6::smallint[],
                     $7::integer[], $8::text[], $9::text[], $10::boolean[], $11::boolean[], $12::boolean[],
                     $13::integer[], $14::timestamptz[])
              as c (saga_id, updated_at, version, state, step, lane, attempt, error_code, error, authorized, captured,
                    reserved, definition_version, owed_since)
         where s.saga_id = c.saga_id",
    )
    .bind(old.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| change.updated).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| change.version).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| state(change)).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| of_step(change).map(|step| step.name)).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| of_step(change).map(|step| step.lane)).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| of_step(change).map(|step| step.attempt)).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| change.error.clone().map(|(code, _)| code)).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| change.error.clone().map(|(_, text)| text)).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| change.moves.authorized).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| change.moves.captured).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| change.moves.reserved).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| change.definition_version).collect::<Vec<_>>())
    .bind(old.iter().map(|(_, change)| change.owed_since).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Sagas that ended in this batch, and when: they are counted, once and for all.
pub(super) async fn count_ended(
    connection: &mut PgConnection,
    ended: &[(Uuid, DateTime<Utc>)],
) -> Result<(), sqlx::Error> {
    if ended.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into saga_ended as e (
             state, definition, definition_version, error_code, currency, count, first_started, last_updated
         )
         select s.state, s.definition, s.definition_version, s.error_code, s.currency, count(*), min(s.started_at),
                max(n.ended_at)
         from unnest($1::uuid[], $2::timestamptz[]) as n (saga_id, ended_at)
         join saga_view as s on s.saga_id = n.saga_id
         group by s.state, s.definition, s.definition_version, s.error_code, s.currency
         on conflict (state, definition, definition_version, error_code, currency) do update
         set count = e.count + excluded.count,
             first_started = least(e.first_started, excluded.first_started),
             last_updated = greatest(e.last_updated, excluded.last_updated)",
    )
    .bind(ended.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(ended.iter().map(|(_, at)| *at).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
