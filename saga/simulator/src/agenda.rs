//! The world's diary: what happens when.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

/// A replica of a service, by its numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The service.
    pub station: usize,
    /// The replica.
    pub replica: usize,
}

/// Something that is going to happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The broker delivers.
    Deliver {
        /// Which delivery.
        delivery: usize,
        /// True when it does so whether the message was handled or not.
        again: bool,
    },
    /// A replica takes up what has come in.
    Work(Place),
    /// A service claims timers.
    Timers(usize),
    /// A replica that died is back.
    Restart(Place),
    /// A service sweeps its outbox.
    Sweep(usize),
    /// A service looks after what has not ended.
    Reconcile(usize),
    /// A call reaches the outside.
    CallArrives {
        /// The caller.
        place: Place,
        /// Which call.
        call: u64,
    },
    /// The answer to a call comes back, or the caller gives up.
    CallEnds {
        /// The caller.
        place: Place,
        /// Which call.
        call: u64,
    },
    /// A client asks.
    Command {
        /// Whom.
        station: usize,
        /// Its number.
        number: u64,
    },
    /// Something befalls the world as a whole.
    Trouble,
    /// From here on nothing goes wrong any more.
    Quiet,
}

struct Entry {
    at: Duration,
    order: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The greatest is the earliest; of the same time, the one that was entered first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// What is going to happen, earliest first.
#[derive(Default)]
pub struct Agenda {
    entries: BinaryHeap<Entry>,
    entered: u64,
}

impl Agenda {
    /// Enters `event` at the time `at` since the world began.
    pub fn enter(&mut self, at: Duration, event: Event) {
        self.entered += 1;
        self.entries.push(Entry { at, order: self.entered, event });
    }

    /// The next event and its time.
    pub fn take_first(&mut self) -> Option<(Duration, Event)> {
        self.entries.pop().map(|entry| (entry.at, entry.event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_earlier_comes_first_and_of_the_same_time_what_was_entered_first() {
        let mut agenda = Agenda::default();
        let second = Duration::from_secs(1);
        agenda.enter(second * 2, Event::Sweep(1));
        agenda.enter(second, Event::Sweep(2));
        agenda.enter(second, Event::Sweep(3));
        let order: Vec<_> = std::iter::from_fn(|| agenda.take_first()).map(|(_, event)| event).collect();
        assert_eq!(order, [Event::Sweep(2), Event::Sweep(3), Event::Sweep(1)]);
    }
}
