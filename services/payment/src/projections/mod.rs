//! Read models.

pub mod payments;
