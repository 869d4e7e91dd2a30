//! The rules of an order. Pure.
//!
//! An order's life is decided by its saga; the order's own stream holds what customers and other services may know.

mod command;
mod decide;
mod event;
mod quote;
mod state;

pub use command::Command;
pub use decide::{CANCELLED_BY_CUSTOMER, Rejection, decide};
pub use event::{Failure, OrderEvent};
pub use quote::{Offer, Problem, Quote, Wish, quote};
pub use state::{Facts, Farm, Line, Order, Placed, Stage};
