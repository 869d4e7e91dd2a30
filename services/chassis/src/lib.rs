//! What every service stands on.
//!
//! A service is rules (its `domain`), ways in (`grpc`, `messages`) and read models (`projections`). All else is here:
//!
//! * [`config`]: the environment, read once, with errors that name the variable;
//! * [`tasks`], [`shutdown`]: nothing runs that nobody ends;
//! * [`clock`]: the only place that reads a clock or makes an id;
//! * [`database`]: how every connection to Postgres is set up;
//! * [`broker`], [`relay`], [`reactor`]: committed events out to JetStream, messages in from it;
//! * [`transport`]: whether the broker still holds what it acknowledged, `canary`: whether it takes a message at all;
//! * [`projection`]: read models that follow the log;
//! * [`grpc`], [`problem`], [`page`]: servers, clients, errors that say what to do, lists;
//! * [`correlation`]: what a service did for a saga, for whoever traces it;
//! * [`held_back`], [`health`], [`admin`], [`telemetry`]: what an operator sees.
//!
//! Deliberately absent: business words.

pub mod admin;
pub mod broker;
mod canary;
pub mod clock;
pub mod coalesce;
pub mod config;
pub mod correlation;
pub mod database;
pub mod envelope;
mod gathered;
pub mod grpc;
pub mod health;
pub mod held_back;
pub mod money;
pub mod operations;
pub mod page;
mod probe;
pub mod problem;
pub mod projection;
pub mod reactor;
pub mod relay;
pub mod scan;
pub mod schema;
pub mod service;
pub mod shutdown;
pub mod tasks;
pub mod telemetry;
pub mod transport;
