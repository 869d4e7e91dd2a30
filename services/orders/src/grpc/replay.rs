//! `ReplayService`: history folded again, and ledgers held against it.

use std::pin::Pin;
use std::sync::Arc;

use chassis::problem::{self, Problem, Violations};
use chassis::scan::{LogScan, ScanPlace};
use chassis::shutdown::Shutdown;
use eventstore::{Category, Clock, EventStore, Recorded, StreamId, Version};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::replay_service_server::ReplayService;
use futures::{Stream, stream};
use pb::replay_check_response::Finding;
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

use super::events::time_of;
use super::whatif;
use crate::operations::check::Checker;
use crate::operations::history::Moment;
use crate::operations::reconcile::Reconciliation;
use crate::operations::steps::duration;
use crate::projections::sagas::SagaList;
use crate::status::{DOMAIN, unreadable};

/// Events read at a time.
const PAGE: usize = 10_000;
/// Events of one stream that is looked at.
const EVENTS_MAX: usize = 100_000;
/// Findings told unless asked otherwise.
const FINDINGS_DEFAULT: u32 = 100;

/// Serves `ReplayService`.
pub struct Replay {
    /// The log.
    pub store: Arc<dyn EventStore>,
    /// The same, stream by stream.
    pub scan: LogScan,
    /// Holds streams against the read models.
    pub checker: Checker,
    /// Holds ledgers against the sagas.
    pub reconciliation: Reconciliation,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Ends what takes long.
    pub shutdown: Shutdown,
}

#[tonic::async_trait]
impl ReplayService for Replay {
    async fn replay_at(&self, request: Request<pb::ReplayAtRequest>) -> Result<Response<pb::ReplayAtResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let id = violations.uuid("stream_id", &request.stream_id);
        let kind = crate::STREAMS.iter().find(|kind| kind.category.as_str() == request.category);
        if kind.is_none() {
            violations.add("category", format!("is {:?}: there are no such streams here", request.category));
        }
        violations.finish(DOMAIN)?;
        let (Some(id), Some(kind)) = (id, kind) else { return Err(problem::internal(DOMAIN)) };
        let moment = match &request.at {
            None => None,
            Some(pb::replay_at_request::At::Version(version)) => Some(Moment::Version(Version::new(*version))),
            Some(pb::replay_at_request::At::Time(time)) => Some(Moment::Time(time_of("time", time)?)),
        };
        let stream = StreamId::new(kind.category, id);
        let events = self.store.read_streams(&[(stream, Version::NONE)], EVENTS_MAX).await.map_err(unreadable)?;
        let newest = events.last().map_or(Version::NONE, |event| event.version);
        let mut fold = kind.begin();
        let mut last = None;
        for event in events.iter().take_while(|event| moment.is_none_or(|moment| moment.includes(event))) {
            fold.feed(event).map_err(|error| problem::undecodable(DOMAIN, error))?;
            last = Some(event);
        }
        let Some(last) = last else {
            let message = format!("{stream} was not there; it has {newest} versions now");
            return Err(Problem::new(Code::NotFound, "STREAM_NOT_THERE", message).into_status(DOMAIN));
        };
        let state = fold.state().map_err(|_| problem::internal(DOMAIN))?;
        Ok(Response::new(pb::ReplayAtResponse {
            version: last.version.get(),
            newest_version: newest.get(),
            time: Some(last.time.into()),
            state_json: state.to_string(),
        }))
    }

    type ReplayCheckStream = Pin<Box<dyn Stream<Item = Result<pb::ReplayCheckResponse, Status>> + Send>>;

    async fn replay_check(
        &self,
        request: Request<pb::ReplayCheckRequest>,
    ) -> Result<Response<Self::ReplayCheckStream>, Status> {
        let request = request.into_inner();
        if !request.category.is_empty() && crate::STREAMS.iter().all(|kind| kind.category.as_str() != request.category)
        {
            let mut violations = Violations::new();
            violations.add("category", format!("is {:?}: there are no such streams here", request.category));
            violations.finish(DOMAIN)?;
        }
        let told_max = if request.findings_max == 0 { FINDINGS_DEFAULT } else { request.findings_max };
        let check = Check {
            scan: self.scan.clone(),
            checker: self.checker.clone(),
            clock: Arc::clone(&self.clock),
            shutdown: self.shutdown.clone(),
            category: request.category,
            told_max: u64::from(told_max),
            ahead: None,
            rest: Vec::new(),
            begun: Instant::now(),
            word: pb::ReplayCheckResponse::default(),
        };
        Ok(Response::new(Box::pin(stream::unfold(Some(check), |check| async move {
            let mut check = check?;
            match check.step().await {
                Ok(word) if word.done => Some((Ok(word), None)),
                Ok(word) => Some((Ok(word), Some(check))),
                Err(status) => Some((Err(status), None)),
            }
        }))))
    }

    async fn replay_what_if(
        &self,
        request: Request<pb::ReplayWhatIfRequest>,
    ) -> Result<Response<pb::ReplayWhatIfResponse>, Status> {
        let (list, library) = (SagaList::new(self.checker.pool.clone()), &self.checker.library);
        let answer = whatif::replay(request.into_inner(), &*self.store, &list, library, self.clock.now()).await;
        answer.map(Response::new)
    }

    async fn reconcile(
        &self,
        request: Request<pb::ReconcileRequest>,
    ) -> Result<Response<pb::ReconcileResponse>, Status> {
        let older_than = request.into_inner().older_than;
        self.reconciliation.run(older_than, self.clock.now()).await.map(Response::new)
    }
}

/// A check on its way.
struct Check {
    scan: LogScan,
    checker: Checker,
    clock: Arc<dyn Clock>,
    shutdown: Shutdown,
    category: String,
    told_max: u64,
    /// The next page: it is read while the one before is folded.
    ahead: Option<Vec<Recorded>>,
    /// The events of the last stream that was read: it may go on in the next page.
    rest: Vec<Recorded>,
    begun: Instant,
    word: pb::ReplayCheckResponse,
}

impl Check {
    async fn step(&mut self) -> Result<pb::ReplayCheckResponse, Status> {
        if self.shutdown.is_triggered() {
            return Err(problem::unavailable(DOMAIN, "the service is stopping; check again"));
        }
        let page = match self.ahead.take() {
            Some(page) => page,
            None => read(&self.scan, &ScanPlace::before(Uuid::nil())).await?,
        };
        let next = page.last().filter(|_| page.len() >= PAGE).map(ScanPlace::after);
        let done = next.is_none();
        self.word.events += page.len() as u64;
        let events = self.complete(page, done);
        self.word.streams += events.chunk_by(|one, next| one.stream == next.stream).count() as u64;
        let ahead = async {
            match &next {
                Some(after) => read(&self.scan, after).await.map(Some),
                None => Ok(None),
            }
        };
        let (findings, ahead) = tokio::try_join!(self.checker.check(events, self.clock.now()), ahead)?;
        self.ahead = ahead;
        let told = usize::try_from(self.told_max.saturating_sub(self.word.findings_total)).unwrap_or(usize::MAX);
        self.word.findings_total += findings.len() as u64;
        let findings: Vec<Finding> = findings.into_iter().take(told).collect();
        let elapsed = Some(duration(self.begun.elapsed()));
        Ok(pb::ReplayCheckResponse { elapsed, findings, done, ..self.word.clone() })
    }

    /// The streams that are known to their ends, of this page and what was left of the one before, each in one piece.
    fn complete(&mut self, page: Vec<Recorded>, done: bool) -> Vec<Recorded> {
        let mut events = std::mem::take(&mut self.rest);
        events.extend(page);
        if !done {
            // Streams of one id come together: what has the last id may go on.
            let last = events.last().map(|event| event.stream.id);
            let complete = events.iter().rposition(|event| Some(event.stream.id) != last).map_or(0, |index| index + 1);
            self.rest = events.split_off(complete);
        }
        // Streams of different kinds may share an id: each by itself, then.
        events.sort_by_key(|event| (event.stream, event.version));
        events.retain(|event| self.category.is_empty() || event.stream.category.as_str() == self.category);
        events
    }
}

async fn read(scan: &LogScan, after: &ScanPlace) -> Result<Vec<Recorded>, Status> {
    let categories: Vec<Category> = crate::STREAMS.iter().map(|kind| kind.category).collect();
    scan.page(after, &categories, PAGE).await.map_err(unreadable)
}
