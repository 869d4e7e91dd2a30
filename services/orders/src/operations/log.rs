//! What operators look for in the log.

use chrono::{DateTime, Utc};
use eventstore::Recorded;
use uuid::Uuid;

/// Which events are meant; empty fields set no limit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Its name is this, or begins with this and an asterisk.
    pub type_name: String,
    /// Of this stream or this saga.
    pub id: Option<Uuid>,
    /// With this text in the payload.
    pub text: String,
    /// By this actor, or one that begins with this and an asterisk.
    pub actor: String,
    /// Not before.
    pub from: Option<DateTime<Utc>>,
    /// Before.
    pub to: Option<DateTime<Utc>>,
}

impl Filter {
    /// Whether an event is meant.
    #[must_use]
    pub fn admits(&self, event: &Recorded) -> bool {
        is_like(&self.type_name, &event.type_name)
            && is_like(&self.actor, event.cause.actor.as_str())
            && self.id.is_none_or(|id| event.stream.id == id || event.cause.correlation == id)
            && self.from.is_none_or(|from| from <= event.time)
            && self.to.is_none_or(|to| event.time < to)
            && (self.text.is_empty() || event.payload.contains(&self.text))
    }
}

fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(begin) => text.starts_with(begin),
        None => pattern.is_empty() || pattern == text,
    }
}
