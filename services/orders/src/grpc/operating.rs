//! The services for operators, put together.

use std::sync::Arc;

use chassis::service::Service;
use eventstore::worker::WorkerHandle;
use farmera_proto::saga::v1::event_query_service_server::EventQueryServiceServer;
use farmera_proto::saga::v1::replay_service_server::ReplayServiceServer;
use farmera_proto::saga::v1::saga_query_service_server::SagaQueryServiceServer;
use saga::Library;
use saga_runtime::HoldsInForce;
use tonic::service::RoutesBuilder;

use super::events::Events;
use super::machinery::SagaMachinery;
use super::replay::Replay;
use super::sagas::Sagas;
use super::{Lists, Participants, Reads};
use crate::handler::OrdersHandler;
use crate::operations::check::Checker;
use crate::operations::debts;
use crate::operations::hands::SagaActs;
use crate::operations::plan::Planner;
use crate::operations::reconcile::{Ledgers, Reconciliation};
use crate::projections::held::HeldList;
use crate::projections::sagas::SagaList;
use crate::sagas::OrderProcess;
use crate::status::DOMAIN;

/// What they work with.
pub struct Operating {
    /// Where single sagas come from.
    pub reads: Reads,
    /// Where lists come from.
    pub sagas: SagaList,
    /// The definitions.
    pub library: Arc<Library<OrderProcess>>,
    /// Where acts go.
    pub worker: WorkerHandle<OrdersHandler>,
    /// Who is asked what they did for a saga.
    pub participants: Participants,
    /// Where ledgers are asked for.
    pub ledgers: Ledgers,
    /// What is held.
    pub holds: HoldsInForce,
    /// Where lists of sagas wait for what they must hold.
    pub abreast: Lists,
}

impl Operating {
    /// Adds them to what is served, and starts what looks for orphans.
    pub fn serve(self, service: &mut Service, routes: &mut RoutesBuilder) {
        let (pool, store, clock) = (service.pool.clone(), &service.store, &service.clock);
        let (library, shutdown) = (&self.library, &service.shutdown);
        let reconciliation = Reconciliation { ledgers: self.ledgers, pool: pool.clone(), scan: service.scan.clone() };
        let looking = reconciliation.clone().look_now_and_then(Arc::clone(clock), shutdown.clone());
        let debts = debts::look_now_and_then(pool.clone(), Arc::clone(clock), shutdown.clone());
        let sagas = Sagas {
            reads: self.reads,
            participants: self.participants,
            list: self.sagas.clone(),
            library: Arc::clone(library),
            holds: self.holds.clone(),
            health: service.health().clone(),
            abreast: self.abreast,
            clock: Arc::clone(clock),
        };
        let events = Events { store: Arc::clone(store), scan: service.scan.clone(), shutdown: shutdown.clone() };
        let machinery = SagaMachinery {
            scan: service.scan.clone(),
            list: self.sagas.clone(),
            holds: self.holds.clone(),
            held: HeldList::new(pool.clone()),
            library: Arc::clone(library),
            clock: Arc::clone(clock),
        };
        let acts = SagaActs {
            planner: Planner {
                store: Arc::clone(store),
                list: self.sagas,
                library: Arc::clone(library),
                holds: self.holds,
                held: HeldList::new(pool.clone()),
            },
            scan: service.scan.clone(),
            worker: self.worker,
        };
        let replay = Replay {
            store: Arc::clone(store),
            scan: service.scan.clone(),
            checker: Checker { pool, library: Arc::clone(library) },
            reconciliation,
            clock: Arc::clone(clock),
            shutdown: shutdown.clone(),
        };
        routes
            .add_service(SagaQueryServiceServer::new(sagas))
            .add_service(EventQueryServiceServer::new(events))
            .add_service(ReplayServiceServer::new(replay));
        let operating = chassis::operations::Operating {
            domain: DOMAIN,
            relay: crate::RELAY,
            projections: crate::projections(),
            acts: vec![Arc::new(acts)],
            sagas: Some(Arc::new(machinery)),
        };
        operating.serve(service, routes);
        service.tasks.spawn("reconciliation", looking);
        service.tasks.spawn("debts", debts);
    }
}
