//! What operators see and do, against a real Postgres.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod acts;
mod million;
mod read_model;
mod support;
mod whatif;
