//! `EventQueryService`: looking into the log.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chassis::problem::{self, Problem, Violations};
use chassis::scan::LogScan;
use chassis::shutdown::Shutdown;
use chrono::{DateTime, Utc};
use eventstore::{Aggregate as _, Category, Cursor, EventStore, ReadError, Recorded, StreamId, TxId, Version};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::event_query_service_server::EventQueryService;
use futures::{Stream, stream};
use saga::Saga;
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

use super::sagas::event;
pub(super) use super::sagas::time_of;
use crate::domain::Order;
use crate::operations::log::Filter;
use crate::sagas::OrderProcess;
use crate::status::{DOMAIN, unreadable};

/// Events read at a time.
const PAGE: usize = 5_000;
/// How often a tail that has come to the end looks for more.
const POLL: Duration = Duration::from_millis(200);
/// Events of the past that a tail may begin with.
const LAST_MAX: u32 = 1_000;
/// Events of the past that are looked at for those.
const LOOKED_AT_MAX: u64 = 200_000;

const CATEGORIES: [Category; 2] = [Order::CATEGORY, Saga::<OrderProcess>::CATEGORY];

/// Serves `EventQueryService`.
pub struct Events {
    /// The log.
    pub store: Arc<dyn EventStore>,
    /// Where the log ends, and where an event is.
    pub scan: LogScan,
    /// Ends the tails.
    pub shutdown: Shutdown,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl EventQueryService for Events {
    type TailEventsStream = Answers<pb::TailEventsResponse>;
    type GrepEventsStream = Answers<pb::GrepEventsResponse>;

    async fn tail_events(
        &self,
        request: Request<pb::TailEventsRequest>,
    ) -> Result<Response<Self::TailEventsStream>, Status> {
        let request = request.into_inner();
        let (filter, categories) = filter(request.filter.unwrap_or_default())?;
        let mut violations = Violations::new();
        if request.last > LAST_MAX {
            violations.add("last", format!("is {}: allowed are 0 to {LAST_MAX}", request.last));
        }
        let after = cursor(&mut violations, &request.after_cursor);
        violations.finish(DOMAIN)?;
        let mut reading = Reading::new(self, filter, categories, Cursor::START);
        match after {
            Some(after) => reading.at = after,
            None => {
                let back = LOOKED_AT_MAX.min(u64::from(request.last) * 1_000);
                let end = self.scan.before_end(0).await.map_err(unreadable)?;
                reading.at = if back == 0 { end } else { self.scan.before_end(back).await.map_err(unreadable)? };
                reading.ready = reading.last(usize::try_from(request.last).unwrap_or(0), end).await?;
            }
        }
        let answers = stream::unfold(reading, |mut reading| async move {
            let next = reading.tail().await?;
            Some((next.map(|recorded| pb::TailEventsResponse { event: Some(event(&recorded)) }), reading))
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn get_event(&self, request: Request<pb::GetEventRequest>) -> Result<Response<pb::GetEventResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let place = if request.event_id.is_empty() {
            let stream_id = violations.uuid("stream_id", &request.stream_id);
            let category = CATEGORIES.into_iter().find(|known| known.as_str() == request.category);
            if category.is_none() {
                violations.add("category", format!("is {:?}: expected saga or order", request.category));
            }
            category.zip(stream_id).map(|(category, id)| (StreamId::new(category, id), request.version))
        } else {
            match violations.uuid("event_id", &request.event_id) {
                Some(id) => {
                    let found = self.scan.find(id, &CATEGORIES).await.map_err(not_found_in_time)?;
                    found.map(|(stream, version)| (stream, version.get()))
                }
                None => None,
            }
        };
        violations.finish(DOMAIN)?;
        let found = match place {
            Some((stream, version)) => {
                let after = Version::new(version.saturating_sub(1));
                let read = self.store.read_streams(&[(stream, after)], 1).await.map_err(unreadable)?;
                read.into_iter().find(|event| event.version.get() == version)
            }
            None => None,
        };
        match found {
            Some(recorded) => Ok(Response::new(pb::GetEventResponse { event: Some(event(&recorded)) })),
            None => Err(Problem::new(Code::NotFound, "EVENT_NOT_FOUND", "there is no such event").into_status(DOMAIN)),
        }
    }

    async fn grep_events(
        &self,
        request: Request<pb::GrepEventsRequest>,
    ) -> Result<Response<Self::GrepEventsStream>, Status> {
        let request = request.into_inner();
        let (mut filter, categories) = filter(request.filter.unwrap_or_default())?;
        filter.from = request.from_time.as_ref().map(|time| time_of("from_time", time)).transpose()?;
        filter.to = request.to_time.as_ref().map(|time| time_of("to_time", time)).transpose()?;
        let mut violations = Violations::new();
        let after = cursor(&mut violations, &request.after_cursor).unwrap_or(Cursor::START);
        violations.finish(DOMAIN)?;
        let mut reading = Reading::new(self, filter, categories, after);
        reading.left = if request.limit == 0 { u64::MAX } else { request.limit };
        let answers = stream::unfold(reading, |mut reading| async move { Some((reading.grep().await?, reading)) });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// An id that leads nowhere is looked for in the whole log, which may take longer than anybody waits.
fn not_found_in_time(error: ReadError) -> Status {
    match error {
        ReadError::Unavailable(_) => problem::unavailable(
            DOMAIN,
            "no event has this id where the log was at the time that the id names, and the whole log could not be looked \
             through in time; name the event by its stream and version",
        ),
        ReadError::Corrupt(_) => unreadable(error),
    }
}

/// Somebody reading the log.
struct Reading {
    store: Arc<dyn EventStore>,
    shutdown: Shutdown,
    filter: Filter,
    categories: Vec<Category>,
    at: Cursor,
    ready: VecDeque<Recorded>,
    looked_at: u64,
    left: u64,
    over: bool,
}

impl Reading {
    fn new(events: &Events, filter: Filter, categories: Vec<Category>, at: Cursor) -> Self {
        let (store, shutdown) = (Arc::clone(&events.store), events.shutdown.clone());
        Self {
            store,
            shutdown,
            filter,
            categories,
            at,
            ready: VecDeque::new(),
            looked_at: 0,
            left: u64::MAX,
            over: false,
        }
    }

    /// The next page; how many events it had, those that do not match included.
    async fn page(&mut self) -> Result<usize, Status> {
        let page = self.store.read_log(self.at, &self.categories, PAGE).await.map_err(unreadable)?;
        let count = page.len();
        self.looked_at += count as u64;
        if let Some(last) = page.last() {
            self.at = last.cursor;
        }
        self.ready.extend(page.into_iter().filter(|event| self.filter.admits(event)));
        Ok(count)
    }

    /// The last `count` that match, up to `end`.
    async fn last(&mut self, count: usize, end: Cursor) -> Result<VecDeque<Recorded>, Status> {
        while self.at < end && self.page().await? > 0 {
            let surplus = self.ready.len().saturating_sub(count);
            self.ready.drain(..surplus);
        }
        Ok(std::mem::take(&mut self.ready))
    }

    async fn tail(&mut self) -> Option<Result<Recorded, Status>> {
        while !self.over {
            if let Some(next) = self.ready.pop_front() {
                return Some(Ok(next));
            }
            match self.page().await {
                Ok(0) => tokio::select! {
                    () = self.shutdown.triggered() => return self.end(problem::unavailable(DOMAIN, "the service is stopping; go on after the last cursor")),
                    () = tokio::time::sleep(POLL) => {}
                },
                Ok(_) => {}
                Err(status) => return self.end(status),
            }
        }
        None
    }

    async fn grep(&mut self) -> Option<Result<pb::GrepEventsResponse, Status>> {
        while !self.over && self.left > 0 {
            if let Some(next) = self.ready.pop_front() {
                self.left -= 1;
                let looked_at = self.looked_at;
                return Some(Ok(pb::GrepEventsResponse { event: Some(event(&next)), looked_at }));
            }
            match self.page().await {
                Ok(count) if count < PAGE && self.ready.is_empty() => {
                    self.over = true;
                    return Some(Ok(pb::GrepEventsResponse { event: None, looked_at: self.looked_at }));
                }
                Ok(_) if self.ready.is_empty() => {
                    return Some(Ok(pb::GrepEventsResponse { event: None, looked_at: self.looked_at }));
                }
                Ok(_) => {}
                Err(status) => {
                    self.over = true;
                    return Some(Err(status));
                }
            }
        }
        None
    }

    fn end(&mut self, status: Status) -> Option<Result<Recorded, Status>> {
        self.over = true;
        Some(Err(status))
    }
}

/// A filter, and the categories it admits.
fn filter(asked: pb::EventFilter) -> Result<(Filter, Vec<Category>), Status> {
    let mut violations = Violations::new();
    let categories: Vec<_> =
        CATEGORIES.into_iter().filter(|known| asked.category.is_empty() || known.as_str() == asked.category).collect();
    if categories.is_empty() {
        violations.add("filter.category", format!("is {:?}: expected saga, order, or nothing", asked.category));
    }
    let id: Option<Uuid> = if asked.id.is_empty() { None } else { violations.uuid("filter.id", &asked.id) };
    if asked.text.len() > 200 {
        violations.add("filter.text", format!("has {} bytes: allowed are 200", asked.text.len()));
    }
    violations.finish(DOMAIN)?;
    let times: [Option<DateTime<Utc>>; 2] = [None, None];
    let [from, to] = times;
    Ok((Filter { type_name: asked.r#type, id, text: asked.text, actor: asked.actor, from, to }, categories))
}

fn cursor(violations: &mut Violations, text: &str) -> Option<Cursor> {
    if text.is_empty() {
        return None;
    }
    let parsed = text
        .split_once('/')
        .and_then(|(tx, position)| Some(Cursor { tx: TxId(tx.parse().ok()?), position: position.parse().ok()? }));
    if parsed.is_none() {
        violations.add("after_cursor", "is not the cursor of an event");
    }
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_names_an_id_that_cannot_be_found_in_time_is_told_what_to_name_instead() {
        let refused = not_found_in_time(ReadError::Unavailable("too slow".into()));
        assert_eq!(refused.code(), Code::Unavailable);
        assert!(refused.message().contains("name the event by its stream and version"), "{refused}");
    }
}
