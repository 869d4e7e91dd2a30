//! The event store on Postgres: the only SQL over events.
//!
//! # Theory of operation
//!
//! A commit is **one statement**: events, timers, inbox rows, dead letters and the outbox row go out as arrays, a chain
//! of `with` clauses writes them, and the statement is its own transaction. One round trip, no `begin`: nothing that a
//! cancelled future could leave open (sqlx issue 4393), nothing idle in a transaction that would hold the log back.
//!
//! The fence is the primary key of `event`: a plain insert, and a unique violation is a conflict. That an expected
//! version is not *ahead* of its stream is checked in the same statement, so versions stay dense.
//!
//! When the answer to a commit is lost, the first event's id tells whether it took place; if it did not, sending the
//! same commit again is harmless, because the fence admits one of the two.
//!
//! The store keeps its own connections ([`StoreOptions::connections_max`]), not a pool of sqlx: a pool of sqlx pings
//! a connection each time it comes back, and keeps one whose call ran into its deadline. Ours are closed instead.
//! [`PostgresStore::pool`] is a separate, lazy pool for the service's own tables.
//!
//! # What is deliberately absent
//!
//! No `LISTEN`/`NOTIFY` (a global lock at commit), no advisory locks, no `SERIALIZABLE`, no transaction that spans two
//! statements, no SQL text built at run time.

mod audit;
mod batch;
mod behind;
mod by_id;
mod codec;
mod commit;
mod connections;
mod fault;
mod letters;
mod options;
mod outbox;
mod places;
mod planted;
mod read;
mod resolve;
mod sessions;
mod snapshots;
mod store;
mod timers;
mod transfer;
mod transport;

use std::sync::LazyLock;

use sqlx::migrate::Migrator;

pub use behind::Behind;
pub use options::{OptionsError, StoreOptions};
pub use places::{ArmedTimer, NotReached};
pub use sessions::{ServerLimits, pool, pool_of_statements, session, with_fixed_plans};
pub use snapshots::Unconfirmed;
pub use store::PostgresStore;
pub use transfer::{BringInError, Horizon, ScanPlace};

/// The tables of the event store: versions 1 to 999 of a database's migrations. Run it as the database's owner, before
/// the service's own migrator (versions from 1000, which must ignore missing ones, too).
pub static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrator = sqlx::migrate!("../../migrations/eventstore");
    migrator.set_ignore_missing(true);
    migrator
});
