use std::sync::Arc;

use eventstore::{Aggregate, Category};

use crate::domain::FarmEvent;

/// Where a farm stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Farm {
    /// Nobody has registered it.
    #[default]
    Unregistered,
    /// It sells here.
    Registered(Arc<FarmFacts>),
}

/// What is known of a farm.
#[derive(Clone, PartialEq, Eq, Debug)]
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
