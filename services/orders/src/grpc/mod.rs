//! Ways in from clients and from other services.

mod edge;
mod events;
mod lists;
mod machinery;
mod operating;
mod operator;
mod place;
mod queries;
mod reads;
mod replay;
mod sagas;
mod timeline;
mod trace;

pub use edge::Edge;
pub use operating::Operating;
pub use operator::Operator;
pub use queries::Queries;
pub use reads::Reads;

fn not_built() -> tonic::Status {
    let message = "this service does not answer this question yet";
    chassis::problem::Problem::new(tonic::Code::Unimplemented, "NOT_BUILT", message).into_status(crate::status::DOMAIN)
}
