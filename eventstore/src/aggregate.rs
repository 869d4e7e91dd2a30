use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Category, Recorded, SnapshotShape, StreamId, Version};

/// Why a stored event cannot be understood by this program. The stream is stopped, not skipped.
#[derive(Debug, thiserror::Error)]
#[error("event {version} of {stream} ({type_name} v{schema_version}) cannot be decoded")]
pub struct DecodeError {
    /// The stream.
    pub stream: StreamId,
    /// The event's version.
    pub version: Version,
    /// Its name.
    pub type_name: String,
    /// The version of its shape.
    pub schema_version: u16,
    /// What the decoder said.
    #[source]
    pub source: serde_json::Error,
}

/// A fact that a stream can hold.
pub trait DomainEvent: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The version of the shape that is written today. Older shapes are brought up in [`Self::decode`].
    const SCHEMA_VERSION: u16 = 1;

    /// The name under which the event is stored. Past tense, CamelCase, never changed once released.
    fn type_name(&self) -> &'static str;

    /// Reads a stored payload of any released shape.
    ///
    /// # Errors
    /// The JSON does not fit. A name or shape of a newer program ends here too.
    fn decode(_type_name: &str, _schema_version: u16, payload: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(payload)
    }

    /// [`Self::decode`] for a recorded event, with its place in the error.
    ///
    /// # Errors
    /// [`DecodeError`] names the event.
    fn from_recorded(recorded: &Recorded) -> Result<Self, DecodeError> {
        Self::decode(&recorded.type_name, recorded.schema_version, &recorded.payload).map_err(|source| DecodeError {
            stream: recorded.stream,
            version: recorded.version,
            type_name: recorded.type_name.clone(),
            schema_version: recorded.schema_version,
            source,
        })
    }
}

/// A thing whose state is the fold of its stream.
pub trait Aggregate: Default + Clone + Send + Sync + 'static {
    /// The category of its streams.
    const CATEGORY: Category;

    /// What can happen to it.
    type Event: DomainEvent;

    /// How its states are written down between its events, for streams without a bound on their length. Its state must
    /// have one.
    const SNAPSHOT: Option<SnapshotShape<Self>> = None;

    /// The state after `event`. Never fails: an event is a fact, and carries what this needs.
    #[must_use]
    fn evolve(self, event: &Self::Event) -> Self;

    /// The stream of the one with `id`.
    #[must_use]
    fn stream(id: uuid::Uuid) -> StreamId {
        StreamId::new(Self::CATEGORY, id)
    }
}
