//! Whether the broker still holds what it acknowledged.
//!
//! Beside the log stands what the broker's stream was last seen to hold ([`BrokerMark`]). When the stream was made
//! anew, knows fewer messages, another or no message at a known place, or misses some in between, it has lost
//! something, and nobody can know what. Then a new epoch of its memory begins: every transaction that some consumer may
//! not have handled goes into the outbox again, in the same statement, and the relay tells them as it tells everything.
//!
//! What every consumer has handled is learnt by and by: all that was told before a look is handled when every durable
//! consumer has acknowledged as far as the stream went at that look. Consumers that are away hold this back.

use std::collections::VecDeque;
use std::fmt;

use async_nats::jetstream::consumer;
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use chrono::{DateTime, TimeDelta, Utc};
use eventstore::{BrokerMark, ReadError, Transport, TxId};
use futures::TryStreamExt as _;
use tracing::warn;

use super::future::{self, Older};
use crate::broker::{Broker, BrokerError, MAX_AGE};

/// Looks whose end is awaited at a time; while there are as many, further ones are not noted.
const CHECKPOINTS_MAX: usize = 16;
/// The broker removes what is too old when it comes to it.
const AGE_SLACK: TimeDelta = TimeDelta::hours(1);

/// Why the broker's memory is not known. Try again.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The broker does not answer.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] ReadError),
    /// The database was put back to an older state. Trying again is useless.
    #[error(transparent)]
    Older(#[from] Older),
}

/// What the broker has lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The stream was made anew.
    Anew,
    /// It ends before the last message that it acknowledged.
    RolledBack {
        /// Where it ends.
        last: u64,
        /// What it acknowledged.
        acknowledged: u64,
    },
    /// It holds another message, or none, where it acknowledged one.
    Replaced {
        /// Where.
        sequence: u64,
    },
    /// Its beginning went before its time.
    Purged,
    /// Messages in between are missing.
    Holes {
        /// How many more than before.
        count: u64,
    },
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anew => f.write_str("the stream was made anew"),
            Self::RolledBack { last, acknowledged } => {
                write!(f, "it ends at {last}, but has acknowledged {acknowledged}")
            }
            Self::Replaced { sequence } => write!(f, "it does not hold the message that it acknowledged at {sequence}"),
            Self::Purged => f.write_str("its oldest messages went before their time"),
            Self::Holes { count } => write!(f, "{count} messages in between are missing"),
        }
    }
}

/// What a stream holds now.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    created_at: DateTime<Utc>,
    first_sequence: u64,
    first_at: Option<DateTime<Utc>>,
    last_sequence: u64,
    missing: u64,
    /// The id of the message at the mark's place.
    at_mark: Option<String>,
}

/// What one relay knows of its stream's memory.
#[derive(Debug)]
pub(crate) struct Memory {
    stream: &'static str,
    /// Everything below this transaction stands in the stream up to this sequence; oldest first.
    checkpoints: VecDeque<(TxId, u64)>,
    /// The store's mark as it was read or noted last, its epoch and last sequence: it never goes back. `None` before the
    /// first look.
    seen: Option<(u32, u64)>,
}

impl Memory {
    pub(crate) fn new(stream: &'static str) -> Self {
        Self { stream, checkpoints: VecDeque::new(), seen: None }
    }

    /// What the store has noted meanwhile.
    pub(crate) fn note(&mut self, noted: Option<(u32, u64)>) {
        self.seen = self.seen.map(|seen| noted.map_or(seen, |noted| seen.max(noted)));
    }

    /// Brings the stream in line, compares it with what is known, and begins a new epoch when it has lost something.
    /// `newest` is what this process saw acknowledged last, and in which epoch.
    pub(crate) async fn look(
        &mut self,
        broker: &Broker,
        store: &dyn Transport,
        newest: Option<(u32, (u64, String))>,
    ) -> Result<BrokerMark, LookError> {
        // In this order: what is known, then what is there. The other way round would look like a loss.
        let mark = store.broker_mark(self.stream).await?;
        let told_below = store.told_below().await?;
        let stream = broker.ensure_stream(self.stream).await?;
        self.refuse_older(store, &stream, mark.as_ref()).await?;
        let mark = mark.map(|mark| with_newest(mark, newest));
        let found = found(&stream, mark.as_ref()).await?;
        let Some(known) = mark else {
            let first = found.mark(0, TxId::default(), Vec::new());
            store.remember_broker(self.stream, &first).await?;
            return Ok(first);
        };
        if let Some(loss) = loss(&known, &found, store.now().await?) {
            self.checkpoints.clear();
            let next = found.mark(known.epoch + 1, known.handled, known.consumers);
            let begun = store.begin_broker_epoch(self.stream, &next).await?;
            warn!(stream = self.stream, %loss, epoch = next.epoch, begun, "the broker has lost messages; what may matter is told again");
            metrics::counter!("farmera_broker_losses_total", "stream" => self.stream).increment(u64::from(begun));
            return Ok(store.broker_mark(self.stream).await?.unwrap_or(next));
        }
        if self.checkpoints.len() < CHECKPOINTS_MAX {
            self.checkpoints.push_back((told_below, found.last_sequence));
        }
        let (handled, consumers) = self.handled(&stream, &known).await?;
        let mut next = found.mark(known.epoch, handled, consumers);
        (next.last_sequence, next.last_message) = (known.last_sequence, known.last_message);
        store.remember_broker(self.stream, &next).await?;
        Ok(next)
    }

    /// Refuses a store that does not have what others were told, or has forgotten what it noted.
    async fn refuse_older(
        &mut self,
        store: &dyn Transport,
        found: &Stream,
        mark: Option<&BrokerMark>,
    ) -> Result<(), LookError> {
        let stream = self.stream;
        let noted = mark.map_or((0, 0), |mark| (mark.epoch, mark.last_sequence));
        match self.seen {
            Some(seen) if noted < seen => return Err(Older::Forgetful { stream }.into()),
            Some(_) => {}
            None => {
                let lost = future::lost_above(store, found, mark).await?;
                if let Some(older) = Older::told(stream, lost) {
                    return Err(older.into());
                }
            }
        }
        self.seen = Some(noted);
        Ok(())
    }

    /// What every consumer has handled, and all consumers that were ever seen.
    async fn handled(&mut self, stream: &Stream, known: &BrokerMark) -> Result<(TxId, Vec<String>), BrokerError> {
        let all: Vec<consumer::Info> = stream.consumers().try_collect().await.map_err(|error| unavailable(&error))?;
        let durable: Vec<&consumer::Info> = all.iter().filter(|info| info.config.durable_name.is_some()).collect();
        let mut consumers: Vec<String> = durable.iter().map(|info| info.name.clone()).collect();
        let all_here = known.consumers.iter().all(|name| consumers.contains(name));
        consumers.extend(known.consumers.iter().cloned());
        consumers.sort_unstable();
        consumers.dedup();
        let mut handled = known.handled;
        let floor = durable.iter().map(|info| floor(info)).min().filter(|_| all_here);
        while let (Some(floor), Some((tx, sequence))) = (floor, self.checkpoints.front().copied()) {
            if sequence > floor {
                break;
            }
            handled = handled.max(tx);
            self.checkpoints.pop_front();
        }
        Ok((handled, consumers))
    }
}

/// How far a consumer has acknowledged everything that it wants.
fn floor(info: &consumer::Info) -> u64 {
    if info.num_pending == 0 && info.num_ack_pending == 0 { u64::MAX } else { info.ack_floor.stream_sequence }
}

fn with_newest(mark: BrokerMark, newest: Option<(u32, (u64, String))>) -> BrokerMark {
    match newest {
        Some((epoch, (sequence, message))) if epoch == mark.epoch && sequence > mark.last_sequence => {
            BrokerMark { last_sequence: sequence, last_message: Some(message), ..mark }
        }
        Some(_) | None => mark,
    }
}

async fn found(stream: &Stream, mark: Option<&BrokerMark>) -> Result<Found, BrokerError> {
    let info = stream.cached_info();
    let state = &info.state;
    // An empty stream ends at 0, where no message can be.
    let held = |sequence: &u64| *sequence > 0 && (state.first_sequence..=state.last_sequence).contains(sequence);
    let at_mark = match mark.map(|mark| mark.last_sequence).filter(held) {
        Some(sequence) => message_id(stream, sequence).await?,
        None => None,
    };
    let range = (state.last_sequence + 1).saturating_sub(state.first_sequence);
    Ok(Found {
        created_at: micros(info.created),
        first_sequence: state.first_sequence,
        first_at: (state.messages > 0).then(|| micros(state.first_timestamp)),
        last_sequence: state.last_sequence,
        missing: if state.messages > 0 { range.saturating_sub(state.messages) } else { 0 },
        at_mark,
    })
}

/// The id of the message at a place of the stream; `None` when there is none.
async fn message_id(stream: &Stream, sequence: u64) -> Result<Option<String>, BrokerError> {
    match stream.get_raw_message(sequence).await {
        Ok(message) => {
            let id = message.headers.get(async_nats::header::NATS_MESSAGE_ID);
            Ok(Some(id.map(|id| id.as_str().to_owned()).unwrap_or_default()))
        }
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(unavailable(&error)),
    }
}

/// What `found` lacks of what is known. Pure.
fn loss(known: &BrokerMark, found: &Found, now: DateTime<Utc>) -> Option<Loss> {
    if found.created_at != known.created_at {
        return Some(Loss::Anew);
    }
    if found.last_sequence < known.last_sequence {
        return Some(Loss::RolledBack { last: found.last_sequence, acknowledged: known.last_sequence });
    }
    let too_young = |at: DateTime<Utc>| now - at < TimeDelta::from_std(MAX_AGE).unwrap_or(TimeDelta::MAX) - AGE_SLACK;
    // What came to an empty stream came after the look at it: it is young, or nobody has looked for a week.
    if found.first_sequence > known.first_sequence.max(1) && known.first_at.is_none_or(too_young) {
        return Some(Loss::Purged);
    }
    let sequence = known.last_sequence;
    let held = sequence > 0 && sequence >= found.first_sequence;
    let same = match (&known.last_message, &found.at_mark) {
        (Some(known), Some(found)) => known == found,
        (None, Some(_)) => true,
        // What was missing when the epoch began is no news.
        (None, None) => true,
        (Some(_), None) => false,
    };
    if held && !same {
        return Some(Loss::Replaced { sequence });
    }
    (found.missing > known.missing).then(|| Loss::Holes { count: found.missing - known.missing })
}

impl Found {
    fn mark(&self, epoch: u32, handled: TxId, consumers: Vec<String>) -> BrokerMark {
        BrokerMark {
            epoch,
            created_at: self.created_at,
            first_sequence: self.first_sequence,
            first_at: self.first_at,
            last_sequence: self.last_sequence,
            last_message: None,
            missing: self.missing,
            handled,
            consumers,
        }
    }
}

/// As precise as the store keeps it.
pub(super) fn micros(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at.timestamp_micros()).unwrap_or(at)
}

fn unavailable(error: &dyn std::error::Error) -> BrokerError {
    BrokerError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + day * 86_400, 0).unwrap()
    }

    fn known() -> BrokerMark {
        let last_message = Some("seven".to_owned());
        BrokerMark { last_sequence: 7, last_message, ..found().mark(0, TxId(1), vec![]) }
    }

    fn found() -> Found {
        Found {
            created_at: at(0),
            first_sequence: 1,
            first_at: Some(at(0)),
            last_sequence: 9,
            missing: 0,
            at_mark: Some("seven".to_owned()),
        }
    }

    #[test]
    fn a_broker_that_holds_more_than_is_known_has_lost_nothing() {
        assert_eq!(loss(&known(), &found(), at(1)), None);
    }

    #[test]
    fn every_way_to_forget_is_noticed() {
        let cases = [
            (Found { created_at: at(1), ..found() }, Loss::Anew),
            (Found { last_sequence: 6, ..found() }, Loss::RolledBack { last: 6, acknowledged: 7 }),
            (Found { at_mark: Some("other".to_owned()), ..found() }, Loss::Replaced { sequence: 7 }),
            (Found { at_mark: None, ..found() }, Loss::Replaced { sequence: 7 }),
            (Found { first_sequence: 3, ..found() }, Loss::Purged),
            (Found { first_sequence: 10, first_at: None, at_mark: None, ..found() }, Loss::Purged),
            (Found { missing: 4, ..found() }, Loss::Holes { count: 4 }),
        ];
        for (found, lost) in cases {
            assert_eq!(loss(&known(), &found, at(1)), Some(lost));
        }
    }

    #[test]
    fn what_came_and_went_since_the_stream_was_seen_empty_is_lost() {
        let empty = |first_sequence| BrokerMark { first_sequence, first_at: None, ..known() };
        assert_eq!(loss(&empty(0), &found(), at(1)), None, "it was new");
        assert_eq!(loss(&empty(3), &Found { first_sequence: 3, ..found() }, at(1)), None);
        let gone = Found { first_sequence: 5, ..found() };
        assert_eq!(loss(&empty(0), &gone, at(1)), Some(Loss::Purged));
        assert_eq!(loss(&empty(3), &gone, at(1)), Some(Loss::Purged));
    }

    #[test]
    fn what_was_held_for_its_time_may_go() {
        let found = Found { first_sequence: 8, at_mark: None, ..found() };
        assert_eq!(loss(&known(), &found, at(7)), None);
    }
}
