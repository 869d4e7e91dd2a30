//! Payment: holds, takes, lets go of and gives back customers' money.
//!
//! Owns payments, each a stream of events, and the port to the provider that moves the money. The orchestrator's
//! messages come in through `messages`; `settle` brings each to its answer, between the rules (`domain`) and the
//! provider (`provider`); questions come in through `grpc`. All changes go through one worker: whatever has queued up
//! becomes one transaction. Calls to the provider run beside it.
//!
//! The intent is on record before the provider is called, the outcome after, and a message is acknowledged only then.
//! So whoever dies in between leaves a question behind, not a charge: the message comes again, and the first thing that
//! happens is a look into the provider's books.
//!
//! Deliberately absent: any command from clients; any second way to move money.

pub mod config;
pub mod domain;
pub mod grpc;
pub mod handler;
pub mod heard;
pub mod line;
pub mod messages;
pub mod processor;
pub mod projections;
pub mod provider;
pub mod sandbox;
pub mod second_look;
pub mod settle;
pub mod status;
pub mod view;

use std::sync::Arc;
use std::time::Duration;

use chassis::config::Common;
use chassis::correlation::Correlated;
use chassis::database::{self, ServerLimits};
use chassis::operations::Operating;
use chassis::projection::Projection;
use chassis::relay::RelaySpec;
use chassis::schema::Schema;
use chassis::service::{Service, StartError, Surroundings};
use eventstore::{Aggregate as _, Category, StreamKind};
use farmera_proto::payment::v1::payment_query_service_server::PaymentQueryServiceServer;
use farmera_proto::payment::v1::payment_service_server::PaymentServiceServer;
use sqlx::postgres::PgPool;
use tokio::net::TcpListener;
use tonic::service::RoutesBuilder;
use tracing::warn;

pub use config::Config;

use crate::config::Provider;
use crate::domain::Payment;
use crate::grpc::Questions;
use crate::handler::Payments;
use crate::line::Line;
use crate::messages::Orders;
use crate::processor::Processor;
use crate::projections::payments::{PaymentList, PaymentProjection};
use crate::provider::PaymentProvider;
use crate::sandbox::Sandbox;
use crate::second_look::SecondLook;
use crate::settle::Settler;

/// The service's name.
pub const NAME: &str = "payment";
/// Where it serves gRPC unless told otherwise.
pub const DEFAULT_PORT: u16 = 50_054;
/// Every kind of stream in its log.
pub const STREAMS: &[StreamKind] = &[StreamKind::of::<Payment>()];

const SERVICES: &[&str] = &[
    "farmera.payment.v1.PaymentService",
    "farmera.payment.v1.PaymentQueryService",
    chassis::correlation::SERVICE,
    Operating::SERVICES[0],
    Operating::SERVICES[1],
];
const CATEGORIES: &[Category] = &[Payment::CATEGORY];
/// What this service tells the world.
pub const RELAY: RelaySpec = RelaySpec {
    source: messages::SOURCE,
    stream: messages::STREAM,
    categories: CATEGORIES,
    translate: messages::translate,
};

/// The provider, in health.
const PROVIDER_PART: &str = "provider";
/// A provider that moves no money, for everybody to see who looks whether the service is well.
const SANDBOX_PART: &str = "provider (SANDBOX: no money moves)";

/// The tables of the read model and of the sandbox; the event store's own come before them.
#[must_use]
pub fn migrator() -> sqlx::migrate::Migrator {
    let mut migrator = sqlx::migrate!("../../migrations/payment");
    migrator.set_ignore_missing(true);
    migrator
}

/// The read models, for those who look at them or make them anew.
#[must_use]
pub fn projections() -> Vec<Box<dyn Projection>> {
    vec![Box::new(PaymentProjection)]
}

/// Runs the service until the shutdown; false when work in flight had to be cut off.
///
/// # Errors
/// [`StartError`]: it cannot run with this configuration.
pub async fn run(config: Config, listener: TcpListener, around: Surroundings) -> Result<bool, StartError> {
    let mut service = Service::start(Schema::new(NAME, &migrator()), &config.common, around).await?;
    let part = match &config.provider {
        Provider::Sandbox { .. } => SANDBOX_PART,
        Provider::Processor(_) => PROVIDER_PART,
    };
    let provider = provider(config.provider, &config.common, &mut service)?;

    let relay = service.relay(RELAY);
    let (nudge, _) = service.project(PaymentProjection);
    let worker = service.worker(Payments, vec![Arc::new(relay.clone()), Arc::new(nudge)]);

    let line = Arc::new(Line::new(provider, config.patience.timeout, service.component(part)));
    service.tasks.spawn("provider line", Arc::clone(&line).run(service.shutdown.clone()));
    let settler = Arc::new(Settler::new(worker, Arc::clone(&line), config.patience));
    let second_look = SecondLook::new(Arc::clone(&service.store), Arc::clone(&settler));
    service.tasks.spawn("second look", second_look.run(service.shutdown.clone()));
    let clock = Arc::clone(&service.clock);
    service.react(messages::CONSUMER, Arc::new(Orders::new(settler, relay, clock)));

    let payments = PaymentList::new(service.pool.clone());
    let questions = Questions::new(Arc::clone(&service.store), service.scan.clone(), payments, line);
    let mut routes = RoutesBuilder::default();
    let limit = chassis::grpc::MESSAGE_BYTES_MAX;
    routes.add_service(PaymentServiceServer::new(questions.clone()).max_decoding_message_size(limit));
    routes.add_service(PaymentQueryServiceServer::new(questions).max_decoding_message_size(limit));
    routes.add_service(Correlated::serve(&service, status::DOMAIN, STREAMS, RELAY, |id| vec![Payment::stream(id)]));
    Operating { domain: status::DOMAIN, relay: RELAY, projections: projections(), acts: Vec::new(), sagas: None }
        .serve(&mut service, &mut routes);
    Ok(service.serve(listener, routes, SERVICES).await)
}

fn provider(chosen: Provider, common: &Common, service: &mut Service) -> Result<Arc<dyn PaymentProvider>, StartError> {
    match chosen {
        Provider::Sandbox { latency, connections_max } => {
            warn!("SANDBOX: cards are not charged, whatever payments say; PROVIDER_URL names who moves money");
            metrics::gauge!("farmera_payment_sandbox").set(1.0);
            let (sandbox, moving_money) = Sandbox::new(sandbox_pool(common, connections_max)?, latency);
            service.tasks.spawn("sandbox provider", moving_money);
            Ok(Arc::new(sandbox))
        }
        Provider::Processor(options) => {
            let processor = Processor::new(options);
            Ok(Arc::new(processor.map_err(|error| StartError::Peer(error.to_string()))?))
        }
    }
}

/// The sandbox's own way into the database: it shares the server with payment, and nothing else.
fn sandbox_pool(common: &Common, connections_max: u32) -> Result<PgPool, StartError> {
    let limits = ServerLimits {
        statement: Duration::from_secs(3),
        lock: Duration::from_secs(2),
        idle_in_transaction: Duration::from_secs(5),
    };
    let session = common.session("farmera-sandbox-provider", limits)?;
    let pool = database::pool_of_statements(connections_max, Duration::from_secs(2));
    Ok(pool.connect_lazy_with(database::with_fixed_plans(session)))
}
