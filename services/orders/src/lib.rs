//! Orders: the orchestrator.
//!
//! Owns orders and the sagas that make them happen. `domain` has an order's rules, `sagas` the processes, `handler` puts
//! both into one unit of work. Clients come in through `grpc`, participants' answers through `messages`, time through
//! the runtime's timers. All of them meet in one worker: whatever has queued up becomes one transaction.
//!
//! Deliberately absent: any call that changes something in another service. Participants are asked by events; the only
//! question that orders puts to another service is what goods cost ([`prices`]).

pub mod config;
pub mod domain;
pub mod grpc;
pub mod handler;
pub mod live;
pub mod messages;
pub mod operations;
pub mod prices;
pub mod projections;
mod react;
pub mod sagas;
pub mod status;
pub mod view;

use std::sync::Arc;

use chassis::projection::{Abreast, Nudge, Projection};
use chassis::schema::Schema;
use chassis::service::{Service, StartError, Surroundings};
use eventstore::StreamKind;
use eventstore::worker::WorkerHandle;
use farmera_proto::orders::v1::orders_query_service_server::OrdersQueryServiceServer;
use farmera_proto::orders::v1::orders_service_server::OrdersServiceServer;
use saga::Library;
use saga_runtime::{
    DefinitionsError, Engine, HoldLimits, HoldLoop, HoldsInForce, Reconciler, ReconcilerLimits, SagaMetrics, Sending,
    TimerLimits, TimerLoop, record_definitions,
};
use tokio::net::TcpListener;
use tonic::service::RoutesBuilder;

pub use config::Config;
pub use messages::RELAY;

use crate::handler::OrdersHandler;
use crate::live::Live;
use crate::prices::Prices;
use crate::projections::held::HeldList;
use crate::projections::open::BoundList;
use crate::projections::orders::{OrderList, OrderProjection};
use crate::projections::sagas::{SagaList, SagaProjection};
use crate::react::{Answers, Waker};
use crate::sagas::OrderProcess;

/// The service's name.
pub const NAME: &str = "orders";
/// Where it serves gRPC unless told otherwise.
pub const DEFAULT_PORT: u16 = 50_052;
/// Every kind of stream in its log.
pub const STREAMS: &[StreamKind] = &[
    StreamKind::of::<domain::Order>(),
    StreamKind::of::<saga::Saga<OrderProcess>>(),
    StreamKind::of::<saga::Holds>(),
    StreamKind::of::<saga::RecordedDefinition>(),
];

const SERVICES: &[&str] = &[
    "farmera.orders.v1.OrdersService",
    "farmera.orders.v1.OrdersQueryService",
    "farmera.saga.v1.SagaQueryService",
    "farmera.saga.v1.EventQueryService",
    "farmera.saga.v1.ReplayService",
    "farmera.saga.v1.MachineryQueryService",
    "farmera.saga.v1.OperatorService",
];

/// The tables of the read models; the event store's own come before them.
#[must_use]
pub fn migrator() -> sqlx::migrate::Migrator {
    let mut migrator = sqlx::migrate!("../../migrations/orders");
    migrator.set_ignore_missing(true);
    migrator
}

/// The read models, for those who look at them or make them anew.
#[must_use]
pub fn projections() -> Vec<Box<dyn Projection>> {
    vec![Box::new(OrderProjection), Box::new(SagaProjection)]
}

/// Refuses to start with a definition that was changed under open sagas. A database that does not answer yet is no reason
/// to wait: no saga is ever decided by another definition than its own.
async fn compare_definitions(service: &Service, library: &Library<OrderProcess>) -> Result<(), StartError> {
    let bound = BoundList::new(service.pool.clone());
    let compared = record_definitions(&*service.store, &*service.clock, &*service.ids, library, &bound).await;
    match compared {
        Ok(()) => Ok(()),
        Err(error @ (DefinitionsError::Changed { .. } | DefinitionsError::Decode(_))) => {
            Err(StartError::Peer(error.to_string()))
        }
        Err(error @ (DefinitionsError::Read(_) | DefinitionsError::Commit(_))) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "definitions cannot be compared with the database"
            );
            Ok(())
        }
    }
}

/// Starts whatever moves sagas that nobody answers: their timers, the end of holds, the reconciler.
fn look_after_sagas(service: &mut Service, worker: WorkerHandle<OrdersHandler>, sagas: SagaList, holds: HoldsInForce) {
    let sending = Sending::new(Arc::clone(&service.store), Arc::clone(&service.clock));
    let waker = Arc::new(Waker { worker, ids: Arc::clone(&service.ids), sending });
    let timers = TimerLoop::<OrderProcess, _>::new(
        Arc::clone(&service.store),
        Arc::clone(&service.clock),
        Arc::clone(&waker),
        TimerLimits::default(),
    );
    let component = service.component("timers");
    let timers = timers.telling(move |standstill| component.tell(standstill));
    service.tasks.spawn("timers", timers.run(service.shutdown.watch()));
    let releases = HoldLoop::<OrderProcess, _, _>::new(
        Arc::clone(&service.store),
        Arc::clone(&service.clock),
        Arc::clone(&waker),
        HeldList::new(service.pool.clone()),
        holds,
        HoldLimits::default(),
    );
    service.tasks.spawn("holds", releases.run(service.shutdown.watch()));
    let reconciler = Reconciler::new(sagas, waker, ReconcilerLimits::default());
    service.tasks.spawn("reconciler", reconciler.run(service.shutdown.watch()));
}

/// Where the lists of a read model wait for what they must hold.
fn lists(service: &mut Service, projection: &dyn Projection, nudge: Nudge) -> grpc::Lists {
    let (pool, scan) = (service.pool.clone(), service.scan.clone());
    let (abreast, looking) = Abreast::new(projection, pool.clone(), scan, nudge);
    service.tasks.spawn("lists", looking);
    grpc::Lists { abreast, pool }
}

/// Runs the service until the shutdown; false when work in flight had to be cut off.
///
/// # Errors
/// [`StartError`]: it cannot run with this configuration.
pub async fn run(config: Config, listener: TcpListener, around: Surroundings) -> Result<bool, StartError> {
    let library = Arc::new(sagas::library(&config.patience).map_err(|error| StartError::Peer(error.to_string()))?);
    let products = chassis::grpc::channel(&config.products_url)
        .map_err(|error| StartError::Peer(format!("PRODUCTS_URL cannot be used: {error}")))?;
    let payment = chassis::grpc::channel(&config.payment_url)
        .map_err(|error| StartError::Peer(format!("PAYMENT_URL cannot be used: {error}")))?;
    let notification = chassis::grpc::channel(&config.notification_url)
        .map_err(|error| StartError::Peer(format!("NOTIFICATION_URL cannot be used: {error}")))?;
    let mut service = Service::start(Schema::new(NAME, &migrator()), &config.common, around).await?;
    compare_definitions(&service, &library).await?;
    let (prices, asking) = Prices::new(products.clone());
    service.tasks.spawn("prices", asking);

    let live = Live::default();
    let relay = service.relay(RELAY);
    let (order_nudge, _) = service.project(OrderProjection);
    let (saga_nudge, _) = service.project(SagaProjection);
    let order_lists = lists(&mut service, &OrderProjection, order_nudge.clone());
    let saga_lists = lists(&mut service, &SagaProjection, saga_nudge.clone());
    let holds = HoldsInForce::new();
    let handler = OrdersHandler::new(Engine::new(Arc::clone(&library)).with_holds(holds.clone()));
    let worker = service.worker(
        handler,
        vec![
            Arc::new(relay),
            Arc::new(live.clone()),
            Arc::new(order_nudge),
            Arc::new(saga_nudge),
            Arc::new(SagaMetrics::<OrderProcess>::new()),
            Arc::new(holds.clone()),
        ],
    );

    let answers = Arc::new(Answers(worker.clone()));
    for consumer in messages::CONSUMERS {
        service.react(consumer, answers.clone());
    }
    // The worker ends with its last handle.
    drop(answers);
    let sagas = SagaList::new(service.pool.clone());
    look_after_sagas(&mut service, worker.clone(), sagas.clone(), holds.clone());

    let (reads, reading) = grpc::Reads::new(Arc::clone(&service.store));
    service.tasks.spawn("order reads", reading);
    let edge = grpc::Edge {
        worker: worker.clone(),
        prices,
        reads: reads.clone(),
        list: OrderList::new(service.pool.clone()),
        abreast: order_lists,
        clock: Arc::clone(&service.clock),
        ids: Arc::clone(&service.ids),
        watching: grpc::Watching { reads: reads.clone(), live, shutdown: service.shutdown.clone() },
    };
    let mut routes = RoutesBuilder::default();
    let bytes_max = chassis::grpc::MESSAGE_BYTES_MAX;
    routes
        .add_service(OrdersServiceServer::new(edge).max_decoding_message_size(bytes_max))
        .add_service(OrdersQueryServiceServer::new(grpc::Queries(reads.clone())));
    let participants = grpc::Participants::new(products.clone(), payment.clone(), notification);
    let ledgers = operations::reconcile::Ledgers::new(payment, products);
    let operating =
        grpc::Operating { reads, sagas, library, worker, participants, ledgers, holds, abreast: saga_lists };
    operating.serve(&mut service, &mut routes);
    Ok(service.serve(listener, routes, SERVICES).await)
}
