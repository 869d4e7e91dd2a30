//! Every stream folded with this program, and held against the read models.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use eventstore::{Aggregate as _, Recorded};
use farmera_proto::saga::v1 as pb;
use pb::replay_check_response::Finding;
use saga::{Library, Saga};
use sqlx::postgres::PgPool;
use tonic::Status;
use uuid::Uuid;

use super::history::{History, state_of};
use crate::domain::Order;
use crate::projections::rows;
use crate::sagas::OrderProcess;
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
    pub library: std::sync::Arc<Library<OrderProcess>>,
}

impl Checker {
    /// What is not as this program would have it in these streams, each with all its events, at `now`.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn check(&self, events: &[Recorded], now: DateTime<Utc>) -> Result<Vec<Finding>, Status> {
        let streams = events.chunk_by(|one, next| one.stream == next.stream);
        let folded: Vec<Folded> = streams.filter_map(|stream| self.fold(stream)).collect();
        let of = |category| folded.iter().filter(move |one| one.category == category).map(|one| one.id).collect();
        let sagas = self.sagas(of(Saga::<OrderProcess>::CATEGORY.as_str())).await?;
        let orders = self.orders(of(Order::CATEGORY.as_str())).await?;
        let compare = |one: &Folded| {
            let is_order = one.category == Order::CATEGORY.as_str();
            compare(one, if is_order { orders.get(&one.id) } else { sagas.get(&one.id) }, now)
        };
        Ok(folded.iter().filter_map(compare).collect())
    }

    /// `None` for streams that no read model shows.
    fn fold(&self, stream: &[Recorded]) -> Option<Folded> {
        let (first, last) = (stream.first()?, stream.last()?);
        let shown = if first.stream.category == Saga::<OrderProcess>::CATEGORY {
            self.fold_saga(stream)
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

    fn fold_saga(&self, stream: &[Recorded]) -> Result<Shown, (&'static str, String)> {
        let history = History::read(stream.to_vec()).map_err(|error| ("UNREADABLE", error.to_string()))?;
        let Some(pinned) = history.saga.definition() else {
            return Err(("UNREADABLE", "its history does not begin with a start".to_owned()));
        };
        if !history.saga.is_ended() {
            self.library.pinned(pinned).map_err(|unknown| ("NO_DEFINITION", unknown.to_string()))?;
        }
        let held = history.holdings();
        Ok(Shown {
            version: i64::try_from(history.version().get()).unwrap_or(i64::MAX),
            state: number(state_of(history.saga.status()).into()),
            held: (held.authorized, held.captured, held.reserved),
        })
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
