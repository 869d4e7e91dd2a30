//! The table of services: the only place that names their crates.

use std::pin::Pin;

use chassis::config::{Common, ConfigError, Env};
use chassis::service::{StartError, Surroundings};
use eventstore::StreamKind;
use sqlx::migrate::Migrator;
use tokio::net::TcpListener;

/// A service that runs until the shutdown; false when it had to cut work off.
pub type Serving = Pin<Box<dyn Future<Output = Result<bool, StartError>> + Send>>;

/// One service of this binary.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// Its name: `orders`.
    pub name: &'static str,
    /// Its gRPC port unless the environment says otherwise.
    pub default_port: u16,
    /// Reads its configuration.
    pub configure: fn(&Env) -> Result<Configured, ConfigError>,
    /// Its own migrations; the event store's come first.
    pub migrator: fn() -> Migrator,
    /// Every kind of stream in its log.
    pub streams: &'static [StreamKind],
}

/// A service with its configuration.
pub struct Configured {
    /// Its name.
    pub name: &'static str,
    /// What every service needs to know.
    pub common: Common,
    start: Box<dyn FnOnce(TcpListener, Surroundings) -> Serving + Send>,
}

impl Configured {
    /// Serves on `listener` until the shutdown.
    #[must_use]
    pub fn start(self, listener: TcpListener, around: Surroundings) -> Serving {
        (self.start)(listener, around)
    }
}

macro_rules! service {
    ($service:ident) => {
        Service {
            name: $service::NAME,
            default_port: $service::DEFAULT_PORT,
            configure: |env| {
                let config = $service::Config::from_env(env)?;
                let common = config.common.clone();
                let start = move |listener, around| -> Serving { Box::pin($service::run(config, listener, around)) };
                Ok(Configured { name: $service::NAME, common, start: Box::new(start) })
            },
            migrator: $service::migrator,
            streams: $service::STREAMS,
        }
    };
}

/// Every service, in the order in which an operator thinks of them.
pub static SERVICES: [Service; 4] = [service!(products), service!(orders), service!(payment), service!(notification)];

/// The service of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Service> {
    SERVICES.iter().find(|service| service.name == name)
}

/// The names of all services, for help texts.
#[must_use]
pub fn names() -> Vec<&'static str> {
    SERVICES.iter().map(|service| service.name).collect()
}
