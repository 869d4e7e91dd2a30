//! Points in time, as operators write them: always with their zone.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

/// Why a text is no point in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoTime {
    /// It would be one, with its zone: in full, without the zone.
    NoZone(String),
    /// It is none.
    Unknown,
}

/// Reads RFC 3339: `2026-11-29T23:00:00Z`, `2026-11-30T00:00:00.5+01:00`; seconds may be left out.
///
/// A time without a zone is nobody's: those who wrote it, those who read it and the machines between may all mean
/// another.
pub(super) fn point(text: &str) -> Result<DateTime<Utc>, NoTime> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc3339(&with_seconds(text)))
    {
        return Ok(time.to_utc());
    }
    Err(zoneless(text).map_or(NoTime::Unknown, |time| NoTime::NoZone(time.format("%Y-%m-%dT%H:%M:%S").to_string())))
}

/// `2026-11-29T23:00Z` with the seconds that RFC 3339 wants; anything else as it is.
fn with_seconds(text: &str) -> String {
    match text.split_at_checked("2026-11-29T23:00".len()) {
        Some((minutes, zone)) if zone.starts_with(['Z', 'z', '+', '-']) => format!("{minutes}:00{zone}"),
        Some(_) | None => text.to_owned(),
    }
}

fn zoneless(text: &str) -> Option<NaiveDateTime> {
    let forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    let time = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    time.or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_with_its_zone_and_with_nothing_less() {
        let eleven = DateTime::from_timestamp(1_796_079_600, 0).unwrap();
        for text in [
            "2026-11-30T23:00:00Z",
            "2026-11-30T23:00Z",
            "2026-11-30T23:00:00.000+00:00",
            "2026-12-01T00:00:00+01:00",
            "2026-12-01T00:00+01:00",
            "2026-11-30T18:00-05:00",
            "2026-11-30 23:00:00Z",
            "2026-11-30t23:00z",
        ] {
            assert_eq!(point(text), Ok(eleven), "{text}");
        }
        let no_zone = |text: &str| Err(NoTime::NoZone(text.to_owned()));
        for text in ["2026-11-30T23:00:00", "2026-11-30T23:00", "2026-11-30 23:00", "2026-11-30T23:00:00.125"] {
            assert_eq!(point(text), no_zone("2026-11-30T23:00:00"), "{text}");
        }
        assert_eq!(point("2026-11-30"), no_zone("2026-11-30T00:00:00"));
        for text in ["", "now", "10m", "23:00Z", "2026-13-30T23:00Z", "2026-11-30T25:00Z", "2026-11-30T23:00Zulu"] {
            assert_eq!(point(text), Err(NoTime::Unknown), "{text}");
        }
    }
}
