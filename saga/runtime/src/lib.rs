//! The shell around sagas: it loads, asks [`saga::decide`], and stores. Knows the event store, not the broker.
//!
//! # Theory of operation
//!
//! ```text
//!   command, reply ------------------------.
//!                                          v
//!   TimerLoop ---- SagaWaker::wake ---> worker ---> Handler of the service ---> Engine ---> saga::decide
//!   Reconciler -/                                        |                        |
//!                                                        '----- one Unit: saga's events, service's events, timer
//! ```
//!
//! * [`Engine`] runs inside a unit of work. What the saga decides, what the service makes of it in its own streams, and
//!   the timer that the saga needs next become one commit, or nothing.
//!   The same with the sagas that a saga runs as its steps: they are started, answered and undone in one commit.
//! * [`TimerLoop`] claims timers that are due by the store's clock and wakes their sagas.
//! * [`Reconciler`] walks over the open sagas all the time and wakes them, so that a lost timer comes back.
//! * [`HoldLoop`] tells engines what is held, and lets sagas go by and by when a hold is released.
//! * [`Sending`] looks whether a saga's question has left at all: until it has, patience does not run
//!   ([`Engine::put_off`], [`Engine::begin_patience`]).
//! * [`SagaMetrics`] counts what became of them.
//!
//! Nothing is remembered here. Any replica may handle any saga: who decides on a stale state is refused by the append's
//! expected version, loads, and decides again. A claim and its lease save work, they protect nothing.
//!
//! # How timers go
//!
//! A saga has at most one timer, armed in the commit that makes it necessary. A later need than the armed one is not
//! written: the timer fires early, the saga finds nothing due, and [`Engine::wake`] arms it for what is awaited then.
//! So a saga that ends before its first deadline writes one timer and deletes it.
//!
//! # Promises
//!
//! * A wake-up is never lost: it is a row, written with the events that need it, read again after every lease, and
//!   written anew by the reconciler should it be gone all the same.
//! * A wake-up may come twice, early, or late; it does only what is due.
//! * A saga whose definition is unknown here, or different, is not touched: [`StepError::UnknownDefinition`].

mod definitions;
mod engine;
mod family;
mod holds;
mod metrics;
mod reconciler;
mod sending;
mod timers;
mod upgrade;
mod waker;

pub use definitions::{BoundSagas, DefinitionsError, record_definitions};
pub use engine::{Engine, Happened, HoldError, StepError};
pub use holds::{HeldSagas, HoldKeeper, HoldLimits, HoldLoop, HoldsInForce};
pub use metrics::SagaMetrics;
pub use reconciler::{OpenSagas, Reconciled, Reconciler, ReconcilerLimits};
pub use sending::{Sending, Way};
pub use timers::{Fired, STANDSTILL_MAX, TimerLimits, TimerLoop};
pub use upgrade::{Verdict, check_upgrade};
pub use waker::{SagaWaker, WakeError};
