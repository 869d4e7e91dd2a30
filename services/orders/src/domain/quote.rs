use std::collections::HashMap;

use money::{Currency, Money, MoneyError};
use uuid::Uuid;

use super::{Farm, Line};

/// Minor units of an order's total at most: more is a mistake, or an attempt at what overflows behind us.
pub const TOTAL_MAX: i64 = 10_000_000_000;

/// What a customer wishes for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wish {
    /// The product.
    pub product_id: Uuid,
    /// Units, 1 to 10,000.
    pub quantity: u32,
}

/// What the catalogue says of a product.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// Its name.
    pub name: String,
    /// The price of one unit.
    pub price: Money,
    /// Whether it can be ordered.
    pub active: bool,
    /// Who sells it.
    pub farm: Farm,
}

/// Why a wish cannot be priced.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// The catalogue does not know it.
    #[error("product {0} does not exist")]
    Unknown(Uuid),
    /// It is closed for orders.
    #[error("product {0} cannot be ordered at present")]
    Closed(Uuid),
    /// It is sold in another currency than the lines before it.
    #[error("product {product_id} is sold in {}, the lines before it in {}: order them apart", priced.code(), before.code())]
    Mixed {
        /// The product.
        product_id: Uuid,
        /// Its currency.
        priced: Currency,
        /// That of the total so far.
        before: Currency,
    },
    /// With this line the total is larger than an order's may be.
    #[error("the total is over {}: order less", Money::new(TOTAL_MAX, *currency))]
    TooLarge {
        /// Of which currency.
        currency: Currency,
    },
}

/// Priced lines and their sum, or every line that cannot be priced, by its index.
pub type Quote = Result<(Vec<Line>, Money), Vec<(usize, Problem)>>;

/// Prices the wishes (at least one) and sums them up.
///
/// # Errors
/// Every line that cannot be priced, by its index; a total that is none has the index of the line that broke it.
pub fn quote(wishes: &[Wish], offers: &HashMap<Uuid, Offer>) -> Quote {
    let mut lines = Vec::with_capacity(wishes.len());
    let mut problems = Vec::new();
    let mut total: Option<Money> = None;
    for (index, wish) in wishes.iter().enumerate() {
        let line = match offers.get(&wish.product_id) {
            None => Err(Problem::Unknown(wish.product_id)),
            Some(offer) if !offer.active => Err(Problem::Closed(wish.product_id)),
            Some(offer) => add(total, offer, wish).map(|sum| {
                total = Some(sum);
                line(wish, offer)
            }),
        };
        match line {
            Ok(line) => lines.push(line),
            Err(problem) => problems.push((index, problem)),
        }
    }
    match total {
        Some(total) if problems.is_empty() => Ok((lines, total)),
        Some(_) | None => Err(problems),
    }
}

fn add(total: Option<Money>, offer: &Offer, wish: &Wish) -> Result<Money, Problem> {
    let currency = offer.price.currency;
    let summed =
        offer.price.times(wish.quantity).and_then(|amount| total.map_or(Ok(amount), |total| total.plus(amount)));
    match summed {
        Ok(sum) if sum.minor_units <= TOTAL_MAX => Ok(sum),
        Ok(_) | Err(MoneyError::Overflow) => Err(Problem::TooLarge { currency }),
        Err(MoneyError::Mixed { left, right }) => {
            Err(Problem::Mixed { product_id: wish.product_id, priced: right, before: left })
        }
    }
}

fn line(wish: &Wish, offer: &Offer) -> Line {
    Line {
        product_id: wish.product_id,
        name: offer.name.clone(),
        quantity: wish.quantity,
        unit_price: offer.price,
        farm: offer.farm.clone(),
    }
}

#[cfg(test)]
mod tests {
    use money::Currency;

    use super::*;

    const APPLES: Uuid = Uuid::from_u128(1);
    const PEARS: Uuid = Uuid::from_u128(2);

    fn offer(minor_units: i64, code: &str, active: bool) -> Offer {
        let farm = Farm { id: Uuid::from_u128(9), name: "Hof".to_owned(), email: "hof@example.org".to_owned() };
        Offer { name: "x".to_owned(), price: Money::new(minor_units, Currency::from_code(code).unwrap()), active, farm }
    }

    fn wish(product_id: Uuid, quantity: u32) -> Wish {
        Wish { product_id, quantity }
    }

    #[test]
    fn the_total_is_the_sum_of_all_lines() {
        let offers = HashMap::from([(APPLES, offer(250, "EUR", true)), (PEARS, offer(300, "EUR", true))]);
        let (lines, total) = quote(&[wish(APPLES, 2), wish(PEARS, 1)], &offers).unwrap();
        assert_eq!((lines.len(), total.minor_units), (2, 800));
    }

    #[test]
    fn every_line_that_cannot_be_priced_is_named() {
        let offers = HashMap::from([(APPLES, offer(250, "EUR", false))]);
        let problems = quote(&[wish(APPLES, 2), wish(PEARS, 1)], &offers).unwrap_err();
        assert_eq!(problems, [(0, Problem::Closed(APPLES)), (1, Problem::Unknown(PEARS))]);
    }

    #[test]
    fn mixed_currencies_and_a_total_beyond_any_order_are_refused() {
        let mixed = HashMap::from([(APPLES, offer(250, "EUR", true)), (PEARS, offer(300, "JPY", true))]);
        let problems = quote(&[wish(APPLES, 1), wish(PEARS, 1)], &mixed).unwrap_err();
        assert!(matches!(problems.as_slice(), [(1, Problem::Mixed { product_id: PEARS, .. })]), "{problems:?}");
        let too_large = vec![(0, Problem::TooLarge { currency: Currency::EUR })];
        let huge = HashMap::from([(APPLES, offer(i64::MAX / 2, "EUR", true))]);
        assert_eq!(quote(&[wish(APPLES, 3)], &huge).unwrap_err(), too_large);
        let dear = HashMap::from([(APPLES, offer(TOTAL_MAX / 10_000, "EUR", true))]);
        assert_eq!(quote(&[wish(APPLES, 10_000)], &dear).unwrap().1.minor_units, TOTAL_MAX);
        assert_eq!(quote(&[wish(APPLES, 10_001)], &dear).unwrap_err(), too_large);
    }
}
