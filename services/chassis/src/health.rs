//! Whether a process can do its work, told by the parts that know.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The state of every part, by name: `orders/postgres`, `orders/nats`.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, Part>>>);

/// How one part is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// Why it is down; `None` when it is up.
    pub reason: Option<String>,
    /// Since when it is up, or down for whatever reason.
    pub since: Instant,
}

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
        self.parts().values().all(Part::is_up)
    }

    /// True when every part whose name begins with `prefix` is up.
    #[must_use]
    pub fn is_ready_for(&self, prefix: &str) -> bool {
        self.parts().iter().filter(|(name, _)| name.starts_with(prefix)).all(|(_, part)| part.is_up())
    }

    /// One line per part, `[+]orders/postgres ok` or `[-]orders/nats not connected`.
    #[must_use]
    pub fn report(&self) -> String {
        let line = |(name, part): (&String, &Part)| match &part.reason {
            None => format!("[+]{name} ok\n"),
            Some(reason) => format!("[-]{name} {reason}\n"),
        };
        self.parts().iter().map(line).collect()
    }

    /// The parts of one service, by their names without the service's.
    #[must_use]
    pub fn parts_of(&self, service: &str) -> Vec<(String, Part)> {
        let of_it = |(name, part): (&String, &Part)| {
            let (owner, name) = name.split_once('/')?;
            (owner == service).then(|| (name.to_owned(), part.clone()))
        };
        self.parts().iter().filter_map(of_it).collect()
    }

    /// The part of this name; `None` when there is none.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<Part> {
        self.parts().get(name).cloned()
    }

    fn parts(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Part>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    /// Whether it works.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.reason.is_none()
    }
}

impl Component {
    /// It works.
    pub fn up(&self) {
        self.tell(None);
    }

    /// It does not, and why.
    pub fn down(&self, reason: impl Into<String>) {
        self.tell(Some(reason.into()));
    }

    /// Either of them: `reason` is why it is down.
    pub fn tell(&self, reason: Option<String>) {
        let mut parts = self.health.parts();
        let before = parts.get(&self.name).filter(|part| part.is_up() == reason.is_none());
        let since = before.map_or_else(Instant::now, |part| part.since);
        parts.insert(self.name.clone(), Part { reason, since });
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

    #[test]
    fn a_part_is_down_since_it_stopped_working_whatever_the_reason_is_by_now() {
        let health = Health::new();
        let nats = health.component("orders/nats");
        let starting = health.part("orders/nats").unwrap();
        nats.down("not connected");
        let down = health.part("orders/nats").unwrap();
        assert_eq!((down.since, down.reason.as_deref()), (starting.since, Some("not connected")));
        nats.up();
        assert!(health.part("orders/nats").unwrap().is_up());
        assert_eq!(health.part("orders/postgres"), None);
        let [(name, _)] = health.parts_of("orders").try_into().unwrap();
        assert_eq!((name.as_str(), health.parts_of("order").len()), ("nats", 0));
    }
}
