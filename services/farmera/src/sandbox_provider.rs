//! `farmera sandbox-provider`: a card processor for tests, as a process of its own with a journal of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use chassis::config::{ConfigError, Env, Secret};
use chassis::shutdown::Shutdown;
use clap::Args;
use payment::sandbox::server::{Options, Provider, Weather};

use crate::failure::Failure;
use crate::{addresses, host, output};

const AFTER_HELP: &str = "\
The payment service finds it by FARMERA_PAYMENT__PROVIDER_URL. Tokens do what they do in the in-process sandbox:
tok_success, tok_declined, tok_insufficient_funds, tok_timeout_charged, tok_timeout_not_charged, tok_flaky.

The journal has a line of JSON for each thing that happened, on disk before anybody is told. It can be read at any time:
from the file, or by GET /v1/journal. A process that is killed loses nothing; half a line at the end is cut off and
reported. GET /v1/sandbox/faults counts what has gone wrong, PUT /v1/sandbox/weather changes what goes wrong.

Environment: FARMERA_SANDBOX_PROVIDER__KEY (or ..._KEY_FILE), what callers must show as bearers; nothing when absent.";

/// What `farmera sandbox-provider` is told.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// Where to serve HTTP; port 0 takes a free one, and the first line on standard output names it.
    #[arg(long, default_value = "127.0.0.1:12111", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// The file to keep (default: .farmera/sandbox-provider/journal.ndjson in the project).
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Every request takes so much longer.
    #[arg(long, default_value_t = 0, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u32).range(0..=60_000))]
    latency_ms: u32,
    /// The share of requests that are answered 503 and do nothing.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    error_rate: f64,
    /// The share of requests that get lost: nothing is done, and nobody answers.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    lose_request_rate: f64,
    /// The share of answers that get lost: it is done, but the answer never comes, breaks off, or is garbage.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    lose_reply_rate: f64,
    /// The share of keys that are answered 500 for good; half of them have had their effect.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    spend_key_rate: f64,
    /// The share of requests that arrive twice.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    duplicate_rate: f64,
    /// What the faults are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Serves until a signal.
///
/// # Errors
/// [`Failure::Setup`] for a taken port, a wrong rate, a journal that is damaged or in use; [`Failure::Failed`] when the
/// journal cannot be written any more.
pub async fn command(arguments: Arguments) -> Result<(), Failure> {
    chassis::telemetry::init_logs("info");
    let listen = arguments.listen;
    let options = options(arguments)?;
    let listener = host::bind(listen, "--listen").await?;
    let address = listener.local_addr().map_err(|error| Failure::Setup(format!("no address: {error}")))?;
    let (journal, seed) = (options.journal.clone(), options.seed);
    let opened = tokio::task::spawn_blocking(move || Provider::open(options)).await;
    let provider = opened
        .map_err(|error| Failure::Failed(error.to_string()))?
        .map_err(|error| Failure::Setup(error.to_string()))?;
    let (entries, torn) = (provider.entries(), provider.torn_bytes());
    let journal = journal.display();
    output::line(format!("ready http://{address} journal={journal} entries={entries} torn_bytes={torn} seed={seed}"));
    let (_trigger, shutdown) = Shutdown::new();
    tokio::select! {
        served = provider.serve(listener, shutdown) => {
            served.map_err(|error| Failure::Failed(format!("the sandbox provider cannot go on: {error}")))
        }
        signal = chassis::shutdown::signal() => signal.map_err(|error| Failure::Failed(format!("no signals: {error}"))),
    }
}

fn options(arguments: Arguments) -> Result<Options, Failure> {
    let weather = Weather {
        latency_ms: arguments.latency_ms,
        error_rate: arguments.error_rate,
        lose_request_rate: arguments.lose_request_rate,
        lose_reply_rate: arguments.lose_reply_rate,
        spend_key_rate: arguments.spend_key_rate,
        duplicate_rate: arguments.duplicate_rate,
    };
    weather.check().map_err(|error| Failure::Setup(error.to_string()))?;
    let journal = match arguments.journal {
        Some(journal) => journal,
        None => {
            let folder = addresses::default_state().with_file_name("sandbox-provider");
            let made = std::fs::create_dir_all(&folder);
            made.map_err(|error| Failure::Setup(format!("cannot make {}: {error}", folder.display())))?;
            folder.join("journal.ndjson")
        }
    };
    Ok(Options { journal, key: key()?, weather, seed: arguments.seed })
}

fn key() -> Result<Option<Secret>, Failure> {
    match Env::of_process().of_service("sandbox_provider").secret("KEY", "what callers must show") {
        Ok(key) => Ok(Some(key)),
        Err(ConfigError::Missing { .. }) => Ok(None),
        Err(error @ (ConfigError::Malformed { .. } | ConfigError::Unreadable { .. })) => {
            Err(Failure::Setup(error.to_string()))
        }
    }
}
