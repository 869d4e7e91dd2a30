//! Logs to standard error, metrics to whoever asks the admin port.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// Upper bounds for everything that counts seconds, from a quarter of a millisecond to a minute.
const SECONDS: [f64; 14] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0, 60.0];
/// Upper bounds for everything that counts members of a batch.
const MEMBERS: [f64; 8] = [1.0, 2.0, 4.0, 16.0, 64.0, 128.0, 256.0, 512.0];

/// The process's metrics.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// All of them as Prometheus text.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.run_upkeep();
        self.0.render()
    }
}

/// Installs the process's recorder of metrics.
///
/// # Errors
/// One is installed already.
pub fn install_metrics() -> Result<Metrics, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_inputs".to_owned()), &MEMBERS)?
        .install_recorder()?;
    Ok(Metrics(handle))
}

/// Starts logging. `FARMERA_LOG` filters (`info`, `orders=debug,warn`); `FARMERA_LOG_FORMAT=json` for machines. The
/// second call of a process changes nothing.
pub fn init_logs(default_filter: &str) {
    let filter = EnvFilter::try_from_env("FARMERA_LOG").unwrap_or_else(|_| EnvFilter::new(default_filter));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if std::env::var("FARMERA_LOG_FORMAT").is_ok_and(|format| format == "json") {
        logs.json().try_init()
    } else {
        logs.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
    drop(started);
}
