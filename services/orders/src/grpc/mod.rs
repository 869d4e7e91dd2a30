//! Ways in from clients and from other services.

mod edge;
mod place;
mod queries;
mod reads;
mod sagas;
mod timeline;

pub use edge::Edge;
pub use queries::Queries;
pub use reads::Reads;
pub use sagas::Sagas;
