//! A gossip on the broker: hears every message, and says some of them again, later and out of order, under message ids
//! that the broker's own de-duplication cannot know.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chassis::clock::Uuids;
use eventstore::IdSource as _;
use farmera::failure::Failure;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::chance::Chance;

/// Of a thousand messages, so many are said again.
const PER_MILLE: u64 = 60;
/// At most this late.
const LATE_MAX_MS: u64 = 4_000;
/// What it keeps in mind at a time.
const KEPT_MAX: usize = 2_000;

/// How much it has said.
#[derive(Debug, Default)]
pub struct Said {
    /// Messages repeated.
    pub repeated: AtomicU64,
    /// Those of them that came a second or more behind their younger siblings.
    pub late: AtomicU64,
}

/// The gossip. It falls silent when dropped.
pub struct Rumour {
    said: Arc<Said>,
    _task: JoinSet<()>,
}

impl Rumour {
    /// Listens and talks at `url` from now on.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: the broker is not there.
    pub async fn start(url: &str, chance: Chance) -> Result<Self, Failure> {
        let client = async_nats::ConnectOptions::new().retry_on_initial_connect().connect(url).await;
        let client = client.map_err(|error| Failure::Unavailable(error.to_string()))?;
        let heard = client.subscribe("farmera.>").await.map_err(|error| Failure::Unavailable(error.to_string()))?;
        let said = Arc::new(Said::default());
        let mut task = JoinSet::new();
        task.spawn(gossip(client, heard, chance, Arc::clone(&said)));
        Ok(Self { said, _task: task })
    }

    /// How much it has said so far.
    #[must_use]
    pub fn said(&self) -> (u64, u64) {
        (self.said.repeated.load(Ordering::Relaxed), self.said.late.load(Ordering::Relaxed))
    }
}

async fn gossip(client: async_nats::Client, mut heard: async_nats::Subscriber, mut chance: Chance, said: Arc<Said>) {
    let mut kept = FuturesUnordered::new();
    loop {
        tokio::select! {
            message = heard.next() => {
                let Some(message) = message else { return };
                if kept.len() < KEPT_MAX && chance.happens(PER_MILLE) {
                    let late = Duration::from_millis(chance.below(LATE_MAX_MS));
                    kept.push(async move {
                        sleep(late).await;
                        (late, message)
                    });
                }
            }
            Some((late, message)) = kept.next(), if !kept.is_empty() => {
                let mut headers = message.headers.clone().unwrap_or_default();
                headers.insert(async_nats::header::NATS_MESSAGE_ID, Uuids.next_id().to_string());
                if client.publish_with_headers(message.subject, headers, message.payload).await.is_ok() {
                    said.repeated.fetch_add(1, Ordering::Relaxed);
                    said.late.fetch_add(u64::from(late >= Duration::from_secs(1)), Ordering::Relaxed);
                }
            }
        }
    }
}
