//! Time: the one place that looks at the clock. Ages are counted from here.

use chrono::{DateTime, Utc};

/// Now, by this machine's clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}
