//! Whether a process can do its work, told by the parts that know.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The state of every part, by name: `orders/postgres`, `orders/nats`.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, Option<String>>>>);

/// One part that something depends on.
#[derive(Clone, Debug)]
pub struct Component {
    name: String,
    health: Health,
}

impl Health {
    /// Knows of no parts yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A part under a name; down until it says otherwise.
    #[must_use]
    pub fn component(&self, name: impl Into<String>) -> Component {
        let component = Component { name: name.into(), health: self.clone() };
        component.down("starting");
        component
    }

    /// True when every part is up.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.parts().values().all(Option::is_none)
    }

    /// True when every part whose name begins with `prefix` is up.
    #[must_use]
    pub fn is_ready_for(&self, prefix: &str) -> bool {
        self.parts().iter().filter(|(name, _)| name.starts_with(prefix)).all(|(_, reason)| reason.is_none())
    }

    /// One line per part, `[+]orders/postgres ok` or `[-]orders/nats not connected`.
    #[must_use]
    pub fn report(&self) -> String {
        let line = |(name, reason): (&String, &Option<String>)| match reason {
            None => format!("[+]{name} ok\n"),
            Some(reason) => format!("[-]{name} {reason}\n"),
        };
        self.parts().iter().map(line).collect()
    }

    fn parts(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Option<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Component {
    /// It works.
    pub fn up(&self) {
        self.health.parts().insert(self.name.clone(), None);
    }

    /// It does not, and why.
    pub fn down(&self, reason: impl Into<String>) {
        self.health.parts().insert(self.name.clone(), Some(reason.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_when_every_part_is_up() {
        let health = Health::new();
        let postgres = health.component("orders/postgres");
        let nats = health.component("orders/nats");
        postgres.up();
        assert!(!health.is_ready());
        nats.up();
        assert!(health.is_ready());
        nats.down("not connected");
        assert_eq!(health.report(), "[-]orders/nats not connected\n[+]orders/postgres ok\n");
    }
}
