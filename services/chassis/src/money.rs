//! Money between the domain and the contracts.

use farmera_proto::common::v1 as pb;
use money::{Currency, Money};

use crate::problem::Violations;

/// The contract's form of an amount.
#[must_use]
pub fn to_proto(money: Money) -> pb::Money {
    pb::Money { currency_code: money.currency.code().to_owned(), minor_units: money.minor_units }
}

/// The amount of a message from another service; `None` when its currency is unknown.
#[must_use]
pub fn from_proto(money: &pb::Money) -> Option<Money> {
    Some(Money::new(money.minor_units, Currency::from_code(&money.currency_code)?))
}

/// A client's amount, between `min` and `max` minor units.
#[must_use]
pub fn parse(violations: &mut Violations, field: &str, money: Option<&pb::Money>, min: i64, max: i64) -> Option<Money> {
    let Some(money) = money else {
        violations.add(field, "is missing");
        return None;
    };
    let Some(currency) = Currency::from_code(&money.currency_code).filter(|currency| currency.is_paid_with()) else {
        let expected = "is no currency that people pay with: expected an ISO 4217 code such as EUR";
        violations.add(format!("{field}.currency_code"), expected);
        return None;
    };
    if !(min..=max).contains(&money.minor_units) {
        violations.add(format!("{field}.minor_units"), format!("is {}: allowed are {min} to {max}", money.minor_units));
        return None;
    }
    Some(Money::new(money.minor_units, currency))
}
