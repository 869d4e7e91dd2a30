//! Values of the query language.

use money::Currency;

use super::{Compare, Range};

/// A set of states, by the numbers of `Saga.State`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct States(u16);

const NAMES: [(&str, &[i16]); 9] = [
    ("RUNNING", &[1]),
    ("COMPENSATING", &[2]),
    ("PARKED", &[3]),
    ("COMPLETED", &[4]),
    ("COMPENSATED", &[5]),
    ("ABANDONED", &[6]),
    ("PAUSED", &[7]),
    ("OPEN", &[1, 2, 3, 7]),
    ("ENDED", &[4, 5, 6]),
];

impl States {
    /// All there are.
    pub const ALL: Self = Self(0b1111_1110);
    /// None.
    pub const NONE: Self = Self(0);
    /// Those of sagas that are not over.
    pub const OPEN: Self = Self(0b1000_1110);
    /// All but COMPLETED.
    pub const NOT_COMPLETED: Self = Self(0b1110_1110);

    /// The state, or the group of states, of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (_, numbers) = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(numbers.iter().fold(Self::NONE, |states, number| states.or(Self::one(*number))))
    }

    /// This state alone; none for a number that is no state's.
    #[must_use]
    pub fn one(number: i16) -> Self {
        let bit = u32::try_from(number).ok().and_then(|number| 1_u16.checked_shl(number)).unwrap_or(0);
        Self(bit & Self::ALL.0)
    }

    /// Whether this state is among them.
    #[must_use]
    pub fn has(self, number: i16) -> bool {
        Self::one(number).0 & self.0 != 0
    }

    /// Those of either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// All the others.
    #[must_use]
    pub fn others(self) -> Self {
        Self(Self::ALL.0 & !self.0)
    }

    /// Whether all of these are among `other`.
    #[must_use]
    pub fn within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Their numbers.
    #[must_use]
    pub fn numbers(self) -> Vec<i16> {
        (1..=7).filter(|number| self.has(*number)).collect()
    }
}

/// An amount of money as an operator writes it: 12.50EUR, or 0, which is the same in every currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    /// In ten thousandths of the currency's unit: no currency has finer parts.
    ten_thousandths: i128,
    currency: Option<Currency>,
}

/// Digits after the point at most.
const DIGITS_MAX: usize = 4;

impl Amount {
    /// Reads `12`, `12.5`, `12.50EUR`, `12.50 EUR`; `None` for anything else. Ask [`Amount::says_how_much`] next.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let letters = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number = text.strip_suffix(letters)?;
        let currency = match letters.trim() {
            "" => None,
            code => Some(Currency::from_code(&code.to_ascii_uppercase())?),
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || whole.len() > 18 || part.len() > DIGITS_MAX || number.ends_with('.') {
            return None;
        }
        // Digits that the currency does not have: no amount is so, and "none" would be a false answer.
        let digits = currency.map_or(DIGITS_MAX, |currency| usize::try_from(currency.exponent()).unwrap_or(DIGITS_MAX));
        if part.trim_end_matches('0').len() > digits {
            return None;
        }
        let part: i128 = format!("{part:0<DIGITS_MAX$}").parse().ok()?;
        Some(Self { ten_thousandths: whole.parse::<i128>().ok()? * 10_000 + part, currency })
    }

    /// Whether it means one amount: with its currency, or nothing at all. 12.50 is another amount in each currency, and
    /// no range of numbers holds them: a million sagas would be looked at one by one.
    #[must_use]
    pub fn says_how_much(&self) -> bool {
        self.currency.is_some() || self.ten_thousandths == 0
    }

    /// Whether so many minor units of `currency` are less, more, or as asked for. Amounts of another currency never are.
    #[must_use]
    pub fn compare(&self, compare: Compare, minor_units: i64, currency: &str) -> bool {
        if self.currency.is_none() && self.ten_thousandths == 0 {
            return compare.holds(&minor_units, &0);
        }
        let Some(of) = Currency::from_code(currency) else { return false };
        if self.currency.is_some_and(|wanted| wanted != of) {
            return compare == Compare::Unequal;
        }
        let finer = u32::try_from(DIGITS_MAX).unwrap_or(0).saturating_sub(of.exponent());
        compare.holds(&(i128::from(minor_units) * 10_i128.pow(finer)), &self.ten_thousandths)
    }

    /// The minor units that compare so, of the currency that was named, or of any: nothing is nothing in each. `None`: no
    /// range says it all, because all amounts but one are meant, or one in any currency.
    #[must_use]
    pub fn range(&self, compare: Compare) -> Option<(Option<Currency>, Range)> {
        if !self.says_how_much() {
            return None;
        }
        let currency = self.currency;
        let exponent = currency.map_or(0, Currency::exponent);
        let finer = 10_i128.pow(u32::try_from(DIGITS_MAX).unwrap_or(0).saturating_sub(exponent));
        // Rounded towards both sides; an amount without a currency is 0, and one with it has no finer parts.
        let (below, above) = (self.ten_thousandths.div_euclid(finer), -(-self.ten_thousandths).div_euclid(finer));
        let whole = |units: i128| i64::try_from(units).unwrap_or(i64::MAX);
        let range = match compare {
            Compare::Unequal => return None,
            Compare::Equal if below == above => Range { low: whole(below), high: whole(above) },
            Compare::Equal => Range::NONE,
            Compare::Below => Range { low: i64::MIN, high: whole(above - 1) },
            Compare::AtMost => Range { low: i64::MIN, high: whole(below) },
            Compare::Above => Range { low: whole(below + 1), high: i64::MAX },
            Compare::AtLeast => Range { low: whole(above), high: i64::MAX },
        };
        Some((currency, range))
    }
}
