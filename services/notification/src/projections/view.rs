use chrono::{DateTime, Utc};
use eventstore::{DecodeError, DomainEvent as _, Recorded};
use uuid::Uuid;

use crate::domain::{News, NotificationEvent};

/// Where a notification stands, as its readers see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It will be delivered.
    Accepted,
    /// Every recipient was told.
    Delivered,
    /// Somebody was not told.
    Failed,
}

impl State {
    /// As it stands in the table.
    #[must_use]
    pub const fn number(self) -> i16 {
        match self {
            Self::Accepted => 1,
            Self::Delivered => 2,
            Self::Failed => 3,
        }
    }
}

/// A notification, as its readers see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// Which.
    pub id: Uuid,
    /// The order or the product.
    pub subject_id: Uuid,
    /// The kind's name.
    pub kind: String,
    /// The addresses.
    pub recipients: Vec<String>,
    /// Where it stands.
    pub state: State,
    /// When it was accepted.
    pub create_time: DateTime<Utc>,
    /// When it last changed.
    pub update_time: DateTime<Utc>,
    /// How often delivery was tried in vain.
    pub failed_tries: u32,
}

/// What an event changes for readers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Change {
    pub(super) state: State,
    pub(super) update_time: DateTime<Utc>,
    /// Further tries in vain.
    pub(super) failed_tries: u32,
}

/// One event, for readers.
pub(super) enum Step {
    Created(View),
    Changed(Change),
}

impl Step {
    pub(super) fn of(event: &Recorded) -> Result<Self, DecodeError> {
        let changed = |state, failed_tries| Self::Changed(Change { state, update_time: event.time, failed_tries });
        Ok(match NotificationEvent::from_recorded(event)? {
            NotificationEvent::NotificationAccepted { news } => Self::Created(View::new(event, &news)),
            NotificationEvent::DeliveryTryFailed { .. } => changed(State::Accepted, 1),
            NotificationEvent::NotificationDelivered { .. } => changed(State::Delivered, 0),
            NotificationEvent::NotificationFailed { .. } => changed(State::Failed, 1),
        })
    }
}

impl View {
    fn new(event: &Recorded, news: &News) -> Self {
        let subject = news.subject();
        Self {
            id: event.stream.id,
            subject_id: subject.id,
            kind: subject.kind.as_str().to_owned(),
            recipients: news.recipients().into_iter().map(str::to_owned).collect(),
            state: State::Accepted,
            create_time: event.time,
            update_time: event.time,
            failed_tries: 0,
        }
    }

    pub(super) fn change(&mut self, change: Change) {
        self.state = change.state;
        self.update_time = change.update_time;
        self.failed_tries += change.failed_tries;
    }
}

/// A notification from its whole stream; `None` when there is none.
///
/// # Errors
/// An event cannot be read.
pub fn fold(events: &[Recorded]) -> Result<Option<View>, DecodeError> {
    let mut view: Option<View> = None;
    for event in events {
        match (Step::of(event)?, &mut view) {
            (Step::Created(created), _) => view = Some(created),
            (Step::Changed(change), Some(view)) => view.change(change),
            (Step::Changed(_), None) => {}
        }
    }
    Ok(view)
}
