//! Services in this process: bound, started, watched, drained.

use std::net::SocketAddr;
use std::time::Duration;

use chassis::config::Env;
use chassis::health::Health;
use chassis::service::{StartError, Surroundings};
use chassis::shutdown::{Shutdown, Trigger};
use chassis::tasks::Tasks;
use chassis::telemetry::Metrics;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::failure::Failure;
use crate::services::Configured;

/// Where the admin port is unless `FARMERA_ADMIN_ADDRESS` says otherwise.
pub const ADMIN_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9600);
const READY_POLL_INTERVAL: Duration = Duration::from_millis(10);
const ADMIN_DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// The services of this process.
pub struct Host {
    trigger: Trigger,
    shutdown: Shutdown,
    health: Health,
    services: JoinSet<(&'static str, Result<bool, StartError>)>,
    admin: Tasks,
    admin_trigger: Trigger,
    admin_shutdown: Shutdown,
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// No services yet.
    #[must_use]
    pub fn new() -> Self {
        let (trigger, shutdown) = Shutdown::new();
        let (admin_trigger, admin_shutdown) = Shutdown::new();
        Self {
            trigger,
            shutdown,
            health: Health::new(),
            services: JoinSet::new(),
            admin: Tasks::new(),
            admin_trigger,
            admin_shutdown,
        }
    }

    /// Serves the admin port until the very end, so that a draining process can still be asked how it is.
    pub fn serve_admin(&mut self, listener: TcpListener, metrics: Metrics) {
        let served = chassis::admin::serve(listener, self.health.clone(), metrics, self.admin_shutdown.clone());
        self.admin.spawn("admin", served);
    }

    /// Starts a service.
    pub fn start(&mut self, service: Configured, listener: TcpListener) {
        let name = service.name;
        let around = Surroundings { health: self.health.clone(), shutdown: self.shutdown.clone() };
        let serving = service.start(listener, around);
        self.services.spawn(async move { (name, serving.await) });
    }

    /// Waits until every part of every service is up.
    ///
    /// # Errors
    /// [`Failure::Setup`] when a service cannot run, [`Failure::Unavailable`] after `limit`, naming what is missing.
    pub async fn ready(&mut self, limit: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + limit;
        loop {
            // Parts announce themselves while they start; there is nothing to subscribe to.
            tokio::select! {
                failure = self.first_to_end() => return Err(failure),
                () = sleep(READY_POLL_INTERVAL) => {}
            }
            if self.health.is_ready() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let report = self.health.report();
                let missing: Vec<&str> = report.lines().filter(|line| line.starts_with("[-]")).collect();
                return Err(Failure::Unavailable(format!("not ready in time: {}", missing.join(", "))));
            }
        }
    }

    /// Waits until a service ends by itself; says why. Safe to drop and call again.
    pub async fn first_to_end(&mut self) -> Failure {
        match self.services.join_next().await {
            // No service at all: nothing can end.
            None => std::future::pending().await,
            Some(Ok((name, Ok(_)))) => Failure::Failed(format!("{name} ended by itself; its log says why")),
            Some(Ok((name, Err(error)))) => refused(name, &error),
            Some(Err(error)) => Failure::Failed(format!("a service failed: {error}")),
        }
    }

    /// Drains every service, then ends the admin port. False when work had to be cut off.
    pub async fn stop(mut self) -> bool {
        self.trigger.trigger();
        let mut drained = true;
        while let Some(ended) = self.services.join_next().await {
            drained &= matches!(ended, Ok((_, Ok(true))));
        }
        self.admin_trigger.trigger();
        self.admin.finish(ADMIN_DRAIN_LIMIT).await;
        drained
    }
}

/// A service that cannot run here.
fn refused(name: &str, error: &StartError) -> Failure {
    Failure::Setup(format!("{name} cannot run: {error}"))
}

/// Listens on `address`; port 0 takes a free one.
///
/// # Errors
/// [`Failure::Setup`] names the address, and the variable that moves it.
pub async fn bind(address: SocketAddr, variable: &str) -> Result<TcpListener, Failure> {
    chassis::grpc::bind(address).await.map_err(|error| {
        Failure::Setup(format!("{error}; end the process that has the port, or set {variable} to another address"))
    })
}

/// The admin port's address.
///
/// # Errors
/// [`Failure::Setup`] when the variable holds none.
pub fn admin_address(env: &Env) -> Result<SocketAddr, Failure> {
    env.of_service("process")
        .value("ADMIN_ADDRESS", ADMIN_ADDRESS, "an address such as 0.0.0.0:9600")
        .map_err(|error| Failure::Setup(error.to_string()))
}

/// The process's metrics; installed by the first caller.
///
/// # Errors
/// [`Failure::Failed`] when somebody else installed a recorder.
pub fn metrics() -> Result<Metrics, Failure> {
    static METRICS: std::sync::OnceLock<Option<Metrics>> = std::sync::OnceLock::new();
    let installed = METRICS.get_or_init(|| chassis::telemetry::install_metrics().ok());
    installed.clone().ok_or_else(|| Failure::Failed("this process has another recorder of metrics".to_owned()))
}
