//! The one binary, as a library so that tests can call its parts.
//!
//! * [`services`]: the table of services; the only place that names their crates;
//! * [`host`]: services in this process, from bound ports to the drained end;
//! * [`run`], [`up`], [`migrate`], [`verify`], [`doctor`]: the commands that operate Farmera;
//! * [`dlq`], [`parked`]: messages that no service could handle, streams that no read model can follow;
//! * [`transport`]: log and broker compared, and brought together again;
//! * [`projection`]: where read models stand, and making them anew;
//! * [`stream`]: streams of events, as they were and as files; [`store`]: a database that was put back;
//! * [`surroundings`], [`schema`]: which databases and which broker an operator's command is about, and whether this
//!   program fits them;
//! * [`order`], [`product`], [`saga`]: the small client, over [`clients`], [`explain`] and [`addresses`];
//! * [`sandbox_provider`]: a card processor for tests, as a process of its own;
//! * [`demo`], [`bench`]: real orders through real edges, judged by [`invariants`];
//! * [`timeline`], [`output`], [`failure`]: what people see, and the exit code.
//!
//! Deliberately absent: rules. Whatever decides about orders, stock or money is in a service.

pub mod addresses;
pub mod bench;
pub mod catalogue;
pub mod check_upgrade;
pub mod cli;
pub mod clients;
pub mod demo;
pub mod dlq;
pub mod doctor;
pub mod explain;
pub mod failure;
pub mod hint;
pub mod host;
pub mod invariants;
pub mod migrate;
pub mod order;
pub mod output;
pub mod parked;
pub mod product;
pub mod projection;
pub mod run;
pub mod saga;
pub mod sandbox_provider;
pub mod schema;
pub mod services;
pub mod store;
pub mod stream;
pub mod surroundings;
pub mod timeline;
pub mod transport;
pub mod up;
pub mod verify;
