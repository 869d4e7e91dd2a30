//! Goods and charges, event by event.

use std::collections::BTreeSet;

use farmera::failure::Failure;
use uuid::Uuid;

use crate::checks::{Evidence, Found, promises, unreadable};

/// Runs a query that counts what it looked at and what is wrong, in one database.
async fn count(
    evidence: &mut Evidence<'_>,
    service: &'static str,
    what: &str,
    query: &'static str,
) -> Result<Found, Failure> {
    let counted = sqlx::query_as::<_, (i64, i64)>(query).fetch_one(evidence.of(service)?).await;
    let (checked, wrong) = counted.map_err(unreadable)?;
    let wrong = (wrong != 0).then(|| format!("{wrong} {what}"));
    Ok(Found { checked: u64::try_from(checked).unwrap_or(0), wrong: wrong.into_iter().collect() })
}

/// I2: the sums agree, and at no moment more was held than there was.
pub(super) async fn stock(evidence: &mut Evidence<'_>) -> Result<Found, Failure> {
    let query = "
        select count(*), count(*) filter (where available < 0 or held < 0)
        from (
            select
                sum(case type
                    when 'StockAdded' then (payload->'StockAdded'->>'quantity')::bigint
                    when 'StockReserved' then -(payload->'StockReserved'->>'quantity')::bigint
                    when 'StockReleased' then (payload->'StockReleased'->>'quantity')::bigint
                    when 'StockReturned' then (payload->'StockReturned'->>'quantity')::bigint
                    else 0
                end) over stream as available,
                sum(case type
                    when 'StockReserved' then (payload->'StockReserved'->>'quantity')::bigint
                    when 'StockReleased' then -(payload->'StockReleased'->>'quantity')::bigint
                    when 'StockShipped' then -(payload->'StockShipped'->>'quantity')::bigint
                    else 0
                end) over stream as held
            from event
            where category = 'product'
            window stream as (partition by stream_id order by version)
        ) as moment";
    let mut found = count(evidence, "products", "moments at which less than nothing was there", query).await?;
    found.add(promises::verdict(evidence, "stock is conserved"));
    Ok(found)
}

/// I4: goods that left were charged for, goods that were charged for left, and nothing left twice.
pub(super) async fn shipments(evidence: &mut Evidence<'_>) -> Result<Found, Failure> {
    let shipped = "
        select (payload->'InventoryCommitted'->>'order_id')::uuid
        from event
        where category = 'reservation'
        and type = 'InventoryCommitted'";
    let charged = "
        select (payload->'Captured'->>'order_id')::uuid
        from event
        where category = 'payment'
        and type = 'Captured'";
    let shipped: Vec<Uuid> =
        sqlx::query_scalar(shipped).fetch_all(evidence.of("products")?).await.map_err(unreadable)?;
    let charged: Vec<Uuid> =
        sqlx::query_scalar(charged).fetch_all(evidence.of("payment")?).await.map_err(unreadable)?;
    let (once, paid): (BTreeSet<Uuid>, BTreeSet<Uuid>) =
        (shipped.iter().copied().collect(), charged.into_iter().collect());
    let mut wrong: Vec<String> = Vec::new();
    if once.len() != shipped.len() {
        wrong.push(format!("{} shipments are there twice", shipped.len() - once.len()));
    }
    wrong.extend(once.difference(&paid).map(|order| format!("order {order} left and was not charged")));
    wrong.extend(paid.difference(&once).map(|order| format!("order {order} was charged and did not leave")));
    Ok(Found { checked: shipped.len() as u64, wrong })
}

/// I9: each reservation and each payment takes each of its steps once. A payment that was voided before it was on the
/// provider's books is voided once more when its authorization, asked for by another replica, arrives after all: to
/// another fate, and never twice to one.
pub(super) async fn once(evidence: &mut Evidence<'_>) -> Result<Found, Failure> {
    let moves = "
        select coalesce(sum(moves), 0)::bigint, count(*) filter (where moves > 1)
        from (
            select count(*) as moves
            from event
            where category = 'product'
            and type in ('StockReserved', 'StockReleased', 'StockShipped', 'StockReturned')
            group by stream_id, type, payload->type->>'reservation_id'
        ) as move";
    let steps = "
        select coalesce(sum(steps), 0)::bigint, count(*) filter (where steps > 1)
        from (
            select count(*) as steps
            from event
            where category in ('reservation', 'payment')
            and type in ('InventoryReserved', 'InventoryReleased', 'InventoryCommitted', 'InventoryRestocked',
                         'Authorized', 'Voided', 'Captured', 'Refunded')
            group by stream_id, category, type, payload->type->>'fate'
        ) as step";
    let mut found = count(evidence, "products", "reservations moved goods twice", moves).await?;
    found.add(count(evidence, "products", "reservations took a step twice", steps).await?);
    found.add(count(evidence, "payment", "payments took a step twice", steps).await?);
    Ok(found)
}

/// I16: once undone, a reservation holds nothing and a payment charges nothing.
pub(super) async fn barrier(evidence: &mut Evidence<'_>) -> Result<Found, Failure> {
    let query = "
        select count(*), count(*) filter (where acted > undone)
        from (
            select
                max(version) filter (where type in ('InventoryReserved', 'InventoryCommitted', 'Authorized', 'Captured'))
                    as acted,
                min(version) filter (where type in ('InventoryReleased', 'VoidedBefore', 'Voided')) as undone
            from event
            where category in ('reservation', 'payment')
            group by stream_id, category
        ) as stream
        where undone is not null";
    let mut found = count(evidence, "products", "reservations were made after their release", query).await?;
    found.add(count(evidence, "payment", "payments went on after their void", query).await?);
    Ok(found)
}
