//! The way out: what is said, how it is sealed, and how it gets to the broker.

use std::collections::VecDeque;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::publish::PublishAck;
use eventstore::{Backlog, ELDERS_MAX, ReadError, Recorded, StreamId, Transport, TxId, Version};
use faults::Point;
use tokio::time::sleep;
use tracing::error;
use uuid::Uuid;

use super::RelaySpec;
use super::condition::Cause;
use super::lanes::{Elders, Parcel};
use crate::broker::{Broker, GLANCE_INTERVAL};
use crate::envelope::batch::{BYTES_MAX, together};
use crate::envelope::{Sealed, Stamp, seal};
use crate::transport::memory::{LookError, Memory};

/// Transactions read with one sweep's step.
pub(super) const PAGE: usize = 256;

/// Room for the attributes of an event, or for the headers of a message.
const ROOM: usize = 8_192;
/// The broker takes 1 MiB unless it is told otherwise.
const BODY_BYTES_MAX: usize = 1_048_576 - ROOM;

/// What is said, and to whom.
pub(super) struct Outlet {
    pub(super) spec: RelaySpec,
    pub(super) store: Arc<dyn Transport>,
    pub(super) broker: Broker,
}

/// The memory of the broker, and the connection to it, for which something is decided: what was decided for another
/// one does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct At {
    pub(super) stamp: Stamp,
    pub(super) connects: u64,
    /// The stream held a message here; what is acknowledged at or below it is in another stream.
    pub(super) above: u64,
    /// Bytes of events in one message at most, where it holds several.
    pub(super) bytes_max: usize,
}

impl At {
    /// Nothing is acknowledged here.
    pub(super) const NOWHERE: Self =
        Self { stamp: Stamp { store_epoch: Uuid::nil(), broker_epoch: 0 }, connects: 0, above: 0, bytes_max: 0 };
}

/// What came of something that was under way.
pub(super) enum Done {
    Sent {
        /// What is left of those that were sent.
        parcels: Vec<Parcel>,
        at: At,
        /// The message that was stored, unless it was there already; why it is not known to be.
        stored: Result<Option<(u64, String)>, Cause>,
    },
    Repeated,
    Backlog(Result<Backlog, ReadError>),
    Elders {
        at: At,
        asked: Vec<(StreamId, Version)>,
        found: Result<Vec<Recorded>, ReadError>,
    },
    Page {
        age: Duration,
        found: Result<Page, ReadError>,
    },
    Looked {
        memory: Memory,
        found: Result<At, LookError>,
    },
}

/// Transactions of the outbox and their events.
pub(super) struct Page {
    pub(super) txs: Vec<TxId>,
    pub(super) events: Vec<Recorded>,
}

impl Outlet {
    /// Bytes of events that may travel together on this connection: what the broker would not take as a whole it might
    /// take one by one.
    pub(super) fn bytes_max(&self) -> usize {
        BYTES_MAX.min(self.broker.client.server_info().max_payload.saturating_sub(ROOM))
    }

    /// One transaction's parcels, and whether all of it can be told by this program.
    pub(super) fn parcels(&self, tx: TxId, events: &[Recorded], stamp: Stamp) -> (Vec<Parcel>, bool) {
        let (mut parcels, mut complete) = (Vec::new(), true);
        for events in events.chunk_by(|one, next| one.stream == next.stream) {
            match self.parcel(Some(tx), events, stamp) {
                Some(parcel) => parcels.extend(parcel),
                None => complete = false,
            }
        }
        (parcels, complete)
    }

    /// `None` when one of the events cannot be told; `Some(None)` when they are nobody's business.
    fn parcel(&self, tx: Option<TxId>, events: &[Recorded], stamp: Stamp) -> Option<Option<Parcel>> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Some(None) };
        if !self.spec.categories.contains(&first.stream.category) {
            return Some(None);
        }
        let mut messages = VecDeque::new();
        for event in events {
            messages.extend(self.sealed(event, stamp).ok()?);
        }
        Some(Some(Parcel { tx, stream: first.stream, first: first.version, last: last.version, messages }))
    }

    /// What is to go first, of one stream's events that wait in the outbox.
    pub(super) fn elders(&self, found: &[Recorded], stamp: Stamp) -> Elders {
        if found.len() >= ELDERS_MAX {
            // The sweep comes by, oldest first.
            return Elders::Unclear;
        }
        match self.parcel(None, found, stamp) {
            Some(Some(parcel)) => Elders::First(parcel),
            Some(None) | None => Elders::Unclear,
        }
    }

    /// Sends the first messages of these parcels as one.
    pub(super) async fn send(self: Arc<Self>, mut parcels: Vec<Parcel>, at: At) -> Done {
        let firsts = parcels.iter_mut().filter_map(|parcel| parcel.messages.pop_front()).collect();
        let Some(sealed) = together(firsts, at.stamp) else {
            return Done::Sent { parcels, at, stored: Ok(None) };
        };
        let id = sealed.message_id.clone();
        let ack = tokio::select! {
            biased;
            () = self.cut_off(at.connects) => Err(Cause::NotConnected),
            ack = self.publish(sealed) => ack,
        };
        let stored = match ack {
            Ok(ack) if ack.duplicate => Ok(None),
            Ok(ack) if ack.sequence > at.above => Ok(Some((ack.sequence, id))),
            Ok(_) => Err(Cause::Unseen("another stream answers under its name".to_owned())),
            Err(cause) => Err(cause),
        };
        Done::Sent { parcels, at, stored }
    }

    /// Returns when the connection is not the one numbered `connects` any more: what was asked on that one is not
    /// answered on another.
    async fn cut_off(&self, connects: u64) {
        while self.broker.connects() == connects {
            sleep(GLANCE_INTERVAL).await;
        }
    }

    /// Publishes and awaits the acknowledgement, or says why there is none.
    pub(super) async fn publish(&self, sealed: Sealed) -> Result<PublishAck, Cause> {
        if !self.broker.is_connected() {
            return Err(Cause::NotConnected);
        }
        metrics::counter!("farmera_relay_published_total").increment(1);
        faults::reach(Point::PublishBefore);
        let headers = sealed.headers();
        let published = self.broker.jetstream.publish_with_headers(sealed.subject, headers, sealed.body.into());
        let acknowledged = match published.await {
            Ok(ack) => {
                faults::reach(Point::PublishAfter);
                faults::reach(Point::PubAckBefore);
                ack.await
            }
            Err(failed) => Err(failed),
        };
        match acknowledged {
            Ok(ack) => {
                faults::reach(Point::PubAckAfter);
                Ok(ack)
            }
            Err(failed) => Err(cause(&failed)),
        }
    }

    /// A step of the sweep.
    pub(super) async fn page(&self, after: TxId, age: Duration) -> Result<Page, ReadError> {
        let txs = self.store.outbox_pending(after, age, PAGE).await?;
        let events = self.store.read_transactions(&txs, self.spec.categories).await?;
        if !txs.is_empty() {
            faults::reach(Point::SweepBefore);
        }
        Ok(Page { txs, events })
    }

    fn sealed(&self, event: &Recorded, stamp: Stamp) -> Result<Option<Sealed>, Untellable> {
        match (self.spec.translate)(event) {
            Ok(Some(outgoing)) if outgoing.body.len() > BODY_BYTES_MAX => {
                error!(event = %event.id, bytes = outgoing.body.len(), "an event is too large for the broker");
                Err(Untellable)
            }
            Ok(outgoing) => Ok(outgoing.map(|outgoing| seal(self.spec.source, outgoing, event, stamp))),
            Err(failed) => {
                error!(error = &failed as &dyn std::error::Error, "an event cannot be told to others by this program");
                Err(Untellable)
            }
        }
    }
}

/// What the broker's answer to a message means, or that there was none.
fn cause(failed: &PublishError) -> Cause {
    match failed.kind() {
        PublishErrorKind::TimedOut => Cause::NoAnswer,
        PublishErrorKind::BrokenPipe => Cause::NotConnected,
        PublishErrorKind::StreamNotFound => Cause::Refused("there is no such stream".to_owned()),
        PublishErrorKind::WrongLastMessageId
        | PublishErrorKind::WrongLastSequence
        | PublishErrorKind::MaxAckPending
        | PublishErrorKind::MaxPayloadExceeded
        | PublishErrorKind::Other => Cause::Refused(match failed.source() {
            Some(source) => source.to_string(),
            None => failed.to_string(),
        }),
    }
}

/// An event of a newer program, or one that the broker would not take. Its transaction stays in the outbox until a
/// program comes that knows it, and so does what follows in its stream.
struct Untellable;
