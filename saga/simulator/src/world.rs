//! The world: services, what happens to them in which order, and the end of it.

use std::rc::Rc;
use std::time::Duration;

use eventstore::memory::MemoryStore;
use eventstore::{Cache, Recorded};

use crate::agenda::Event;
use crate::nature::{Nature, Violation};
use crate::station::{AnyStation, Station};
use crate::{Bug, Fault, Fired, Service};

/// More than any run needs that comes to rest.
const EVENTS_MAX: u64 = 100_000;
/// When the world has to be at rest, after the storm.
const REST: Duration = Duration::from_secs(4 * 3_600);
/// How often something may befall the world as a whole.
const TROUBLE_EVERY: Duration = Duration::from_secs(1);

/// Services, and the nature they live in.
pub struct World {
    nature: Nature,
    stations: Vec<Box<dyn AnyStation>>,
    happened: u64,
}

/// What became of a world.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What is wrong with it. Nothing, one hopes.
    pub violations: Vec<Violation>,
    /// What went wrong in it.
    pub fired: Fired,
    /// How long it existed.
    pub lasted: Duration,
    /// How much happened.
    pub happened: u64,
    /// The story, if it was kept.
    pub story: Vec<String>,
}

impl World {
    /// An empty world. Its weather lasts for `storm`; then nothing goes wrong any more.
    #[must_use]
    pub fn new(seed: u64, storm: Duration, bug: Option<Bug>, tells: bool) -> Self {
        let mut nature = Nature::new(seed, bug, tells);
        nature.agenda.enter(TROUBLE_EVERY, Event::Trouble);
        nature.agenda.enter(storm, Event::Quiet);
        Self { nature, stations: Vec::new(), happened: 0 }
    }

    /// Time, chance and weather.
    pub fn nature(&mut self) -> &mut Nature {
        &mut self.nature
    }

    /// Adds a service with so many replicas; its number.
    pub fn add<S: Service>(&mut self, service: S, replicas: usize) -> usize {
        let index = self.stations.len();
        self.nature.broker.subscribe(index, service.hears());
        self.stations.push(Box::new(Station::new(index, service, replicas, &self.nature)));
        index
    }

    /// Client number `number` asks `station` at `at`, and again until it has an answer.
    pub fn ask(&mut self, station: usize, number: u64, at: Duration) {
        self.nature.agenda.enter(at, Event::Command { station, number });
    }

    /// Lets everything happen until nothing is left to happen.
    pub fn run(&mut self) {
        while let Some((at, event)) = self.nature.agenda.take_first() {
            self.nature.now = at;
            self.happened += 1;
            if self.happened > EVENTS_MAX {
                return self.nature.accuse("the world comes to rest", format!("{EVENTS_MAX} events were not enough"));
            }
            self.happen(event);
            if self.nature.has_been_quiet_for(REST) {
                return self.nature.accuse("the world comes to rest", format!("not within {REST:?} after the storm"));
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { delivery, again } => {
                if let Some((station, message)) = self.nature.deliver(delivery, again)
                    && let Some(station) = self.stations.get_mut(station)
                {
                    station.deliver(&mut self.nature, delivery, message);
                }
            }
            Event::Work(place) | Event::Restart(place) => self.at(place.station, event),
            Event::CallArrives { place, .. } | Event::CallEnds { place, .. } => self.at(place.station, event),
            Event::Timers(station) | Event::Sweep(station) | Event::Reconcile(station) => self.at(station, event),
            Event::Command { station, .. } => self.at(station, event),
            Event::Trouble => self.trouble(),
            Event::Quiet => self.nature.calm_down(),
        }
    }

    fn at(&mut self, station: usize, event: Event) {
        if let Some(station) = self.stations.get_mut(station) {
            station.handle(&mut self.nature, event);
        }
    }

    fn trouble(&mut self) {
        let nature = &mut self.nature;
        if nature.strikes(Fault::Wiped) {
            nature.wipe();
        }
        if nature.strikes(Fault::RolledBack) {
            nature.roll_back();
        }
        if nature.strikes(Fault::BrokerAway) {
            nature.take_broker_away();
        }
        if nature.rates.of(Fault::TimerLost) > 0 && !nature.is_quiet() {
            for station in &mut self.stations {
                if self.nature.chance.strikes(self.nature.rates.of(Fault::TimerLost)) {
                    station.lose_timer(&mut self.nature);
                }
            }
        }
        if !self.nature.is_quiet() {
            self.nature.after(TROUBLE_EVERY, Event::Trouble);
        }
    }

    /// The stores of the services, in their order, with their names.
    #[must_use]
    pub fn stores(&self) -> Vec<(&'static str, Rc<MemoryStore>)> {
        self.stations.iter().map(|station| station.stores()).collect()
    }

    /// Lets `judge` look at what each replica of `station` has in memory.
    pub fn audit(&mut self, station: usize, judge: &mut dyn FnMut(&mut Nature, &mut Cache, &[Recorded])) {
        if let Some(station) = self.stations.get_mut(station) {
            station.audit(&mut self.nature, judge);
        }
    }

    /// What became of it.
    #[must_use]
    pub fn end(self) -> Outcome {
        let nature = self.nature;
        Outcome {
            violations: nature.violations.clone(),
            fired: nature.fired.clone(),
            lasted: nature.now,
            happened: self.happened,
            story: nature.story(),
        }
    }
}
