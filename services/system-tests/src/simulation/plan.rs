//! What clients want in one run: drawn from the seed, before anything happens.

use std::sync::Arc;
use std::time::Duration;

use eventstore::memory::CountingIds;
use money::{Currency, Money};
use orders::domain::{Facts, Farm, Line};
use saga_simulator::Chance;
use uuid::Uuid;

/// Orders in one run.
pub const ORDERS: u64 = 24;
/// How long orders come in, and things go wrong.
pub const STORM: Duration = Duration::from_secs(40);
/// What is told to a farm when so few units are left.
pub const STOCK_LOW_THRESHOLD: u64 = 3;
/// The card that is always refused.
pub const DECLINED_CARD: &str = "tok_declined";

/// A product as it is listed.
#[derive(Clone, Debug)]
pub struct Goods {
    /// Which.
    pub id: Uuid,
    /// Its price, cents.
    pub price: i64,
    /// Units there are at first.
    pub stock: u64,
}

/// An order that a client places.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Which.
    pub id: Uuid,
    /// What.
    pub facts: Arc<Facts>,
    /// When.
    pub at: Duration,
    /// When it is cancelled, if it is.
    pub cancelled: Option<Duration>,
}

/// What clients want.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whose goods they are.
    pub farm_id: Uuid,
    /// What there is.
    pub goods: Vec<Goods>,
    /// What is ordered.
    pub orders: Vec<Wanted>,
}

/// Whom a client of orders is.
#[must_use]
pub fn customer() -> Uuid {
    CountingIds::id(103, 1)
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn drawn(seed: u64) -> Self {
        // Not the world's own chance: another weather leaves the plan as it is.
        let mut chance = Chance::new(seed ^ 0x506c_616e);
        let farm_id = CountingIds::id(101, 1);
        let count = chance.between(1, 4);
        let goods: Vec<Goods> = (0..count)
            .map(|number| Goods {
                id: CountingIds::id(102, number + 1),
                price: i64::try_from(chance.between(1, 900)).unwrap_or(1),
                stock: chance.pick(&[5, 40, 1_000]).copied().unwrap_or(5),
            })
            .collect();
        let orders = (0..ORDERS).map(|number| wanted(&mut chance, farm_id, &goods, number)).collect();
        Self { farm_id, goods, orders }
    }

    /// The order of this number.
    #[must_use]
    pub fn order(&self, number: u64) -> Option<&Wanted> {
        self.orders.get(usize::try_from(number).ok()?)
    }
}

fn wanted(chance: &mut Chance, farm_id: Uuid, goods: &[Goods], number: u64) -> Wanted {
    let mut lines = Vec::new();
    let mut total = 0;
    for product in goods {
        if lines.is_empty() || chance.strikes(3_000) {
            let quantity = u32::try_from(chance.between(1, 3)).unwrap_or(1);
            total += product.price * i64::from(quantity);
            lines.push(line(farm_id, product, quantity));
        }
    }
    let card = if chance.strikes(1_000) { DECLINED_CARD } else { "tok_success" };
    let facts = Facts {
        customer_id: customer(),
        email: "ana@example.org".to_owned(),
        payment_token: card.to_owned(),
        lines,
        total: Money::new(total, Currency::EUR),
    };
    let at = Duration::from_millis(1_500 + chance.below(STORM.as_secs() * 1_000 - 2_000));
    let cancelled = chance.strikes(3_000).then(|| at + Duration::from_millis(chance.below(20_000)));
    Wanted { id: CountingIds::id(100, number + 1), facts: Arc::new(facts), at, cancelled }
}

fn line(farm_id: Uuid, product: &Goods, quantity: u32) -> Line {
    Line {
        product_id: product.id,
        name: "apples".to_owned(),
        quantity,
        unit_price: Money::new(product.price, Currency::EUR),
        farm: Farm { id: farm_id, name: "Hill".to_owned(), email: "hill@example.org".to_owned() },
    }
}
