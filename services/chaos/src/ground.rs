//! What a run stands on: a folder, private servers, databases, a wire to Postgres, and ports.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use farmera::addresses::Endpoints;
use farmera::clients::Clients;
use farmera::failure::Failure;
use farmera::services::SERVICES;
use farmera_local::{DatabaseSpec, Servers, ServersOptions};
use tokio::net::TcpListener;

use crate::chance::Chance;
use crate::wire::Wire;

/// Below what systems hand out to outgoing connections, so that a client that tries again is never given a port of ours.
const PORTS: std::ops::Range<u16> = 20_000..30_000;
const PORT_TRIES: usize = 256;

/// The ground.
pub struct Ground {
    /// Where everything is written.
    pub folder: PathBuf,
    /// The private servers.
    pub servers: Arc<Servers>,
    /// Between the services and Postgres.
    pub wire: Arc<Wire>,
    /// Where the services answer.
    pub endpoints: Endpoints,
    /// A service and its gRPC port.
    ports: Vec<(&'static str, u16)>,
}

/// The database of a service, and its roles.
fn database(service: &str) -> DatabaseSpec {
    let name = format!("farmera_{service}");
    DatabaseSpec::new(&name, format!("{name}_owner"), &name)
}

impl Ground {
    /// Starts the servers in `folder` and brings the databases up to date.
    ///
    /// # Errors
    /// [`Failure::Setup`]: this machine lacks something.
    pub async fn start(folder: &Path, chance: &mut Chance) -> Result<Self, Failure> {
        std::fs::create_dir_all(folder).map_err(|error| Failure::Setup(error.to_string()))?;
        let mut options = ServersOptions::new(folder.join("servers"));
        options.fresh = true;
        options.databases = SERVICES.iter().map(|service| database(service.name)).collect();
        let servers =
            blocking(move || Servers::start(options).map_err(|error| Failure::Setup(error.to_string()))).await?;
        let address = host_of(&servers.admin_url()).to_owned();
        let wire = Wire::to(address).await.map_err(|error| Failure::Setup(error.to_string()))?;
        let mut ports = Vec::new();
        for service in &SERVICES {
            ports.push((service.name, free_port(chance).await?));
        }
        let url = |name: &str| {
            let port = ports.iter().find(|(service, _)| *service == name).map_or(0, |(_, port)| *port);
            format!("http://127.0.0.1:{port}")
        };
        let endpoints = Endpoints {
            orders: url("orders"),
            products: url("products"),
            payment: url("payment"),
            notification: url("notification"),
        };
        let servers = Arc::new(servers);
        let ground = Self { folder: folder.to_owned(), servers, wire: Arc::new(wire), endpoints, ports };
        for service in &SERVICES {
            farmera::migrate::migrate(service, &ground.owner_url(service.name)?).await?;
        }
        Ok(ground)
    }

    /// A service's database as its owner, past the wire: for whoever checks.
    ///
    /// # Errors
    /// [`Failure::Setup`]: there is no such service.
    pub fn owner_url(&self, service: &str) -> Result<String, Failure> {
        self.servers.owner_url(&database(service).name).map_err(|error| Failure::Setup(error.to_string()))
    }

    /// Clients of every service.
    ///
    /// # Errors
    /// [`Failure::Setup`]: never, the addresses are ours.
    pub fn clients(&self) -> Result<Clients, Failure> {
        Clients::connect(self.endpoints.clone())
    }

    /// What a service is told by its environment.
    ///
    /// # Errors
    /// [`Failure::Setup`]: there is no such service.
    pub fn environment(&self, service: &'static str) -> Result<Vec<(String, String)>, Failure> {
        let url =
            self.servers.service_url(&database(service).name).map_err(|error| Failure::Setup(error.to_string()))?;
        let port = self.ports.iter().find(|(name, _)| *name == service).map_or(0, |(_, port)| *port);
        let prefix = format!("FARMERA_{}__", service.to_uppercase());
        let mailbox = self.folder.join("mailbox").to_string_lossy().into_owned();
        let pairs = [
            (format!("{prefix}DATABASE_URL"), url.replace(host_of(&url), self.wire.address())),
            (format!("{prefix}GRPC_ADDRESS"), format!("127.0.0.1:{port}")),
            ("FARMERA_NATS_URL".to_owned(), self.servers.nats_url()),
            ("FARMERA_ADMIN_ADDRESS".to_owned(), "127.0.0.1:0".to_owned()),
            ("FARMERA_ORDERS__PRODUCTS_URL".to_owned(), self.endpoints.products.clone()),
            ("FARMERA_ORDERS__PAYMENT_URL".to_owned(), self.endpoints.payment.clone()),
            ("FARMERA_ORDERS__NOTIFICATION_URL".to_owned(), self.endpoints.notification.clone()),
            ("FARMERA_NOTIFICATION__MAILBOX_DIR".to_owned(), mailbox),
            // Short, so that what is lost is asked for again within a run, and timers fire; but not so short that a slow
            // machine is asked again for what it has not had the time to do.
            ("FARMERA_ORDERS__INVENTORY_TIMEOUT_MS".to_owned(), "3000".to_owned()),
            ("FARMERA_ORDERS__PAYMENT_TIMEOUT_MS".to_owned(), "5000".to_owned()),
            ("FARMERA_ORDERS__NOTIFICATION_TIMEOUT_MS".to_owned(), "3000".to_owned()),
            ("FARMERA_PAYMENT__PROVIDER_TIMEOUT_MS".to_owned(), "1000".to_owned()),
            // Few, so that connections that are kept for a while are no growth.
            ("FARMERA_PAYMENT__PROVIDER_CONNECTIONS_MAX".to_owned(), "16".to_owned()),
        ];
        Ok(pairs.into())
    }
}

/// Runs what blocks where it may.
///
/// # Errors
/// What `work` says.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Failure::Failed(error.to_string()))?
}

fn host_of(url: &str) -> &str {
    url.rsplit('@').next().and_then(|place| place.split('/').next()).unwrap_or_default()
}

async fn free_port(chance: &mut Chance) -> Result<u16, Failure> {
    let own = u64::from(std::process::id());
    for _ in 0..PORT_TRIES {
        let offset = (chance.draw() ^ own.wrapping_mul(7_919)) % u64::from(PORTS.end - PORTS.start);
        let port = PORTS.start + u16::try_from(offset).unwrap_or(0);
        if TcpListener::bind(("127.0.0.1", port)).await.is_ok() {
            return Ok(port);
        }
    }
    Err(Failure::Setup(format!("no free port was found from {} to {}", PORTS.start, PORTS.end)))
}
