//! Messages in from JetStream.
//!
//! A durable pull consumer with explicit acknowledgement: a message is acknowledged after the commit that its handling
//! led to, given back with a delay when it cannot be handled now, and parked when it never can. Its neighbours go on.
//! Any error of the message stream means: drop it, bring stream and consumer in line, open anew.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{self, pull};
use async_nats::jetstream::{AckKind, Message};
use eventstore::DeadLetter;
use faults::{Plant, Point};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tracing::{debug, error, warn};

use crate::broker::Broker;
use crate::envelope::{EnvelopeError, Incoming};
use crate::health::Component;
use crate::shutdown::Shutdown;

/// Messages of one consumer that may be in work at a time.
const IN_WORK_MAX: usize = 2_048;
/// Messages fetched with one request.
const FETCH_MAX: usize = 512;
/// A message that was neither acknowledged nor given back for this long comes again.
const ACK_WAIT: Duration = Duration::from_secs(30);
const HEARTBEAT: Duration = Duration::from_secs(5);
const FETCH_EXPIRES: Duration = Duration::from_secs(30);
const REOPEN_DELAY: Duration = Duration::from_millis(500);
const REDELIVERY_FIRST: Duration = Duration::from_millis(200);
const REDELIVERY_MAX: Duration = Duration::from_secs(10);

/// Which messages of which stream a service listens to.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerSpec {
    /// The stream of the service that publishes them.
    pub stream: &'static str,
    /// The durable consumer: letters, digits, `-`; at most 32 characters.
    pub durable: &'static str,
    /// The subjects.
    pub subjects: &'static [&'static str],
}

/// Why a message was not handled.
#[derive(Debug, thiserror::Error)]
pub enum NotHandled {
    /// It never can be. It is parked with this reason.
    #[error("{0}")]
    Poison(String),
    /// Not now. It comes again.
    #[error("{0}")]
    Later(String),
}

impl From<EnvelopeError> for NotHandled {
    fn from(malformed: EnvelopeError) -> Self {
        Self::Poison(malformed.to_string())
    }
}

/// A service's way in for messages. When a method returns `Ok`, what it did is durable.
#[async_trait::async_trait]
pub trait React: Send + Sync + 'static {
    /// Handles one message. The same message may come again, late, and at the same time as others.
    ///
    /// # Errors
    /// [`NotHandled`] says whether it may come again.
    async fn react(&self, message: Incoming) -> Result<(), NotHandled>;

    /// Keeps a message that cannot be handled.
    ///
    /// # Errors
    /// The store does not answer; the message comes again.
    async fn park(&self, letter: DeadLetter) -> Result<(), NotHandled>;
}

/// Listens until `shutdown`; then finishes what is in work.
pub async fn run(
    spec: ConsumerSpec,
    broker: Broker,
    react: Arc<dyn React>,
    component: Component,
    mut shutdown: Shutdown,
) {
    while !shutdown.is_triggered() {
        match open(&spec, &broker).await {
            Ok(messages) => {
                component.up();
                faults::reach(Point::ReceiveBefore);
                listen(&spec, messages, &*react, &mut shutdown).await;
            }
            Err(reason) => {
                debug!(consumer = spec.durable, %reason, "cannot listen yet");
                component.down(reason);
            }
        }
        tokio::select! {
            () = shutdown.triggered() => {}
            () = tokio::time::sleep(REOPEN_DELAY) => {}
        }
    }
}

async fn open(spec: &ConsumerSpec, broker: &Broker) -> Result<pull::Stream, String> {
    broker.ensure_stream(spec.stream).await.map_err(|error| error.to_string())?;
    let config = pull::Config {
        durable_name: Some(spec.durable.to_owned()),
        ack_policy: consumer::AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        deliver_policy: consumer::DeliverPolicy::All,
        filter_subjects: spec.subjects.iter().map(|subject| (*subject).to_owned()).collect(),
        max_ack_pending: 2 * IN_WORK_MAX as i64,
        max_deliver: -1,
        ..pull::Config::default()
    };
    // Creates the consumer, or brings an existing one in line with this declaration.
    let consumer = broker.jetstream.create_consumer_on_stream(config, spec.stream).await.map_err(|e| e.to_string())?;
    let stream = consumer.stream().max_messages_per_batch(FETCH_MAX).expires(FETCH_EXPIRES).heartbeat(HEARTBEAT);
    stream.messages().await.map_err(|error| error.to_string())
}

async fn listen(spec: &ConsumerSpec, mut messages: pull::Stream, react: &dyn React, shutdown: &mut Shutdown) {
    let mut in_work = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.triggered() => break,
            Some(()) = in_work.next(), if !in_work.is_empty() => {}
            next = messages.next(), if in_work.len() < IN_WORK_MAX => match next {
                Some(Ok(message)) => in_work.push(handle(spec, message, react)),
                Some(Err(failed)) => {
                    warn!(consumer = spec.durable, error = &failed as &dyn std::error::Error, "listening again from the start");
                    break;
                }
                None => break,
            },
        }
    }
    while let Some(()) = in_work.next().await {}
}

async fn handle(spec: &ConsumerSpec, message: Message, react: &dyn React) {
    faults::reach(Point::ReceiveAfter);
    if faults::planted(Plant::AckBeforeCommit) {
        drop(message.ack().await);
    }
    let none = HeaderMap::new();
    let headers = message.headers.as_ref().unwrap_or(&none);
    let handled = match Incoming::open(&message.subject, headers, &message.payload) {
        Ok(incoming) => react.react(incoming).await,
        Err(malformed) => Err(malformed.into()),
    };
    let handled = match handled {
        Err(NotHandled::Poison(_)) if faults::planted(Plant::PoisonDropped) => Ok(()),
        Err(NotHandled::Poison(reason)) => {
            error!(consumer = spec.durable, subject = %message.subject, reason, "a message cannot be handled and is parked");
            metrics::counter!("farmera_dead_letters_total", "consumer" => spec.durable).increment(1);
            react.park(dead_letter(spec, &message, reason)).await
        }
        other => other,
    };
    let ack = match handled {
        Ok(()) => AckKind::Ack,
        Err(NotHandled::Poison(reason) | NotHandled::Later(reason)) => {
            let delay = redelivery_delay(message.info().map_or(1, |info| info.delivered));
            debug!(consumer = spec.durable, reason, ?delay, "a message is given back");
            AckKind::Nak(Some(delay))
        }
    };
    faults::reach(Point::AckBefore);
    let acknowledged = message.ack_with(ack).await;
    faults::reach(Point::AckAfter);
    if let Err(failed) = acknowledged {
        debug!(
            consumer = spec.durable,
            error = &*failed as &dyn std::error::Error,
            "an acknowledgement is lost; the message comes again"
        );
    }
}

/// 0.2 s, doubling with every delivery, at most 10 s.
fn redelivery_delay(delivered: i64) -> Duration {
    let doublings = u32::try_from(delivered.clamp(1, 16)).unwrap_or(1) - 1;
    REDELIVERY_MAX.min(REDELIVERY_FIRST * 2_u32.pow(doublings))
}

fn dead_letter(spec: &ConsumerSpec, message: &Message, reason: String) -> DeadLetter {
    let headers: serde_json::Map<String, serde_json::Value> = message
        .headers
        .iter()
        .flat_map(HeaderMap::iter)
        .map(|(name, values)| (name.to_string(), values.iter().map(|value| value.as_str().replace('\0', "")).collect()))
        .collect();
    let id = message.headers.as_ref().and_then(|headers| headers.get(async_nats::header::NATS_MESSAGE_ID));
    let place = || {
        message.info().map_or_else(|_| "unknown".to_owned(), |info| format!("{}#{}", info.stream, info.stream_sequence))
    };
    DeadLetter {
        consumer: spec.durable.to_owned(),
        message: id.map_or_else(place, |id| id.as_str().replace('\0', "")),
        subject: message.subject.to_string(),
        headers: serde_json::Value::Object(headers).to_string(),
        body: message.payload.to_vec(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redelivery_backs_off_to_its_limit() {
        let delays = [0, 1, 2, 3, 60].map(redelivery_delay);
        let millis = delays.map(|delay| delay.as_millis());
        assert_eq!(millis, [200, 200, 400, 800, 10_000]);
    }
}
