//! Every stream folded with this program, and held against the read models.

use std::collections::HashMap;
use std::sync::Arc;

use chassis::problem;
use chrono::{DateTime, TimeDelta, Utc};
use eventstore::{Aggregate as _, Category, DomainEvent as _, Recorded, Version};
use farmera_proto::saga::v1 as pb;
use pb::replay_check_response::Finding;
use saga::{Library, Saga};
use sqlx::postgres::PgPool;
use tonic::Status;
use uuid::Uuid;

use super::history::{Event, state_of};
use crate::domain::Order;
use crate::projections::rows;
use crate::sagas::{Holdings, OrderProcess};
use crate::status::DOMAIN;
use crate::view::View;

/// A read model may be so far behind.
const LAG_MAX: TimeDelta = TimeDelta::minutes(1);

/// What a read model says of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    version: i64,
    state: i16,
    /// Money held, money taken, goods held; nothing for an order.
    held: (i64, i64, i64),
}

/// What a stream says of itself.
struct Folded {
    id: Uuid,
    category: &'static str,
    version: i64,
    last: DateTime<Utc>,
    shown: Result<Shown, (&'static str, String)>,
}

/// Checks streams against the read models of `pool`.
#[derive(Clone)]
pub struct Checker {
    /// The read models.
    pub pool: PgPool,
    /// The definitions.
    pub library: Arc<Library<OrderProcess>>,
}

impl Checker {
    /// What is not as this program would have it in these streams, each with all its events, at `now`. Folding takes a
    /// thread of its own: meanwhile the caller may read on, and the read models are asked.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn check(&self, events: Vec<Recorded>, now: DateTime<Utc>) -> Result<Vec<Finding>, Status> {
        let of = |category: Category| {
            let streams = events.chunk_by(|one, next| one.stream == next.stream);
            let heads = streams.filter_map(<[Recorded]>::first).filter(move |head| head.stream.category == category);
            heads.map(|head| head.stream.id).collect::<Vec<_>>()
        };
        let (sagas, orders) = (of(Saga::<OrderProcess>::CATEGORY), of(Order::CATEGORY));
        let library = Arc::clone(&self.library);
        let folding = tokio::task::spawn_blocking(move || {
            let streams = events.chunk_by(|one, next| one.stream == next.stream);
            streams.filter_map(|stream| fold(stream, &library)).collect::<Vec<_>>()
        });
        let folding = async { folding.await.map_err(|_| problem::internal(DOMAIN)) };
        let (folded, sagas, orders) = tokio::try_join!(folding, self.sagas(sagas), self.orders(orders))?;
        let compare = |one: &Folded| {
            let is_order = one.category == Order::CATEGORY.as_str();
            compare(one, if is_order { orders.get(&one.id) } else { sagas.get(&one.id) }, now)
        };
        Ok(folded.iter().filter_map(compare).collect())
    }

    async fn sagas(&self, ids: Vec<Uuid>) -> Result<HashMap<Uuid, Shown>, Status> {
        type Row = (Uuid, i64, i16, i64, i64, i64);
        let found: Vec<Row> = rows(
            sqlx::query_as(
                "select saga_id, version, state, authorized, captured, reserved
                 from saga_view
                 where saga_id = any($1)",
            )
            .bind(ids)
            .fetch_all(&self.pool),
        )
        .await?;
        let shown = found.into_iter().map(|(id, version, state, authorized, captured, reserved)| {
            (id, Shown { version, state, held: (authorized, captured, reserved) })
        });
        Ok(shown.collect())
    }

    async fn orders(&self, ids: Vec<Uuid>) -> Result<HashMap<Uuid, Shown>, Status> {
        let found: Vec<(Uuid, i64, i16)> = rows(
            sqlx::query_as("select order_id, version, state from order_view where order_id = any($1)")
                .bind(ids)
                .fetch_all(&self.pool),
        )
        .await?;
        Ok(found.into_iter().map(|(id, version, state)| (id, Shown { version, state, held: (0, 0, 0) })).collect())
    }
}

/// `None` for streams that no read model shows.
fn fold(stream: &[Recorded], library: &Library<OrderProcess>) -> Option<Folded> {
    let (first, last) = (stream.first()?, stream.last()?);
    let shown = if first.stream.category == Saga::<OrderProcess>::CATEGORY {
        fold_saga(stream, library)
    } else if first.stream.category == Order::CATEGORY {
        fold_order(stream)
    } else {
        return None;
    };
    Some(Folded {
        id: first.stream.id,
        category: first.stream.category.as_str(),
        version: i64::try_from(last.version.get()).unwrap_or(i64::MAX),
        last: last.time,
        shown,
    })
}

fn fold_saga(stream: &[Recorded], library: &Library<OrderProcess>) -> Result<Shown, (&'static str, String)> {
    let events: Result<Vec<_>, _> = stream.iter().map(Event::from_recorded).collect();
    let events = events.map_err(|error| ("UNREADABLE", error.to_string()))?;
    let saga = events.iter().fold(Saga::default(), Saga::evolve);
    let (Some(pinned), Some(order)) = (saga.definition(), saga.input()) else {
        return Err(("UNREADABLE", "its history does not begin with a start".to_owned()));
    };
    if !saga.is_ended() {
        library.pinned(pinned).map_err(|unknown| ("NO_DEFINITION", unknown.to_string()))?;
    }
    let held = Holdings::after(&events, order.facts.total, order.facts.units());
    let version = stream.last().map_or(Version::NONE, |last| last.version);
    Ok(Shown {
        version: i64::try_from(version.get()).unwrap_or(i64::MAX),
        state: number(state_of(saga.status()).into()),
        held: (held.authorized, held.captured, held.reserved),
    })
}

fn fold_order(stream: &[Recorded]) -> Result<Shown, (&'static str, String)> {
    let view = View::fold(stream).map_err(|error| ("UNREADABLE", error.to_string()))?;
    let Some(view) = view else { return Err(("UNREADABLE", "its history does not begin with a start".to_owned())) };
    let order = view.to_proto();
    Ok(Shown { version: i64::try_from(order.version).unwrap_or(i64::MAX), state: number(order.state), held: (0, 0, 0) })
}

fn number(state: i32) -> i16 {
    i16::try_from(state).unwrap_or(0)
}

fn compare(one: &Folded, seen: Option<&Shown>, now: DateTime<Utc>) -> Option<Finding> {
    let finding = |kind: &str, detail: String| Finding {
        category: one.category.to_owned(),
        stream_id: one.id.to_string(),
        version: u64::try_from(one.version).unwrap_or(0),
        kind: kind.to_owned(),
        detail,
    };
    let told = match &one.shown {
        Ok(told) => told,
        Err((kind, detail)) => return Some(finding(kind, detail.clone())),
    };
    let is_fresh = now - one.last < LAG_MAX;
    match seen {
        // What moved while it was folded, or just before, says nothing.
        Some(seen) if seen.version > one.version => None,
        Some(seen) if seen.version < one.version && is_fresh => None,
        Some(seen) if seen == told => None,
        Some(seen) => {
            Some(finding("READ_MODEL_DIFFERS", format!("the read model shows {seen:?}, the log says {told:?}")))
        }
        None if is_fresh => None,
        None => Some(finding("READ_MODEL_DIFFERS", "the read model does not show it".to_owned())),
    }
}
