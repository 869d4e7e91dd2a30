use eventstore::{Aggregate, Category, derived_id};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::DefinitionRef;

/// What a store knows a definition's name and version to stand for: the fold of a stream of its own. A program that
/// starts compares its library with it, so that nobody changes a definition under running sagas and keeps its version.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct RecordedDefinition {
    /// What it stands for; `None` before a program brought it.
    pub definition: Option<DefinitionRef>,
}

/// What can happen to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum DefinitionEvent {
    /// A program came with it that knew it first.
    #[serde(rename = "DefinitionRecorded")]
    Recorded {
        /// What it stands for.
        definition: DefinitionRef,
    },
    /// A program came with another one while no saga was bound to the one before.
    #[serde(rename = "DefinitionReplaced")]
    Replaced {
        /// What it stands for from now on.
        definition: DefinitionRef,
    },
}

eventstore::event_types! {
    DefinitionEvent {
        Self::Recorded { .. } => "DefinitionRecorded";
        Self::Replaced { .. } => "DefinitionReplaced";
    }
}

impl RecordedDefinition {
    /// Under which id the name and version are recorded.
    #[must_use]
    pub fn id_of(definition: &DefinitionRef) -> Uuid {
        derived_id(Uuid::nil(), &definition.to_string())
    }
}

impl Aggregate for RecordedDefinition {
    const CATEGORY: Category = Category::new("definition");

    type Event = DefinitionEvent;

    fn evolve(self, event: &DefinitionEvent) -> Self {
        match event {
            DefinitionEvent::Recorded { definition } | DefinitionEvent::Replaced { definition } => {
                Self { definition: Some(definition.clone()) }
            }
        }
    }
}
