use serde::Serialize;

use crate::{Aggregate, Category, DecodeError, DomainEvent, Recorded};

/// One kind of stream that a service owns, its aggregate's type forgotten: for tools that look at any stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamKind {
    /// The category of its streams.
    pub category: Category,
    begin: fn() -> Box<dyn Fold>,
    decodes: fn(&Recorded) -> Result<(), DecodeError>,
}

impl StreamKind {
    /// The streams of an aggregate whose states can be shown.
    #[must_use]
    pub const fn of<A: Aggregate + Serialize>() -> Self {
        Self {
            category: A::CATEGORY,
            begin: || Box::new(Folded(A::default())),
            decodes: |event| A::Event::from_recorded(event).map(drop),
        }
    }

    /// A fold that has seen nothing yet.
    #[must_use]
    pub fn begin(self) -> Box<dyn Fold> {
        (self.begin)()
    }

    /// Whether this program understands one of its events.
    ///
    /// # Errors
    /// [`DecodeError`]: it does not.
    pub fn decodes(self, event: &Recorded) -> Result<(), DecodeError> {
        (self.decodes)(event)
    }
}

/// A stream that is being folded to be shown.
pub trait Fold: Send {
    /// Folds one more event in; the caller keeps their order.
    ///
    /// # Errors
    /// [`DecodeError`]: the state is that before the event.
    fn feed(&mut self, event: &Recorded) -> Result<(), DecodeError>;

    /// The state as it is now.
    ///
    /// # Errors
    /// It has no JSON form.
    fn state(&self) -> Result<serde_json::Value, serde_json::Error>;
}

struct Folded<A>(A);

impl<A: Aggregate + Serialize> Fold for Folded<A> {
    fn feed(&mut self, event: &Recorded) -> Result<(), DecodeError> {
        let event = A::Event::from_recorded(event)?;
        self.0 = std::mem::take(&mut self.0).evolve(&event);
        Ok(())
    }

    fn state(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(&self.0)
    }
}
