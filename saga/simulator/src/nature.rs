//! What every service lives in: time, chance, weather, the broker, and the story that is told of it all.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use eventstore::{Recorded, StreamId};
use uuid::Uuid;

use crate::agenda::{Agenda, Event};
use crate::broker::Broker;
use crate::{Bug, Chance, Fault, Fired, Knobs, Rates};

/// When every world begins: 2026-01-01, midnight.
const DAWN_MICROS: i64 = 1_767_225_600_000_000;

/// What is the matter with a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which promise is broken.
    pub promise: &'static str,
    /// How, in words for a programmer.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.what)
    }
}

/// Time, chance, weather, broker, story.
pub struct Nature {
    /// How long the world has existed.
    pub now: Duration,
    /// What comes.
    pub agenda: Agenda,
    /// Where everything that may be otherwise is drawn.
    pub chance: Chance,
    /// How often what goes wrong.
    pub rates: Rates,
    /// How the world is made.
    pub knobs: Knobs,
    /// What went wrong so far.
    pub fired: Fired,
    /// The bug that the shells have, if they have one.
    pub bug: Option<Bug>,
    /// Between the services.
    pub broker: Broker,
    /// What is found to be wrong while it happens.
    pub violations: Vec<Violation>,
    quiet: Option<Duration>,
    story: Option<Vec<String>>,
}

impl Nature {
    /// The nature of a seed; `tells` when its story is to be kept.
    #[must_use]
    pub fn new(seed: u64, bug: Option<Bug>, tells: bool) -> Self {
        let mut chance = Chance::new(seed);
        let (rates, knobs) = (Rates::drawn(&mut chance), Knobs::drawn(&mut chance));
        Self {
            now: Duration::ZERO,
            agenda: Agenda::default(),
            chance,
            rates,
            knobs,
            fired: Fired::default(),
            bug,
            broker: Broker::default(),
            violations: Vec::new(),
            quiet: None,
            story: tells.then(Vec::new),
        }
    }

    /// What time it is.
    #[must_use]
    pub fn time(&self) -> DateTime<Utc> {
        let micros = i64::try_from(self.now.as_micros()).unwrap_or(i64::MAX);
        DateTime::from_timestamp_micros(DAWN_MICROS.saturating_add(micros)).unwrap_or_default()
    }

    /// How long after the beginning `time` is.
    #[must_use]
    pub fn since_dawn(time: DateTime<Utc>) -> Duration {
        Duration::from_micros(u64::try_from(time.timestamp_micros() - DAWN_MICROS).unwrap_or(0))
    }

    /// Lets `event` happen after `delay`.
    pub fn after(&mut self, delay: Duration, event: Event) {
        self.agenda.enter(self.now + delay, event);
    }

    /// A time from nothing to `longest`.
    pub fn up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.chance.between(0, u64::try_from(longest.as_micros()).unwrap_or(u64::MAX - 1)))
    }

    /// True when `fault` fires here and now; it is counted.
    pub fn strikes(&mut self, fault: Fault) -> bool {
        let strikes = self.quiet.is_none() && self.chance.strikes(self.rates.of(fault));
        if strikes {
            self.fired.add(fault);
        }
        strikes
    }

    /// True when the shells have this bug.
    #[must_use]
    pub fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// From here on nothing goes wrong any more.
    pub fn calm_down(&mut self) {
        self.quiet = Some(self.now);
        self.tell("nature", || "from here on nothing goes wrong any more".to_owned());
    }

    /// True when nothing goes wrong any more.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.quiet.is_some()
    }

    /// True when nothing has gone wrong for so long.
    #[must_use]
    pub fn has_been_quiet_for(&self, span: Duration) -> bool {
        self.quiet.is_some_and(|since| self.now >= since + span)
    }

    /// Notes that a promise is broken.
    pub fn accuse(&mut self, promise: &'static str, what: String) {
        self.tell("judge", || format!("{promise}: {what}"));
        self.violations.push(Violation { promise, what });
    }

    /// Goes on with the story, if it is kept.
    pub fn tell(&mut self, who: &str, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            let (seconds, micros) = (self.now.as_secs(), self.now.subsec_micros());
            story.push(format!("{seconds:>6}.{micros:06} {who:<16} {}", what()));
        }
    }

    /// The story, if it was kept.
    #[must_use]
    pub fn story(self) -> Vec<String> {
        self.story.unwrap_or_default()
    }
}

/// The end of an id: enough to tell it apart in one run.
#[must_use]
pub fn short(id: Uuid) -> String {
    let [.., one, two, three] = id.into_bytes();
    match id.get_version_num() {
        // Counted ids differ in front.
        7 => id.simple().to_string().get(6..12).unwrap_or_default().to_owned(),
        _ => format!("{one:02x}{two:02x}{three:02x}"),
    }
}

/// A stream, in short.
#[must_use]
pub fn shown(stream: StreamId) -> String {
    format!("{}/{}", stream.category, short(stream.id))
}

/// What a commit holds, in short.
pub(crate) fn told(events: &[Recorded]) -> String {
    let told = events.iter().map(|event| {
        let step = event.payload.split("\"step\":\"").nth(1).and_then(|rest| rest.split('"').next());
        let step = step.map(|step| format!("({step})")).unwrap_or_default();
        format!("{}@{} {}{step}", shown(event.stream), event.version.get(), event.type_name)
    });
    told.collect::<Vec<_>>().join(", ")
}
