//! The query language of operators: `state = PARKED AND step = "refund-payment" AND age > 10m`, or with times of their own,
//! `started BETWEEN 2026-11-29T23:00:00Z AND 2026-11-30T01:00:00+01:00`.
//!
//! [`parse`] makes a [`Query`], [`Query::admits`] says of one saga whether it is meant, and [`Bounds`] says what a
//! database can say beforehand: an outline that holds everything the query admits, and says whether it holds nothing
//! else. All of it is pure.

mod bounds;
mod field;
mod fold;
mod lexer;
mod parser;
mod time;
mod value;

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use bounds::{Bounds, Range, Span};
pub use fold::folded;
pub use parser::{DEPTH_MAX, LENGTH_MAX, QueryError, parse};
pub use value::{Amount, States};

/// What a query asks of a saga.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// Every saga.
    All,
    /// One condition.
    Is(Condition),
    /// Not so.
    Not(Box<Self>),
    /// All of these; never empty.
    And(Vec<Self>),
    /// Any of these; never empty.
    Or(Vec<Self>),
}

/// One condition on one field.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Where it stands is one of these.
    State(States),
    /// Its definition is one of these: a name, and a version where one was given.
    Definition(Vec<(String, Option<u32>)>),
    /// The step it is at is one of these.
    Step(Vec<String>),
    /// The code of its last error is one of these.
    Error(Vec<String>),
    /// Its last error has this text in it, whatever the case of letters ([`folded`]).
    ErrorHas(String),
    /// So long ago it started, seconds.
    Age(Compare, i64),
    /// So long ago it changed, seconds.
    Idle(Compare, i64),
    /// When it started, to the microsecond.
    Started(Compare, DateTime<Utc>),
    /// When it last changed, to the microsecond.
    Updated(Compare, DateTime<Utc>),
    /// One of these ordered.
    Customer(Vec<Uuid>),
    /// It is about one of these orders.
    Order(Vec<Uuid>),
    /// It is one of these.
    Id(Vec<Uuid>),
    /// What the order comes to.
    Amount(Compare, Amount),
    /// What it holds: money and goods, summed up.
    Exposure(Compare, Amount),
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Is the same.
    Equal,
    /// Is another.
    Unequal,
    /// Is less.
    Below,
    /// Is not more.
    AtMost,
    /// Is more.
    Above,
    /// Is not less.
    AtLeast,
}

impl Compare {
    fn holds<T: PartialOrd>(self, one: &T, other: &T) -> bool {
        match self {
            Self::Equal => one == other,
            Self::Unequal => one != other,
            Self::Below => one < other,
            Self::AtMost => one <= other,
            Self::Above => one > other,
            Self::AtLeast => one >= other,
        }
    }
}

/// What a query looks at.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject<'a> {
    /// The saga.
    pub id: Uuid,
    /// Its order.
    pub order_id: Uuid,
    /// Who ordered.
    pub customer_id: Uuid,
    /// Its definition's name.
    pub definition: &'a str,
    /// Its definition's version.
    pub definition_version: u32,
    /// Where it stands: the number of `Saga.State`.
    pub state: i16,
    /// The step it is at; empty when it is over.
    pub step: &'a str,
    /// The code of its last error; empty without one.
    pub error_code: &'a str,
    /// Its last error.
    pub error: &'a str,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// What the order comes to, minor units.
    pub amount: i64,
    /// What it holds, minor units: money or goods, whichever is more.
    pub exposure: i64,
    /// Of this currency.
    pub currency: &'a str,
}

impl Query {
    /// Whether the query means this saga.
    #[must_use]
    pub fn admits(&self, saga: &Subject<'_>, now: DateTime<Utc>) -> bool {
        match self {
            Self::All => true,
            Self::Is(condition) => condition.holds(saga, now),
            Self::Not(query) => !query.admits(saga, now),
            Self::And(queries) => queries.iter().all(|query| query.admits(saga, now)),
            Self::Or(queries) => queries.iter().any(|query| query.admits(saga, now)),
        }
    }
}

impl Condition {
    fn holds(&self, saga: &Subject<'_>, now: DateTime<Utc>) -> bool {
        match self {
            Self::State(states) => states.has(saga.state),
            Self::Definition(any) => any.iter().any(|(name, version)| {
                name == saga.definition && version.is_none_or(|version| version == saga.definition_version)
            }),
            Self::Step(any) => any.iter().any(|step| step == saga.step),
            Self::Error(any) => any.iter().any(|code| code == saga.error_code),
            Self::ErrorHas(part) => folded(saga.error).contains(&folded(part)),
            Self::Age(compare, seconds) => compare.holds(&since(saga.started_at, now), &(seconds * 1_000_000)),
            Self::Idle(compare, seconds) => compare.holds(&since(saga.updated_at, now), &(seconds * 1_000_000)),
            Self::Started(compare, time) => compare.holds(&saga.started_at, time),
            Self::Updated(compare, time) => compare.holds(&saga.updated_at, time),
            Self::Customer(any) => any.contains(&saga.customer_id),
            Self::Order(any) => any.contains(&saga.order_id),
            Self::Id(any) => any.contains(&saga.id),
            Self::Amount(compare, amount) => amount.compare(*compare, saga.amount, saga.currency),
            Self::Exposure(compare, amount) => amount.compare(*compare, saga.exposure, saga.currency),
        }
    }
}

fn since(then: DateTime<Utc>, now: DateTime<Utc>) -> i64 {
    (now - then).num_microseconds().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
