//! NATS: one connection per service, streams declared in one place and brought in line whenever they are looked at.

mod declaration;

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::jetstream::{self, stream};
use async_nats::{Client, ConnectOptions, Event};
use tracing::{info, warn};

use crate::config::Secret;
use crate::health::Component;

/// The oldest server that does not skip messages after its store was rolled back (nats-server #6600).
const SERVER_VERSION_MIN: (u64, u64) = (2, 14);

/// One stream per service that has something to tell: its name, its subjects, and who publishes to it.
pub const STREAMS: [(&str, &str, &str); 4] = [
    ("FARMERA_ORDERS", "farmera.orders.>", "/farmera/orders"),
    ("FARMERA_PRODUCTS", "farmera.products.>", "/farmera/products"),
    ("FARMERA_PAYMENT", "farmera.payment.>", "/farmera/payment"),
    ("FARMERA_NOTIFICATION", "farmera.notification.>", "/farmera/notification"),
];

/// Who publishes to a stream, as a CloudEvents source: `/farmera/orders`. `None` for a stream that is not declared.
#[must_use]
pub fn source_of(stream: &str) -> Option<&'static str> {
    STREAMS.iter().find(|(declared, ..)| *declared == stream).map(|(.., source)| *source)
}

/// How long a message can be asked for again. What is older is in the event stores.
pub const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often it is seen whether the connection is another one, where that changes what may be waited for.
pub(crate) const GLANCE_INTERVAL: Duration = Duration::from_millis(250);
const ACK_TIMEOUT: Duration = Duration::from_secs(5);
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(2);

/// Why the broker cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The address makes no sense. Correct it.
    #[error("NATS_URL is no address of a NATS server")]
    Address(#[source] async_nats::ConnectError),
    /// The server is too old. Install a newer one.
    #[error("nats-server {found} is too old: 2.14 or newer is needed")]
    TooOld {
        /// What the server says it is.
        found: String,
    },
    /// It does not answer or refuses. Try again with backoff.
    #[error("NATS does not answer as it should: {0}")]
    Unavailable(String),
}

/// A connection that comes back by itself.
#[derive(Clone, Debug)]
pub struct Broker {
    /// The connection.
    pub client: Client,
    /// JetStream over it.
    pub jetstream: jetstream::Context,
}

impl Broker {
    /// Connects, now or as soon as the server is there: a server that is away is waited for, not an error.
    /// `component` is told of every coming and going.
    ///
    /// # Errors
    /// [`BrokerError::Address`] when the address cannot be used at all.
    pub async fn connect(name: &str, url: &Secret, component: Component) -> Result<Self, BrokerError> {
        component.down("connecting");
        let options = ConnectOptions::new()
            .name(format!("farmera-{name}"))
            .retry_on_initial_connect()
            .ping_interval(Duration::from_secs(5))
            .request_timeout(Some(ACK_TIMEOUT))
            .reconnect_delay_callback(|attempts| RECONNECT_DELAY_MAX.min(Duration::from_millis(20 << attempts.min(7))))
            .event_callback(move |event| {
                let component = component.clone();
                async move { note(&component, &event) }
            });
        let client = options.connect(url.expose()).await.map_err(BrokerError::Address)?;
        let mut jetstream = jetstream::new(client.clone());
        jetstream.set_timeout(ACK_TIMEOUT);
        Ok(Self { client, jetstream })
    }

    /// True while the server can be reached.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Counts the times that the connection was made: what was known of the server may not hold in the next one.
    #[must_use]
    pub fn connects(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// Checks the server's version; creates a stream that is missing and repairs what somebody has changed of one, as far
    /// as it is not the operator's to say ([`declaration`]).
    /// The stream's [`cached_info`](stream::Stream::cached_info) is of now.
    ///
    /// # Errors
    /// [`BrokerError`]: wait, or install another server.
    pub async fn ensure_stream(&self, name: &str) -> Result<stream::Stream, BrokerError> {
        self.check_version()?;
        let wanted = declaration::declared(name)
            .ok_or_else(|| BrokerError::Unavailable(format!("no stream {name} is declared")))?;
        let unavailable = |error: &dyn std::error::Error| BrokerError::Unavailable(error.to_string());
        let mut found =
            self.jetstream.get_or_create_stream(wanted.clone()).await.map_err(|error| unavailable(&error))?;
        let config = &found.info().await.map_err(|error| unavailable(&error))?.config;
        let (repaired, differences) = declaration::repaired(config, &wanted);
        if !differences.is_empty() {
            let differences = differences.join(", ");
            warn!(stream = name, differences, "somebody has changed the stream's configuration: it is put right");
            metrics::counter!("farmera_stream_repairs_total", "stream" => name.to_owned()).increment(1);
            self.jetstream.update_stream(&repaired).await.map_err(|error| {
                BrokerError::Unavailable(format!("{name} was changed and cannot be put right ({differences}): {error}"))
            })?;
        }
        Ok(found)
    }

    fn check_version(&self) -> Result<(), BrokerError> {
        let found = self.client.server_info().version;
        let mut numbers = found.split('.').map(|part| part.parse::<u64>().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if found.is_empty() {
            return Err(BrokerError::Unavailable("not connected yet".to_owned()));
        }
        if version < SERVER_VERSION_MIN {
            return Err(BrokerError::TooOld { found });
        }
        Ok(())
    }
}

fn note(component: &Component, event: &Event) {
    match event {
        Event::Connected => {
            info!("connected to NATS");
            component.up();
        }
        Event::Disconnected => {
            warn!("the connection to NATS is lost; trying again until it is back");
            component.down("not connected");
        }
        Event::Closed => component.down("closed"),
        Event::LameDuckMode
        | Event::Draining
        | Event::SlowConsumer(_)
        | Event::ServerError(_)
        | Event::ClientError(_) => warn!(%event, "NATS"),
    }
}
