//! What must be true of all orders, seen from outside: read through the edges, then judged.
//!
//! Read models lag by milliseconds, so the books are read until they agree, for a bounded time; what does not agree
//! then is wrong.

mod books;
mod judge;

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::clients::Clients;
use crate::failure::Failure;
use crate::output::{self, Paint};

pub use books::Books;

const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// One invariant and whether it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// `stock is conserved`.
    pub claim: &'static str,
    /// Whether it is true.
    pub holds: bool,
    /// The numbers, or what is wrong.
    pub detail: String,
}

/// The books and what they say.
#[derive(Clone, Debug)]
pub struct Judged {
    /// As they were read last.
    pub books: Books,
    /// One per invariant.
    pub verdicts: Vec<Verdict>,
}

impl Judged {
    /// True when every invariant holds.
    #[must_use]
    pub fn all_hold(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.holds)
    }

    /// One line per invariant.
    pub fn print(&self, paint: Paint) {
        print(&self.verdicts, paint);
    }
}

/// One line per invariant.
pub fn print(verdicts: &[Verdict], paint: Paint) {
    for verdict in verdicts {
        let mark = if verdict.holds { paint.good("ok   ") } else { paint.bad("WRONG") };
        output::line(format!("  {mark}  {:<34}  {}", verdict.claim, verdict.detail));
    }
}

/// Reads the books until they agree, at most `limit`; returns what they said last.
///
/// # Errors
/// [`Failure`] when a service does not answer until `limit`, or refuses.
pub async fn settle(clients: &Clients, limit: Duration) -> Result<Judged, Failure> {
    let deadline = Instant::now() + limit;
    loop {
        let in_time = Instant::now() < deadline;
        match look(clients, in_time).await {
            Ok(Some(judged)) if judged.all_hold() || !in_time => return Ok(judged),
            Err(Failure::Unavailable(_)) if in_time => {}
            Err(failure) => return Err(failure),
            Ok(Some(_) | None) => {}
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// `None` while it is too early to look closely.
async fn look(clients: &Clients, in_time: bool) -> Result<Option<Judged>, Failure> {
    if in_time && books::is_busy(clients).await? {
        return Ok(None);
    }
    let books = Box::pin(Books::read(clients)).await?;
    let verdicts = judge::judge(&books);
    Ok(Some(Judged { books, verdicts }))
}
