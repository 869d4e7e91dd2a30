//! What farmers ask for.

use money::Currency;
use uuid::Uuid;

use crate::domain::{
    AddStock, Delivery, Farm, FarmEvent, FarmFacts, ListProduct, Listed, Product, ProductEvent, RegisterFarm,
    SetActive, SetPrice, UNITS_MAX,
};

/// Why a farmer's wish is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rejection {
    /// There is no such farm.
    #[error("no such farm")]
    FarmUnknown,
    /// There is no such product.
    #[error("no such product")]
    ProductUnknown,
    /// The request's id was used for something else.
    #[error("this request_id was used for a request with other content")]
    RequestIdReused,
    /// A product keeps the currency it was listed with: orders and sums of it rest on that.
    #[error("the product is sold in {}, not in {}: list another product for another currency", listed.code(), wanted.code())]
    OtherCurrency {
        /// Of the product.
        listed: Currency,
        /// Of the price.
        wanted: Currency,
    },
    /// More units than one product may have.
    #[error("{stocked} units were ever added, {wanted} more would be over the limit of {UNITS_MAX}")]
    StockTooLarge {
        /// Units ever added.
        stocked: u64,
        /// Units to add.
        wanted: u64,
    },
}

/// A farm comes to the marketplace. The same again changes nothing.
///
/// # Errors
/// [`Rejection::RequestIdReused`].
pub fn register_farm(farm: &Farm, wish: &RegisterFarm) -> Result<Vec<FarmEvent>, Rejection> {
    match farm {
        Farm::Unregistered => {
            Ok(vec![FarmEvent::FarmRegistered { name: wish.name.clone(), email: wish.email.clone() }])
        }
        Farm::Registered(facts) if facts.name == wish.name && facts.email == wish.email => Ok(Vec::new()),
        Farm::Registered(_) => Err(Rejection::RequestIdReused),
    }
}

/// A farm lists a product. The same again changes nothing, whatever has happened to the product since.
///
/// # Errors
/// [`Rejection::FarmUnknown`], [`Rejection::RequestIdReused`].
pub fn list_product(farm: &Farm, product: &Product, wish: &ListProduct) -> Result<Vec<ProductEvent>, Rejection> {
    match (product, farm) {
        (Product::Unlisted, Farm::Unregistered) => Err(Rejection::FarmUnknown),
        (Product::Unlisted, Farm::Registered(facts)) => Ok(vec![listed(facts, wish)]),
        (Product::Listed(listed), Farm::Unregistered | Farm::Registered(_)) if is_same(listed, wish) => Ok(Vec::new()),
        (Product::Listed(_), Farm::Unregistered | Farm::Registered(_)) => Err(Rejection::RequestIdReused),
    }
}

fn listed(farm: &FarmFacts, wish: &ListProduct) -> ProductEvent {
    ProductEvent::ProductListed {
        farm_id: wish.farm_id,
        farm_name: farm.name.clone(),
        farm_email: farm.email.clone(),
        name: wish.name.clone(),
        price: wish.price,
    }
}

fn is_same(listed: &Listed, wish: &ListProduct) -> bool {
    let listing = &listed.listing;
    listing.farm_id == wish.farm_id && listing.name == wish.name && listing.price_first == wish.price
}

/// A farm changes a price. The same price again changes nothing.
///
/// # Errors
/// [`Rejection::ProductUnknown`], [`Rejection::OtherCurrency`].
pub fn set_price(product: &Product, wish: SetPrice) -> Result<Vec<ProductEvent>, Rejection> {
    let listed = in_catalogue(product)?;
    if listed.price.currency != wish.price.currency {
        return Err(Rejection::OtherCurrency { listed: listed.price.currency, wanted: wish.price.currency });
    }
    let same = listed.price == wish.price;
    Ok(if same { Vec::new() } else { vec![ProductEvent::PriceSet { price: wish.price }] })
}

/// A farm opens or closes a product. The same again changes nothing.
///
/// # Errors
/// [`Rejection::ProductUnknown`].
pub fn set_active(product: &Product, wish: SetActive) -> Result<Vec<ProductEvent>, Rejection> {
    let listed = in_catalogue(product)?;
    let same = listed.active == wish.active;
    Ok(if same { Vec::new() } else { vec![ProductEvent::ActiveSet { active: wish.active }] })
}

/// A delivery of `product_id` comes in. The same delivery again changes nothing; its request's id for anything else, of this
/// product or another, is refused. Deliveries from before ids had a stream of their own (`delivery`) are known by the
/// product, as long as it remembers them ([`REQUESTS_REMEMBERED_MAX`](crate::domain::REQUESTS_REMEMBERED_MAX)).
///
/// # Errors
/// [`Rejection::ProductUnknown`], [`Rejection::RequestIdReused`], [`Rejection::StockTooLarge`].
pub fn add_stock(
    product: &Product,
    delivery: Delivery,
    product_id: Uuid,
    wish: AddStock,
) -> Result<Vec<ProductEvent>, Rejection> {
    let listed = in_catalogue(product)?;
    let AddStock { request_id, quantity } = wish;
    match delivery {
        Delivery::Taken { product_id: of, quantity: units } if of == product_id && units == quantity => {
            return Ok(Vec::new());
        }
        Delivery::Taken { .. } => return Err(Rejection::RequestIdReused),
        Delivery::Unknown => {}
    }
    match listed.delivered(request_id) {
        Some(taken_in) if taken_in == quantity => return Ok(Vec::new()),
        Some(_) => return Err(Rejection::RequestIdReused),
        None => {}
    }
    let stocked = listed.stock.stocked();
    if stocked.saturating_add(quantity) > UNITS_MAX {
        return Err(Rejection::StockTooLarge { stocked, wanted: quantity });
    }
    Ok(vec![ProductEvent::StockAdded { request_id, quantity }])
}

fn in_catalogue(product: &Product) -> Result<&Listed, Rejection> {
    match product {
        Product::Unlisted => Err(Rejection::ProductUnknown),
        Product::Listed(listed) => Ok(listed),
    }
}
