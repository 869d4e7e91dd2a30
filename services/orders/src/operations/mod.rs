//! What operators see and do. The pure parts (what a query admits, what a history says, what an act would lead to) know
//! no database; the services in `grpc` bring both together.

pub mod act;
pub mod check;
pub mod debts;
pub mod difference;
pub mod explanation;
pub mod hands;
pub mod history;
pub mod holding;
pub mod log;
pub mod plan;
pub mod query;
pub mod reconcile;
pub mod steps;
pub mod task;
pub mod tree;
pub mod whatif;
