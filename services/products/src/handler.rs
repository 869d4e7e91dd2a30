//! What an input leads to: which streams it meets, what the rules say, what is recorded.

use eventstore::worker::Handler;
use eventstore::{Need, Unit, Version};
use faults::Plant;
use uuid::Uuid;

use crate::domain::{
    self, AddStock, Contradiction, Decision, Delivery, DeliveryEvent, Farm, Inconsistent, Lines, ListProduct, Product,
    ProductEvent, RegisterFarm, Rejection, Request, Reservation, ReservationEvent, SetActive, SetPrice, Step, Wish,
};

/// Everything that comes in.
#[derive(Debug)]
pub enum Input {
    /// A farm comes to the marketplace.
    RegisterFarm {
        /// The farm; follows from the request's id.
        farm_id: Uuid,
        /// Who it is.
        wish: RegisterFarm,
    },
    /// A farm lists a product.
    ListProduct {
        /// The product; follows from the request's id.
        product_id: Uuid,
        /// What it is.
        wish: ListProduct,
    },
    /// A farm changes a price.
    SetPrice {
        /// The product.
        product_id: Uuid,
        /// The price.
        wish: SetPrice,
    },
    /// A farm opens or closes a product.
    SetActive {
        /// The product.
        product_id: Uuid,
        /// Which of the two.
        wish: SetActive,
    },
    /// A delivery comes in.
    AddStock {
        /// The product.
        product_id: Uuid,
        /// How much.
        wish: AddStock,
    },
    /// Somebody wants to see a product as it is.
    GetProduct {
        /// The product.
        product_id: Uuid,
    },
    /// A saga asks something of a reservation.
    Reservation(Request),
}

/// The answer to whoever sent the input.
#[derive(Debug)]
pub enum Output {
    /// The farm exists.
    Farm,
    /// The product as it is.
    Product(Told),
    /// The answer to a saga is recorded; the relay tells it.
    Answered,
    /// The saga was answered before; this is to be told again.
    Repeat(ReservationEvent),
}

/// A product and its version.
#[derive(Clone, Debug)]
pub struct Told {
    /// Which.
    pub product_id: Uuid,
    /// The product.
    pub product: Product,
    /// The version of its stream.
    pub version: Version,
}

/// Why an input has no effect.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// A stream is not at hand.
    #[error(transparent)]
    Need(#[from] Need),
    /// The catalogue's rules.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The reservation's rules.
    #[error(transparent)]
    Contradiction(#[from] Contradiction),
    /// A defect.
    #[error(transparent)]
    Inconsistent(#[from] Inconsistent),
}

/// The rules of products.
#[derive(Clone, Copy, Debug)]
pub struct ProductsHandler {
    stock_low_threshold: u64,
}

impl ProductsHandler {
    /// Rules under which a farm is told when at most `stock_low_threshold` units of a product are left.
    #[must_use]
    pub const fn new(stock_low_threshold: u64) -> Self {
        Self { stock_low_threshold }
    }

    fn ask(self, unit: &mut Unit<'_>, request: &Request) -> Result<Output, HandleError> {
        let id = request.reservation_id;
        let reservation = match &request.wish {
            Wish::Reserve(lines) => {
                // First, so that a product that must be loaded does not make the reservation be looked up, too.
                require_products(unit, lines)?;
                unit.get_or_new::<Reservation>(id)?
            }
            Wish::Release | Wish::Commit | Wish::Restock => unit.get::<Reservation>(id)?,
        };
        let unknown = *reservation == Reservation::default();
        if unknown && matches!(request.wish, Wish::Release) && faults::planted(Plant::NoBarrier) {
            return Ok(Output::Answered);
        }
        let event = match domain::decide(reservation, request)? {
            Decision::Hold(lines) => self.hold(unit, request, &lines)?,
            Decision::Settle(step, lines, event) => {
                if !(matches!(request.wish, Wish::Release) && faults::planted(Plant::ReleaseWithoutEffect)) {
                    settle(unit, id, step, &lines)?;
                }
                event
            }
            Decision::Record(event) => event,
            Decision::Repeat(event) => return Ok(Output::Repeat(event)),
        };
        unit.record::<Reservation>(id, &[event])?;
        Ok(Output::Answered)
    }

    /// All lines or none: nothing is recorded before every line has its answer.
    fn hold(self, unit: &mut Unit<'_>, request: &Request, lines: &Lines) -> Result<ReservationEvent, HandleError> {
        let id = request.reservation_id;
        let mut changes: Vec<(Uuid, Vec<ProductEvent>)> = Vec::with_capacity(lines.len());
        for line in lines.iter() {
            let product = unit.get::<Product>(line.product_id)?;
            let events = domain::reserve(product, line.product_id, id, line.quantity, self.stock_low_threshold);
            match events {
                Ok(events) => changes.push((line.product_id, events)),
                Err(shortage) => {
                    unit.record::<Product>(line.product_id, &domain::refused(&shortage, id, line.quantity))?;
                    return Ok(domain::rejected(request, lines, &shortage));
                }
            }
        }
        for (product_id, events) in changes {
            unit.record::<Product>(product_id, &events)?;
        }
        Ok(domain::held(request, lines))
    }
}

fn require_products(unit: &mut Unit<'_>, lines: &Lines) -> Result<(), Need> {
    let ids: Vec<Uuid> = lines.iter().map(|line| line.product_id).collect();
    unit.require::<Product>(&ids)
}

fn settle(unit: &mut Unit<'_>, id: Uuid, step: Step, lines: &Lines) -> Result<(), HandleError> {
    require_products(unit, lines)?;
    let mut changes = Vec::with_capacity(lines.len());
    for line in lines.iter() {
        let product = unit.get::<Product>(line.product_id)?;
        changes.push((line.product_id, domain::settle(product, line.product_id, id, line.quantity, step)?));
    }
    for (product_id, event) in changes {
        unit.record::<Product>(product_id, &[event])?;
    }
    Ok(())
}

fn register_farm(unit: &mut Unit<'_>, farm_id: Uuid, wish: &RegisterFarm) -> Result<Output, HandleError> {
    let events = domain::register_farm(unit.get_or_new::<Farm>(farm_id)?, wish)?;
    unit.record::<Farm>(farm_id, &events)?;
    Ok(Output::Farm)
}

fn list_product(unit: &mut Unit<'_>, product_id: Uuid, wish: &ListProduct) -> Result<Output, HandleError> {
    let farm = unit.get::<Farm>(wish.farm_id)?.clone();
    let events = domain::list_product(&farm, unit.get_or_new::<Product>(product_id)?, wish)?;
    unit.record::<Product>(product_id, &events)?;
    tell(unit, product_id)
}

fn change(
    unit: &mut Unit<'_>,
    product_id: Uuid,
    decide: impl FnOnce(&Product) -> Result<Vec<ProductEvent>, Rejection>,
) -> Result<Output, HandleError> {
    let events = decide(unit.get::<Product>(product_id)?)?;
    unit.record::<Product>(product_id, &events)?;
    tell(unit, product_id)
}

/// The units and what the request's id stands for: one commit, so that of two products only one takes the id.
fn add_stock(unit: &mut Unit<'_>, product_id: Uuid, wish: AddStock) -> Result<Output, HandleError> {
    let id = Delivery::id(wish.request_id);
    let delivery = *unit.get_or_new::<Delivery>(id)?;
    let events = domain::add_stock(unit.get::<Product>(product_id)?, delivery, product_id, wish)?;
    if !events.is_empty() {
        unit.record::<Delivery>(id, &[DeliveryEvent::DeliveryTaken { product_id, quantity: wish.quantity }])?;
    }
    unit.record::<Product>(product_id, &events)?;
    tell(unit, product_id)
}

fn tell(unit: &mut Unit<'_>, product_id: Uuid) -> Result<Output, HandleError> {
    let product = unit.get::<Product>(product_id)?.clone();
    Ok(Output::Product(Told { product_id, product, version: unit.version::<Product>(product_id) }))
}

impl Handler for ProductsHandler {
    type Input = Input;
    type Output = Output;
    type Error = HandleError;

    fn handle(&self, unit: &mut Unit<'_>, input: &Input) -> Result<Output, HandleError> {
        match input {
            Input::RegisterFarm { farm_id, wish } => register_farm(unit, *farm_id, wish),
            Input::ListProduct { product_id, wish } => list_product(unit, *product_id, wish),
            Input::SetPrice { product_id, wish } => {
                change(unit, *product_id, |product| domain::set_price(product, *wish))
            }
            Input::SetActive { product_id, wish } => {
                change(unit, *product_id, |product| domain::set_active(product, *wish))
            }
            Input::AddStock { product_id, wish } => add_stock(unit, *product_id, *wish),
            Input::GetProduct { product_id } => tell(unit, *product_id),
            Input::Reservation(request) => self.ask(unit, request),
        }
    }
}
