//! What a database can say of a query beforehand.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use money::Currency;
use uuid::Uuid;

use super::fold::ascii_part;
use super::{Compare, Condition, Query, States};
use crate::handler::{cancel_saga_id, place_saga_id};

/// An outline of a query: every saga that it admits lies within all of these. `None` sets no limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    /// Where they stand.
    pub states: States,
    /// Who they are.
    pub ids: Option<BTreeSet<Uuid>>,
    /// Who ordered.
    pub customers: Option<BTreeSet<Uuid>>,
    /// Their definitions' names.
    pub definitions: Option<BTreeSet<String>>,
    /// Their definitions' versions.
    pub version: Range,
    /// The steps they are at.
    pub steps: Option<BTreeSet<String>>,
    /// The codes of their last errors.
    pub errors: Option<BTreeSet<String>>,
    /// When they started.
    pub started: Span,
    /// When they last changed.
    pub updated: Span,
    /// Their currencies.
    pub currencies: Option<BTreeSet<String>>,
    /// What their orders come to, minor units.
    pub amount: Range,
    /// What they hold, minor units: money or goods, whichever is more.
    pub exposure: Range,
    /// A part of the text of their last errors, ASCII in lower case; the case of other letters is not looked at here.
    pub error_part: Option<String>,
    /// True when every saga within is admitted, too: nothing is left to be looked at.
    pub exact: bool,
}

/// A span of time, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Span {
    /// Not before.
    pub from: Option<DateTime<Utc>>,
    /// Not after.
    pub to: Option<DateTime<Utc>>,
}

/// A range of whole numbers, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Not less.
    pub low: i64,
    /// Not more.
    pub high: i64,
}

impl Range {
    /// Whatever there is.
    pub const ALL: Self = Self { low: i64::MIN, high: i64::MAX };
    /// Nothing.
    pub const NONE: Self = Self { low: 1, high: 0 };

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.low > self.high
    }

    fn both(self, other: Self) -> Self {
        Self { low: self.low.max(other.low), high: self.high.min(other.high) }
    }

    fn either(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }
}

impl Span {
    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.from.zip(self.to).is_some_and(|(from, to)| from > to)
    }

    fn both(self, other: Self) -> Self {
        let from = self.from.into_iter().chain(other.from).max();
        let to = self.to.into_iter().chain(other.to).min();
        Self { from, to }
    }

    fn either(self, other: Self) -> Self {
        let from = self.from.zip(other.from).map(|(one, other)| one.min(other));
        let to = self.to.zip(other.to).map(|(one, other)| one.max(other));
        Self { from, to }
    }

    /// What began so long ago, and whether that says it all. Times are kept in whole microseconds.
    fn ago(compare: Compare, seconds: i64, now: DateTime<Utc>) -> (Self, bool) {
        let then = TimeDelta::try_seconds(seconds).and_then(|span| now.checked_sub_signed(span));
        let Some(then) = then else { return (Self::default(), false) };
        // Longer ago is earlier.
        match compare {
            Compare::Above => Self::at(Compare::Below, then),
            Compare::AtLeast => Self::at(Compare::AtMost, then),
            Compare::Below => Self::at(Compare::Above, then),
            Compare::AtMost => Self::at(Compare::AtLeast, then),
            Compare::Equal | Compare::Unequal => Self::at(compare, then),
        }
    }

    /// What compares so with `time`, and whether that says it all. Times are kept in whole microseconds.
    fn at(compare: Compare, time: DateTime<Utc>) -> (Self, bool) {
        let tick = TimeDelta::microseconds(1);
        let not_after = time - TimeDelta::nanoseconds(i64::from(time.timestamp_subsec_nanos() % 1_000));
        let not_before = if not_after == time { time } else { not_after + tick };
        match compare {
            Compare::Above => (Self { from: Some(not_after + tick), to: None }, true),
            Compare::AtLeast => (Self { from: Some(not_before), to: None }, true),
            Compare::Below => (Self { from: None, to: Some(not_before - tick) }, true),
            Compare::AtMost => (Self { from: None, to: Some(not_after) }, true),
            Compare::Equal => (Self { from: Some(not_before), to: Some(not_after) }, true),
            Compare::Unequal => (Self::default(), false),
        }
    }
}

fn both<T: Ord + Clone>(one: Option<BTreeSet<T>>, other: Option<BTreeSet<T>>) -> Option<BTreeSet<T>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.intersection(&other).cloned().collect()),
        (one, other) => one.or(other),
    }
}

fn either<T: Ord>(one: Option<BTreeSet<T>>, other: Option<BTreeSet<T>>) -> Option<BTreeSet<T>> {
    let (mut one, other) = one.zip(other)?;
    one.extend(other);
    Some(one)
}

impl Bounds {
    /// No limit at all.
    #[must_use]
    pub fn none() -> Self {
        Self {
            states: States::ALL,
            ids: None,
            customers: None,
            definitions: None,
            version: Range::ALL,
            steps: None,
            errors: None,
            started: Span::default(),
            updated: Span::default(),
            currencies: None,
            amount: Range::ALL,
            exposure: Range::ALL,
            error_part: None,
            exact: true,
        }
    }

    /// The outline of `query` at `now`.
    #[must_use]
    pub fn of(query: &Query, now: DateTime<Utc>) -> Self {
        match query {
            Query::All => Self::none(),
            Query::Is(condition) => Self::of_condition(condition, now),
            // Of what is not meant, only states and nothing else can be told.
            Query::Not(query) => Self { states: states_of_not(query), exact: only_states(query), ..Self::none() },
            Query::And(queries) => {
                queries.iter().map(|query| Self::of(query, now)).reduce(Self::and).unwrap_or_else(Self::none)
            }
            Query::Or(queries) => {
                queries.iter().map(|query| Self::of(query, now)).reduce(Self::or).unwrap_or_else(Self::none)
            }
        }
    }

    /// No saga can be within.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.states == States::NONE
            || self.ids.as_ref().is_some_and(BTreeSet::is_empty)
            || self.customers.as_ref().is_some_and(BTreeSet::is_empty)
            || self.currencies.as_ref().is_some_and(BTreeSet::is_empty)
            || self.started.is_empty()
            || self.updated.is_empty()
            || self.version.is_empty()
            || self.amount.is_empty()
            || self.exposure.is_empty()
    }

    /// Nothing but states, definitions, steps and errors is asked for: what sagas are counted by.
    #[must_use]
    pub fn is_of_groups(&self) -> bool {
        let groups = Self {
            states: self.states,
            definitions: self.definitions.clone(),
            version: self.version,
            steps: self.steps.clone(),
            errors: self.errors.clone(),
            exact: self.exact,
            ..Self::none()
        };
        self.exact && *self == groups
    }

    fn of_condition(condition: &Condition, now: DateTime<Utc>) -> Self {
        let inexact = Self { exact: false, ..Self::none() };
        match condition {
            Condition::State(states) => Self { states: *states, ..Self::none() },
            Condition::Definition(any) => {
                let names = any.iter().map(|(name, _)| name.clone()).collect();
                let (version, exact) = match any.as_slice() {
                    [(_, Some(version))] => (Range { low: (*version).into(), high: (*version).into() }, true),
                    several => (Range::ALL, several.iter().all(|(_, version)| version.is_none())),
                };
                Self { definitions: Some(names), version, exact, ..Self::none() }
            }
            Condition::Step(any) => Self { steps: Some(any.iter().cloned().collect()), ..Self::none() },
            Condition::Error(any) => Self { errors: Some(any.iter().cloned().collect()), ..Self::none() },
            Condition::Age(compare, seconds) => {
                let (started, exact) = Span::ago(*compare, *seconds, now);
                Self { started, exact, ..Self::none() }
            }
            Condition::Idle(compare, seconds) => {
                let (updated, exact) = Span::ago(*compare, *seconds, now);
                Self { updated, exact, ..Self::none() }
            }
            Condition::Started(compare, time) => {
                let (started, exact) = Span::at(*compare, *time);
                Self { started, exact, ..Self::none() }
            }
            Condition::Updated(compare, time) => {
                let (updated, exact) = Span::at(*compare, *time);
                Self { updated, exact, ..Self::none() }
            }
            Condition::Customer(any) => Self { customers: Some(any.iter().copied().collect()), ..Self::none() },
            Condition::Order(any) => {
                let ids = any.iter().flat_map(|order| [place_saga_id(*order), cancel_saga_id(*order)]);
                Self { ids: Some(ids.collect()), ..Self::none() }
            }
            Condition::Id(any) => Self { ids: Some(any.iter().copied().collect()), ..Self::none() },
            Condition::ErrorHas(part) => {
                let (ascii, exact) = ascii_part(part);
                Self { error_part: Some(ascii), exact, ..Self::none() }
            }
            Condition::Amount(compare, amount) => match amount.range(*compare) {
                Some((currency, amount)) => Self { currencies: currency.and_then(only), amount, ..Self::none() },
                None => inexact,
            },
            Condition::Exposure(compare, exposure) => match exposure.range(*compare) {
                Some((currency, exposure)) => Self { currencies: currency.and_then(only), exposure, ..Self::none() },
                None => inexact,
            },
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            states: self.states.and(other.states),
            ids: both(self.ids, other.ids),
            customers: both(self.customers, other.customers),
            definitions: both(self.definitions, other.definitions),
            version: self.version.both(other.version),
            steps: both(self.steps, other.steps),
            errors: both(self.errors, other.errors),
            started: self.started.both(other.started),
            updated: self.updated.both(other.updated),
            currencies: both(self.currencies, other.currencies),
            amount: self.amount.both(other.amount),
            exposure: self.exposure.both(other.exposure),
            exact: self.exact && other.exact && (self.error_part.is_none() || other.error_part.is_none()),
            error_part: self.error_part.or(other.error_part),
        }
    }

    fn or(self, other: Self) -> Self {
        let states_alone = self.without_states() == Self::none() && other.without_states() == Self::none();
        Self {
            states: self.states.or(other.states),
            ids: either(self.ids, other.ids),
            customers: either(self.customers, other.customers),
            definitions: either(self.definitions, other.definitions),
            version: self.version.either(other.version),
            steps: either(self.steps, other.steps),
            errors: either(self.errors, other.errors),
            started: self.started.either(other.started),
            updated: self.updated.either(other.updated),
            currencies: either(self.currencies, other.currencies),
            amount: self.amount.either(other.amount),
            exposure: self.exposure.either(other.exposure),
            error_part: None,
            exact: states_alone,
        }
    }

    fn without_states(&self) -> Self {
        Self { states: States::ALL, ..self.clone() }
    }
}

fn only(currency: Currency) -> Option<BTreeSet<String>> {
    Some(BTreeSet::from([currency.code().to_owned()]))
}

/// The states of sagas that `query` does not mean, as far as can be told.
fn states_of_not(query: &Query) -> States {
    if only_states(query) { Bounds::of(query, DateTime::UNIX_EPOCH).states.others() } else { States::ALL }
}

/// Whether states are all that `query` looks at.
fn only_states(query: &Query) -> bool {
    match query {
        Query::All | Query::Is(Condition::State(_)) => true,
        Query::Is(_) => false,
        Query::Not(query) => only_states(query),
        Query::And(queries) | Query::Or(queries) => queries.iter().all(only_states),
    }
}
