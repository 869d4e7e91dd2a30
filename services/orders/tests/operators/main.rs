//! What operators see and do, against a real Postgres.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod acts;
mod acts_on_holds;
mod acts_on_letters;
mod debts;
mod desk;
mod million;
mod queries;
mod read_model;
mod support;
mod whatif;
