use std::sync::Arc;

use eventstore::{Aggregate, Category};
use serde::Serialize;

use crate::domain::FarmEvent;

/// Where a farm stands.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub enum Farm {
    /// Nobody has registered it.
    #[default]
    Unregistered,
    /// It sells here.
    Registered(#[serde(serialize_with = "eventstore::shared::serialize")] Arc<FarmFacts>),
}

/// What is known of a farm.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FarmFacts {
    /// Its name.
    pub name: String,
    /// Where it is told of orders.
    pub email: String,
}

impl Aggregate for Farm {
    const CATEGORY: Category = Category::new("farm");

    type Event = FarmEvent;

    fn evolve(self, event: &FarmEvent) -> Self {
        match event {
            FarmEvent::FarmRegistered { name, email } => {
                Self::Registered(Arc::new(FarmFacts { name: name.clone(), email: email.clone() }))
            }
        }
    }
}
