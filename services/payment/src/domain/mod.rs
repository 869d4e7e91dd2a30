//! The rules of a payment. Pure: no clock, no random, no SQL, no provider.
//!
//! A payment meets two kinds of input: what the orchestrator asks for ([`Request`]) and what the provider said
//! ([`Outcome`]). [`decide`] answers every input in every state with a fact to record, if any, and what comes next: an
//! answer, or an [`Effect`] to run at the provider. The intent is always a fact before its effect runs.

mod answer;
mod command;
mod decide;
mod effect;
mod event;
mod outcome;
mod state;

pub use answer::Answer;
pub use command::{Input, Outcome, Request, Wish};
pub use decide::{Decision, Next, Rejection, decide};
pub use effect::{Doubt, Effect, Operation, Reference};
pub use event::{Event, Fate, Refusal, Terms};
pub use state::{Held, Payment};

#[cfg(test)]
mod laws;
#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;
