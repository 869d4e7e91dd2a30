//! Log and broker compared, event by event.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::stream::Stream;
use chrono::{DateTime, TimeDelta, Utc};
use eventstore::{Cursor, ReadError, Recorded, ToldEvent, Transport, TxId};
use serde::Serialize;
use uuid::Uuid;

use super::{RESTORED, messages};
use crate::broker::{Broker, BrokerError, MAX_AGE};
use crate::envelope::{Said, batch, broker_epoch, told_event};
use crate::relay::RelaySpec;

/// Events read from the log at a time.
pub(super) const PAGE: usize = 10_000;
/// Transactions read from the outbox at a time.
const OUTBOX_PAGE: usize = 1_000;
/// The broker removes what is too old when it comes to it.
const AGE_SLACK: TimeDelta = TimeDelta::hours(1);

/// Why nothing was compared. Try again when both answer.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The broker does not answer.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] ReadError),
    /// The log holds an event of a newer program.
    #[error("the log holds an event that this program cannot tell: {0}")]
    Untellable(String),
    /// The broker did not acknowledge what was told again.
    #[error("the broker does not take what is told again: {0}")]
    Refused(String),
}

/// How a comparison gets on: so many of about so many.
pub type Progress<'a> = &'a mut (dyn FnMut(&'static str, u64, u64) + Send);

/// What a comparison found. Counts are events or messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Events of the log that others may hear of, within the broker's retention, and that have left the outbox.
    pub told: u64,
    /// Transactions in the outbox: their messages are not expected yet.
    pub waiting: u64,
    /// Events that the broker's messages hold; what is no event counts as one.
    pub held: u64,
    /// Events that the broker should hold and does not.
    pub missing: u64,
    /// Messages of events that the log does not have.
    pub extra: u64,
    /// Messages of a younger version of their stream that came before their elder did, while the broker lost nothing.
    pub disordered: u64,
    /// Messages of an event that came before. Harmless.
    pub duplicates: u64,
    /// Messages that were restored, or told again after the broker had lost them; they come late. Harmless.
    pub restored: u64,
    /// Messages of another history of this store, of events that this one does not have. Harmless to this one.
    pub abandoned: u64,
    /// Answers given once more, and strangers' messages. Harmless.
    pub others: u64,
}

impl Report {
    /// True when the broker holds what the log has told, no more, and in order.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.missing == 0 && self.extra == 0 && self.disordered == 0
    }
}

/// What was compared.
pub(super) struct Compared {
    pub(super) report: Report,
    /// Those of the missing events that happened since the time that was asked for.
    pub(super) missing: HashSet<Uuid>,
}

/// Compares a service's log with what the broker holds, while both are in use. Takes some 50 bytes of memory for each
/// message that the broker holds.
///
/// # Errors
/// [`CompareError`]: nothing is known.
pub async fn verify(
    spec: RelaySpec,
    store: &dyn Transport,
    broker: &Broker,
    progress: Progress<'_>,
) -> Result<Report, CompareError> {
    Ok(compare(spec, store, broker, None, progress).await?.report)
}

pub(super) async fn compare(
    spec: RelaySpec,
    store: &dyn Transport,
    broker: &Broker,
    from: Option<DateTime<Utc>>,
    progress: Progress<'_>,
) -> Result<Compared, CompareError> {
    // In this order: what is committed by now and not in the outbox after that is in the stream as it is then.
    let settled_below = store.settled_below().await?;
    let waiting = outbox(store).await?;
    let stream = broker.ensure_stream(spec.stream).await?;
    let epoch = store.store_epoch().await?.epoch;
    let mut held = Held { epoch, ..Held::default() };
    held.read(&stream, progress).await?;

    let oldest = store.now().await? - TimeDelta::from_std(MAX_AGE).unwrap_or(TimeDelta::MAX) + AGE_SLACK;
    let mut report = Report { waiting: waiting.len() as u64, ..held.report };
    let mut missing = HashSet::new();
    let (mut after, mut read) = (Cursor::START, 0);
    loop {
        let events = store.read_log(after, spec.categories, PAGE).await?;
        let Some(last) = events.last() else { break };
        after = last.cursor;
        read += events.len() as u64;
        for event in &events {
            // What was told before this history began is told.
            let known = held.events.remove(&event.id.0) | held.earlier.remove(&event.id.0);
            let expected = event.cursor.tx < settled_below && !waiting.contains(&event.cursor.tx);
            if !is_told(spec, event)? || !expected || event.time < oldest {
                continue;
            }
            report.told += 1;
            if known {
                continue;
            }
            report.missing += 1;
            if from.is_none_or(|from| event.time >= from) {
                missing.insert(event.id.0);
            }
        }
        progress("log", read, read);
    }
    report.extra = held.events.len() as u64;
    report.abandoned = held.earlier.len() as u64;
    Ok(Compared { report, missing })
}

pub(super) fn is_told(spec: RelaySpec, event: &Recorded) -> Result<bool, CompareError> {
    let outgoing = (spec.translate)(event).map_err(|error| CompareError::Untellable(error.to_string()))?;
    Ok(outgoing.is_some())
}

async fn outbox(store: &dyn Transport) -> Result<HashSet<TxId>, ReadError> {
    let mut all = HashSet::new();
    let mut after = TxId::default();
    loop {
        let page = store.outbox_pending(after, Duration::ZERO, OUTBOX_PAGE).await?;
        let Some(last) = page.last() else { return Ok(all) };
        after = *last;
        all.extend(page);
    }
}

/// What a stream holds.
#[derive(Default)]
struct Held {
    epoch: Uuid,
    /// Events of this history.
    events: HashSet<Uuid>,
    /// Events of other histories, which this one may share.
    earlier: HashSet<Uuid>,
    /// The last epoch of the broker's memory in which an event stream was told of, and its youngest version then.
    versions: HashMap<Uuid, (u32, u64)>,
    report: Report,
}

impl Held {
    async fn read(&mut self, stream: &Stream, progress: Progress<'_>) -> Result<(), BrokerError> {
        let state = &stream.cached_info().state;
        let mut read = 0;
        messages::each(stream, 1, |message, place| {
            self.take(message.headers.as_ref(), &message.payload);
            read += 1;
            if read % 1_000 == 0 || place.pending == 0 {
                progress("broker", read, state.messages);
            }
        })
        .await
    }

    fn take(&mut self, headers: Option<&HeaderMap>, body: &[u8]) {
        let said = Said::of(headers, body);
        let together = matches!(said, Said::Together(_));
        let all: Vec<_> = said.readable().iter().map(told_event).collect();
        self.report.held += all.len().max(1) as u64;
        if all.is_empty() {
            self.report.others += 1;
        }
        let is_restored = headers.is_some_and(|headers| headers.get(RESTORED).is_some());
        let mut ids = all.iter().flatten().map(|(event, _)| event.id);
        // What the relay knows the whole by.
        let id = if together { Some(batch::id(ids)) } else { ids.next() };
        let told_in = headers.zip(id).and_then(|(headers, id)| broker_epoch(headers, id)).filter(|_| !is_restored);
        for told in all {
            match told {
                Some((event, epoch)) => self.event(&event, epoch, is_restored, told_in),
                None => self.report.others += 1,
            }
        }
    }

    /// An event that a message tells of; `told_in` which epoch of the broker's memory, when the relay told it.
    fn event(&mut self, event: &ToldEvent, epoch: Option<Uuid>, is_restored: bool, told_in: Option<u32>) {
        // A program before there were epochs named none.
        if epoch.is_some_and(|epoch| epoch != self.epoch) {
            self.earlier.insert(event.id);
            return;
        }
        if !self.events.insert(event.id) {
            self.report.duplicates += 1;
            return;
        }
        if is_restored {
            self.report.restored += 1;
            return;
        }
        // A copy that somebody else made comes whenever it comes.
        let Some(told_in) = told_in else { return };
        let version = event.version.get();
        let (told_last, youngest) = self.versions.entry(event.stream).or_insert((told_in, version));
        let is_late = version < *youngest;
        match told_in.cmp(told_last) {
            Ordering::Equal if is_late => self.report.disordered += 1,
            Ordering::Greater | Ordering::Less if is_late => self.report.restored += 1,
            Ordering::Equal | Ordering::Greater | Ordering::Less => {}
        }
        if told_in > *told_last {
            (*told_last, *youngest) = (told_in, version);
        } else if told_in == *told_last {
            *youngest = version.max(*youngest);
        }
    }
}

#[cfg(test)]
mod tests {
    use async_nats::header::NATS_MESSAGE_ID;

    use super::*;
    use crate::envelope::Stamp;

    const STREAM: Uuid = Uuid::from_u128(1);

    /// A version of one stream, under the id that the relay gives it in an epoch, or under another.
    fn told(version: u64, id: impl FnOnce(Uuid) -> String) -> HeaderMap {
        let event = Uuid::from_u128(0x100 + u128::from(version));
        let mut headers = HeaderMap::new();
        headers.insert("ce-id", event.to_string());
        headers.insert("ce-subject", format!("order/{STREAM}"));
        headers.insert("ce-sequence", format!("{version:020}"));
        headers.insert("ce-storeepoch", Uuid::nil().to_string());
        headers.insert(NATS_MESSAGE_ID, id(event));
        headers
    }

    fn in_epoch(broker_epoch: u32) -> impl Fn(Uuid) -> String {
        move |event| Stamp { store_epoch: Uuid::nil(), broker_epoch }.message_id(event)
    }

    /// Disordered and restored messages.
    fn found(all: &[HeaderMap]) -> (u64, u64) {
        let mut held = Held::default();
        all.iter().for_each(|headers| held.take(Some(headers), b"{}"));
        (held.report.disordered, held.report.restored)
    }

    #[test]
    fn a_younger_message_before_its_elder_is_disorder_unless_the_broker_had_lost_the_elder() {
        let first = in_epoch(0);
        assert_eq!(found(&[told(1, &first), told(2, &first), told(3, &first)]), (0, 0));
        assert_eq!(found(&[told(1, &first), told(3, &first), told(2, &first)]), (1, 0));
        let (second, all) = (in_epoch(1), [1, 2, 3]);
        let again = all.map(|version| told(version, &second));
        let lost = [&[told(1, &first), told(3, &first)], again.as_slice()].concat();
        assert_eq!(found(&lost), (0, 1), "the second was lost and is told again, late");
        let more = [&lost, [told(5, &second), told(4, &second)].as_slice()].concat();
        assert_eq!(found(&more), (1, 1), "in the new epoch there is order again");
    }

    #[test]
    fn a_copy_that_somebody_else_made_has_no_say_in_order() {
        let (first, copy) = (in_epoch(0), |_| Uuid::from_u128(9).to_string());
        assert_eq!(found(&[told(1, &first), told(3, copy), told(2, &first)]), (0, 0));
    }

    /// A message of these versions, as the relay tells them together in its first epoch.
    fn together(versions: &[u64]) -> (HeaderMap, String) {
        let event = |version: &u64| {
            let id = Uuid::from_u128(0x100 + u128::from(*version));
            let epoch = Uuid::nil();
            format!(r#"{{"id":"{id}","subject":"order/{STREAM}","sequence":"{version:020}","storeepoch":"{epoch}"}}"#)
        };
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/cloudevents-batch+json");
        let id = batch::id(versions.iter().map(|version| Uuid::from_u128(0x100 + u128::from(*version))));
        headers.insert(NATS_MESSAGE_ID, in_epoch(0)(id));
        (headers, format!("[{}]", versions.iter().map(event).collect::<Vec<_>>().join(",")))
    }

    #[test]
    fn events_that_came_together_are_counted_one_by_one_and_have_their_say_in_order() {
        let found = |all: &[&[u64]]| {
            let mut held = Held::default();
            for versions in all {
                let (headers, body) = together(versions);
                held.take(Some(&headers), body.as_bytes());
            }
            (held.events.len(), held.report)
        };
        let (events, report) = found(&[&[1, 2], &[2, 3]]);
        assert_eq!((events, report.held, report.duplicates, report.disordered), (3, 4, 1, 0));
        assert_eq!(found(&[&[1, 3], &[2, 4]]).1.disordered, 1);
    }
}
