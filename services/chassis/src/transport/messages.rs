//! The messages of a stream of the broker, read in order.

use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::{Message, stream::Stream};
use futures::StreamExt as _;
use tokio::time::timeout;

use crate::broker::BrokerError;

/// The end of the stream, when what comes before it cannot be read.
const SILENCE: Duration = Duration::from_secs(5);

/// Where a message stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Its number in the stream.
    pub(super) sequence: u64,
    /// Messages behind it.
    pub(super) pending: u64,
}

/// Shows every message from `first` on that the stream held when it was looked at.
pub(super) async fn each(
    stream: &Stream,
    first: u64,
    mut show: impl FnMut(&Message, Place) + Send,
) -> Result<(), BrokerError> {
    let state = &stream.cached_info().state;
    if state.messages == 0 || first > state.last_sequence {
        return Ok(());
    }
    let unavailable = |error: &dyn std::error::Error| BrokerError::Unavailable(error.to_string());
    let deliver_policy = DeliverPolicy::ByStartSequence { start_sequence: first.max(1) };
    let config = pull::OrderedConfig { deliver_policy, ..pull::OrderedConfig::default() };
    let consumer = stream.create_consumer(config).await.map_err(|error| unavailable(&error))?;
    let mut messages = consumer.messages().await.map_err(|error| unavailable(&error))?;
    while let Ok(Some(message)) = timeout(SILENCE, messages.next()).await {
        let message = message.map_err(|error| unavailable(&error))?;
        let place = message
            .info()
            .map(|info| Place { sequence: info.stream_sequence, pending: info.pending })
            .map_err(|error| unavailable(&*error))?;
        show(&message, place);
        if place.sequence >= state.last_sequence || place.pending == 0 {
            break;
        }
    }
    Ok(())
}
