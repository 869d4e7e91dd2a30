//! Order per key: a message waits until its elder of the same key is done.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

/// The messages in work, and what waits behind them.
pub(super) struct Lanes<T>(Mutex<Waiting<T>>);

struct Waiting<T> {
    behind: HashMap<Arc<str>, VecDeque<T>, RandomState>,
    in_work: usize,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self(Mutex::new(Waiting { behind: HashMap::default(), in_work: 0 }))
    }
}

impl<T> Lanes<T> {
    /// Messages that have come in and are not done.
    pub(super) fn in_work(&self) -> usize {
        self.lock().in_work
    }

    /// A message comes in: it is given back to be handled now, or waits for its elder. Without a key it never waits.
    pub(super) fn enter(&self, key: Option<&Arc<str>>, message: T) -> Option<T> {
        let mut lanes = self.lock();
        lanes.in_work += 1;
        let Some(key) = key else { return Some(message) };
        match lanes.behind.get_mut(key) {
            Some(behind) => {
                behind.push_back(message);
                None
            }
            None => {
                lanes.behind.insert(Arc::clone(key), VecDeque::new());
                Some(message)
            }
        }
    }

    /// A message is done: whatever waits behind it is next.
    pub(super) fn leave(&self, key: Option<&Arc<str>>) -> Option<T> {
        let mut lanes = self.lock();
        lanes.in_work = lanes.in_work.saturating_sub(1);
        let key = key?;
        let next = lanes.behind.get_mut(key).and_then(VecDeque::pop_front);
        if next.is_none() {
            lanes.behind.remove(key);
        }
        next
    }

    /// What `of` says of those that wait behind their elders now.
    pub(super) fn behind<S>(&self, of: impl FnMut(&T) -> S) -> Vec<S> {
        self.lock().behind.values().flatten().map(of).collect()
    }

    /// Never poisoned for good: every change is complete before the lock is let go.
    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_one_key_follow_each_other_and_others_do_not_wait() {
        let lanes = Lanes::default();
        let (a, b) = (Arc::from("a"), Arc::from("b"));
        assert_eq!(lanes.enter(Some(&a), 1), Some(1));
        assert_eq!(lanes.enter(Some(&a), 2), None);
        assert_eq!(lanes.enter(Some(&a), 3), None);
        assert_eq!(lanes.enter(Some(&b), 4), Some(4));
        assert_eq!(lanes.enter(None, 5), Some(5));
        assert_eq!(lanes.in_work(), 5);
        assert_eq!(lanes.behind(|message| *message), [2, 3]);
        assert_eq!([lanes.leave(Some(&a)), lanes.leave(Some(&a)), lanes.leave(Some(&a))], [Some(2), Some(3), None]);
        assert_eq!((lanes.leave(None), lanes.leave(Some(&b))), (None, None));
        assert_eq!(lanes.in_work(), 0);
        assert_eq!(lanes.enter(Some(&a), 6), Some(6), "the lane is free again");
    }
}
