//! Products: the catalogue, its stock, and what is held for orders.
//!
//! Farmers list products and add stock ([`grpc`]); sagas ask to hold goods, to let go of them, to let them leave or come
//! back ([`messages`], [`consumer`]). Both end in one [`handler`] behind one worker: a reservation and the products it
//! names change in one commit. Orders asks for prices thousands of times a second and is served from a read model
//! ([`projections`]).

pub mod config;
pub mod consumer;
pub mod domain;
pub mod grpc;
pub mod handler;
pub mod messages;
pub mod projections;
pub mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use chassis::correlation::Correlated;
use chassis::grpc::MESSAGE_BYTES_MAX;
use chassis::operations::Operating;
use chassis::projection::Projection;
use chassis::relay::RelaySpec;
use chassis::schema::Schema;
use chassis::service::{Service, StartError, Surroundings};
use eventstore::{Aggregate as _, StreamKind};
use farmera_proto::products::v1::products_query_service_server::ProductsQueryServiceServer;
use farmera_proto::products::v1::products_service_server::ProductsServiceServer;
use sqlx::migrate::Migrator;
use tokio::net::TcpListener;
use tonic::service::RoutesBuilder;

pub use config::Config;
use consumer::Consumer;
use domain::Reservation;
use grpc::{Edge, Query};
use handler::ProductsHandler;
use projections::{Catalogue, CatalogueProjection};

/// The service's name.
pub const NAME: &str = "products";
/// Where it serves gRPC unless told otherwise.
pub const DEFAULT_PORT: u16 = 50051;
/// Every kind of stream in its log.
pub const STREAMS: &[StreamKind] = &[
    StreamKind::of::<domain::Farm>(),
    StreamKind::of::<domain::Product>(),
    StreamKind::of::<domain::Delivery>(),
    StreamKind::of::<Reservation>(),
];

/// What this service tells the world.
pub const RELAY: RelaySpec = RelaySpec {
    source: messages::SOURCE,
    stream: messages::STREAM,
    categories: messages::TOLD,
    translate: messages::translate,
};

/// The tables of the read models: versions from 1001. Run it as the database's owner, after the event store's own.
#[must_use]
pub fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("../../migrations/products");
    migrator.set_ignore_missing(true);
    migrator
}

/// The read models, for those who look at them or make them anew.
#[must_use]
pub fn projections() -> Vec<Box<dyn Projection>> {
    vec![Box::new(CatalogueProjection)]
}

/// Serves until the shutdown, then drains; false when work had to be cut off.
///
/// # Errors
/// [`StartError`]: it cannot run with this configuration.
pub async fn run(config: Config, listener: TcpListener, around: Surroundings) -> Result<bool, StartError> {
    let mut service = Service::start(Schema::new(NAME, &migrator()), &config.common, around).await?;
    let relay = service.relay(RELAY);
    let (nudge, followed) = service.project(CatalogueProjection);
    let handler = ProductsHandler::new(config.stock_low_threshold);
    let worker = service.worker(handler, vec![Arc::new(relay.clone()), Arc::new(nudge)]);
    let (store, clock) = (Arc::clone(&service.store), Arc::clone(&service.clock));
    let consumer = Consumer { worker: worker.clone(), relay, store, clock };
    service.react(messages::CONSUMER, Arc::new(consumer));
    let (catalogue, reading) = Catalogue::new(service.pool.clone(), config.catalogue_cache);
    service.tasks.spawn("catalogue", reading);
    let query = Query { catalogue: catalogue.clone(), store: Arc::clone(&service.store) };
    let (store, ids) = (Arc::clone(&service.store), Arc::clone(&service.ids));
    let edge = Edge { worker, followed, catalogue, store, ids };
    let mut routes = RoutesBuilder::default();
    routes
        .add_service(ProductsServiceServer::new(edge).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(ProductsQueryServiceServer::new(query).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(Correlated::serve(&service, status::DOMAIN, STREAMS, RELAY, |id| vec![Reservation::stream(id)]));
    Operating { domain: status::DOMAIN, relay: RELAY, projections: projections(), acts: Vec::new(), sagas: None }
        .serve(&mut service, &mut routes);
    Ok(service.serve(listener, routes, grpc::NAMES).await)
}
