//! gRPC servers and clients.

mod admission;
mod front;

use std::net::SocketAddr;
use std::time::Duration;

use axum::middleware::from_fn;
use futures::StreamExt as _;
use tokio::net::TcpListener;
use tonic::service::RoutesBuilder;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tracing::error;

use self::admission::Admission;
use crate::health::Health;
use crate::shutdown::Shutdown;

/// Above this a message is not even decoded. What a request may hold is checked, with a clear answer, well below it.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A request may take this long.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(15);
/// Connections open at a time; one more is closed at once.
const CONNECTIONS_MAX: usize = 4_096;
const STREAMS_PER_CONNECTION_MAX: u32 = 1_024;
/// A client may give up at once as many requests as it may have open: whoever gives up more before the server comes to
/// them is cut off. A client remembers as many: answers to what it has forgotten, it takes for the server's mistakes, and
/// cuts itself off.
const RESETS_PER_CONNECTION_MAX: usize = 1_024;
const HEADER_BYTES_MAX: u32 = 16 * 1024;
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// The address cannot be served: it is taken, or not ours.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: std::io::Error,
}

/// Listens on `address`; port 0 takes a free one.
///
/// # Errors
/// [`BindError`] names the address.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { address, source })
}

/// Serves `routes` with reflection (v1 and v1alpha) and `grpc.health.v1` (the server as a whole, and each of `names`) until `shutdown`;
/// then lets requests in flight finish. Health follows the parts of `health` whose name begins with `part`.
pub async fn serve(
    listener: TcpListener,
    mut routes: RoutesBuilder,
    names: &'static [&'static str],
    health: Health,
    part: &'static str,
    shutdown: Shutdown,
) {
    let (reporter, health_service) = tonic_health::server::health_reporter();
    routes.add_service(health_service);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(farmera_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(now), Ok(before)) => {
            // Older tools, and Python's, ask by the name it had before.
            routes.add_service(now).add_service(before);
        }
        (Err(failed), _) | (Ok(_), Err(failed)) => {
            error!(error = &failed as &dyn std::error::Error, "no gRPC reflection")
        }
    }
    let mut ended = shutdown.clone();
    let admission = Admission::new(CONNECTIONS_MAX);
    let incoming = TcpIncoming::from(listener)
        .with_nodelay(Some(true))
        .filter_map(move |came| std::future::ready(came.map(|connection| admission.admit(connection)).transpose()));
    let served = Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_max_pending_accept_reset_streams(Some(RESETS_PER_CONNECTION_MAX))
        .add_routes(routes.routes().into_axum_router().layer(from_fn(front::front)).into())
        .serve_with_incoming_shutdown(incoming, async move { ended.triggered().await });
    tokio::select! {
        served = served => if let Err(failed) = served {
            error!(error = &failed as &dyn std::error::Error, "the gRPC server stopped");
        },
        never = report(&reporter, names, &health, part, shutdown) => match never {},
    }
}

async fn report(
    reporter: &HealthReporter,
    names: &[&str],
    health: &Health,
    part: &str,
    mut shutdown: Shutdown,
) -> std::convert::Infallible {
    let mut told = None;
    loop {
        let serving = !shutdown.is_triggered() && health.is_ready_for(part);
        if told != Some(serving) {
            let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
            for name in std::iter::once(&"").chain(names) {
                reporter.set_service_status(*name, status).await;
            }
            told = Some(serving);
        }
        tokio::select! {
            () = shutdown.triggered(), if serving => {}
            () = tokio::time::sleep(HEALTH_INTERVAL) => {}
        }
    }
}

/// A connection to another server, made when first used and again whenever it breaks.
///
/// # Errors
/// `url` is no address such as `http://127.0.0.1:50051`.
pub fn channel(url: &str) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(url.to_owned())?
        .connect_timeout(Duration::from_secs(3))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .http2_max_concurrent_reset_streams(RESETS_PER_CONNECTION_MAX)
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_lazy())
}
