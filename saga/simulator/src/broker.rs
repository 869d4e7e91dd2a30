//! A broker that keeps the few promises that a real one keeps: what it says that it has it delivers at least once, unless
//! it loses its memory.

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use crate::agenda::Event;
use crate::nature::{Nature, short};
use crate::{Fault, Message};

/// How far back a broker goes that is rolled back.
const ROLLBACK: Duration = Duration::from_secs(3);

/// The longest wait between two deliveries of one message.
const ACK_WAIT_MAX: Duration = Duration::from_secs(30);

/// A message on its way to one service.
struct Delivery {
    station: usize,
    message: Message,
    published: Duration,
    acked: Option<Duration>,
    times: u32,
    /// When it is to be delivered, as far as is known now.
    next: Duration,
    /// Lost by the broker itself.
    forgotten: bool,
}

/// What it holds.
#[derive(Default)]
pub struct Broker {
    /// The services and what they listen to: filled by the world before anything happens.
    listeners: Vec<(usize, Vec<&'static str>)>,
    deliveries: Vec<Delivery>,
    known: HashMap<Uuid, Duration>,
    away_until: Duration,
}

impl Broker {
    /// The message of a delivery that is to be made now, and to whom; `None` when it was handled or forgotten.
    fn due(&self, delivery: usize, again: bool, now: Duration) -> Option<(usize, Message)> {
        let found = self.deliveries.get(delivery)?;
        let open = !found.forgotten && (again || (found.acked.is_none() && found.next == now));
        open.then(|| (found.station, found.message.clone()))
    }

    /// One more time; 1, 2, 4 and so on, to be patient by.
    fn counted(&mut self, delivery: usize) -> u32 {
        let times = self.deliveries.get_mut(delivery).map_or(1, |found| {
            found.times += 1;
            found.times
        });
        1 << (times - 1).min(16)
    }

    /// How many messages it was given.
    #[must_use]
    pub fn delivered(&self) -> usize {
        self.deliveries.len()
    }

    /// Who listens to what.
    pub(crate) fn subscribe(&mut self, station: usize, subjects: Vec<&'static str>) {
        self.listeners.push((station, subjects));
    }
}

impl Nature {
    /// A service publishes. True when it learns that the broker has the message.
    pub(crate) fn publish(&mut self, who: &str, message: &Message) -> bool {
        if self.broker.away_until > self.now || self.strikes(Fault::PublishLost) {
            self.tell(who, || format!("publishes {} [{}], in vain", message.subject, short(message.id)));
            return false;
        }
        let window = self.knobs.dedupe_window;
        let known = self.broker.known.get(&message.id).is_some_and(|at| self.now < *at + window);
        self.tell(who, || {
            let swallowed = if known { ", which the broker has already" } else { "" };
            format!("publishes {} [{}]{swallowed}", message.subject, short(message.id))
        });
        if !known {
            self.broker.known.insert(message.id, self.now);
            let hear = |(_, subjects): &&(usize, Vec<&str>)| subjects.contains(&message.subject);
            let listeners: Vec<usize> =
                self.broker.listeners.iter().filter(hear).map(|(station, _)| *station).collect();
            listeners.into_iter().for_each(|station| self.send(station, message));
        }
        !self.strikes(Fault::PubAckLost)
    }

    fn send(&mut self, station: usize, message: &Message) {
        let (published, message) = (self.now, message.clone());
        self.broker.deliveries.push(Delivery {
            station,
            message,
            published,
            acked: None,
            times: 0,
            next: published,
            forgotten: false,
        });
        let delivery = self.broker.deliveries.len() - 1;
        self.deliver_soon(delivery, false);
        if self.strikes(Fault::DeliveredTwice) {
            self.deliver_soon(delivery, true);
        }
    }

    fn deliver_soon(&mut self, delivery: usize, again: bool) {
        let mut way = self.up_to(self.knobs.delivery_max);
        if self.strikes(Fault::DeliveryLost) {
            way += self.knobs.ack_wait;
        }
        if self.strikes(Fault::DeliveredLate) {
            way += self.up_to(Duration::from_secs(40));
        }
        if again {
            self.after(way, Event::Deliver { delivery, again });
        } else {
            self.deliver_after(way, delivery);
        }
    }

    /// Whatever else was planned for the delivery does not happen.
    fn deliver_after(&mut self, wait: Duration, delivery: usize) {
        let next = self.now + wait;
        if let Some(found) = self.broker.deliveries.get_mut(delivery) {
            found.next = next;
        }
        self.agenda.enter(next, Event::Deliver { delivery, again: false });
    }

    /// The message that is to be delivered now, and to which service. It comes again until it is handled.
    pub(crate) fn deliver(&mut self, delivery: usize, again: bool) -> Option<(usize, Message)> {
        let due = self.broker.due(delivery, again, self.now)?;
        if self.broker.away_until > self.now {
            let wait = self.broker.away_until - self.now;
            if !again {
                self.deliver_after(wait, delivery);
            }
            return None;
        }
        if !again {
            let wait = self.knobs.ack_wait * self.broker.counted(delivery);
            self.deliver_after(wait.min(ACK_WAIT_MAX), delivery);
        }
        Some(due)
    }

    /// A service has handled a message.
    pub(crate) fn acknowledge(&mut self, delivery: usize) {
        let now = self.now;
        if let Some(found) = self.broker.deliveries.get_mut(delivery) {
            found.acked = Some(now);
        }
    }

    /// A service wants a message later.
    pub(crate) fn give_back(&mut self, delivery: usize) {
        let wait = Duration::from_millis(200) + self.up_to(Duration::from_secs(2));
        self.deliver_after(wait, delivery);
    }

    /// The broker loses all that it holds.
    pub(crate) fn wipe(&mut self) {
        self.tell("broker", || "loses all that it holds".to_owned());
        self.broker.known.clear();
        self.broker.deliveries.iter_mut().for_each(|delivery| delivery.forgotten = true);
    }

    /// The broker is what it was some time ago: it has forgotten what came since, and delivers once more what was handled
    /// since.
    pub(crate) fn roll_back(&mut self) {
        let then = self.now.saturating_sub(ROLLBACK);
        self.tell("broker", || format!("is what it was {ROLLBACK:?} ago"));
        self.broker.known.retain(|_, at| *at < then);
        let mut repeated = Vec::new();
        for (index, delivery) in self.broker.deliveries.iter_mut().enumerate() {
            if delivery.published >= then {
                delivery.forgotten = true;
            } else if !delivery.forgotten && delivery.acked.is_some_and(|acked| acked >= then) {
                delivery.acked = None;
                repeated.push(index);
            }
        }
        repeated.into_iter().for_each(|delivery| self.deliver_soon(delivery, false));
    }

    /// The broker cannot be reached for a while.
    pub(crate) fn take_broker_away(&mut self) {
        let span = self.up_to(Duration::from_secs(20));
        self.tell("broker", || format!("cannot be reached for {span:?}"));
        self.broker.away_until = self.now + span;
    }
}
