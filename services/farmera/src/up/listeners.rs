//! The ports of the services, taken before anything else is started.

use std::net::SocketAddr;

use chassis::clock::Uuids;
use chassis::config::Env;
use eventstore::IdSource as _;
use tokio::net::TcpListener;

use crate::addresses::{Addresses, Endpoints};
use crate::failure::Failure;
use crate::host;
use crate::services::SERVICES;
use crate::up::Options;

/// Below what systems hand out to outgoing connections: a client that tries again while we are down would otherwise be
/// given our port, and talk to itself.
const FREE_PORTS: std::ops::Range<u16> = 20_000..30_000;
const FREE_PORT_TRIES: u16 = 64;

/// Ports that are ours.
pub(super) struct Listeners {
    pub(super) services: Vec<(&'static str, TcpListener)>,
    pub(super) admin: TcpListener,
    pub(super) endpoints: Endpoints,
    pub(super) admin_url: String,
}

impl Listeners {
    pub(super) async fn bind(options: &Options, env: &Env) -> Result<Self, Failure> {
        let last = Addresses::load(&options.state);
        let mut services = Vec::new();
        let mut endpoints = Endpoints::default();
        for service in &SERVICES {
            let listener = if options.free_ports {
                let known = last.as_ref().map(|last| last.endpoints.of(service.name));
                free(known).await?
            } else {
                bind_service(env, service.name, service.default_port)
                    .await
                    .map_err(|error| blame(error, last.as_ref()))?
            };
            *url_slot(&mut endpoints, service.name) = url(&listener)?;
            services.push((service.name, listener));
        }
        let admin = if options.free_ports {
            free(last.as_ref().map(|last| last.admin.as_str())).await?
        } else {
            let bound = host::bind(host::admin_address(env)?, "FARMERA_ADMIN_ADDRESS").await;
            bound.map_err(|error| blame(error, last.as_ref()))?
        };
        let admin_url = url(&admin)?;
        Ok(Self { services, admin, endpoints, admin_url })
    }

    /// The ports of one more replica: free ones.
    pub(super) async fn bind_replica() -> Result<Self, Failure> {
        let mut services = Vec::new();
        let mut endpoints = Endpoints::default();
        for service in &SERVICES {
            let listener = free(None).await?;
            *url_slot(&mut endpoints, service.name) = url(&listener)?;
            services.push((service.name, listener));
        }
        let admin = free(None).await?;
        let admin_url = url(&admin)?;
        Ok(Self { services, admin, endpoints, admin_url })
    }
}

async fn bind_service(env: &Env, name: &str, default_port: u16) -> Result<TcpListener, Failure> {
    let default = SocketAddr::from(([127, 0, 0, 1], default_port));
    let address = env
        .of_service(name)
        .value("GRPC_ADDRESS", default, "an address such as 127.0.0.1:50052")
        .map_err(|error| Failure::Setup(error.to_string()))?;
    host::bind(address, &format!("FARMERA_{}__GRPC_ADDRESS", name.to_uppercase())).await
}

/// The port is taken, most likely by an earlier `farmera up` that still runs.
fn blame(failure: Failure, last: Option<&Addresses>) -> Failure {
    match last.filter(|last| last.may_be_alive()) {
        Some(last) => Failure::Setup(format!(
            "`farmera up` runs already on {} (process {}); stop it first, or add --free-ports and another --state",
            last.state.display(),
            last.pid
        )),
        None => failure,
    }
}

/// The last port if it is free, else another one.
async fn free(last: Option<&str>) -> Result<TcpListener, Failure> {
    let last = last.and_then(|url| url.rsplit(':').next()?.parse::<u16>().ok());
    let width = FREE_PORTS.end - FREE_PORTS.start;
    let random = |_| {
        let [.., high, low] = Uuids.next_id().into_bytes();
        FREE_PORTS.start + u16::from_be_bytes([high, low]) % width
    };
    for port in last.into_iter().chain((0..FREE_PORT_TRIES).map(random)) {
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
            return Ok(listener);
        }
    }
    Err(Failure::Setup(format!("no free port was found from {} to {}", FREE_PORTS.start, FREE_PORTS.end)))
}

/// Where a client on this machine reaches a listener.
fn url(listener: &TcpListener) -> Result<String, Failure> {
    let address = listener.local_addr().map_err(|error| Failure::Setup(error.to_string()))?;
    let host = if address.ip().is_unspecified() { [127, 0, 0, 1].into() } else { address.ip() };
    Ok(format!("http://{}", SocketAddr::new(host, address.port())))
}

fn url_slot<'a>(endpoints: &'a mut Endpoints, service: &str) -> &'a mut String {
    match service {
        "products" => &mut endpoints.products,
        "payment" => &mut endpoints.payment,
        "notification" => &mut endpoints.notification,
        _ => &mut endpoints.orders,
    }
}
