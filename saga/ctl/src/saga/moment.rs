//! A place in a history: a version or a time.

use chrono::{DateTime, NaiveDateTime, NaiveTime, Utc};

use crate::clock::{local, meant};

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
    /// The same on the day that it is at `now`, where there was none.
    #[must_use]
    pub fn on(self, now: DateTime<Utc>) -> Self {
        let Self::TimeOfDay(time) = self else { return self };
        let now = local(now);
        let today = now.date_naive().and_time(time);
        // Where clocks are put on or back today, what is meant is read by the clock as it is now.
        let at = meant(today).or_else(|| Some(today.and_local_timezone(*now.offset()).single()?.to_utc()));
        at.map_or(self, Self::Time)
    }
}

/// `7`, `12:30`, `12:30:05.250`, `2026-11-26 12:30` or RFC 3339; times without a zone are of the zone that times are shown
/// in.
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
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(Moment::Time(time.to_utc()));
    }
    let forms = ["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
    let Some(time) = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()) else {
        return Err(format!(
            "{text:?} is no place in a history; expected a version such as 7, or a time such as 12:30 or 2026-11-26T12:30:00Z"
        ));
    };
    meant(time).map(Moment::Time).ok_or_else(|| {
        format!(
            "{text:?} was never or twice, where clocks were put on or back; say its zone, such as 2026-11-26T12:30:00Z"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_times_are_told_apart() {
        let noon = DateTime::parse_from_rfc3339("2026-11-26T12:30:00Z").unwrap().to_utc();
        assert_eq!(parse_moment("7"), Ok(Moment::Version(7)));
        assert_eq!(parse_moment(&local(noon).format("%Y-%m-%d %H:%M").to_string()), Ok(Moment::Time(noon)));
        assert_eq!(parse_moment("2026-11-26T13:30:00+01:00"), Ok(Moment::Time(noon)));
        let of_day = local(noon).format("%H:%M").to_string();
        assert_eq!(parse_moment(&of_day).map(|moment| moment.on(noon)), Ok(Moment::Time(noon)));
        assert!(parse_moment("yesterday").is_err());
    }
}
