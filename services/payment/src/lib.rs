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
pub mod messages;
pub mod projections;
pub mod provider;
pub mod sandbox;
pub mod second_look;
pub mod settle;
pub mod status;
pub mod view;

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use chassis::config::Common;
use chassis::relay::RelaySpec;
use chassis::service::{Service, StartError, Surroundings};
use eventstore::{Aggregate as _, Category, StreamKind};
use farmera_proto::payment::v1::payment_query_service_server::PaymentQueryServiceServer;
use farmera_proto::payment::v1::payment_service_server::PaymentServiceServer;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use tokio::net::TcpListener;
use tonic::service::RoutesBuilder;

pub use config::Config;

use crate::domain::Payment;
use crate::grpc::Questions;
use crate::handler::Payments;
use crate::messages::Orders;
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

const SERVICES: &[&str] = &["farmera.payment.v1.PaymentService", "farmera.payment.v1.PaymentQueryService"];
const CATEGORIES: &[Category] = &[Payment::CATEGORY];
const RELAY: RelaySpec = RelaySpec {
    source: messages::SOURCE,
    stream: messages::STREAM,
    categories: CATEGORIES,
    translate: messages::translate,
};

/// The tables of the read model and of the sandbox; the event store's own come before them.
#[must_use]
pub fn migrator() -> sqlx::migrate::Migrator {
    let mut migrator = sqlx::migrate!("../../migrations/payment");
    migrator.set_ignore_missing(true);
    migrator
}

/// Runs the service until the shutdown; false when work in flight had to be cut off.
///
/// # Errors
/// [`StartError`]: it cannot run with this configuration.
pub async fn run(config: Config, listener: TcpListener, around: Surroundings) -> Result<bool, StartError> {
    let books = sandbox_pool(&config.common, config.sandbox_connections_max)?;
    let mut service = Service::start(NAME, &config.common, around).await?;
    let (sandbox, moving_money) = Sandbox::new(books, config.sandbox_latency);
    service.tasks.spawn("sandbox provider", moving_money);
    let provider: Arc<dyn PaymentProvider> = Arc::new(sandbox);

    let relay = service.relay(RELAY);
    let (nudge, _) = service.project(PaymentProjection);
    let worker = service.worker(Payments, vec![Arc::new(relay.clone()), Arc::new(nudge)]);

    let settler = Arc::new(Settler::new(worker, Arc::clone(&provider), config.patience));
    let second_look = SecondLook::new(Arc::clone(&service.store), Arc::clone(&settler));
    service.tasks.spawn("second look", second_look.run(service.shutdown.clone()));
    let clock = Arc::clone(&service.clock);
    service.react(messages::CONSUMER, Arc::new(Orders::new(settler, relay, clock)));

    let questions = Questions::new(Arc::clone(&service.store), PaymentList::new(service.pool.clone()), provider);
    let mut routes = RoutesBuilder::default();
    let limit = chassis::grpc::MESSAGE_BYTES_MAX;
    routes.add_service(PaymentServiceServer::new(questions.clone()).max_decoding_message_size(limit));
    routes.add_service(PaymentQueryServiceServer::new(questions).max_decoding_message_size(limit));
    Ok(service.serve(listener, routes, SERVICES).await)
}

/// The sandbox's own way into the database: it shares the server with payment, and nothing else.
fn sandbox_pool(common: &Common, connections_max: u32) -> Result<PgPool, StartError> {
    // The parser's own error is dropped: it may quote the password.
    let options = PgConnectOptions::from_str(common.database_url.expose())
        .map_err(|_| StartError::Store("DATABASE_URL is no address of a Postgres database".to_owned()))?
        .application_name("farmera-sandbox-provider")
        .options([
            ("statement_timeout", "3s"),
            ("lock_timeout", "2s"),
            ("jit", "off"),
            ("plan_cache_mode", "force_generic_plan"),
            // A plan that was made while the table was empty, and is kept, must not be one that reads all of it.
            ("enable_seqscan", "off"),
            ("enable_bitmapscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
        ]);
    let pool = PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(Duration::from_secs(2))
        .test_before_acquire(false);
    Ok(pool.connect_lazy_with(options))
}
