//! Exact amounts of money: integer minor units with an ISO 4217 code. Pure; the one word that all domains share.
//!
//! Arithmetic is checked: an overflow or a mixture of currencies is an answer, never a wrong amount.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A currency of ISO 4217.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// The euro.
    pub const EUR: Self = Self(iso_currency::Currency::EUR);

    /// The currency of a three-letter upper-case code.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        iso_currency::Currency::from_code(code).map(Self)
    }

    /// Whether people pay with it: no fund (CLF), no metal or unit of account (XAU, XDR), no code for tests or for none
    /// (XTS, XXX), none that another has replaced (HRK). What was stored with such a code stays readable.
    #[must_use]
    pub fn is_paid_with(self) -> bool {
        !self.0.is_fund() && !self.0.is_special() && self.0.is_superseded().is_none()
    }

    /// The three-letter code.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Digits after the decimal point: 2 for EUR, 0 for JPY.
    #[must_use]
    pub fn exponent(self) -> u32 {
        self.0.exponent().map_or(0, u32::from)
    }
}

impl Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::from_code(&code).ok_or_else(|| serde::de::Error::custom(format!("{code} is no ISO 4217 code")))
    }
}

/// An amount: 12.50 EUR is 1250 minor units; never a float.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Money {
    /// In the currency's smallest unit.
    pub minor_units: i64,
    /// Of which currency.
    pub currency: Currency,
}

/// Why two amounts cannot be put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// They are of different currencies.
    #[error("{} and {} cannot be added", left.code(), right.code())]
    Mixed {
        /// One.
        left: Currency,
        /// The other.
        right: Currency,
    },
    /// The amount does not fit 64 bits.
    #[error("the amount is too large")]
    Overflow,
}

impl Money {
    /// An amount in minor units.
    #[must_use]
    pub const fn new(minor_units: i64, currency: Currency) -> Self {
        Self { minor_units, currency }
    }

    /// The sum of two amounts.
    ///
    /// # Errors
    /// [`MoneyError`] when there is none.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::Mixed { left: self.currency, right: other.currency });
        }
        let minor_units = self.minor_units.checked_add(other.minor_units).ok_or(MoneyError::Overflow)?;
        Ok(Self { minor_units, currency: self.currency })
    }

    /// The amount for `quantity` units.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn times(self, quantity: u32) -> Result<Self, MoneyError> {
        let minor_units = self.minor_units.checked_mul(i64::from(quantity)).ok_or(MoneyError::Overflow)?;
        Ok(Self { minor_units, currency: self.currency })
    }
}

/// For people: `12.50 EUR`, `1250 JPY`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.currency.code();
        let sign = if self.minor_units < 0 { "-" } else { "" };
        let digits = self.currency.exponent();
        let amount = self.minor_units.unsigned_abs();
        if digits == 0 {
            return write!(f, "{sign}{amount} {code}");
        }
        let unit = 10_u64.saturating_pow(digits);
        write!(f, "{sign}{}.{:0width$} {code}", amount / unit, amount % unit, width = digits as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_printed_with_the_digits_of_their_currency() {
        let yen = Currency::from_code("JPY").unwrap();
        assert_eq!(Money::new(1250, Currency::EUR).to_string(), "12.50 EUR");
        assert_eq!(Money::new(-5, Currency::EUR).to_string(), "-0.05 EUR");
        assert_eq!(Money::new(1250, yen).to_string(), "1250 JPY");
    }

    #[test]
    fn funds_metals_tests_and_what_is_gone_are_not_paid_with() {
        let paid = |code: &str| Currency::from_code(code).is_some_and(Currency::is_paid_with);
        for code in ["EUR", "USD", "JPY", "CHF", "XOF", "KWD", "CLP"] {
            assert!(paid(code), "{code}");
        }
        for code in ["XXX", "XTS", "XAU", "XDR", "CLF", "CHE", "USN", "HRK", "eur", "EURO", ""] {
            assert!(!paid(code), "{code}");
        }
    }

    #[test]
    fn a_sum_of_two_currencies_or_beyond_64_bits_is_refused() {
        let yen = Currency::from_code("JPY").unwrap();
        assert!(matches!(Money::new(1, yen).plus(Money::new(1, Currency::EUR)), Err(MoneyError::Mixed { .. })));
        assert_eq!(Money::new(i64::MAX, yen).plus(Money::new(1, yen)), Err(MoneyError::Overflow));
        assert_eq!(Money::new(i64::MAX / 2, yen).times(3), Err(MoneyError::Overflow));
    }

    #[test]
    fn an_amount_survives_json_and_an_unknown_currency_does_not() {
        let amount = Money::new(995, Currency::EUR);
        let json = serde_json::to_string(&amount).unwrap();
        assert_eq!(json, r#"{"minor_units":995,"currency":"EUR"}"#);
        assert_eq!(serde_json::from_str::<Money>(&json).unwrap(), amount);
        assert!(serde_json::from_str::<Money>(&json.replace("EUR", "XXQ")).is_err());
    }
}
