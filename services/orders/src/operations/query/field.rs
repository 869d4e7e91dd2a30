//! The fields of the language, and how each is compared.

use super::parser::{QueryError, Value, negate};
use super::{Compare, Condition, Query, States};

/// A field.
#[derive(Clone, Copy)]
pub(super) enum Field {
    State,
    Saga,
    Step,
    Error,
    Age,
    Idle,
    Started,
    Updated,
    Customer,
    Order,
    Id,
    Amount,
    Exposure,
}

impl Field {
    /// The field of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "state" => Self::State,
            "saga" => Self::Saga,
            "step" => Self::Step,
            "error" => Self::Error,
            "age" => Self::Age,
            "idle" => Self::Idle,
            "started" => Self::Started,
            "updated" => Self::Updated,
            "customer" => Self::Customer,
            "order" => Self::Order,
            "id" => Self::Id,
            "amount" => Self::Amount,
            "exposure" => Self::Exposure,
            _ => return None,
        })
    }

    /// Is one of these.
    pub(super) fn any(self, values: &[Value]) -> Result<Condition, QueryError> {
        let texts = || values.iter().map(|value| value.text.clone()).collect();
        let uuids = || values.iter().map(Value::uuid).collect::<Result<Vec<_>, _>>();
        Ok(match self {
            Self::State => {
                let states = values.iter().map(Value::state).collect::<Result<Vec<_>, _>>()?;
                Condition::State(states.into_iter().fold(States::NONE, States::or))
            }
            Self::Saga => Condition::Definition(values.iter().map(Value::definition).collect::<Result<_, _>>()?),
            Self::Step => Condition::Step(texts()),
            Self::Error => Condition::Error(texts()),
            Self::Customer => Condition::Customer(uuids()?),
            Self::Order => Condition::Order(uuids()?),
            Self::Id => Condition::Id(uuids()?),
            Self::Age | Self::Idle | Self::Started | Self::Updated | Self::Amount | Self::Exposure => {
                let offset = values.first().map_or(0, |value| value.offset);
                return Err(QueryError::new(
                    offset,
                    "this field is compared by = != < <= > >= or BETWEEN, not by IN".to_owned(),
                ));
            }
        })
    }

    /// Has this in it.
    pub(super) fn has(self, at: usize, value: Value) -> Result<Query, QueryError> {
        match self {
            Self::Error => Ok(Query::Is(Condition::ErrorHas(value.text))),
            Self::State
            | Self::Saga
            | Self::Step
            | Self::Age
            | Self::Idle
            | Self::Started
            | Self::Updated
            | Self::Customer
            | Self::Order
            | Self::Id
            | Self::Amount
            | Self::Exposure => Err(QueryError::new(at, "only `error` can be searched by `~`".to_owned())),
        }
    }

    /// Compares so; `at` is where it says how.
    pub(super) fn compares(self, at: usize, compare: Compare, value: Value) -> Result<Query, QueryError> {
        match self {
            Self::Age => Ok(Query::Is(Condition::Age(compare, value.seconds()?))),
            Self::Idle => Ok(Query::Is(Condition::Idle(compare, value.seconds()?))),
            Self::Started => Ok(Query::Is(Condition::Started(compare, value.time("started")?))),
            Self::Updated => Ok(Query::Is(Condition::Updated(compare, value.time("updated")?))),
            Self::Amount => Ok(Query::Is(Condition::Amount(compare, value.amount("amount")?))),
            Self::Exposure => Ok(Query::Is(Condition::Exposure(compare, value.amount("exposure")?))),
            Self::State | Self::Saga | Self::Step | Self::Error | Self::Customer | Self::Order | Self::Id => {
                let condition = self.any(std::slice::from_ref(&value))?;
                match compare {
                    Compare::Equal => Ok(Query::Is(condition)),
                    Compare::Unequal => Ok(negate(condition)),
                    Compare::Below | Compare::AtMost | Compare::Above | Compare::AtLeast => {
                        Err(QueryError::new(at, "this field is compared by = != or in, it has no order".to_owned()))
                    }
                }
            }
        }
    }
}
