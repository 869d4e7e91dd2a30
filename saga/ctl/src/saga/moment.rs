//! A place in a history: a version or a time.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};

/// A place in a history, in the words of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// After so many events.
    Version(u64),
    /// After the events up to then.
    Time(DateTime<Utc>),
    /// After the events up to then, today.
    TimeOfDay(NaiveTime),
}

impl Moment {
    /// The same with today's date, where there was none.
    #[must_use]
    pub fn on(self, today: NaiveDate) -> Self {
        match self {
            Self::TimeOfDay(time) => Self::Time(today.and_time(time).and_utc()),
            Self::Version(_) | Self::Time(_) => self,
        }
    }
}

/// `7`, `12:30`, `12:30:05.250`, `2026-11-26 12:30` or RFC 3339; times without a zone are UTC.
///
/// # Errors
/// A line saying what is expected.
pub fn parse_moment(text: &str) -> Result<Moment, String> {
    let text = text.trim();
    if let Ok(version) = text.parse::<u64>() {
        return Ok(Moment::Version(version));
    }
    for form in ["%H:%M", "%H:%M:%S%.f"] {
        if let Ok(time) = NaiveTime::parse_from_str(text, form) {
            return Ok(Moment::TimeOfDay(time));
        }
    }
    parse_time(text).map(Moment::Time).ok_or_else(|| {
        format!("{text:?} is no place in a history; expected a version such as 7, or a time such as 12:30 or 2026-11-26T12:30:00Z (UTC)")
    })
}

/// A point in time, with its day.
#[must_use]
pub fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    let forms = ["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
    forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()).map(|time| time.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_times_are_told_apart() {
        let noon = DateTime::parse_from_rfc3339("2026-11-26T12:30:00Z").unwrap().to_utc();
        assert_eq!(parse_moment("7"), Ok(Moment::Version(7)));
        assert_eq!(parse_moment("2026-11-26 12:30"), Ok(Moment::Time(noon)));
        assert_eq!(parse_moment("2026-11-26T13:30:00+01:00"), Ok(Moment::Time(noon)));
        assert_eq!(parse_moment("12:30").map(|moment| moment.on(noon.date_naive())), Ok(Moment::Time(noon)));
        assert!(parse_moment("yesterday").is_err());
    }
}
