//! Times as people read them: never without their zone.

use chrono::{DateTime, FixedOffset, SecondsFormat};

/// `13:04:31.118+01:00`, `12:04:31.118Z`; with its day when that is not `now`'s.
#[must_use]
pub fn clock(time: DateTime<FixedOffset>, now: DateTime<FixedOffset>) -> String {
    let form = if time.date_naive() == now.date_naive() { "%H:%M:%S%.3f" } else { "%Y-%m-%d %H:%M:%S%.3f" };
    let zone = if time.offset().local_minus_utc() == 0 { "Z".to_owned() } else { time.offset().to_string() };
    format!("{}{zone}", time.format(form))
}

/// `2026-11-30T13:04:31+01:00`, `2026-11-30T12:04:31Z`: what queries and `--at` take as it stands.
#[must_use]
pub fn moment(time: DateTime<FixedOffset>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_says_its_zone_and_its_day_where_that_is_another() {
        let time = |text: &str| DateTime::parse_from_rfc3339(text).unwrap();
        let now = time("2026-11-30T23:59:00+05:30");
        assert_eq!(clock(time("2026-11-30T00:00:00.0625+05:30"), now), "00:00:00.062+05:30");
        assert_eq!(clock(time("2026-12-01T00:00:00+05:30"), now), "2026-12-01 00:00:00.000+05:30");
        assert_eq!(clock(time("2026-11-30T12:04:31.118Z"), time("2026-11-30T13:00:00Z")), "12:04:31.118Z");
        assert_eq!(moment(time("2026-11-30T12:04:31.118-03:00")), "2026-11-30T12:04:31-03:00");
        assert_eq!(moment(time("2026-11-30T12:04:31Z")), "2026-11-30T12:04:31Z");
    }
}
