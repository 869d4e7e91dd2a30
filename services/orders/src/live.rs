//! Orders as they change, for whoever watches.
//!
//! What this process commits is heard at once; what another replica commits is not heard at all. So the log is the
//! truth and this only hurries: a watch begins with a look into the log, looks again when it hears of a change that
//! does not follow what it knows, and every second in any case. Only what is watched is kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventstore::worker::CommitListener;
use eventstore::{Aggregate as _, Committed, DomainEvent as _, Recorded, Version};
use tokio::sync::watch;
use uuid::Uuid;

use crate::domain::{Order, OrderEvent};
use crate::view::View;

type Watched = HashMap<Uuid, watch::Sender<Known>>;

/// The orders that are watched in this process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Live(Arc<Mutex<Watched>>);

/// What is known of a watched order.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The order, once the log was looked into. It never becomes older.
    pub view: Option<View>,
    /// The newest version that was heard of.
    pub heard: Version,
}

/// One watcher of one order; dropped, it is forgotten.
pub struct Following {
    order_id: Uuid,
    known: watch::Receiver<Known>,
    live: Live,
}

impl Live {
    /// Follows an order from now on. Nothing is known of it but by others who watch it.
    #[must_use]
    pub fn follow(&self, order_id: Uuid) -> Following {
        let known = self.watched().entry(order_id).or_insert_with(|| watch::Sender::new(Known::default())).subscribe();
        Following { order_id, known, live: self.clone() }
    }

    /// True when nobody watches anything.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.watched().is_empty()
    }

    fn heard(&self, event: &Recorded) {
        let watched = self.watched();
        let Some(order) = watched.get(&event.stream.id) else { return };
        order.send_if_modified(|known| {
            let newer = event.version > known.heard;
            known.heard = known.heard.max(event.version);
            let follows = known.view.take_if(|view| view.version.plus(1) == event.version);
            if let Some(view) = follows {
                // One that this program cannot read is met again in the log, where it becomes an error.
                known.view = Some(match OrderEvent::from_recorded(event) {
                    Ok(decoded) => view.next(&decoded, event.version, event.time),
                    Err(_) => view,
                });
            }
            newer
        });
    }

    /// Never poisoned for good: every change is complete before the lock is let go.
    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// True when the log has more than what is known.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.view.as_ref().is_none_or(|view| view.version < self.heard)
    }
}

impl Following {
    /// Which order.
    #[must_use]
    pub fn order_id(&self) -> Uuid {
        self.order_id
    }

    /// What is known of it now; [`Self::changed`] waits for what comes after.
    pub fn known(&mut self) -> Known {
        self.known.borrow_and_update().clone()
    }

    /// Waits until more is known. Safe to drop and call again.
    pub async fn changed(&mut self) {
        if self.known.changed().await.is_err() {
            // The sender lives as long as its last watcher: this does not happen, and would be told by the log.
            std::future::pending().await
        }
    }

    /// Takes note of the order as the log has it, for all who watch it.
    pub fn learn(&self, view: View) {
        let watched = self.live.watched();
        let Some(order) = watched.get(&self.order_id) else { return };
        order.send_if_modified(|known| {
            let newer = known.view.as_ref().is_none_or(|current| view.version > current.version);
            if newer {
                known.view = Some(view);
            }
            newer
        });
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut watched = self.live.watched();
        // This watcher is still counted.
        if watched.get(&self.order_id).is_some_and(|order| order.receiver_count() <= 1) {
            watched.remove(&self.order_id);
        }
    }
}

impl CommitListener for Live {
    fn committed(&self, events: &Arc<[Recorded]>, _committed: Committed) {
        events.iter().filter(|event| event.stream.category == Order::CATEGORY).for_each(|event| self.heard(event));
    }
}
