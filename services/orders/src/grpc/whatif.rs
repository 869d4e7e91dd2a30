//! Cohorts of recorded sagas under another policy.

use std::sync::Arc;
use std::time::Duration;

use chassis::problem::{self, Violations};
use chrono::{DateTime, Utc};
use eventstore::{Aggregate as _, EventStore, Version};
use farmera_proto::saga::v1 as pb;
use pb::replay_what_if_response::Otherwise as Told;
use saga::{Library, Saga};
use tonic::Status;

use crate::operations::history::History;
use crate::operations::plan::parse_query;
use crate::operations::whatif::{Change, Otherwise, judge};
use crate::projections::sagas::{Order, Page, SagaList};
use crate::sagas::OrderProcess;
use crate::status::{DOMAIN, unreadable};

const LIMIT_DEFAULT: u32 = 1_000;
const LIMIT_MAX: u32 = 100_000;
/// Sagas read at a time, and their events.
const CHUNK: usize = 500;
const EVENTS_MAX: usize = 100_000;
/// Those told one by one.
const TOLD_MAX: usize = 1_000;

/// Takes recorded sagas through other policies.
pub(super) async fn replay(
    request: pb::ReplayWhatIfRequest,
    store: &dyn EventStore,
    list: &SagaList,
    library: &Arc<Library<OrderProcess>>,
    now: DateTime<Utc>,
) -> Result<pb::ReplayWhatIfResponse, Status> {
    let changes = changes(&request, library)?;
    let limit = if request.limit == 0 { LIMIT_DEFAULT } else { request.limit.min(LIMIT_MAX) };
    let page = Page { order: Order::Newest, after: None, size: usize::try_from(limit).unwrap_or(usize::MAX) };
    let (rows, _) = list.find(&parse_query(&request.query)?, page, now).await?;
    let mut answer = pb::ReplayWhatIfResponse::default();
    for chunk in rows.chunks(CHUNK) {
        let streams: Vec<_> =
            chunk.iter().map(|row| (Saga::<OrderProcess>::stream(row.saga_id), Version::NONE)).collect();
        let events = store.read_streams(&streams, EVENTS_MAX).await.map_err(unreadable)?;
        for recorded in events.chunk_by(|one, next| one.stream == next.stream) {
            let history = History::read(recorded.to_vec()).map_err(|error| problem::undecodable(DOMAIN, error))?;
            answer.sagas += 1;
            let definition = history.saga.definition().and_then(|pinned| library.pinned(pinned).ok());
            match definition.and_then(|definition| judge(&history, definition, &changes)) {
                Some(otherwise) => note(&mut answer, &history, otherwise),
                None => answer.same += 1,
            }
        }
    }
    Ok(answer)
}

fn note(answer: &mut pb::ReplayWhatIfResponse, history: &History, otherwise: Otherwise) {
    answer.otherwise_total += 1;
    answer.assumed += u64::from(!otherwise.assumptions.is_empty());
    let currency_code = history.exposure().currency_code;
    let delta = pb::Exposure {
        currency_code: currency_code.clone(),
        captured_minor_units: otherwise.captured_delta,
        ..pb::Exposure::default()
    };
    match answer.deltas.iter_mut().find(|sum| sum.currency_code == currency_code) {
        Some(sum) => sum.captured_minor_units = sum.captured_minor_units.saturating_add(otherwise.captured_delta),
        None => answer.deltas.push(delta.clone()),
    }
    if answer.otherwise.len() < TOLD_MAX {
        answer.otherwise.push(Told {
            saga_id: history.recorded.first().map(|event| event.stream.id.to_string()).unwrap_or_default(),
            was: otherwise.was.into(),
            would_be: otherwise.would_be.into(),
            parts_at_version: otherwise.parts_at,
            assumptions: otherwise.assumptions,
            delta: Some(delta),
        });
    }
}

fn changes(request: &pb::ReplayWhatIfRequest, library: &Library<OrderProcess>) -> Result<Vec<Change>, Status> {
    let mut violations = Violations::new();
    if request.changes.is_empty() {
        violations.add("changes", "has no entries: expected at least one step with another policy");
    }
    let mut changes = Vec::new();
    for (index, change) in request.changes.iter().enumerate() {
        if library.definitions().all(|definition| definition.step(&change.step).is_none()) {
            violations.add(format!("changes[{index}].step"), format!("is {:?}: there is no such step", change.step));
        }
        let timeout = change.timeout.as_ref().and_then(|span| {
            let nanos = u32::try_from(span.nanos).ok()?;
            Some(Duration::new(u64::try_from(span.seconds).ok()?, nanos))
        });
        if timeout.is_none() && change.timeout.is_some() {
            violations.add(format!("changes[{index}].timeout"), "is below zero");
        }
        let attempts_max = (change.attempts_max > 0).then_some(change.attempts_max);
        changes.push(Change { step: change.step.clone(), attempts_max, timeout });
    }
    violations.finish(DOMAIN)?;
    Ok(changes)
}
