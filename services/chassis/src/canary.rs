//! Whether the way over the broker is open: a message goes out and is read back.
//!
//! A connection that stands proves little: the broker may be there and not take a message, for want of disk or of its
//! streams. So each process publishes a message of its own every few seconds, to a stream that nobody else uses, waits
//! for the acknowledgement and reads the message again.

use std::time::Duration;

use async_nats::jetstream::stream;
use eventstore::IdSource as _;
use tokio::time::{sleep, timeout};

use crate::broker::Broker;
use crate::clock::Uuids;
use crate::health::Component;
use crate::shutdown::Shutdown;

/// The stream of all canaries. On disk, as those that matter.
const STREAM: &str = "FARMERA_CANARY";
const SUBJECTS: &str = "farmera-canary.>";
/// Of one service, kept at a time: enough for all of its processes to find their own.
const KEPT_PER_SERVICE: i64 = 64;
const INTERVAL: Duration = Duration::from_secs(5);
/// While it does not come back.
const INTERVAL_DOWN: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(5);

/// Sends one after another until `shutdown`, and says in `component` whether they come back.
pub(crate) async fn run(service: &'static str, broker: Broker, component: Component, mut shutdown: Shutdown) {
    while !shutdown.is_triggered() {
        let flown = match timeout(DEADLINE, fly(service, &broker)).await {
            Ok(flown) => flown,
            Err(_) => Err(format!("a message was not published and read within {} s", DEADLINE.as_secs())),
        };
        let pause = match flown {
            Ok(()) => {
                component.up();
                INTERVAL
            }
            Err(reason) => {
                component.down(reason);
                INTERVAL_DOWN
            }
        };
        tokio::select! {
            () = shutdown.triggered() => {}
            () = sleep(pause) => {}
        }
    }
}

/// There and back.
async fn fly(service: &str, broker: &Broker) -> Result<(), String> {
    if !broker.is_connected() {
        return Err("not connected".to_owned());
    }
    let config = stream::Config {
        name: STREAM.to_owned(),
        subjects: vec![SUBJECTS.to_owned()],
        storage: stream::StorageType::File,
        max_messages_per_subject: KEPT_PER_SERVICE,
        ..stream::Config::default()
    };
    let stream = broker.jetstream.get_or_create_stream(config).await.map_err(|error| error.to_string())?;
    let said = Uuids.next_id().to_string();
    let subject = format!("farmera-canary.{service}");
    let published = broker.jetstream.publish(subject, said.clone().into()).await.map_err(|error| error.to_string())?;
    let acknowledged = published.await.map_err(|error| format!("a message is not acknowledged: {error}"))?;
    let read = stream.get_raw_message(acknowledged.sequence).await.map_err(|error| error.to_string())?;
    if read.payload == said.as_bytes() { Ok(()) } else { Err("another message was read than was published".to_owned()) }
}
