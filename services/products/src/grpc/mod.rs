//! The way in over gRPC: a file per service of the contract.

mod edge;
mod ledger;
mod query;

use chassis::operations::Operating;
use chassis::problem::{self, Violations};
use farmera_proto::products::v1 as pb;
use tonic::Status;

use crate::domain::{Listed, Product, Rejection};
use crate::handler::Told;
use crate::status::{self, DOMAIN};
pub use edge::Edge;
pub use query::Query;

/// Names of the services, for `grpc.health.v1`.
pub const NAMES: &[&str] = &[
    pb::products_service_server::SERVICE_NAME,
    pb::products_query_service_server::SERVICE_NAME,
    chassis::correlation::SERVICE,
    Operating::SERVICES[0],
    Operating::SERVICES[1],
];

/// The status of a request with violations.
fn refused(violations: Violations) -> Status {
    violations.finish(DOMAIN).err().unwrap_or_else(|| problem::internal(DOMAIN))
}

/// The contract's form of a product.
fn to_proto(told: &Told) -> Result<pb::Product, Status> {
    let listed = match &told.product {
        Product::Unlisted => return Err(status::of(Rejection::ProductUnknown.into())),
        Product::Listed(listed) => listed,
    };
    let Listed { listing, price, active, stock, .. } = listed;
    Ok(pb::Product {
        id: told.product_id.to_string(),
        farm_id: listing.farm_id.to_string(),
        name: listing.name.clone(),
        price: Some(chassis::money::to_proto(*price)),
        active: *active,
        available: stock.available,
        reserved: stock.reserved,
        shipped: stock.shipped,
        stocked: stock.stocked(),
        version: told.version.get(),
        farm_name: listing.farm_name.clone(),
        farm_email: listing.farm_email.clone(),
    })
}
