//! How a relay is: what waits to be told, since when, and why. No I/O here but words: health, metrics, the log.

use std::fmt;
use std::time::Duration;

use eventstore::{BACKLOG_COUNT_MAX, Backlog};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::health::Component;

/// A relay is not well while something has waited longer than this to be told.
pub const STUCK_AFTER: Duration = Duration::from_secs(10);
/// How often the outbox is looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often a failure that goes on is said again.
const SAY_INTERVAL: Duration = Duration::from_secs(10);

/// Why something is not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// There is no connection to NATS.
    NotConnected,
    /// The broker says that the stream does not store a message, and why.
    Refused(String),
    /// The broker does not say in time whether it has stored a message.
    NoAnswer,
    /// It cannot be seen what the broker or the store holds.
    Unseen(String),
    /// An event is of a newer program, or too large for the broker.
    Untellable,
}

impl Cause {
    /// As metrics name it.
    fn name(&self) -> &'static str {
        match self {
            Self::NotConnected => "not_connected",
            Self::Refused(_) => "refused",
            Self::NoAnswer => "no_answer",
            Self::Unseen(_) => "unseen",
            Self::Untellable => "untellable",
        }
    }

    fn words<'a>(&'a self, stream: &'a str) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| match self {
            Self::NotConnected => write!(f, "no connection to NATS"),
            Self::Refused(error) => write!(f, "stream {stream} refuses to store: {error}"),
            Self::NoAnswer => {
                write!(f, "stream {stream} does not answer: the broker is frozen, or its disk is or was full")
            }
            Self::Unseen(error) => write!(f, "stream {stream} cannot be looked at: {error}"),
            Self::Untellable => {
                write!(f, "this program cannot tell an event: a newer one wrote it, or it is too large")
            }
        })
    }
}

/// What a relay knows of itself.
#[derive(Debug)]
pub(super) struct Condition {
    stream: &'static str,
    component: Component,
    /// Why it does not publish at all, as far as it knows.
    closed: Option<Cause>,
    /// Why a message was not told, last.
    failed: Option<(Instant, Cause)>,
    /// What was said of that in the log.
    said: Option<(Instant, Cause)>,
    backlog: Option<Backlog>,
    look_at: Instant,
    looking: bool,
    stuck: bool,
}

impl Condition {
    pub(super) fn new(stream: &'static str, component: Component, now: Instant) -> Self {
        Self {
            stream,
            component,
            closed: None,
            failed: None,
            said: None,
            backlog: None,
            look_at: now,
            looking: false,
            stuck: false,
        }
    }

    /// True when it is time to look at the outbox; report with [`Condition::looked`].
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if self.looking || now < self.look_at {
            return false;
        }
        self.look_at = now + INTERVAL;
        self.looking = true;
        true
    }

    /// What waits; `None` when the store did not say.
    pub(super) fn looked(&mut self, backlog: Option<Backlog>, now: Instant) {
        self.looking = false;
        let Some(backlog) = backlog else { return };
        metrics::gauge!("farmera_outbox_transactions", "stream" => self.stream).set(f64::from(backlog.transactions));
        metrics::gauge!("farmera_outbox_oldest_seconds", "stream" => self.stream).set(backlog.age().as_secs_f64());
        // What waited when it failed is told by now.
        self.failed.take_if(|(at, _)| backlog.age() < now.saturating_duration_since(*at));
        self.backlog = Some(backlog);
        self.tell();
        let stuck = self.stuck();
        if stuck.is_some() != self.stuck {
            match &stuck {
                Some(reason) => {
                    warn!(stream = self.stream, reason, "messages wait in the outbox, see docs/runbooks/transport.md");
                }
                None => info!(stream = self.stream, "what waited in the outbox is told"),
            }
        }
        self.stuck = stuck.is_some();
    }

    /// The broker and its stream are there.
    pub(super) fn open(&mut self) {
        self.closed = None;
        self.tell();
    }

    /// Nothing is published because of this.
    pub(super) fn closed(&mut self, cause: Cause) {
        if self.closed.as_ref() != Some(&cause) {
            self.closed = Some(cause);
            self.tell();
        }
    }

    /// A message was not told because of this.
    pub(super) fn failed(&mut self, cause: Cause, now: Instant) {
        metrics::counter!("farmera_publish_failures_total", "stream" => self.stream, "cause" => cause.name())
            .increment(1);
        let is_news = |(at, said): &(Instant, Cause)| *said != cause || now >= *at + SAY_INTERVAL;
        if self.said.as_ref().is_none_or(is_news) {
            let reason = cause.words(self.stream).to_string();
            warn!(
                stream = self.stream,
                reason, "messages stay in the outbox until they are stored, see docs/runbooks/transport.md"
            );
            self.said = Some((now, cause.clone()));
        }
        self.failed = Some((now, cause));
    }

    fn tell(&self) {
        match (self.stuck(), &self.closed) {
            (Some(reason), _) => self.component.down(reason),
            (None, Some(cause)) => self.component.down(cause.words(self.stream).to_string()),
            // It cannot be well before it has looked.
            (None, None) if self.backlog.is_none() => self.component.down("looks at the outbox"),
            (None, None) => self.component.up(),
        }
    }

    /// What waits for too long, and why; `None` when nothing does.
    fn stuck(&self) -> Option<String> {
        let backlog = self.backlog.filter(|backlog| backlog.age() > STUCK_AFTER)?;
        let cause = self.closed.as_ref().or(self.failed.as_ref().map(|(_, cause)| cause));
        let why = match cause {
            Some(cause) => cause.words(self.stream).to_string(),
            None => format!("stream {} stores, the rest is under way", self.stream),
        };
        let seconds = backlog.age().as_secs();
        let wait = match backlog.transactions {
            1 => "1 transaction waits to be told,".to_owned(),
            BACKLOG_COUNT_MAX => format!("{BACKLOG_COUNT_MAX} or more transactions wait to be told, the oldest"),
            count => format!("{count} transactions wait to be told, the oldest"),
        };
        Some(format!("{wait} for {seconds} s: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;
    use crate::health::Health;

    fn waits(transactions: u32, seconds: i64) -> Option<Backlog> {
        let looked_at = DateTime::UNIX_EPOCH;
        let oldest_at = (transactions > 0).then(|| looked_at - TimeDelta::seconds(seconds));
        Some(Backlog { transactions, oldest_at, looked_at })
    }

    fn refuses() -> Cause {
        Cause::Refused("no space left on device".to_owned())
    }

    fn condition(health: &Health, now: Instant) -> Condition {
        Condition::new("APPLES", health.component("relay"), now)
    }

    #[test]
    fn a_relay_is_down_while_something_waits_too_long_and_says_what_and_why() {
        let (health, now) = (Health::new(), Instant::now());
        let mut condition = condition(&health, now);
        condition.open();
        assert!(!health.is_ready(), "nobody has looked");
        condition.looked(waits(41, 10), now);
        assert!(health.is_ready(), "that is not long");
        condition.failed(refuses(), now);
        assert!(health.is_ready(), "one failure is none");
        condition.looked(waits(41, 64), now);
        let reason = "41 transactions wait to be told, the oldest for 64 s: \
                      stream APPLES refuses to store: no space left on device";
        assert_eq!(health.report(), format!("[-]relay {reason}\n"));
        condition.open();
        assert!(!health.is_ready(), "that the stream is there does not mean that it stores");
        condition.looked(None, now);
        assert!(!health.is_ready(), "not knowing is no good news");
        condition.looked(waits(0, 0), now);
        assert!(health.is_ready());
    }

    #[test]
    fn a_failure_is_forgotten_once_all_that_waited_then_is_told() {
        let (health, now) = (Health::new(), Instant::now());
        let mut condition = condition(&health, now);
        condition.failed(refuses(), now);
        condition.looked(waits(2, 61), now + Duration::from_secs(60));
        assert!(health.report().contains("refuses to store"), "{}", health.report());
        condition.looked(waits(2, 59), now + Duration::from_secs(60));
        assert!(health.report().contains("the rest is under way"), "{}", health.report());
    }

    #[test]
    fn a_broker_that_is_away_is_said_at_once_and_with_what_waits_for_it_later() {
        let (health, now) = (Health::new(), Instant::now());
        let mut condition = condition(&health, now);
        condition.looked(waits(0, 0), now);
        condition.closed(Cause::NotConnected);
        assert_eq!(health.report(), "[-]relay no connection to NATS\n");
        condition.looked(waits(BACKLOG_COUNT_MAX, 12), now);
        assert!(health.report().contains("10000 or more transactions"), "{}", health.report());
        assert!(health.report().contains("for 12 s: no connection to NATS"), "{}", health.report());
    }

    #[test]
    fn the_outbox_is_looked_at_once_a_second_and_by_one_at_a_time() {
        let (health, now) = (Health::new(), Instant::now());
        let mut condition = condition(&health, now);
        let later = now + 2 * INTERVAL;
        assert!(condition.is_due(now) && !condition.is_due(later), "one is looking");
        condition.looked(None, now);
        assert!(!condition.is_due(now) && condition.is_due(later));
    }
}
