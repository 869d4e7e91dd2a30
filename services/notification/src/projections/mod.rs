//! Read models.

mod notification_view;
mod view;

pub use notification_view::{Filter, NotificationView, list};
pub use view::{State, View, fold};
