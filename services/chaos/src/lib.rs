//! Chaos: is anything lost, doubled or skipped, whatever dies?
//!
//! # Theory of operation
//!
//! A [`run`] starts a private Postgres and nats-server, every service as a process of its own ([`supervisor`]), and a
//! load client as another ([`load`]), which writes down what it asks before it asks and what it was answered after. The
//! card processor is a process with a journal of its own, too ([`provider`]), and no friendly one. All commits pass a [`wire`] that can lose an answer; a gossip ([`rumour`]) repeats messages, late and out of order. Then
//! [`weather`] comes, phase by phase, by a schedule that follows from a seed. After each phase the faults stop, the
//! system gets sixty seconds of quiet, and [`checks`] judge it from outside: the witnesses' logs, the event stores as
//! their owners see them, and the services' own answers; at the end an operator's own commands ([`operator`]). Nothing that is checked is asked of whom it accuses alone.
//!
//! A fault that did not happen as often as was asked for fails the run as a broken invariant does: a check that had
//! nothing to look at proves nothing. [`plants`] proves the other half: with a bug planted, checks turn red.

#![expect(clippy::large_futures, reason = "one run at a time, and nobody is short of stack")]

pub mod chance;
pub mod checks;
pub mod cli;
pub mod ground;
pub mod load;
pub mod open;
pub mod operator;
pub mod phases;
pub mod plan;
pub mod plants;
pub mod provider;
pub mod report;
pub mod rumour;
pub mod run;
pub mod supervisor;
pub mod weather;
pub mod wire;
pub mod witness;
