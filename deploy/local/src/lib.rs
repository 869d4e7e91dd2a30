//! Private, real servers for one machine: a Postgres cluster and a nats-server that belong to
//! the process that starts them.
//!
//! `farmera up`, `demo` and `bench` keep theirs in a state folder ([`Servers::start`]); tests
//! share one temporary pair per process ([`TestServers::shared`]). Nothing listens beyond
//! 127.0.0.1, no port is fixed, nothing is installed here (that is `install.sh`), and durability
//! is stock: `fsync` and `synchronous_commit` stay on.
//!
//! # How the servers end
//!
//! They run in process groups of their own, so a Ctrl-C in the terminal reaches only their owner,
//! which drains first and stops them last. For the owner that cannot (SIGKILL, abort) there is a
//! guard: a small `/bin/sh` process that reads from a pipe whose other end only the owner holds.
//! At its end of file the guard stops the servers, and removes a temporary folder. A server tells
//! the guard its process id itself, before it becomes the server, so there is no moment at which
//! a server runs unwatched (`guard.sh`).
//!
//! Two locks in the state folder: `owner.lock` is held by the owner, `guard.lock` by the guard
//! alone. So a second start is refused while the owner lives, and waits while a guard tidies up.
//!
//! Everything here blocks; call it through `spawn_blocking` from async code.

mod account;
mod errors;
mod faults;
mod folder;
mod guard;
mod nats;
mod options;
mod ports;
mod postgres;
mod process;
mod project;
mod provision;
mod running;
mod secrets;
mod servers;
mod testing;
mod toolbox;

pub use errors::{FaultError, StartError, UnknownName};
pub use options::{DatabaseSpec, ServersOptions};
pub use project::project_root;
pub use servers::Servers;
pub use testing::TestServers;
pub use toolbox::{Finding, FindingState, NatsTools, PostgresTools, Tool, ToolError, Toolbox, Version};
