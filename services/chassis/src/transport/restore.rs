//! What the broker lost, told again from the log.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use eventstore::{Cursor, Recorded, StreamId, Transport};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::RESTORED;
use super::verify::{self, CompareError, PAGE, Progress, Report};
use crate::broker::Broker;
use crate::envelope::{Stamp, seal};
use crate::relay::RelaySpec;

/// Event streams told again at a time.
const AT_ONCE_MAX: usize = 256;

/// What was missing, and what there is now.
#[derive(Clone, Debug)]
pub struct Restored {
    /// What was found first.
    pub before: Report,
    /// Events that were told again.
    pub told_again: u64,
    /// Of those that were to be told again, how many the broker lacked afterwards, or lacks when nothing was to be changed.
    pub left: u64,
    /// What was found afterwards; `None` when nothing was to be changed.
    pub after: Option<Report>,
}

/// How much to restore, and under which name.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Only events that happened since.
    pub from: Option<DateTime<Utc>>,
    /// Only say what is missing.
    pub dry_run: bool,
    /// Makes the messages' ids new to the broker, whatever its window of de-duplication remembers.
    pub run: Uuid,
}

/// Tells again what the broker should hold and does not: in the order of the log per event stream, marked as restored,
/// while the system runs. Then compares again.
///
/// # Errors
/// [`CompareError`]; what was told again until then stays told.
pub async fn rebuild(
    spec: RelaySpec,
    store: &dyn Transport,
    broker: &Broker,
    plan: Plan,
    progress: Progress<'_>,
) -> Result<Restored, CompareError> {
    let compared = verify::compare(spec, store, broker, plan.from, progress).await?;
    let (before, missing) = (compared.report, compared.missing);
    if plan.dry_run || missing.is_empty() {
        return Ok(Restored { before, told_again: 0, left: missing.len() as u64, after: None });
    }
    let told_again = tell_again(spec, store, broker, plan, &missing, progress).await?;
    let compared = verify::compare(spec, store, broker, plan.from, progress).await?;
    Ok(Restored { before, told_again, left: compared.missing.len() as u64, after: Some(compared.report) })
}

/// What a rebuild would tell again.
#[derive(Clone, Debug)]
pub struct Missing {
    /// What was found.
    pub report: Report,
    /// How many of the missing events are to be told again.
    pub wanted: u64,
    /// Follows from which those are; below 2^63.
    pub number: u64,
}

/// What a rebuild would tell again: what is missing of what happened since `from`.
///
/// # Errors
/// [`CompareError`]; nothing is known then.
pub async fn missing(
    spec: RelaySpec,
    store: &dyn Transport,
    broker: &Broker,
    from: Option<DateTime<Utc>>,
    progress: Progress<'_>,
) -> Result<Missing, CompareError> {
    let compared = verify::compare(spec, store, broker, from, progress).await?;
    let mut ids: Vec<Uuid> = compared.missing.into_iter().collect();
    ids.sort_unstable();
    let mut sha = Sha256::new();
    ids.iter().for_each(|id| sha.update(id.as_bytes()));
    // It is kept as a signed number.
    let number = sha.finalize().iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    Ok(Missing { report: compared.report, wanted: ids.len() as u64, number: number >> 1 })
}

async fn tell_again(
    spec: RelaySpec,
    store: &dyn Transport,
    broker: &Broker,
    plan: Plan,
    missing: &HashSet<Uuid>,
    progress: Progress<'_>,
) -> Result<u64, CompareError> {
    let stamp = Stamp { store_epoch: store.store_epoch().await?.epoch, broker_epoch: 0 };
    let (mut after, mut told) = (Cursor::START, 0);
    loop {
        let events = store.read_log(after, spec.categories, PAGE).await?;
        let Some(last) = events.last() else { return Ok(told) };
        after = last.cursor;
        let wanted = events.into_iter().filter(|event| missing.contains(&event.id.0)).collect();
        told += tell_all(spec, broker, plan.run, stamp, wanted).await?;
        progress("restored", told, missing.len() as u64);
    }
}

/// Tells these events again, whether the broker holds them or not, under names that are new in `run`.
///
/// # Errors
/// [`CompareError`]; what was told again until then stays told.
pub(crate) async fn tell_some(
    spec: RelaySpec,
    store: &dyn Transport,
    broker: &Broker,
    run: Uuid,
    events: Vec<Recorded>,
) -> Result<u64, CompareError> {
    let stamp = Stamp { store_epoch: store.store_epoch().await?.epoch, broker_epoch: 0 };
    tell_all(spec, broker, run, stamp, events).await
}

/// Event streams side by side, each in its order.
async fn tell_all(
    spec: RelaySpec,
    broker: &Broker,
    run: Uuid,
    stamp: Stamp,
    events: Vec<Recorded>,
) -> Result<u64, CompareError> {
    let mut by_stream: BTreeMap<StreamId, Vec<Recorded>> = BTreeMap::new();
    for event in events {
        by_stream.entry(event.stream).or_default().push(event);
    }
    let telling = by_stream.into_values().map(|events| tell(spec, broker, run, stamp, events));
    let counts: Vec<u64> = stream::iter(telling).buffer_unordered(AT_ONCE_MAX).try_collect().await?;
    Ok(counts.iter().sum())
}

/// One after another: the next when the one before is acknowledged.
async fn tell(
    spec: RelaySpec,
    broker: &Broker,
    run: Uuid,
    stamp: Stamp,
    events: Vec<Recorded>,
) -> Result<u64, CompareError> {
    let mut told = 0;
    for event in events {
        let outgoing = (spec.translate)(&event).map_err(|error| CompareError::Untellable(error.to_string()))?;
        let Some(outgoing) = outgoing else { continue };
        let mut sealed = seal(spec.source, outgoing, &event, stamp);
        sealed.message_id = format!("{}.{}", event.id, run.simple());
        let mut headers = sealed.headers();
        headers.insert(RESTORED, run.to_string());
        let published = broker.jetstream.publish_with_headers(sealed.subject, headers, sealed.body.into());
        let refused = |error: async_nats::jetstream::context::PublishError| CompareError::Refused(error.to_string());
        published.await.map_err(refused)?.await.map_err(refused)?;
        told += 1;
    }
    Ok(told)
}
