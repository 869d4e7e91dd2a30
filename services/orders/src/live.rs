//! Orders as they change, for whoever watches.
//!
//! Recent orders are kept in memory as their events are committed here, so that watching an order that was just placed
//! costs no query. Another replica's commits are not heard: a watcher looks into the log itself every second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventstore::worker::CommitListener;
use eventstore::{Aggregate as _, Committed, DomainEvent as _, Recorded, Version};
use tokio::sync::watch;
use uuid::Uuid;

use crate::domain::{Order, OrderEvent};
use crate::view::View;

/// Orders kept in memory, in each of two generations.
const RECENT_MAX: usize = 20_000;

/// The recent orders of this process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Live(Arc<Mutex<Generations>>);

#[derive(Default)]
struct Generations {
    young: HashMap<Uuid, watch::Sender<View>>,
    old: HashMap<Uuid, watch::Sender<View>>,
}

impl Live {
    /// Follows an order that is in memory.
    #[must_use]
    pub fn follow(&self, order_id: Uuid) -> Option<watch::Receiver<View>> {
        let mut generations = self.generations();
        generations.get(order_id).map(watch::Sender::subscribe)
    }

    /// Takes note of an order as the log has it, and follows it from there.
    #[must_use]
    pub fn keep(&self, view: View) -> watch::Receiver<View> {
        let mut generations = self.generations();
        if let Some(known) = generations.get(view.order_id) {
            known.send_if_modified(|current| {
                let newer = view.version > current.version;
                if newer {
                    *current = view;
                }
                newer
            });
            return known.subscribe();
        }
        let (sender, receiver) = watch::channel(view.clone());
        generations.insert(view.order_id, sender);
        receiver
    }

    fn heard(&self, event: &Recorded) {
        if event.version == Version::new(1) {
            if let Ok(Some(view)) = View::fold(std::slice::from_ref(event)) {
                self.generations().insert(event.stream.id, watch::Sender::new(view));
            }
            return;
        }
        let Ok(decoded) = OrderEvent::from_recorded(event) else { return };
        let mut generations = self.generations();
        let Some(sender) = generations.get(event.stream.id) else { return };
        let follows = sender.borrow().version.plus(1) == event.version;
        if follows {
            sender.send_modify(|view| *view = view.clone().next(&decoded, event.version, event.time));
        }
    }

    /// Never poisoned for good: every change is complete before the lock is let go.
    fn generations(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn get(&mut self, order_id: Uuid) -> Option<&watch::Sender<View>> {
        if let Some(sender) = self.old.remove(&order_id) {
            self.insert(order_id, sender);
        }
        self.young.get(&order_id)
    }

    fn insert(&mut self, order_id: Uuid, sender: watch::Sender<View>) {
        if self.young.len() >= RECENT_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(order_id, sender);
    }
}

impl CommitListener for Live {
    fn committed(&self, events: &Arc<[Recorded]>, _committed: Committed) {
        events.iter().filter(|event| event.stream.category == Order::CATEGORY).for_each(|event| self.heard(event));
    }
}
