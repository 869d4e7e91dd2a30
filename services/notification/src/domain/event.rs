use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{News, Subject};

/// What can happen to a notification.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NotificationEvent {
    /// It is recorded and will be delivered.
    NotificationAccepted {
        /// What there is to tell.
        #[serde(serialize_with = "through", deserialize_with = "shared")]
        news: Arc<News>,
    },
    /// At least one letter is to be tried again.
    DeliveryTryFailed {
        /// What it is about.
        subject: Subject,
        /// The recipients told by this try.
        told: Vec<u16>,
        /// The recipients who will never be told.
        refused: Vec<u16>,
        /// What the transport said.
        reason: String,
    },
    /// Every recipient was told.
    NotificationDelivered {
        /// What it is about.
        subject: Subject,
    },
    /// At least one recipient was not told and will not be.
    NotificationFailed {
        /// What it is about.
        subject: Subject,
        /// The recipients told by the last try.
        told: Vec<u16>,
        /// What the transport said.
        reason: String,
    },
}

impl NotificationEvent {
    /// What the notification is about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match self {
            Self::NotificationAccepted { news } => news.subject(),
            Self::DeliveryTryFailed { subject, .. }
            | Self::NotificationDelivered { subject }
            | Self::NotificationFailed { subject, .. } => *subject,
        }
    }
}

/// The stored name of [`NotificationEvent::NotificationAccepted`].
pub(crate) const ACCEPTED: &str = "NotificationAccepted";

eventstore::event_types! {
    NotificationEvent {
        Self::NotificationAccepted { .. } => ACCEPTED;
        Self::DeliveryTryFailed { .. } => "DeliveryTryFailed";
        Self::NotificationDelivered { .. } => "NotificationDelivered";
        Self::NotificationFailed { .. } => "NotificationFailed";
    }
}

fn through<S: Serializer>(news: &Arc<News>, serializer: S) -> Result<S::Ok, S::Error> {
    news.serialize(serializer)
}

fn shared<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<News>, D::Error> {
    News::deserialize(deserializer).map(Arc::new)
}
