use std::sync::Arc;

use farmera_proto::saga::v1::machinery_query_service_server::MachineryQueryServiceServer;
use farmera_proto::saga::v1::operator_service_server::OperatorServiceServer;
use tonic::service::RoutesBuilder;

use super::Acts;
use super::book::OperationBook;
use super::check::ProjectionChecks;
use super::letters::LetterActs;
use super::machinery::{Machinery, SagaSide};
use super::operator::Operator;
use super::plan_book::PlanBook;
use super::range::RangeActs;
use super::rebuild::ProjectionActs;
use super::renew::StreamActs;
use super::retell::TransportActs;
use super::runner::Runner;
use crate::projection::Projection;
use crate::relay::RelaySpec;
use crate::service::Service;

/// What is special about a service, for those who operate it.
pub struct Operating {
    /// Of whom it is told what goes wrong: `orders.farmera.dev`.
    pub domain: &'static str,
    /// What it tells the world.
    pub relay: RelaySpec,
    /// Its read models.
    pub projections: Vec<Box<dyn Projection>>,
    /// What else can be done there.
    pub acts: Vec<Arc<dyn Acts>>,
    /// What is told of sagas; `None` where none run.
    pub sagas: Option<Arc<dyn SagaSide>>,
}

impl Operating {
    /// What every service serves for operators.
    pub const SERVICES: [&'static str; 2] =
        ["farmera.saga.v1.MachineryQueryService", "farmera.saga.v1.OperatorService"];

    /// Adds it to what is served, and starts what carries operations out.
    pub fn serve(self, service: &mut Service, routes: &mut RoutesBuilder) {
        let Self { domain, relay, projections, mut acts, sagas } = self;
        let (name, pool, approval_above) = (service.name, service.pool.clone(), service.approval_above);
        let projections: Arc<[Box<dyn Projection>]> = projections.into();
        let operations = OperationBook::new(pool.clone(), name, domain);
        acts.push(Arc::new(LetterActs {
            store: Arc::clone(&service.store),
            letters: Arc::clone(&service.letters),
            domain,
        }));
        acts.push(Arc::new(ProjectionActs {
            projections: Arc::clone(&projections),
            scan: service.scan.clone(),
            pool: pool.clone(),
            owner_url: service.owner_url.clone(),
            domain,
        }));
        acts.push(Arc::new(TransportActs {
            spec: relay,
            store: Arc::clone(&service.transport),
            broker: service.broker.clone(),
            domain,
        }));
        acts.push(Arc::new(StreamActs {
            spec: relay,
            store: Arc::clone(&service.transport),
            broker: service.broker.clone(),
            domain,
        }));
        acts.push(Arc::new(RangeActs {
            spec: relay,
            store: Arc::clone(&service.transport),
            broker: service.broker.clone(),
            domain,
        }));
        let machinery = Machinery {
            service: name,
            domain,
            store: Arc::clone(&service.store),
            scan: service.scan.clone(),
            pool: pool.clone(),
            checks: ProjectionChecks {
                projections: Arc::clone(&projections),
                owner_url: service.owner_url.clone(),
                shutdown: service.shutdown.clone(),
                domain,
            },
            projections,
            sagas,
            health: service.health().clone(),
            clock: Arc::clone(&service.clock),
            started_at: service.clock.now(),
            approval_above,
        };
        let operator = Operator {
            service: name,
            domain,
            acts: acts.clone(),
            plans: PlanBook { pool, domain },
            operations: operations.clone(),
            clock: Arc::clone(&service.clock),
            ids: Arc::clone(&service.ids),
            shutdown: service.shutdown.clone(),
            approval_above,
        };
        routes
            .add_service(MachineryQueryServiceServer::new(machinery))
            .add_service(OperatorServiceServer::new(operator));
        let runner = Runner::new(operations, acts).run(service.shutdown.clone());
        service.tasks.spawn("operations", runner);
    }
}
