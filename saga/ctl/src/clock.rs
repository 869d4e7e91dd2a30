//! Time: the one place that looks at the clock, and at the zone of whoever looks. Ages are counted from here.

use chrono::{DateTime, FixedOffset, Local, NaiveDateTime, TimeZone as _, Utc};

/// Now, by this machine's clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// `time` in the zone of whoever looks: that of `TZ`, or else of this machine.
#[must_use]
pub fn local(time: DateTime<Utc>) -> DateTime<FixedOffset> {
    time.with_timezone(&Local).fixed_offset()
}

/// The point in time that people in that zone mean; none where clocks were put on or back and it never was, or was twice.
#[must_use]
pub fn meant(time: NaiveDateTime) -> Option<DateTime<Utc>> {
    Local.from_local_datetime(&time).single().map(|time| time.to_utc())
}
