mod delivery;
mod farm;
mod product;
mod reservation;

pub use delivery::Delivery;
pub use farm::{Farm, FarmFacts};
pub use product::{Listed, Listing, Product, REQUESTS_REMEMBERED_MAX, Stock, UNITS_MAX};
pub use reservation::{Refused, Reservation};
