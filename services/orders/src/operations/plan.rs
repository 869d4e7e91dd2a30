//! What acts would do: every saga is read, and decided about without committing.

use std::sync::Arc;

use chassis::operations::plan::SELECTED_MAX;
use chassis::operations::{Foreseen, Mandate, only};
use chassis::problem::{self, Problem, Violations};
use chrono::{DateTime, Utc};
use eventstore::{Aggregate as _, EventStore, Recorded, StreamId, Version};
use farmera_proto::saga::v1 as pb;
use saga::{HoldTarget, Holds, Library, Saga};
use saga_runtime::HoldsInForce;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::operations::act::{Act, Effect, Rules};
use crate::operations::history::{History, state_of};
use crate::operations::holding::{HoldAct, targets};
use crate::operations::query::{Query, parse};
use crate::projections::held::HeldList;
use crate::projections::sagas::{Order, Page, SagaList};
use crate::sagas::OrderProcess;
use crate::status::{DOMAIN, unreadable};

/// Sagas read at a time.
const CHUNK: usize = 500;
/// Events of those at most; a history that is longer than all of this is not planned with.
const EVENTS_MAX: usize = 100_000;

/// Foresees what acts would do.
#[derive(Clone)]
pub struct Planner {
    /// The log.
    pub store: Arc<dyn EventStore>,
    /// Where queries are answered.
    pub list: SagaList,
    /// The definitions.
    pub library: Arc<Library<OrderProcess>>,
    /// What is held.
    pub holds: HoldsInForce,
    /// Who waits there.
    pub held: HeldList,
}

impl Planner {
    /// What `act` would do to these sagas at `now`.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for a selection that makes no sense or is too large; UNAVAILABLE.
    pub async fn sagas(
        &self,
        act: &Act,
        selection: &pb::Selection,
        mandate: &Mandate,
        now: DateTime<Utc>,
    ) -> Result<Foreseen, Status> {
        let ids = self.selected(selection, now).await?;
        let mut foreseen = Foreseen { items: Vec::with_capacity(ids.len()), repeated_requests: 0 };
        for chunk in ids.chunks(CHUNK) {
            let streams: Vec<_> = chunk.iter().map(|id| (Saga::<OrderProcess>::stream(*id), Version::NONE)).collect();
            let events = self.store.read_streams(&streams, EVENTS_MAX).await.map_err(unreadable)?;
            let mut found = events.chunk_by(|one, next| one.stream == next.stream).peekable();
            let mut sorted: Vec<StreamId> = streams.into_iter().map(|(stream, _)| stream).collect();
            sorted.sort();
            for stream in sorted {
                let history = found.next_if(|events| events.first().is_some_and(|first| first.stream == stream));
                let (item, again) = self.item(stream.id, history.unwrap_or_default(), act, mandate, now)?;
                foreseen.items.push(item);
                foreseen.repeated_requests += again;
            }
        }
        Ok(foreseen)
    }

    fn item(
        &self,
        saga_id: Uuid,
        recorded: &[Recorded],
        act: &Act,
        mandate: &Mandate,
        now: DateTime<Utc>,
    ) -> Result<(pb::PlanItem, u32), Status> {
        let history = History::read(recorded.to_vec()).map_err(|error| problem::undecodable(DOMAIN, error))?;
        let at = saga::pending(&history.saga).wanted.into_iter().next_back();
        let holds = self.holds.holds();
        let rules = Rules { library: &self.library, holds: &holds };
        let effect = act.effect(rules, saga_id, &history.saga, mandate, now);
        let state = state_of(history.saga.status());
        let item = pb::PlanItem {
            id: saga_id.to_string(),
            version: history.version().get(),
            state: state.into(),
            step: at.map(|wanted| wanted.step.to_string()).unwrap_or_default(),
            exposure: Some(history.exposure()),
            state_after: state.into(),
            ..pb::PlanItem::default()
        };
        Ok(match effect {
            Effect::Takes { events, requests, repeated, state } => {
                (pb::PlanItem { events, requests, state_after: state.into(), ..item }, repeated)
            }
            Effect::Refused(refused) => (pb::PlanItem { refused, ..item }, 0),
        })
    }

    async fn selected(&self, selection: &pb::Selection, now: DateTime<Utc>) -> Result<Vec<Uuid>, Status> {
        let mut violations = Violations::new();
        let by_query = !selection.query.trim().is_empty();
        if by_query != selection.saga_ids.is_empty() {
            violations.add("selection", "expected either saga_ids or a query");
        }
        let (saga_ids, query) = (selection.saga_ids.clone(), selection.query.clone());
        only(&mut violations, selection, &pb::Selection { saga_ids, query, ..pb::Selection::default() }, "sagas");
        let mut ids: Vec<Uuid> =
            selection.saga_ids.iter().filter_map(|id| violations.uuid("selection.saga_ids", id)).collect();
        violations.finish(DOMAIN)?;
        if by_query {
            let query = parse_query(&selection.query)?;
            let page = Page { order: Order::Newest, after: None, size: SELECTED_MAX };
            let (rows, has_more) = self.list.find(&query, page, now).await?;
            if has_more {
                return Err(too_large());
            }
            ids = rows.into_iter().map(|row| row.saga_id).collect();
        }
        ids.sort_unstable();
        ids.dedup();
        if ids.len() > SELECTED_MAX { Err(too_large()) } else { Ok(ids) }
    }

    /// What would become of a hold at `now`.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for a selection that makes no sense, or that no definition knows; UNAVAILABLE.
    pub async fn hold(
        &self,
        act: &HoldAct,
        selection: &pb::Selection,
        mandate: &Mandate,
        now: DateTime<Utc>,
    ) -> Result<Foreseen, Status> {
        let holds = self.holds.holds();
        let target = hold_target(selection, &holds, &self.library)?;
        let affected = match act {
            HoldAct::Place { .. } => self.held.at(&target, &self.list, now).await?,
            HoldAct::Release { .. } => self.held.count(&target).await?,
        };
        let item = act.effect(&holds, &target, affected, mandate, now);
        Ok(Foreseen { items: vec![item], repeated_requests: 0 })
    }
}

/// The hold that is selected: one that stands, or one that a definition knows.
fn hold_target(
    selection: &pb::Selection,
    holds: &Holds,
    library: &Library<OrderProcess>,
) -> Result<HoldTarget, Status> {
    let mut violations = Violations::new();
    let own = pb::Selection { hold_target: selection.hold_target.clone(), ..pb::Selection::default() };
    only(&mut violations, selection, &own, "a hold");
    let target = match selection.hold_target.parse::<HoldTarget>() {
        Ok(target) => Some(target),
        Err(error) => {
            violations.add("selection.hold_target", error.to_string());
            None
        }
    };
    let known = targets(library);
    if let Some(target) = target.as_ref().filter(|target| !known.contains(target) && holds.get(target).is_none()) {
        let known: Vec<_> = known.iter().map(ToString::to_string).collect();
        violations.add("selection.hold_target", format!("{target} is unknown: there is {}", known.join(", ")));
    }
    violations.finish(DOMAIN)?;
    target.ok_or_else(|| problem::internal(DOMAIN))
}

/// Reads a query.
///
/// # Errors
/// INVALID_ARGUMENT, INVALID_QUERY, with the offset of the mistake.
pub fn parse_query(text: &str) -> Result<Query, Status> {
    parse(text).map_err(|error| {
        Problem::new(Code::InvalidArgument, "INVALID_QUERY", format!("query: {error} (at byte {})", error.offset))
            .with("offset", error.offset)
            .with("query", text.chars().take(200).collect::<String>())
            .into_status(DOMAIN)
    })
}

fn too_large() -> Status {
    let message =
        format!("more than {SELECTED_MAX} are selected: narrow the selection, and plan one part after another");
    Problem::new(Code::InvalidArgument, "SELECTION_TOO_LARGE", message).with("limit", SELECTED_MAX).into_status(DOMAIN)
}
