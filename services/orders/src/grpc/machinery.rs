//! What is told of sagas beside the rest of the machinery: their timers, what is held.

use std::collections::HashMap;
use std::sync::Arc;

use chassis::operations::machinery::{SagaSide, timers_question};
use chassis::page;
use chassis::problem::Violations;
use chassis::scan::{ArmedTimer, LogScan};
use eventstore::{Aggregate as _, Clock};
use farmera_proto::saga::v1 as pb;
use saga::hold::{Hold, HoldPhase};
use saga::{Library, Saga};
use saga_runtime::HoldsInForce;
use tonic::Status;
use uuid::Uuid;

use super::lists;
use crate::operations::holding;
use crate::operations::query::{Condition, Query};
use crate::projections::held::HeldList;
use crate::projections::sagas::{Order, Page, Row, SagaList};
use crate::sagas::OrderProcess;
use crate::status::{DOMAIN, unreadable};

/// Tells of sagas.
pub struct SagaMachinery {
    /// Where timers are seen.
    pub scan: LogScan,
    /// Where sagas are listed.
    pub list: SagaList,
    /// What is held.
    pub holds: HoldsInForce,
    /// Who waits there.
    pub held: HeldList,
    /// The definitions.
    pub library: Arc<Library<OrderProcess>>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl SagaMachinery {
    /// Timers, each with where its saga stands.
    async fn told(&self, found: &[ArmedTimer]) -> Result<Vec<pb::Timer>, Status> {
        let ids = found.iter().map(|timer| timer.stream.id).collect();
        let page = Page { order: Order::Oldest, after: None, size: found.len() };
        let (sagas, _) = self.list.find(&Query::Is(Condition::Id(ids)), page, self.clock.now()).await?;
        let sagas: HashMap<Uuid, Row> = sagas.into_iter().map(|row| (row.saga_id, row)).collect();
        let timer = |timer: &ArmedTimer| {
            let saga = sagas.get(&timer.stream.id);
            pb::Timer {
                saga_id: timer.stream.id.to_string(),
                due_time: Some(timer.due.into()),
                claimed_until_time: timer.claimed_until.map(Into::into),
                step: saga.map(|row| row.step.clone()).unwrap_or_default(),
                definition: saga.map(|row| row.definition.clone()).unwrap_or_default(),
                state: saga.map_or(0, |row| row.state.into()),
            }
        };
        Ok(found.iter().map(timer).collect())
    }
}

#[tonic::async_trait]
impl SagaSide for SagaMachinery {
    async fn timers(&self, request: pb::ListTimersRequest) -> Result<pb::ListTimersResponse, Status> {
        let mut violations = Violations::new();
        let size = page::size(&mut violations, request.page_size);
        let question = timers_question(&request);
        let after = page::key(&mut violations, &question, &request.page_token, page::moment);
        violations.finish(DOMAIN)?;
        let category = Saga::<OrderProcess>::CATEGORY;
        let found = self.scan.timers(category, after, request.overdue_only, size + 1).await;
        let mut found = found.map_err(unreadable)?;
        let has_more = found.len() > size;
        found.truncate(size);
        let key = |timer: &ArmedTimer| page::moment_key(timer.due, timer.stream.id);
        let next = found.last().filter(|_| has_more).map(key);
        Ok(pb::ListTimersResponse {
            timers: self.told(&found).await?,
            next_page_token: next.map(|key| page::token(&question, &key)).unwrap_or_default(),
        })
    }

    async fn holds(&self) -> Result<Vec<pb::list_holds_response::Hold>, Status> {
        let mut holds = Vec::new();
        for hold in self.holds.holds().iter() {
            holds.push(told_hold(hold, self.held.count(&hold.target).await?));
        }
        Ok(holds)
    }

    async fn exposures(&self, sagas: Vec<Uuid>) -> Result<Vec<pb::Exposure>, Status> {
        let counted = self.list.count(&Query::Is(Condition::Id(sagas)), self.clock.now()).await?;
        Ok(lists::exposures(&counted.0.iter().collect::<Vec<_>>()))
    }

    fn definitions(&self) -> Vec<String> {
        let definitions = self.library.definitions().map(|definition| definition.id());
        definitions.map(|id| format!("{}@{}", id.name, id.version)).collect()
    }
}

fn told_hold(hold: &Hold, sagas: u64) -> pb::list_holds_response::Hold {
    let told = pb::list_holds_response::Hold {
        target: hold.target.to_string(),
        actor: hold.by_hand.actor.as_str().to_owned(),
        reason: hold.by_hand.reason.clone(),
        since: Some(hold.since.into()),
        sagas,
        ..pb::list_holds_response::Hold::default()
    };
    match &hold.phase {
        HoldPhase::Standing { until, stopped: None } => {
            pb::list_holds_response::Hold { until: until.map(Into::into), ..told }
        }
        HoldPhase::Standing { until, stopped: Some(release) } => pb::list_holds_response::Hold {
            until: until.map(Into::into),
            let_go: release.let_go,
            worked: release.worked,
            failed: release.failed,
            stopped: holding::stopped(release),
            ..told
        },
        HoldPhase::Releasing { let_go, worked, failed, .. } => {
            pb::list_holds_response::Hold { releasing: true, let_go: *let_go, worked: *worked, failed: *failed, ..told }
        }
    }
}
