//! The logs as such: dense, in order, unchanged, and told to everybody.

use farmera::failure::Failure;
use farmera::services::SERVICES;
use sqlx::PgConnection;

use crate::checks::{Evidence, Found, unreadable};

/// A log as far as it went, and a digest of every event until there.
#[derive(Clone, Debug)]
pub struct Prefix {
    tx: String,
    position: i64,
    events: i64,
    digest: String,
}

/// Runs a query that counts what it looked at and what is wrong, in every database.
async fn in_every_log(evidence: &mut Evidence<'_>, what: &str, query: &'static str) -> Result<Found, Failure> {
    let mut found = Found::default();
    for service in &SERVICES {
        let counted = sqlx::query_as::<_, (i64, i64)>(query).fetch_one(evidence.of(service.name)?).await;
        let (checked, wrong) = counted.map_err(unreadable)?;
        found.checked += u64::try_from(checked).unwrap_or(0);
        if wrong != 0 {
            found.wrong.push(format!("{}: {wrong} {what}", service.name));
        }
    }
    Ok(found)
}

/// I7: versions 1 to n, nothing between missing.
pub(super) async fn dense(evidence: &mut Evidence<'_>) -> Result<Found, Failure> {
    let query = "
        select count(*), count(*) filter (where events <> last or first <> 1)
        from (
            select count(*) as events, max(version) as last, min(version) as first
            from event
            group by stream_id, category
        ) as stream";
    in_every_log(evidence, "streams have holes", query).await
}

/// I8: what is later in its stream is later in the log.
pub(super) async fn ordered(evidence: &mut Evidence<'_>) -> Result<Found, Failure> {
    let query = "
        select count(*), count(*) filter (where before is not null and (tx, position) <= (tx_before, before))
        from (
            select
                tx, position,
                lag(tx) over stream as tx_before,
                lag(position) over stream as before
            from event
            window stream as (partition by stream_id, category order by version)
        ) as step";
    in_every_log(evidence, "events stand before their elders", query).await
}

/// I15: no version and no event id is there twice, and whoever wrote a stream's version wrote it alone.
pub(super) async fn one_writer(evidence: &mut Evidence<'_>) -> Result<Found, Failure> {
    let query = "
        select
            count(*),
            count(*) - count(distinct event_id) + count(*) - count(distinct (stream_id, category, version))
        from event";
    in_every_log(evidence, "events are there twice", query).await
}

/// I19: everything committed was told to the broker.
pub(super) async fn outbox(evidence: &mut Evidence<'_>) -> Result<Found, Failure> {
    let query = "select (select count(distinct tx) from event), (select count(*) from outbox)";
    in_every_log(evidence, "transactions wait in the outbox", query).await
}

/// I10: what was there at the last look is there now, byte for byte.
pub(super) async fn append_only(evidence: &mut Evidence<'_>) -> Result<Found, Failure> {
    let mut found = Found::default();
    for service in &SERVICES {
        let before = evidence.prefixes.get(service.name).cloned();
        let database = evidence.of(service.name)?;
        if let Some(before) = &before {
            let again = digest(database, &before.tx, before.position).await?;
            found.checked += u64::try_from(before.events).unwrap_or(0);
            if again != (before.events, before.digest.clone()) {
                found.wrong.push(format!("{}: the log's past is not what it was", service.name));
            }
        }
        let last = sqlx::query_as::<_, (String, i64)>(
            "select tx::text, position from event order by tx desc, position desc limit 1",
        );
        let Some((tx, position)) = last.fetch_optional(&mut *database).await.map_err(unreadable)? else { continue };
        let (events, digest) = digest(database, &tx, position).await?;
        found.checked += u64::try_from(events).unwrap_or(0);
        evidence.prefixes.insert(service.name, Prefix { tx, position, events, digest });
    }
    Ok(found)
}

async fn digest(database: &mut PgConnection, tx: &str, position: i64) -> Result<(i64, String), Failure> {
    sqlx::query_as(
        "select count(*), coalesce(md5(string_agg(md5(event::text), '' order by tx, position)), '')
         from event
         where (tx, position) <= ($1::text::xid8, $2)",
    )
    .bind(tx)
    .bind(position)
    .fetch_one(database)
    .await
    .map_err(unreadable)
}

/// I11: each order's row is what its last event says.
pub(super) async fn read_models(evidence: &mut Evidence<'_>) -> Result<Found, Failure> {
    let query = "
        select count(*), count(*) filter (where order_view.state is distinct from folded.state)
        from (
            select distinct on (stream_id)
                stream_id,
                case type
                    when 'OrderPlaced' then 1
                    when 'ProductsReserved' then 2
                    when 'OrderConfirmed' then 3
                    when 'OrderCompleted' then 4
                    when 'OrderFailed' then 5
                    when 'OrderCancelled' then 6
                end as state
            from event
            where category = 'order'
            and type <> 'CancellationStarted'
            order by stream_id, version desc
        ) as folded
        full join order_view on order_view.order_id = folded.stream_id";
    let counted = sqlx::query_as::<_, (i64, i64)>(query).fetch_one(evidence.of("orders")?).await;
    let (checked, wrong) = counted.map_err(unreadable)?;
    let wrong = (wrong != 0).then(|| format!("{wrong} orders are shown otherwise than their log says"));
    Ok(Found { checked: u64::try_from(checked).unwrap_or(0), wrong: wrong.into_iter().collect() })
}
