//! Notification: what to tell whom, in which words, and that it gets there.
//!
//! * [`domain`]: a notification is accepted, then delivered, or failed for good; pure;
//! * [`messages`]: messages of orders and products as news; our events as messages;
//! * [`handler`]: which stream an input meets;
//! * [`reactor`]: the way in from JetStream;
//! * [`delivery`], [`templates`]: letters, and the ways they go: a folder of mbox files, or a mail server;
//! * [`projections`], [`grpc`], [`status`]: what clients see.
//!
//! There is exactly one notification per order and kind: its stream's id is derived from both. That it is *accepted* is
//! the answer to the saga; delivery takes its time and holds no order up. No inbox: the stream's own state tells a
//! duplicate, for what sagas ask as for what merely happened.

pub mod config;
pub mod delivery;
pub mod domain;
pub mod grpc;
pub mod handler;
pub mod messages;
pub mod projections;
pub mod reactor;
pub mod status;
pub mod templates;

use std::sync::{Arc, Mutex};

use chassis::config::ConfigError;
use chassis::correlation::Correlated;
use chassis::grpc::MESSAGE_BYTES_MAX;
use chassis::operations::Operating;
use chassis::projection::Projection;
use chassis::reactor::ConsumerSpec;
use chassis::relay::RelaySpec;
use chassis::schema::Schema;
use chassis::service::{Service, StartError, Surroundings};
use eventstore::StreamKind;
use farmera_proto::notification::v1::notification_service_server::{NotificationServiceServer, SERVICE_NAME};
use sqlx::migrate::Migrator;
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tonic::service::RoutesBuilder;
use uuid::Uuid;

pub use config::{Config, MailTransport};
use delivery::Deliverer;
use delivery::mail::Composer;
use delivery::mailbox::Mailbox;
use delivery::post::{Post, Transport};
use delivery::smtp::Smtp;
use grpc::{Edge, Watchers};
use handler::NotificationHandler;
use projections::NotificationView;
use reactor::Reactor;

/// The service's name.
pub const NAME: &str = "notification";
/// Where it serves gRPC unless told otherwise.
pub const DEFAULT_PORT: u16 = 50055;
/// Every kind of stream in its log.
pub const STREAMS: &[StreamKind] = &[StreamKind::of::<domain::Notification>()];

/// What this service tells the world.
pub const RELAY: RelaySpec = RelaySpec {
    source: messages::SOURCE,
    stream: "FARMERA_NOTIFICATION",
    categories: messages::CATEGORIES,
    translate: messages::translate,
};

const SERVICES: &[&str] =
    &[SERVICE_NAME, chassis::correlation::SERVICE, Operating::SERVICES[0], Operating::SERVICES[1]];

const OF_ORDERS: ConsumerSpec = ConsumerSpec {
    stream: "FARMERA_ORDERS",
    durable: "notification-orders",
    subjects: &[messages::REQUESTED, messages::ORDER_FAILED, messages::ORDER_CANCELLED],
};

const OF_PRODUCTS: ConsumerSpec =
    ConsumerSpec { stream: "FARMERA_PRODUCTS", durable: "notification-products", subjects: &[messages::STOCK_LOW] };

/// The service's own tables; run it after the event store's.
#[must_use]
pub fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("../../migrations/notification");
    migrator.set_ignore_missing(true);
    migrator
}

/// The read models, for those who look at them or make them anew.
#[must_use]
pub fn projections() -> Vec<Box<dyn Projection>> {
    vec![Box::new(NotificationView)]
}

/// Serves on `listener` until the shutdown, then drains. False when work had to be cut off.
///
/// # Errors
/// [`StartError`]: it can never run with this configuration.
pub async fn run(config: Config, listener: TcpListener, around: Surroundings) -> Result<bool, StartError> {
    let mut service = Service::start(Schema::new(NAME, &migrator()), &config.common, around).await?;
    let post = post(&config, service.ids.next_id()).await?;

    let relay = service.relay(RELAY);
    let (nudge, _) = service.project(NotificationView);
    let watchers = Watchers::new();
    let (handoff, handed) = delivery::handoff();
    let worker = service.worker(
        NotificationHandler,
        vec![Arc::new(relay.clone()), Arc::new(handoff), Arc::new(nudge), Arc::new(watchers.clone())],
    );

    let (store, clock) = (Arc::clone(&service.store), Arc::clone(&service.clock));
    let component = service.component("delivery");
    let deliverer = Deliverer::new(post, store, clock, worker.clone(), handed, component);
    service.tasks.spawn("delivery", deliverer.run(service.shutdown.clone()));

    let reactor = Arc::new(Reactor { worker, relay, clock: Arc::clone(&service.clock) });
    service.react(OF_ORDERS, Arc::clone(&reactor) as _);
    service.react(OF_PRODUCTS, reactor);

    let edge = Edge {
        pool: service.pool.clone(),
        store: Arc::clone(&service.store),
        watchers,
        shutdown: service.shutdown.clone(),
    };
    let mut routes = RoutesBuilder::default();
    routes.add_service(NotificationServiceServer::new(edge).max_decoding_message_size(MESSAGE_BYTES_MAX));
    routes.add_service(Correlated::serve(&service, status::DOMAIN, STREAMS, RELAY, messages::about_order));
    Operating { domain: status::DOMAIN, relay: RELAY, projections: projections(), acts: Vec::new(), sagas: None }
        .serve(&mut service, &mut routes);
    Ok(service.serve(listener, routes, SERVICES).await)
}

/// Opens the way out for mails; `name` is that of a new mailbox file.
async fn post(config: &Config, name: Uuid) -> Result<Post, StartError> {
    let transport = match &config.transport {
        MailTransport::File(folder) => {
            let path = folder.clone();
            let opened = spawn_blocking(move || Mailbox::open(&path, name)).await.map_err(std::io::Error::other);
            let mailbox = opened.flatten().map_err(|failed| ConfigError::Unreadable {
                name: "FARMERA_NOTIFICATION__MAILBOX_DIR".to_owned(),
                path: folder.display().to_string(),
                reason: failed.to_string(),
            })?;
            Transport::File(Arc::new(Mutex::new(mailbox)))
        }
        MailTransport::Smtp(url) => {
            let smtp = Smtp::new(url.expose());
            Transport::Smtp(smtp.map_err(|reason| StartError::Peer(format!("SMTP_URL cannot be used: {reason}")))?)
        }
    };
    let composer = Composer::new(config.from.clone());
    let composer = composer.map_err(|failed| StartError::Peer(format!("a template is wrong: {failed}")))?;
    Ok(Post::new(composer, transport))
}
