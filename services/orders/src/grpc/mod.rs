//! Ways in from clients and from other services.

mod abreast;
mod edge;
mod events;
pub mod lists;
mod machinery;
mod operating;
mod participants;
mod place;
mod queries;
mod reads;
mod replay;
mod sagas;
mod timeline;
mod trace;
mod watch;
mod whatif;

pub use abreast::Lists;
pub use edge::Edge;
pub use operating::Operating;
pub use participants::Participants;
pub use queries::Queries;
pub use reads::Reads;
pub use replay::Replay;
pub use sagas::Sagas;
pub use watch::Watching;
