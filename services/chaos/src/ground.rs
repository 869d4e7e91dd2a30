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
    /// Where the services answer, one for each replica of them all.
    pub endpoints: Vec<Endpoints>,
}

/// The database of a service, and its roles.
fn database(service: &str) -> DatabaseSpec {
    let name = format!("farmera_{service}");
    DatabaseSpec::new(&name, format!("{name}_owner"), &name)
}

impl Ground {
    /// Starts the servers in `folder`, brings the databases up to date and chooses ports for `replicas` of every service.
    ///
    /// # Errors
    /// [`Failure::Setup`]: this machine lacks something.
    pub async fn start(folder: &Path, chance: &mut Chance, replicas: usize) -> Result<Self, Failure> {
        std::fs::create_dir_all(folder).map_err(|error| Failure::Setup(error.to_string()))?;
        let mut options = ServersOptions::new(folder.join("servers"));
        options.fresh = true;
        options.databases = SERVICES.iter().map(|service| database(service.name)).collect();
        let servers =
            blocking(move || Servers::start(options).map_err(|error| Failure::Setup(error.to_string()))).await?;
        let address = host_of(&servers.admin_url()).to_owned();
        let wire = Wire::to(address).await.map_err(|error| Failure::Setup(error.to_string()))?;
        let mut endpoints = Vec::new();
        for _ in 0..replicas.max(1) {
            endpoints.push(Endpoints {
                orders: free_address(chance).await?,
                products: free_address(chance).await?,
                payment: free_address(chance).await?,
                notification: free_address(chance).await?,
            });
        }
        let ground = Self { folder: folder.to_owned(), servers: Arc::new(servers), wire: Arc::new(wire), endpoints };
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

    /// Clients of every service's first replica.
    ///
    /// # Errors
    /// [`Failure::Setup`]: never, the addresses are ours.
    pub fn clients(&self) -> Result<Clients, Failure> {
        Clients::connect(self.of(0)?.clone())
    }

    fn of(&self, replica: usize) -> Result<&Endpoints, Failure> {
        self.endpoints.get(replica).ok_or_else(|| Failure::Setup(format!("there is no replica {replica}")))
    }

    /// What a replica of a service is told by its environment. It asks the others' replica of the same number.
    ///
    /// # Errors
    /// [`Failure::Setup`]: there is no such service, or no such replica.
    pub fn environment(&self, service: &'static str, replica: usize) -> Result<Vec<(String, String)>, Failure> {
        let endpoints = self.of(replica)?;
        let url =
            self.servers.service_url(&database(service).name).map_err(|error| Failure::Setup(error.to_string()))?;
        let address = endpoints.of(service).trim_start_matches("http://").to_owned();
        let prefix = format!("FARMERA_{}__", service.to_uppercase());
        let mailbox = self.folder.join("mailbox").to_string_lossy().into_owned();
        let pairs = [
            (format!("{prefix}DATABASE_URL"), url.replace(host_of(&url), self.wire.address())),
            (format!("{prefix}GRPC_ADDRESS"), address),
            ("FARMERA_NATS_URL".to_owned(), self.servers.nats_url()),
            ("FARMERA_ADMIN_ADDRESS".to_owned(), "127.0.0.1:0".to_owned()),
            ("FARMERA_ORDERS__PRODUCTS_URL".to_owned(), endpoints.products.clone()),
            ("FARMERA_ORDERS__PAYMENT_URL".to_owned(), endpoints.payment.clone()),
            ("FARMERA_ORDERS__NOTIFICATION_URL".to_owned(), endpoints.notification.clone()),
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

/// Where one replica of one service may answer.
async fn free_address(chance: &mut Chance) -> Result<String, Failure> {
    let own = u64::from(std::process::id());
    for _ in 0..PORT_TRIES {
        let offset = (chance.draw() ^ own.wrapping_mul(7_919)) % u64::from(PORTS.end - PORTS.start);
        let port = PORTS.start + u16::try_from(offset).unwrap_or(0);
        if TcpListener::bind(("127.0.0.1", port)).await.is_ok() {
            return Ok(format!("http://127.0.0.1:{port}"));
        }
    }
    Err(Failure::Setup(format!("no free port was found from {} to {}", PORTS.start, PORTS.end)))
}
