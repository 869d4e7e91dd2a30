use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{EventStore, ReadError, Recorded, StreamId, TxId, Version};

/// See [`Transport::untold_elders`].
pub const ELDERS_MAX: usize = 64;

/// Transactions that [`Transport::backlog`] looks at, at most.
pub const BACKLOG_COUNT_MAX: u32 = 10_000;

/// What waits in the outbox: transactions whose messages are not all on the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// How many wait; [`BACKLOG_COUNT_MAX`] stands for as many or more.
    pub transactions: u32,
    /// Since when the one that has waited longest does, among those that were looked at; `None` when nothing waits.
    pub oldest_at: Option<DateTime<Utc>>,
    /// When it was looked, by the same clock.
    pub looked_at: DateTime<Utc>,
}

impl Backlog {
    /// How long the oldest has waited; zero when nothing waits.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.oldest_at.and_then(|oldest_at| (self.looked_at - oldest_at).to_std().ok()).unwrap_or_default()
    }
}

/// What a stream of the broker was last seen to hold. A broker that knows less has lost something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerMark {
    /// How often it was found to have lost something.
    pub epoch: u32,
    /// When the broker made the stream; microseconds.
    pub created_at: DateTime<Utc>,
    /// The oldest message it holds.
    pub first_sequence: u64,
    /// When that one came; `None` when it holds none.
    pub first_at: Option<DateTime<Utc>>,
    /// The newest message that it acknowledged, or 0.
    pub last_sequence: u64,
    /// That message's id, where it is known.
    pub last_message: Option<String>,
    /// How many messages between the oldest and the newest are known to be missing.
    pub missing: u64,
    /// Every consumer has handled what transactions below this one told.
    pub handled: TxId,
    /// The durable consumers that were ever seen.
    pub consumers: Vec<String>,
}

/// An event as a message names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldEvent {
    /// Its stream's category.
    pub category: String,
    /// Its stream's id.
    pub stream: Uuid,
    /// Its version.
    pub version: Version,
    /// Its own id.
    pub id: Uuid,
}

/// Which history a store tells, and whether it can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreEpoch {
    /// The history: another one begins when a store was put back to an older state and was told to go on.
    pub epoch: Uuid,
    /// The newest transaction of the log, when the database counts below it: new events would be written before old
    /// ones, and readers of the log would not see what there is. So it is after a logical restore into another cluster.
    pub beyond: Option<TxId>,
}

/// What a store keeps for its relay: the way of events to a broker that may forget.
///
/// Every method has a deadline of its own and answers `Unavailable` when it passes.
#[async_trait::async_trait]
pub trait Transport: EventStore {
    /// For each stream the events right before the version it is named with, as far back as their transactions wait in
    /// the outbox without a gap, at most [`ELDERS_MAX`] per stream; oldest first per stream. None for
    /// a stream whose last event before that version has left the outbox.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is returned then.
    async fn untold_elders(&self, streams: &[(StreamId, Version)]) -> Result<Vec<Recorded>, ReadError>;

    /// Every event of transactions below this one is committed and has left the outbox.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is returned then.
    async fn told_below(&self) -> Result<TxId, ReadError>;

    /// Every event of transactions below this one is committed.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is returned then.
    async fn settled_below(&self) -> Result<TxId, ReadError>;

    /// What waits to be told, seen by whichever process wrote it. Cheap enough to be asked every second.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is known then.
    async fn backlog(&self) -> Result<Backlog, ReadError>;

    /// What the broker's stream was last seen to hold; `None` when nobody has looked yet.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is returned then.
    async fn broker_mark(&self, stream: &str) -> Result<Option<BrokerMark>, ReadError>;

    /// Keeps a first look, or replaces what is known in the same epoch; `last_sequence` only grows.
    ///
    /// # Errors
    /// [`ReadError`]; it is to be tried again.
    async fn remember_broker(&self, stream: &str, mark: &BrokerMark) -> Result<(), ReadError>;

    /// The broker has lost something: `mark.epoch` begins, if the epoch before it is still the one that is stored, and
    /// every transaction from `mark.handled` on goes into the outbox again, all in one transaction. False when another
    /// relay did it.
    ///
    /// # Errors
    /// [`ReadError`]; it is to be tried again.
    async fn begin_broker_epoch(&self, stream: &str, mark: &BrokerMark) -> Result<bool, ReadError>;

    /// Takes transactions out of the outbox that were told in `epoch`, and keeps the newest message acknowledged.
    /// False, and nothing done, when another epoch has begun meanwhile.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`]; they will be published again then, which is harmless.
    async fn told(
        &self,
        stream: &str,
        epoch: u32,
        newest: Option<(u64, String)>,
        txs: &[TxId],
    ) -> Result<bool, ReadError>;

    /// The ids of those of these events whose places, their versions in their streams, are empty in this store.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is returned then.
    async fn unknown_of(&self, told: &[ToldEvent]) -> Result<Vec<Uuid>, ReadError>;

    /// Which history this store tells.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is returned then.
    async fn store_epoch(&self) -> Result<StoreEpoch, ReadError>;
}
