//! A world in which services live a year in a minute, and everything goes wrong that can.
//!
//! The world knows no service. Whoever binds one says by a [`Service`] what its rules are (the production ones: a
//! [`Handler`](eventstore::worker::Handler)), what it hears and says, whom it calls, and what it looks after. The world
//! does the rest: a store per service (the one that passes the contract suite), replicas with a cache and a clock of
//! their own, a broker, clients, an outside. One thread, no async, no real clock: a [`World`] is a queue of what happens
//! next, and a source of chance.
//!
//! **One seed is one run, to the byte.** Each seed draws which faults are on and how often they fire ([`Rates`]), and how
//! the world is made ([`Knobs`]), from reasonable to extreme. After the storm nothing goes wrong any more, and the world
//! runs until nothing is left to happen. Then the judges look: [`judge`] has those that need to know nothing of the
//! services; the others are written by whoever knows them, and read books that no service can write.
//!
//! A run that breaks a promise is repeated with its story kept: every line says when, who and what.
//!
//! Deliberately absent: business words, async, threads, real time.

mod agenda;
mod broker;
mod bug;
mod chance;
pub mod judge;
mod nature;
mod service;
mod shell;
mod station;
mod weather;
mod work;
mod world;

pub use broker::Broker;
pub use bug::Bug;
pub use chance::Chance;
pub use nature::{Nature, Violation, short, shown};
pub use service::{ErrorOf, Follow, InputOf, Message, Origin, OutputOf, Service, Task, Wish};
pub use weather::{Fault, Fired, Knobs, Rates};
pub use world::{Outcome, World};
