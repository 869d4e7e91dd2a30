//! The admin port: for operators and their tools, never for clients.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tracing::error;

use crate::health::Health;
use crate::shutdown::Shutdown;
use crate::telemetry::Metrics;

#[derive(Clone)]
struct Admin {
    health: Health,
    metrics: Metrics,
    shutdown: Shutdown,
}

/// Serves `/livez` (the process answers), `/readyz` (every part is up, a line each), `/metrics` (Prometheus text) and
/// `/version` until `shutdown`.
pub async fn serve(listener: TcpListener, health: Health, metrics: Metrics, mut shutdown: Shutdown) {
    let admin = Admin { health, metrics, shutdown: shutdown.clone() };
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(|State(admin): State<Admin>| async move { admin.metrics.render() }))
        .route("/version", get(|| async { concat!(env!("CARGO_PKG_VERSION"), "\n") }))
        .with_state(admin);
    let served = axum::serve(listener, router).with_graceful_shutdown(async move { shutdown.triggered().await });
    if let Err(failed) = served.await {
        error!(error = &failed as &dyn std::error::Error, "the admin port stopped");
    }
}

async fn ready(State(admin): State<Admin>) -> (StatusCode, String) {
    if admin.shutdown.is_triggered() {
        return (StatusCode::SERVICE_UNAVAILABLE, "[-]process shutting down\n".to_owned());
    }
    let status = if admin.health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, admin.health.report())
}
