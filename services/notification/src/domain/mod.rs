//! What is told to whom, and how far the telling has come. Pure.

mod command;
mod decide;
mod event;
mod news;
mod state;

pub use command::{Command, LetterResult, Outcome};
pub use decide::{Rejection, TRIES_MAX, decide, retry_delay};
pub(crate) use event::ACCEPTED;
pub use event::NotificationEvent;
pub use news::{FailureNews, FarmShare, Kind, Line, News, OrderNews, StockNews, Subject};
pub use state::{Accepted, Ended, Notification};
