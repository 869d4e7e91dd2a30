use std::collections::HashMap;

use money::{Money, MoneyError};
use uuid::Uuid;

use super::{Farm, Line};

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
    /// The lines cannot be summed up.
    #[error(transparent)]
    Total(#[from] MoneyError),
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
            Some(offer) => add(total, offer, wish).map_err(Problem::Total).map(|sum| {
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

fn add(total: Option<Money>, offer: &Offer, wish: &Wish) -> Result<Money, MoneyError> {
    let amount = offer.price.times(wish.quantity)?;
    total.map_or(Ok(amount), |total| total.plus(amount))
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
    fn mixed_currencies_and_a_total_beyond_64_bits_are_refused() {
        let mixed = HashMap::from([(APPLES, offer(250, "EUR", true)), (PEARS, offer(300, "JPY", true))]);
        let problems = quote(&[wish(APPLES, 1), wish(PEARS, 1)], &mixed).unwrap_err();
        assert!(matches!(problems.as_slice(), [(1, Problem::Total(MoneyError::Mixed { .. }))]));
        let huge = HashMap::from([(APPLES, offer(i64::MAX / 2, "EUR", true))]);
        let problems = quote(&[wish(APPLES, 3)], &huge).unwrap_err();
        assert_eq!(problems, [(0, Problem::Total(MoneyError::Overflow))]);
    }
}
