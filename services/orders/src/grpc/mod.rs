//! Ways in from clients and from other services.

mod edge;
mod events;
mod machinery;
mod operator;
mod place;
mod queries;
mod reads;
mod replay;
mod sagas;
mod timeline;

pub use edge::Edge;
pub use events::Events;
pub use machinery::Machinery;
pub use operator::Operator;
pub use queries::Queries;
pub use reads::Reads;
pub use replay::Replay;
pub use sagas::Sagas;

fn not_built() -> tonic::Status {
    let message = "this service does not answer this question yet";
    chassis::problem::Problem::new(tonic::Code::Unimplemented, "NOT_BUILT", message).into_status(crate::status::DOMAIN)
}
