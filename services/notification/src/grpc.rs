//! The way in for clients.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;

use chassis::grpc::REQUEST_DEADLINE;
use chassis::page;
use chassis::problem::Violations;
use chassis::shutdown::Shutdown;
use chrono::{DateTime, Utc};
use eventstore::worker::CommitListener;
use eventstore::{Aggregate as _, Committed, DomainEvent as _, EventStore, Recorded, StreamId, Version};
use farmera_proto::notification::v1 as pb;
use farmera_proto::notification::v1::notification_service_server::NotificationService;
use futures::{Stream, stream};
use sqlx::postgres::PgPool;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::timeout;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::domain::{Notification, NotificationEvent};
use crate::projections::{Filter, State, View, fold, list};
use crate::status;

/// Commits kept for a watcher that is behind; one that is further behind is told to start anew.
const COMMITS_KEPT: usize = 64;
/// All events of the notifications of one commit.
const EVENTS_MAX: usize = 100_000;

/// Tells watchers what was committed. Give it to the worker as a listener.
#[derive(Clone, Debug)]
pub struct Watchers(broadcast::Sender<Arc<[Recorded]>>);

impl Watchers {
    /// Nobody watches yet.
    #[must_use]
    pub fn new() -> Self {
        Self(broadcast::channel(COMMITS_KEPT).0)
    }
}

impl Default for Watchers {
    fn default() -> Self {
        Self::new()
    }
}

impl CommitListener for Watchers {
    fn committed(&self, events: &Arc<[Recorded]>, _committed: Committed) {
        if self.0.receiver_count() > 0 {
            // An error says that the last watcher just left.
            drop(self.0.send(Arc::clone(events)));
        }
    }
}

/// The service.
pub struct Edge {
    /// The read model.
    pub pool: PgPool,
    /// The log.
    pub store: Arc<dyn EventStore>,
    /// What happens.
    pub watchers: Watchers,
    /// When it ends.
    pub shutdown: Shutdown,
}

type Watched = Result<pb::WatchNotificationsResponse, Status>;

#[tonic::async_trait]
impl NotificationService for Edge {
    async fn list_notifications(
        &self,
        request: Request<pb::ListNotificationsRequest>,
    ) -> Result<Response<pb::ListNotificationsResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let size = page::size(&mut violations, request.page_size);
        let subject_id = optional_subject(&mut violations, &request.subject_id);
        let question = question(subject_id);
        let after = page::key(&mut violations, &question, &request.page_token, page::one);
        violations.finish(status::DOMAIN)?;

        // One more than asked for tells whether there is a next page.
        let limit = i64::try_from(size + 1).unwrap_or(i64::MAX);
        let listed = timeout(REQUEST_DEADLINE, list(&self.pool, Filter { subject_id, after, limit })).await;
        let mut views = listed.map_err(|_| status::late())?.map_err(|failed| status::of_database(&failed))?;
        let more = views.len() > size;
        views.truncate(size);
        let last = views.last().filter(|_| more).map(|view| page::token(&question, &view.id.to_string()));
        Ok(Response::new(pb::ListNotificationsResponse {
            notifications: views.into_iter().map(to_proto).collect(),
            next_page_token: last.unwrap_or_default(),
        }))
    }

    type WatchNotificationsStream = Pin<Box<dyn Stream<Item = Watched> + Send>>;

    async fn watch_notifications(
        &self,
        request: Request<pb::WatchNotificationsRequest>,
    ) -> Result<Response<Self::WatchNotificationsStream>, Status> {
        let mut violations = Violations::new();
        let subject_id = optional_subject(&mut violations, &request.into_inner().subject_id);
        violations.finish(status::DOMAIN)?;
        let watcher = Watcher {
            commits: self.watchers.0.subscribe(),
            store: Arc::clone(&self.store),
            shutdown: self.shutdown.clone(),
            subject_id,
            ready: VecDeque::new(),
            ended: false,
        };
        Ok(Response::new(Box::pin(stream::unfold(watcher, Watcher::next))))
    }
}

fn optional_subject(violations: &mut Violations, subject_id: &str) -> Option<Uuid> {
    if subject_id.is_empty() {
        return None;
    }
    violations.uuid("subject_id", subject_id)
}

fn question(subject_id: Option<Uuid>) -> String {
    subject_id.map_or_else(|| "notifications".to_owned(), |id| format!("notifications/subject={id}"))
}

/// One watching client.
struct Watcher {
    commits: broadcast::Receiver<Arc<[Recorded]>>,
    store: Arc<dyn EventStore>,
    shutdown: Shutdown,
    subject_id: Option<Uuid>,
    ready: VecDeque<View>,
    ended: bool,
}

impl Watcher {
    async fn next(mut self) -> Option<(Watched, Self)> {
        if self.ended {
            return None;
        }
        match self.next_view().await {
            Ok(view) => {
                let notification = Some(to_proto(view));
                Some((Ok(pb::WatchNotificationsResponse { notification }), self))
            }
            Err(status) => {
                self.ended = true;
                Some((Err(status), self))
            }
        }
    }

    async fn next_view(&mut self) -> Result<View, Status> {
        loop {
            if let Some(view) = self.ready.pop_front() {
                return Ok(view);
            }
            let committed = tokio::select! {
                biased;
                () = self.shutdown.triggered() => return Err(status::stopping()),
                committed = self.commits.recv() => committed,
            };
            match committed {
                Ok(events) => self.look_at(&events).await?,
                Err(RecvError::Lagged(missed)) => return Err(status::watcher_too_slow(missed)),
                Err(RecvError::Closed) => return Err(status::stopping()),
            }
        }
    }

    /// Reads the notifications that a commit concerns, in one query, as they were after that commit.
    async fn look_at(&mut self, events: &[Recorded]) -> Result<(), Status> {
        let mut until: BTreeMap<StreamId, Version> = BTreeMap::new();
        for event in events.iter().filter(|event| event.stream.category == Notification::CATEGORY) {
            if self.is_wanted(event)? {
                until.insert(event.stream, event.version);
            }
        }
        if until.is_empty() {
            return Ok(());
        }
        let streams: Vec<_> = until.keys().map(|stream| (*stream, Version::NONE)).collect();
        let mut read =
            self.store.read_streams(&streams, EVENTS_MAX).await.map_err(|failed| status::of_read(&failed))?;
        read.retain(|event| until.get(&event.stream).is_some_and(|last| event.version <= *last));
        for events in read.chunk_by(|left, right| left.stream == right.stream) {
            self.ready.extend(fold(events).map_err(status::of_decode)?);
        }
        Ok(())
    }

    fn is_wanted(&self, event: &Recorded) -> Result<bool, Status> {
        let Some(wanted) = self.subject_id else { return Ok(true) };
        let event = NotificationEvent::from_recorded(event).map_err(status::of_decode)?;
        Ok(event.subject().id == wanted)
    }
}

fn to_proto(view: View) -> pb::Notification {
    let state = match view.state {
        State::Accepted => pb::notification::State::Accepted,
        State::Delivered => pb::notification::State::Delivered,
        State::Failed => pb::notification::State::Failed,
    };
    pb::Notification {
        id: view.id.to_string(),
        subject_id: view.subject_id.to_string(),
        kind: view.kind,
        recipients: view.recipients,
        state: state.into(),
        create_time: Some(timestamp(view.create_time)),
        update_time: Some(timestamp(view.update_time)),
        failed_tries: view.failed_tries,
    }
}

fn timestamp(time: DateTime<Utc>) -> pbjson_types::Timestamp {
    let nanos = i32::try_from(time.timestamp_subsec_nanos()).unwrap_or(0);
    pbjson_types::Timestamp { seconds: time.timestamp(), nanos }
}
