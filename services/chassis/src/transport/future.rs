//! Whether the broker tells of a future that the store has lost.
//!
//! A message is published after its event is committed. So when the broker holds a message of this store's own history
//! and the place of its event in the log is empty, the database was put back to an older state, or another one is
//! connected. To go on would be to tell two histories as one: a service refuses to, until an operator has looked and
//! begins a new history (`farmera store adopt`), whose messages name another `storeepoch`.
//!
//! Not seen: what was lost and never told, and what the broker has forgotten, too.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use async_nats::jetstream::stream::Stream;
use eventstore::{BrokerMark, StoreEpoch, ToldEvent, Transport, TxId};
use serde::Serialize;
use uuid::Uuid;

use super::memory::{LookError, micros};
use super::messages;
use crate::broker::Broker;
use crate::envelope::{Attributes, Said, told_event};

/// How many of the newest messages are looked at, at most. The last mark in the store is at most a few seconds old, so
/// that there are rarely as many above it; of a lost future the newest are enough.
pub const LOOKED_AT_MAX: u64 = 4_096;

/// Events that the store is asked for with one statement.
const ASKED_AT_ONCE: usize = 4_096;

/// An event that others were told of and the store does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LostEvent {
    /// Its message's number in the broker's stream.
    pub sequence: u64,
    /// What was told: the message's full proto name.
    pub message_type: String,
    /// When, as the message says.
    pub time: String,
    /// The event's stream: `order/0199…`.
    pub stream: String,
    /// Its version there.
    pub version: u64,
    /// Its own id.
    pub event: Uuid,
}

/// Why a service must not go on with its database. The text says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Older {
    /// The broker tells of events that the log does not have.
    Told {
        /// The broker's stream.
        stream: &'static str,
        /// So many of those that were looked at.
        count: usize,
        /// The first.
        first: LostEvent,
    },
    /// The store forgot what it had noted while this process worked.
    Forgetful {
        /// The broker's stream.
        stream: &'static str,
    },
    /// The log has transactions that the database server has not come to: new events would stand before old ones, and
    /// readers of the log would not see these. So it is after a dump was restored into a younger cluster.
    Ahead {
        /// The log's newest.
        newest: TxId,
    },
}

impl Older {
    /// What [`lost`] found, as a reason; `None` when it found nothing.
    #[must_use]
    pub fn told(stream: &'static str, lost: Vec<LostEvent>) -> Option<Self> {
        let count = lost.len();
        lost.into_iter().next().map(|first| Self::Told { stream, count, first })
    }
}

impl fmt::Display for Older {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told { stream, count, first } => write!(
                f,
                "the database is older than what {stream} holds: {count} event(s) that were told are not in its log, the \
                 first is version {} of {}",
                first.version, first.stream
            )?,
            Self::Forgetful { stream } => {
                write!(f, "the database is older than it was: it has forgotten what it noted of {stream}")?;
            }
            Self::Ahead { newest } => {
                return write!(
                    f,
                    "the log has events of transaction {}, which this database server has not come to: it was restored \
                     from a dump. See docs/runbooks/restore.md",
                    newest.0
                );
            }
        }
        f.write_str(
            "; it was restored, or it is the wrong one. See docs/runbooks/restore.md; `farmera store lost` lists what is \
             missing, `farmera store adopt` lets the service go on without it",
        )
    }
}

impl std::error::Error for Older {}

/// What others were told by this store's history and the store does not have; oldest first. Looks at what the broker
/// holds above the store's mark, at most [`LOOKED_AT_MAX`] messages.
///
/// # Errors
/// [`LookError`]: nothing is known.
pub async fn lost(stream: &'static str, store: &dyn Transport, broker: &Broker) -> Result<Vec<LostEvent>, LookError> {
    let mark = store.broker_mark(stream).await?;
    let found = broker.ensure_stream(stream).await?;
    lost_above(store, &found, mark.as_ref()).await
}

/// As [`lost`], of a stream that was just looked at, with the mark from before.
pub(super) async fn lost_above(
    store: &dyn Transport,
    found: &Stream,
    mark: Option<&BrokerMark>,
) -> Result<Vec<LostEvent>, LookError> {
    let StoreEpoch { epoch: history, beyond } = store.store_epoch().await?;
    if let Some(newest) = beyond {
        return Err(Older::Ahead { newest }.into());
    }
    let (mut told, mut seen) = (Vec::new(), HashSet::new());
    messages::each(found, first(found, mark), |message, place| {
        for said in Said::of(message.headers.as_ref(), &message.payload).readable() {
            let Some((event, Some(epoch))) = told_event(&said) else { continue };
            if epoch == history && seen.insert(event.id) {
                let lost = lost_event(place.sequence, &said, &event);
                told.push((event, lost));
            }
        }
    })
    .await?;
    let (events, mut lost): (Vec<ToldEvent>, Vec<LostEvent>) = told.into_iter().unzip();
    // After the messages were read: whatever they tell of was committed before.
    let mut unknown = HashSet::new();
    for some in events.chunks(ASKED_AT_ONCE) {
        unknown.extend(store.unknown_of(some).await?);
    }
    lost.retain(|lost| unknown.contains(&lost.event));
    Ok(lost)
}

fn lost_event(sequence: u64, said: &Attributes<'_>, event: &ToldEvent) -> LostEvent {
    let text = |said: &Option<Cow<'_, str>>| said.as_deref().unwrap_or_default().to_owned();
    LostEvent {
        sequence,
        message_type: text(&said.message_type),
        time: text(&said.time),
        stream: text(&said.about),
        version: event.version.get(),
        event: event.id,
    }
}

/// What stands at or below the mark was committed before the mark was.
fn first(found: &Stream, mark: Option<&BrokerMark>) -> u64 {
    let info = found.cached_info();
    let last = info.state.last_sequence;
    let same = |mark: &&BrokerMark| mark.created_at == micros(info.created) && mark.last_sequence <= last;
    let above = mark.filter(same).map_or(0, |mark| mark.last_sequence + 1);
    above.max((last + 1).saturating_sub(LOOKED_AT_MAX))
}
