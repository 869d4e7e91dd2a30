//! The store on Postgres keeps every promise, as a role that owns nothing.

mod support;

eventstore::contract_tests!(support::fresh);
