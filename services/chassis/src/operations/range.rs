//! Telling a range of the log again, as an operation: for a receiver that was away for too long, or is new.
//!
//! Every message goes out under its event's own id, so whoever has handled it absorbs it; only its name in the broker's
//! window of de-duplication is new. It is marked as restored, like what the broker had lost: it comes late.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use eventstore::{Cursor, Recorded, Transport};
use farmera_proto::saga::v1 as pb;
use pb::act::Kind;
use sha2::{Digest as _, Sha256};
use tokio::time::{sleep, timeout};
use tonic::Status;

use super::{Acts, Became, Foreseen, Item, Job, Later, Mandate, only, time, unreadable};
use crate::broker::Broker;
use crate::problem::{self, Violations};
use crate::relay::RelaySpec;
use crate::transport::{self, CompareError};

/// Messages of one plan at most: a receiver that needs more is better made anew.
const MESSAGES_MAX: usize = 100_000;
/// Events read at a time.
const PAGE: usize = 10_000;
/// Messages told again between two looks at the pace.
const CHUNK: usize = 10;
/// Reading the range for a plan may take this long.
const READ_LIMIT: Duration = Duration::from_secs(15);
/// The longest subject.
const SUBJECT_LENGTH_MAX: usize = 200;

/// Acts on ranges of the log: to tell them again.
pub struct RangeActs {
    /// What this service tells the world.
    pub spec: RelaySpec,
    /// Its log.
    pub store: Arc<dyn Transport>,
    /// Where it is told.
    pub broker: Broker,
    /// Whose: `orders.farmera.dev`.
    pub domain: &'static str,
}

/// Which events.
#[derive(Clone, Debug, PartialEq)]
struct Range {
    subject: String,
    category: String,
    from: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
}

#[async_trait::async_trait]
impl Acts for RangeActs {
    fn include(&self, kind: Kind) -> bool {
        kind == Kind::TellAgain
    }

    async fn foresee(
        &self,
        act: &pb::Act,
        selection: &pb::Selection,
        _mandate: &Mandate,
        _now: DateTime<Utc>,
    ) -> Result<Foreseen, Status> {
        let mut violations = Violations::new();
        only(&mut violations, selection, &pb::Selection::default(), "the service's own log");
        let range = self.read(&mut violations, act);
        violations.finish(self.domain)?;
        let Some(range) = range else { return Err(problem::internal(self.domain)) };
        let found = timeout(READ_LIMIT, self.find(&range)).await;
        let late = "the log could not be read in time: choose a shorter range";
        let (in_range, found) =
            found.map_err(|_| problem::unavailable(self.domain, late))?.map_err(|error| self.unreadable(error))?;
        let repeated_requests = u32::try_from(found.len()).unwrap_or(u32::MAX);
        Ok(Foreseen { items: vec![item(&range, in_range, &found)], repeated_requests })
    }

    fn select(&self, _items: &[pb::PlanItem]) -> pb::Selection {
        pb::Selection::default()
    }

    async fn carry_out(&self, job: Job<'_>, items: &[Item]) -> Vec<Became> {
        let mut became = Vec::with_capacity(items.len());
        for _ in items {
            became.push(self.tell(&job).await);
        }
        became
    }
}

impl RangeActs {
    fn read(&self, violations: &mut Violations, act: &pb::Act) -> Option<Range> {
        let told = act.event_range.clone().unwrap_or_default();
        let subject = violations.text("act.event_range.subject", &told.subject, 1, SUBJECT_LENGTH_MAX);
        let known = self.spec.categories.iter().map(|category| category.as_str());
        if !told.category.is_empty() && !known.clone().any(|name| name == told.category) {
            let known = known.collect::<Vec<_>>().join(", ");
            let field = "act.event_range.category";
            violations.add(field, format!("nothing is told of {:?}: there is {known}", told.category));
        }
        let from = time(violations, "act.event_range.from_time", told.from_time.as_ref());
        let until = time(violations, "act.event_range.until_time", told.until_time.as_ref());
        Some(Range { subject: subject?, category: told.category, from, until })
    }

    /// How many events are in the range, and those that are told on the subject.
    async fn find(&self, range: &Range) -> Result<(u64, Vec<(Recorded, &'static str)>), CompareError> {
        let (mut in_range, mut found, mut after) = (0, Vec::new(), Cursor::START);
        loop {
            let events = self.store.read_log(after, self.spec.categories, PAGE).await?;
            let Some(last) = events.last() else { return Ok((in_range, found)) };
            after = last.cursor;
            for event in events.into_iter().filter(|event| range.has(event)) {
                in_range += 1;
                let outgoing = (self.spec.translate)(&event);
                let outgoing = outgoing.map_err(|error| CompareError::Untellable(error.to_string()))?;
                if let Some(outgoing) = outgoing.filter(|outgoing| matches(&range.subject, outgoing.subject)) {
                    found.push((event, outgoing.subject));
                }
                if found.len() > MESSAGES_MAX {
                    return Ok((in_range, found));
                }
            }
        }
    }

    fn unreadable(&self, error: CompareError) -> Status {
        match error {
            CompareError::Store(error) => unreadable(self.domain, error),
            CompareError::Broker(_) | CompareError::Untellable(_) | CompareError::Refused(_) => {
                problem::unavailable(self.domain, error.to_string())
            }
        }
    }

    async fn tell(&self, job: &Job<'_>) -> Became {
        let act = job.operation.act.clone().unwrap_or_default();
        let Some(range) = self.read(&mut Violations::new(), &act) else {
            return Ok(Some("it is no range".to_owned()));
        };
        let later = |error: CompareError| Later(error.to_string());
        let (_, found) = self.find(&range).await.map_err(later)?;
        let events: Vec<Recorded> = found.into_iter().map(|(event, _)| event).collect();
        let rate = f64::from(job.operation.rate.max(1));
        let mut done = 0;
        for chunk in events.chunks(CHUNK) {
            transport::tell_some(self.spec, &*self.store, &self.broker, job.id, chunk.to_vec()).await.map_err(later)?;
            done += chunk.len();
            job.progress.tell(format!("{done} of {} messages told again", events.len()));
            sleep(Duration::from_secs_f64(chunk.len() as f64 / rate)).await;
        }
        Ok(None)
    }
}

impl Range {
    fn has(&self, event: &Recorded) -> bool {
        (self.category.is_empty() || event.stream.category.as_str() == self.category)
            && self.from.is_none_or(|from| from <= event.time)
            && self.until.is_none_or(|until| event.time < until)
    }
}

/// As NATS has it: `*` is one word, `>` at the end all that follow.
fn matches(pattern: &str, subject: &str) -> bool {
    let (mut words, mut told) = (pattern.split('.'), subject.split('.'));
    loop {
        match (words.next(), told.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(word), Some(one)) if word == one => {}
            (Some(_) | None, Some(_) | None) => return false,
        }
    }
}

/// A plan rests on which events are told.
fn item(range: &Range, in_range: u64, found: &[(Recorded, &'static str)]) -> pb::PlanItem {
    let mut sha = Sha256::new();
    found.iter().for_each(|(event, _)| sha.update(event.id.0.as_bytes()));
    let number = sha.finalize().iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let item = pb::PlanItem {
        id: range.subject.clone(),
        // It is kept as a signed number.
        version: number >> 1,
        ..pb::PlanItem::default()
    };
    let (Some((first, _)), Some((last, _))) = (found.first(), found.last()) else {
        let refused = format!("none of the {in_range} events in the range is told on {}", range.subject);
        return pb::PlanItem { refused, ..item };
    };
    if found.len() > MESSAGES_MAX {
        let refused = format!("more than {MESSAGES_MAX} messages: choose a shorter range");
        return pb::PlanItem { refused, ..item };
    }
    let place = |event: &Recorded| {
        let at = event.time.to_rfc3339_opts(SecondsFormat::Millis, true);
        format!("{} v{} at {at}", event.stream, event.version)
    };
    let messages = found.len();
    let events = vec![
        format!("{messages} of {in_range} events in the range are told again on {}", range.subject),
        format!("first {}", place(first)),
        format!("last {}", place(last)),
    ];
    pb::PlanItem { events, affected: messages as u64, ..item }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_matched_as_the_broker_does() {
        for pattern in ["farmera.orders.order_failed", "farmera.*.order_failed", "farmera.>", ">"] {
            assert!(matches(pattern, "farmera.orders.order_failed"), "{pattern}");
        }
        for pattern in ["farmera.orders", "farmera.orders.order_failed.>", "farmera.*", "orders.>", "", "*"] {
            assert!(!matches(pattern, "farmera.orders.order_failed"), "{pattern}");
        }
    }
}
