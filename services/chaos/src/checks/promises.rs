//! What clients were told, against what is there.

use std::collections::{BTreeMap, BTreeSet};

use eventstore::derived_id;
use farmera::failure::Failure;
use uuid::Uuid;

use crate::checks::{Evidence, Found, unreadable};

/// A verdict that the books gave by themselves.
pub(super) fn verdict(evidence: &Evidence<'_>, claim: &str) -> Found {
    let checked = evidence.books.orders.len() as u64;
    match evidence.verdicts.iter().find(|verdict| verdict.claim == claim) {
        Some(verdict) if verdict.holds => Found { checked, wrong: Vec::new() },
        Some(verdict) => Found { checked, wrong: vec![verdict.detail.clone()] },
        None => Found { checked: 0, wrong: vec![format!("nobody judged {claim:?}")] },
    }
}

async fn orders(evidence: &mut Evidence<'_>) -> Result<BTreeSet<Uuid>, Failure> {
    let ids = sqlx::query_scalar("select stream_id from event where category = 'order' and version = 1")
        .fetch_all(evidence.of("orders")?)
        .await
        .map_err(unreadable)?;
    Ok(ids.into_iter().collect())
}

/// I5: whatever was accepted is stored.
pub(super) async fn accepted(evidence: &mut Evidence<'_>) -> Result<Found, Failure> {
    let stored = orders(evidence).await?;
    let accepted = &evidence.testimony.accepted;
    let lost = accepted.values().filter(|order| !stored.contains(order));
    Ok(Found {
        checked: accepted.len() as u64,
        wrong: lost.map(|order| format!("order {order} was accepted and is not stored")).collect(),
    })
}

/// I6: whatever was refused is not there; whatever was never answered is there once or not at all; and nothing is there
/// that nobody asked for.
pub(super) async fn refused(evidence: &mut Evidence<'_>) -> Result<Found, Failure> {
    let stored = orders(evidence).await?;
    let testimony = evidence.testimony;
    let place = |request: Uuid, customer: Uuid| derived_id(request, &format!("order of {customer}"));
    let asked: BTreeMap<Uuid, Uuid> =
        testimony.asked.iter().map(|(request, customer)| (place(*request, *customer), *request)).collect();
    let mut wrong: Vec<String> = stored
        .iter()
        .filter_map(|order| match asked.get(order) {
            None => Some(format!("order {order} is stored and nobody asked for it")),
            Some(request) if testimony.refused.contains_key(request) => {
                Some(format!("order {order} was refused and is stored"))
            }
            Some(_) => None,
        })
        .collect();
    // A client of this load asks for nothing that could be refused for good.
    wrong.extend(testimony.refused.iter().map(|(request, code)| format!("request {request} was refused: {code}")));
    Ok(Found { checked: (stored.len() + testimony.refused.len() + testimony.unanswered.len()) as u64, wrong })
}

/// I17: the same key gives the same order, another wish under it is refused.
pub(super) fn idempotent(evidence: &Evidence<'_>) -> Found {
    let testimony = evidence.testimony;
    let mut wrong = Vec::new();
    for (request, order) in &testimony.again {
        if testimony.accepted.get(request) != Some(order) {
            wrong.push(format!("request {request} was answered with {order}, too"));
        }
    }
    let contradicted = testimony.contradicted.iter().filter(|(_, code)| code != "AlreadyExists");
    wrong.extend(contradicted.map(|(request, code)| format!("another wish under {request} was answered {code}")));
    let mut orders = BTreeSet::new();
    let twice = testimony.accepted.values().filter(|order| !orders.insert(**order));
    wrong.extend(twice.map(|order| format!("two keys gave order {order}")));
    let checked = testimony.again.len() + testimony.contradicted.len();
    Found { checked: checked as u64 + testimony.retries, wrong }
}
