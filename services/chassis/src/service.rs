//! A service's frame: what is started, in which order, and how it ends.
//!
//! Nothing here waits for Postgres or NATS: a service starts without them, says so in its log and in `/readyz`, answers
//! UNAVAILABLE, and takes up its work when they come.
//!
//! The end runs from the ways in to the ways out: servers, consumers and timers stop and finish what is in work; with
//! the last handle the worker ends, and with it the relay, when all it was handed is published.

use std::sync::Arc;
use std::time::Duration;

use eventstore::worker::{CommitListener, Handler, Limits, Shell, Worker, WorkerHandle};
use eventstore::{Clock, DeadLetters, EventStore, IdSource, Need, Transport};
use eventstore_postgres::PostgresStore;
use sqlx::postgres::PgPool;
use tokio::net::TcpListener;
use tonic::service::RoutesBuilder;
use tracing::{info, warn};

use crate::broker::{Broker, BrokerError};
use crate::clock::{StoreClock, Uuids};
use crate::config::{Common, Secret};
use crate::health::{Component, Health};
use crate::probe::Probe;
use crate::projection::{Followed, Follower, Nudge, Projection};
use crate::reactor::{self, ConsumerSpec, React};
use crate::relay::{EventsPerMessage, Relay, RelayHandle, RelaySpec};
use crate::scan::LogScan;
use crate::schema::Schema;
use crate::shutdown::Shutdown;
use crate::tasks::Tasks;
use crate::{canary, grpc, problem};

/// What a service shares with the others of its process.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where it says how it is.
    pub health: Health,
    /// When it ends.
    pub shutdown: Shutdown,
}

/// Why a service cannot run here. One line for the operator; trying again unchanged is useless.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The environment is wrong.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// The address is taken.
    #[error(transparent)]
    Bind(#[from] grpc::BindError),
    /// The database's address makes no sense.
    #[error("the database cannot be used: {0}")]
    Store(String),
    /// The broker's address makes no sense.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Another service's address makes no sense.
    #[error("{0}")]
    Peer(String),
}

/// A service that is being put together.
pub struct Service {
    /// Its name: `orders`.
    pub name: &'static str,
    /// Its log.
    pub store: Arc<dyn EventStore>,
    /// Its log, stream by stream.
    pub scan: LogScan,
    /// Its dead letters.
    pub letters: Arc<dyn DeadLetters>,
    /// Its database, for read models.
    pub pool: PgPool,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
    /// Where its ids come from.
    pub ids: Arc<dyn IdSource>,
    /// Its broker.
    pub broker: Broker,
    /// Its background work.
    pub tasks: Tasks,
    /// Its end.
    pub shutdown: Shutdown,
    /// Its database as its owner, if this process may know.
    pub(crate) owner_url: Option<Secret>,
    /// Plans for more things than this need a second person's approval.
    pub(crate) approval_above: u32,
    events_per_message: EventsPerMessage,
    pub(crate) transport: Arc<dyn Transport>,
    health: Health,
    drain_limit: Duration,
}

impl Service {
    /// The frame of the service whose database has to look like `schema`. Postgres and NATS may be away.
    ///
    /// # Errors
    /// [`StartError`]: an address that can never work.
    pub async fn start(schema: Schema, common: &Common, around: Surroundings) -> Result<Self, StartError> {
        let Surroundings { health, shutdown } = around;
        let name = schema.service();
        let store = PostgresStore::connect(&common.store_options(name))
            .map_err(|error| StartError::Store(error.to_string()))?;
        let pool = store.pool().clone();
        let broker = Broker::connect(name, &common.nats_url, health.component(format!("{name}/nats"))).await?;
        let clock = Arc::new(StoreClock::new());
        let mut tasks = Tasks::new();
        let store = Arc::new(store);
        let scan = LogScan::new(Arc::clone(&store));
        let letters: Arc<dyn DeadLetters> = store.clone();
        let transport: Arc<dyn Transport> = store.clone();
        let store: Arc<dyn EventStore> = store;
        let probe = Probe {
            schema,
            pool: pool.clone(),
            clock: clock.clone(),
            postgres: health.component(format!("{name}/postgres")),
            log: health.component(format!("{name}/log")),
        };
        tasks.spawn("postgres probe", probe.run(shutdown.clone()));
        let canary = health.component(format!("{name}/canary"));
        tasks.spawn("canary", canary::run(name, broker.clone(), canary, shutdown.clone()));
        let drain_limit = common.drain_limit;
        let ids = Arc::new(Uuids);
        Ok(Self {
            name,
            store,
            scan,
            letters,
            pool,
            clock,
            ids,
            broker,
            tasks,
            shutdown,
            owner_url: common.owner_url.clone(),
            approval_above: common.approval_above,
            events_per_message: common.events_per_message,
            transport,
            health,
            drain_limit,
        })
    }

    /// A part of this service that can be up or down: `orders/<part>`.
    #[must_use]
    pub fn component(&self, part: &str) -> Component {
        self.health.component(format!("{}/{part}", self.name))
    }

    /// How all parts of this process are.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Starts the batch loop around `handler`.
    pub fn worker<H: Handler>(&mut self, handler: H, listeners: Vec<Arc<dyn CommitListener>>) -> WorkerHandle<H> {
        let shell = Shell {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            ids: Arc::clone(&self.ids),
            listeners,
        };
        let (worker, handle) = Worker::new(handler, shell, Limits::default());
        self.tasks.spawn("worker", worker.run());
        handle
    }

    /// Starts the relay; give the handle to the worker as a listener.
    pub fn relay(&mut self, spec: RelaySpec) -> RelayHandle {
        let component = self.component("relay");
        let (store, broker) = (Arc::clone(&self.transport), self.broker.clone());
        let (relay, handle) = Relay::new(spec, store, broker, component, self.events_per_message);
        self.tasks.spawn("relay", relay.run());
        handle
    }

    /// Starts a read model; give the nudge to the worker as a listener.
    pub fn project<P: Projection>(&mut self, projection: P) -> (Nudge, Followed) {
        let component = self.component(&format!("projection {}", projection.name()));
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        let (follower, nudge, followed) = Follower::new(projection, store, self.pool.clone(), clock, component);
        self.tasks.spawn("projection", follower.run(self.shutdown.clone()));
        (nudge, followed)
    }

    /// Starts listening to messages.
    pub fn react(&mut self, spec: ConsumerSpec, react: Arc<dyn React>) {
        let component = self.component(&format!("consumer {}", spec.durable));
        let (broker, letters, shutdown) = (self.broker.clone(), Arc::clone(&self.letters), self.shutdown.clone());
        self.tasks.spawn("consumer", reactor::run(spec, broker, letters, react, component, shutdown));
    }

    /// Serves gRPC on `listener` until the shutdown, then drains. False when work had to be cut off.
    pub async fn serve(mut self, listener: TcpListener, routes: RoutesBuilder, names: &'static [&'static str]) -> bool {
        let address = listener.local_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string());
        info!(service = self.name, %address, "serving");
        let part = self.name;
        self.tasks
            .spawn("grpc", grpc::serve(listener, routes, names, self.health.clone(), part, self.shutdown.clone()));
        let Self { name, mut tasks, mut shutdown, drain_limit, broker, .. } = self;
        if let Some(task) = tasks.ends_early(&mut shutdown).await {
            warn!(service = name, task, "a task ended early");
        }
        info!(service = name, "draining");
        let drained = tasks.finish(drain_limit).await;
        drop(broker.client.flush().await);
        info!(service = name, drained, "stopped");
        drained
    }
}

/// What a client is told when the worker could not take its command; the rules' own refusals are the service's business.
#[must_use]
pub fn submit_status<E>(
    domain: &'static str,
    error: eventstore::worker::SubmitError<E>,
    rejected: impl FnOnce(E) -> tonic::Status,
) -> tonic::Status {
    use eventstore::worker::SubmitError;
    match error {
        SubmitError::Rejected(reason) => rejected(reason),
        SubmitError::Parked(need) => problem::unusable(domain, &need),
        SubmitError::Unavailable(_) => problem::unavailable(domain, "the event store does not answer; try again"),
        SubmitError::Stopping => problem::unavailable(domain, "the service is stopping; try again"),
        SubmitError::Duplicate | SubmitError::Unstorable(_) => problem::internal(domain),
    }
}

/// What becomes of a message for a stream that this program cannot use: it waits for the program that can; what nobody
/// can use is for an operator.
#[must_use]
pub fn unusable_not_handled(need: &Need) -> reactor::NotHandled {
    match need {
        Need::Newer { .. } | Need::NotLoaded(_) => reactor::NotHandled::Later(need.to_string()),
        Need::Broken { .. } => reactor::NotHandled::Poison(need.to_string()),
    }
}

/// What becomes of a message when the worker could not take it.
#[must_use]
pub fn submit_not_handled<E: std::fmt::Display>(
    error: eventstore::worker::SubmitError<E>,
) -> Option<reactor::NotHandled> {
    use eventstore::worker::SubmitError;
    use reactor::NotHandled;
    match error {
        SubmitError::Duplicate => None,
        SubmitError::Rejected(reason) => Some(NotHandled::Poison(reason.to_string())),
        SubmitError::Parked(need) => Some(unusable_not_handled(&need)),
        SubmitError::Unstorable(reason) => Some(NotHandled::Poison(reason)),
        SubmitError::Unavailable(reason) => Some(NotHandled::Later(reason)),
        SubmitError::Stopping => Some(NotHandled::Later("stopping".to_owned())),
    }
}
