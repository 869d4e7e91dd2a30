use std::sync::Arc;

use eventstore::{Aggregate, Category};
use serde::Serialize;
use uuid::Uuid;

use super::{News, NotificationEvent, Subject};

/// A notification.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub enum Notification {
    /// There is none.
    #[default]
    Absent,
    /// It is to be delivered.
    Accepted(Accepted),
    /// Every recipient was told.
    Delivered(Ended),
    /// Somebody was not told and will not be.
    Failed(Ended),
}

/// A notification that is to be delivered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Accepted {
    /// What there is to tell.
    #[serde(serialize_with = "eventstore::shared::serialize")]
    pub news: Arc<News>,
    /// The recipients who are still to be told, ascending.
    pub open: Vec<u16>,
    /// Some recipient will never be told.
    pub some_refused: bool,
    /// How often delivery was tried in vain.
    pub failed_tries: u32,
}

/// What is left to know when nothing is left to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Ended {
    /// What it was about.
    pub subject: Subject,
    /// The saga that asked.
    pub saga_id: Option<Uuid>,
}

impl Accepted {
    fn new(news: &Arc<News>) -> Self {
        let count = u16::try_from(news.recipients().len()).unwrap_or(u16::MAX);
        Self { news: Arc::clone(news), open: (0..count).collect(), some_refused: false, failed_tries: 0 }
    }

    fn after_failed_try(mut self, told: &[u16], refused: &[u16]) -> Self {
        self.open.retain(|recipient| !told.contains(recipient) && !refused.contains(recipient));
        self.some_refused |= !refused.is_empty();
        self.failed_tries = self.failed_tries.saturating_add(1);
        self
    }
}

impl Notification {
    /// What it is about and who asked; `None` when there is none.
    #[must_use]
    pub fn told(&self) -> Option<Ended> {
        match self {
            Self::Absent => None,
            Self::Accepted(accepted) => {
                Some(Ended { subject: accepted.news.subject(), saga_id: accepted.news.saga_id() })
            }
            Self::Delivered(ended) | Self::Failed(ended) => Some(*ended),
        }
    }

    fn ended(&self, subject: Subject) -> Ended {
        Ended { subject, saga_id: self.told().and_then(|told| told.saga_id) }
    }
}

impl Aggregate for Notification {
    const CATEGORY: Category = Category::new("notification");

    type Event = NotificationEvent;

    fn evolve(self, event: &NotificationEvent) -> Self {
        match event {
            NotificationEvent::NotificationAccepted { news } => Self::Accepted(Accepted::new(news)),
            NotificationEvent::DeliveryTryFailed { told, refused, .. } => match self {
                Self::Accepted(accepted) => Self::Accepted(accepted.after_failed_try(told, refused)),
                Self::Absent | Self::Delivered(_) | Self::Failed(_) => self,
            },
            NotificationEvent::NotificationDelivered { subject } => Self::Delivered(self.ended(*subject)),
            NotificationEvent::NotificationFailed { subject, .. } => Self::Failed(self.ended(*subject)),
        }
    }
}
