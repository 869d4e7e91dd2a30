//! The rules of farms, products and reservations. Pure.
//!
//! A reservation says what is held for an order; the products say where their units are. A reservation and the products
//! it names change in one unit of work: all of its lines, or none.

mod command;
mod decide;
mod event;
mod state;

pub use command::{AddStock, ListProduct, RegisterFarm, Request, SetActive, SetPrice, Wish};
pub use decide::{
    Contradiction, Decision, Inconsistent, Rejection, Shortage, Step, add_stock, decide, held, list_product, refused,
    register_farm, rejected, reserve, set_active, set_price, settle,
};
pub use event::{DeliveryEvent, FarmEvent, Line, Lines, ProductEvent, Reason, ReservationEvent};
pub use state::{
    Delivery, Farm, FarmFacts, Listed, Listing, Product, REQUESTS_REMEMBERED_MAX, Refused, Reservation, Stock,
    UNITS_MAX,
};
