mod catalogue;
mod reservation;
mod stock;

pub use catalogue::{Rejection, add_stock, list_product, register_farm, set_active, set_price};
pub use reservation::{Contradiction, Decision, decide, held, rejected};
pub use stock::{Inconsistent, Shortage, Step, refused, reserve, settle};
