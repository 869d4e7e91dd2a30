//! Somebody who plans and applies, and the processes that carry it out.

use std::sync::Arc;
use std::time::Duration;

use chassis::operations::Acts;
use chassis::operations::book::OperationBook;
use chassis::operations::letters::LetterActs;
use chassis::operations::operator::Operator;
use chassis::operations::plan_book::PlanBook;
use chassis::operations::runner::Runner;
use chassis::scan::LogScan;
use chassis::shutdown::{Shutdown, Trigger};
use eventstore::{Aggregate as _, EventStore as _, Version};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::operator_service_server::OperatorService as _;
use orders::operations::hands::SagaActs;
use orders::operations::plan::Planner;
use orders::projections::held::HeldList;
use orders::sagas::{OrderProcess, RESERVE_INVENTORY};
use orders::status::DOMAIN;
use pb::act::Kind;
use saga::Saga;
use tonic::{Request, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::support::Market;

/// An operator before a market of orders.
pub struct Desk {
    pub market: Market,
    pub operator: Operator,
    _trigger: Trigger,
}

/// What can be done in orders.
fn acts(market: &Market) -> Vec<Arc<dyn Acts>> {
    let planner = Planner {
        store: market.store.clone(),
        list: market.sagas(),
        library: Arc::clone(&market.library),
        holds: market.holds.clone(),
        held: HeldList::new(market.pool.clone()),
    };
    let scan = LogScan::new(Arc::clone(&market.store));
    let letters = LetterActs { store: market.store.clone(), letters: market.store.clone(), domain: DOMAIN };
    vec![Arc::new(SagaActs { planner, scan, worker: market.worker.clone() }), Arc::new(letters)]
}

impl Desk {
    pub async fn open(approval_above: u32) -> Self {
        let market = Market::open().await;
        let (trigger, shutdown) = Shutdown::new();
        let operator = Operator {
            service: "orders",
            domain: DOMAIN,
            acts: acts(&market),
            plans: PlanBook { pool: market.pool.clone(), domain: DOMAIN },
            operations: OperationBook::new(market.pool.clone(), "orders", DOMAIN),
            clock: Arc::clone(&market.clock),
            ids: Arc::clone(&market.ids),
            shutdown,
            approval_above,
        };
        Self { market, operator, _trigger: trigger }
    }

    /// A process that carries operations out, until it is dropped.
    pub fn process(&self) -> tokio::task::JoinHandle<()> {
        let runner = Runner::new(self.operator.operations.clone(), acts(&self.market));
        let (trigger, shutdown) = Shutdown::new();
        #[expect(clippy::disallowed_methods, reason = "the test ends it")]
        tokio::spawn(async move {
            let _never = trigger;
            runner.run(shutdown).await;
        })
    }

    pub async fn placed(&self, count: usize) -> Vec<Uuid> {
        let mut ids = Vec::new();
        for _ in 0..count {
            let id = self.market.place(1, 1_000).await;
            self.market.done(id, RESERVE_INVENTORY).await;
            ids.push(id);
        }
        ids
    }

    pub async fn plan(&self, who: &str, kind: Kind, selection: pb::Selection) -> Result<pb::Plan, Status> {
        let act = Some(pb::Act { kind: kind.into(), ..pb::Act::default() });
        let request =
            pb::CreatePlanRequest { act, selection: Some(selection), reason: "provider back, INC-204".to_owned() };
        let response = self.operator.create_plan(by(who, request)).await?;
        Ok(response.into_inner().plan.unwrap())
    }

    pub async fn plan_for(&self, who: &str, kind: Kind, ids: &[Uuid]) -> Result<pb::Plan, Status> {
        let saga_ids = ids.iter().map(ToString::to_string).collect();
        self.plan(who, kind, pb::Selection { saga_ids, ..pb::Selection::default() }).await
    }

    pub async fn apply(&self, who: &str, hash: &str) -> Result<pb::Operation, Status> {
        self.apply_with(who, pb::ApplyPlanRequest { hash: hash.to_owned(), rate: 500, ..Default::default() }).await
    }

    pub async fn apply_with(&self, who: &str, request: pb::ApplyPlanRequest) -> Result<pb::Operation, Status> {
        Ok(self.operator.apply_plan(by(who, request)).await?.into_inner().operation.unwrap())
    }

    /// The operation once it is over.
    pub async fn over(&self, id: &str) -> pb::Operation {
        let request = pb::WatchOperationRequest { operation_id: id.to_owned() };
        let mut watched = self.operator.watch_operation(by("ana", request)).await.unwrap().into_inner();
        let followed = async {
            let mut last = pb::Operation::default();
            while let Some(next) = futures::StreamExt::next(&mut watched).await {
                last = next.unwrap().operation.unwrap();
            }
            last
        };
        tokio::time::timeout(Duration::from_secs(60), followed).await.expect("the operation ends")
    }

    /// As if the process had died between what it did and writing that down.
    pub async fn forget_what_was_done(&self) {
        sqlx::query("update operation_item set state = 0").execute(&self.market.pool).await.unwrap();
        sqlx::query("update operation set state = 1, claimed_until = now()").execute(&self.market.pool).await.unwrap();
    }

    pub async fn history(&self, saga_id: Uuid) -> Vec<(String, String, String)> {
        let stream = [(Saga::<OrderProcess>::stream(saga_id), Version::NONE)];
        let events = self.market.store.read_streams(&stream, 1_000).await.unwrap();
        let told =
            events.into_iter().map(|event| (event.type_name, event.cause.actor.as_str().to_owned(), event.payload));
        told.collect()
    }
}

/// A request of somebody.
pub fn by<T>(who: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-farmera-actor", who.parse().unwrap());
    request
}

/// The reason in its details.
pub fn reason(status: &Status) -> String {
    status.get_error_details().error_info().unwrap().reason.clone()
}
