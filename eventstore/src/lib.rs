//! The words and promises of Farmera's event store.
//!
//! # Theory of operation
//!
//! A **stream** is the history of one thing (`order-0199…`): events with dense versions from 1. State is folded from
//! them: [`Aggregate::evolve`]. What is stored of it is a copy, for streams without a bound on their length
//! ([`Snapshot`]), and may be dropped at any time. A change is a [`Commit`]: events for any number of streams, each with the
//! version it expects to find, the timers they arm, and the messages they answer. A store takes all of it or nothing.
//!
//! Between a service's rules and the store stands the [`Unit`]: a batch of inputs meets loaded state, pure functions
//! record what happened, and the whole batch becomes **one** commit. [`worker::Worker`] (feature `worker`) is the loop
//! around it: it gathers what has queued up, loads what is missing in one query, decides, commits once, answers, and
//! hands the committed events to whoever publishes them.
//!
//! # What is promised
//!
//! * **Atomic**: a commit's events, timers, inbox rows, dead letters and its outbox row exist together or not at all.
//! * **Fenced**: an append whose expected version is not the stream's version changes nothing and says so.
//! * **Never skipped**: [`EventStore::read_log`] returns events in commit order; an event that becomes visible late is
//!   never overtaken by the cursor. See [`Cursor`].
//! * **Tamper-evident**: every event carries a [`Digest`] over itself and the one before it in its stream.
//! * **Told twice, done once**: the same inbox key twice is [`CommitError::Duplicate`].
//!
//! [`memory::MemoryStore`] and the Postgres store keep the same promises; `contract` (feature `contract`) is the suite
//! that both pass.
//!
//! # What is deliberately absent
//!
//! No SQL, no NATS, no clock, no random ids: time and ids come in as values ([`Clock`], [`IdSource`]).

mod aggregate;
pub mod audit;
mod cache;
mod commit;
mod digest;
mod event;
mod id;
#[cfg(feature = "worker")]
mod keeper;
mod kind;
mod letters;
pub mod memory;
pub mod schema;
pub mod shared;
mod snapshot;
mod storable;
mod store;
mod stream;
mod transport;
mod unit;

#[cfg(feature = "contract")]
pub mod contract;
#[cfg(feature = "golden")]
pub mod golden;
#[cfg(feature = "worker")]
pub mod worker;

pub use aggregate::Aggregate;
pub use cache::Cache;
pub use commit::{Append, Commit, CommitError, Committed, DeadLetter, InboxEntry, TimerChange};
pub use digest::{Covered, Digest, NotADigest};
pub use event::{Actor, Cause, Cursor, EventId, NewEvent, Recorded, TraceContext, TxId};
pub use id::{Clock, IdSource, derived_id};
pub use kind::{Fold, StreamKind};
pub use letters::{Blocked, DeadLetters, LetterState, StoredDeadLetter};
pub use schema::{DecodeError, DomainEvent, EventType, Undecodable, Unfit, Upcast};
pub use snapshot::{Draft, DraftError, Snapshot, SnapshotShape};
pub use storable::Unstorable;
pub use store::{DueTimer, DueTimers, EventStore, ReadError, StoreError};
pub use stream::{Category, StreamId, Version};
pub use transport::{BACKLOG_COUNT_MAX, Backlog, BrokerMark, ELDERS_MAX, StoreEpoch, ToldEvent, Transport};
pub use unit::{Need, Unit};
