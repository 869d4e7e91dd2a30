//! The one binary, as a library so that tests can call its parts.
//!
//! * [`services`]: the table of services; the only place that names their crates;
//! * [`host`]: services in this process, from bound ports to the drained end;
//! * [`run`], [`up`], [`migrate`], [`doctor`]: the commands that operate Farmera;
//! * [`stream`]: streams of events, as they were and as files;
//! * [`surroundings`]: which databases and which broker an operator's command is about;
//! * [`order`], [`product`], [`saga`]: the small client, over [`clients`], [`explain`] and [`addresses`];
//! * [`sandbox_provider`]: a card processor for tests, as a process of its own;
//! * [`demo`], [`bench`]: real orders through real edges, judged by [`invariants`];
//! * [`timeline`], [`output`], [`failure`]: what people see, and the exit code.
//!
//! Deliberately absent: rules. Whatever decides about orders, stock or money is in a service.

pub mod addresses;
pub mod bench;
pub mod catalogue;
pub mod cli;
pub mod clients;
pub mod demo;
pub mod doctor;
pub mod explain;
pub mod failure;
pub mod host;
pub mod invariants;
pub mod migrate;
pub mod order;
pub mod output;
pub mod product;
pub mod run;
pub mod saga;
pub mod sandbox_provider;
pub mod services;
pub mod stream;
pub mod surroundings;
pub mod timeline;
pub mod up;
