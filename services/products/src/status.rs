//! What clients are told when a wish is refused.

use chassis::problem::{self, Problem, Violations};
use tonic::{Code, Status};
use tracing::error;

use crate::domain::{Rejection, UNITS_MAX};
use crate::handler::HandleError;
use crate::projections::CatalogueError;

/// Where this service's reasons are defined.
pub const DOMAIN: &str = "products.farmera.dev";

/// The status of a refused input.
pub fn of(error: HandleError) -> Status {
    match error {
        HandleError::Rejected(rejection) => of_rejection(&rejection),
        HandleError::Need(need) => problem::unusable(DOMAIN, &need),
        HandleError::Contradiction(contradiction) => defect(&contradiction),
        HandleError::Inconsistent(inconsistent) => defect(&inconsistent),
    }
}

fn of_rejection(rejection: &Rejection) -> Status {
    let problem = match rejection {
        Rejection::OtherCurrency { .. } => {
            let mut violations = Violations::new();
            violations.add("price.currency_code", rejection.to_string());
            return violations.finish(DOMAIN).err().unwrap_or_else(|| problem::internal(DOMAIN));
        }
        Rejection::FarmUnknown => {
            Problem::new(Code::NotFound, "FARM_NOT_FOUND", "no such farm: create it first, or correct farm_id")
        }
        Rejection::ProductUnknown => {
            Problem::new(Code::NotFound, "PRODUCT_NOT_FOUND", "no such product: correct product_id")
        }
        Rejection::RequestIdReused => Problem::new(
            Code::AlreadyExists,
            "REQUEST_ID_REUSED",
            "this request_id was used for a request with other content: make a new one",
        ),
        Rejection::StockTooLarge { stocked, wanted } => Problem::new(
            Code::FailedPrecondition,
            "STOCK_TOO_LARGE",
            format!("{stocked} units were ever added and {wanted} more are over the limit of {UNITS_MAX}: add fewer"),
        )
        .with("stocked", stocked)
        .with("wanted", wanted)
        .with("limit", UNITS_MAX),
    };
    problem.into_status(DOMAIN)
}

fn defect(error: &(dyn std::error::Error + 'static)) -> Status {
    error!(error, "a command ran into a defect");
    problem::internal(DOMAIN)
}

/// The status of a read model that cannot be read.
pub fn of_catalogue(error: CatalogueError) -> Status {
    match error {
        CatalogueError::Unavailable => problem::unavailable(DOMAIN, "the database does not answer; try again"),
        CatalogueError::Stopping => problem::unavailable(DOMAIN, "the service is stopping; try again"),
    }
}
