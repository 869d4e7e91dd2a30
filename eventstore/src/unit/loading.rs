use super::Fold;
use crate::cache::AnyState;
use crate::{Recorded, Version};

/// A stream that is being folded, a page at a time.
pub(super) struct Loading {
    fold: Fold,
    state: Result<Option<Box<dyn AnyState>>, String>,
    pub(super) version: Version,
}

impl Loading {
    pub(super) fn new(fold: Fold) -> Self {
        Self { fold, state: Ok(None), version: Version::NONE }
    }

    pub(super) fn feed(&mut self, events: &[Recorded]) {
        if let Ok(state) = &mut self.state {
            let folded = (self.fold)(state.take(), events);
            self.state = folded.map(Some).map_err(|error| format!("{error}: {}", error.source));
        }
        self.version = events.last().map_or(self.version, |event| event.version);
    }

    pub(super) fn end(self) -> Result<Box<dyn AnyState>, String> {
        match self.state? {
            Some(state) => Ok(state),
            None => (self.fold)(None, &[]).map_err(|error| error.to_string()),
        }
    }
}
