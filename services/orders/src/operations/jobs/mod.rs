//! Operations: plans being carried out, in the server, saga by saga, whatever happens to the process.
//!
//! The book keeps what there is to do and what became of each item; the runner takes an operation that nobody is on and
//! works it off. Whoever dies leaves a claim that runs out; the next one goes on. An item is applied against the very
//! version that the plan was made on, in the saga's own transaction, so it is applied once or not at all; an item that
//! was applied just before the process died is known by its cause.

mod book;
mod pace;
mod runner;

pub use book::{Begin, Claimed, Item, OperationBook, Outcome};
pub use pace::Pace;
pub use runner::{Hands, Runner};
