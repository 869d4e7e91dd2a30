//! Whether whoever must hear of an event has heard of it: news are told once and never asked for again, so nothing but
//! the transport's own care brings them through a broker that forgets.

use std::collections::BTreeSet;

use eventstore::derived_id;
use farmera::failure::Failure;
use uuid::Uuid;

use crate::checks::{Evidence, Found, unreadable};

/// Every end of an order, and every product that ran low, has its notification.
pub(super) async fn news(evidence: &mut Evidence<'_>) -> Result<Found, Failure> {
    let told = sqlx::query_scalar("select stream_id from event where category = 'notification' and version = 1")
        .fetch_all(evidence.of("notification")?)
        .await
        .map_err(unreadable)?;
    let told: BTreeSet<Uuid> = told.into_iter().collect();
    let mut due: Vec<(Uuid, String)> = sqlx::query_as(
        "select
            stream_id,
            case
                when type = 'OrderCompleted' then 'order_completed'
                when type = 'OrderFailed' then 'order_failed'
                when (payload->type->>'after_completion')::boolean then 'order_refunded'
                else 'order_cancelled'
            end
         from event
         where category = 'order'
         and type in ('OrderCompleted', 'OrderFailed', 'OrderCancelled')",
    )
    .fetch_all(evidence.of("orders")?)
    .await
    .map_err(unreadable)?;
    let low: Vec<(Uuid, String)> =
        sqlx::query_as("select event_id, 'stock_low' from event where category = 'product' and type = 'StockRanLow'")
            .fetch_all(evidence.of("products")?)
            .await
            .map_err(unreadable)?;
    due.extend(low);
    let missing = due.iter().filter(|(id, news)| !told.contains(&derived_id(*id, news)));
    Ok(Found {
        checked: due.len() as u64,
        wrong: missing.map(|(id, news)| format!("nobody was told of {news} {id}")).collect(),
    })
}
