//! The way of events over a broker that may forget.
//!
//! The broker's memory is not its own: a disk that was wiped, a store that was rolled back, a flipped bit, an operator's
//! purge make it forget what it acknowledged, and it does not say so. [`memory`] notices, and has what could still
//! matter told again. [`verify`] compares log and broker event by event; [`rebuild`] restores all that is missing.
//! The other way round, a database that was put back to an older state has lost what the broker still holds: [`lost`].

mod future;
pub mod memory;
mod messages;
mod restore;
mod verify;

pub use future::{LOOKED_AT_MAX, LostEvent, Older, lost};
pub(crate) use restore::tell_some;
pub use restore::{Missing, Plan, Restored, missing, rebuild};
pub use verify::{CompareError, Progress, Report, verify};

/// The header of a message that was restored: it comes late, behind younger ones of its event stream.
pub const RESTORED: &str = "farmera-restored";
