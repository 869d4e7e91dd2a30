use crate::{Category, DomainEvent, EventId, SnapshotShape, StreamId};

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

    /// The state after `event`, which is stored under `id`: for states that have to know by which event something was
    /// said. Whatever is folded for a decision goes this way.
    #[must_use]
    fn evolve_stored(self, event: &Self::Event, _id: EventId) -> Self {
        self.evolve(event)
    }

    /// The stream of the one with `id`.
    #[must_use]
    fn stream(id: uuid::Uuid) -> StreamId {
        StreamId::new(Self::CATEGORY, id)
    }
}
