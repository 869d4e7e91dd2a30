//! Values as people read them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use farmera_proto::common::v1 as common;
use money::{Currency, Money};
use pbjson_types::Timestamp;

use crate::clock::local;

/// `text` without anything that moves a cursor, changes a colour, turns a line around or cannot be seen: what others
/// wrote never drives this terminal.
#[must_use]
pub fn harmless(text: &str) -> String {
    text::shown(text)
}

/// The same, with lines kept.
#[must_use]
pub fn harmless_lines(text: &str) -> String {
    text.lines().map(harmless).collect::<Vec<_>>().join("\n")
}

/// A contract's time.
#[must_use]
pub fn time(time: Option<&Timestamp>) -> Option<DateTime<Utc>> {
    let time = time?;
    DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?)
}

/// A time as a contract has it.
#[must_use]
pub fn timestamp(time: DateTime<Utc>) -> Timestamp {
    let nanos = i32::try_from(time.timestamp_subsec_nanos()).unwrap_or(0);
    Timestamp { seconds: time.timestamp(), nanos }
}

/// `13:04:31.118+01:00` where whoever looks is, with the day when it is not `now`'s.
#[must_use]
pub fn clock(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    text::clock(local(time), local(now))
}

/// How long ago, in one unit: `41s`, `3m`, `2h`, `5d`; `-` when nobody knows. What lies ahead is `0s` ago.
#[must_use]
pub fn age(time: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| rough((now - time).to_std().unwrap_or_default()))
}

/// A length of time in one unit.
#[must_use]
pub fn rough(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h", seconds / 3_600),
        172_800.. => format!("{}d", seconds / 86_400),
    }
}

/// A length of time in two units: `1h52m`, `3m04s`, `1.204s`, `31ms`.
#[must_use]
pub fn length(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0 => format!("{}ms", length.as_millis()),
        1..60 if length.subsec_millis() == 0 => format!("{seconds}s"),
        1..60 => format!("{seconds}.{:03}s", length.subsec_millis()),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..172_800 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        172_800.. => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// The length of time a text means: `90s`, `10m`, `2h`, `1d`, `250ms`, `1h30m`.
///
/// # Errors
/// A line saying what is expected.
pub fn parse_length(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no length of time; expected one such as 90s, 10m, 2h, 1d or 1h30m");
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, behind) = rest.split_at_checked(digits).ok_or_else(wrong)?;
        let number: u32 = number.parse().map_err(|_| wrong())?;
        let end = behind.find(|letter: char| letter.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at_checked(end).ok_or_else(wrong)?;
        let unit = match unit {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3_600),
            "d" => Duration::from_secs(86_400),
            _ => return Err(wrong()),
        };
        total = unit.checked_mul(number).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = behind;
    }
    Ok(total)
}

/// `12.50 EUR`; `-` when there is none.
#[must_use]
pub fn amount(amount: Option<&common::Money>) -> String {
    let Some(amount) = amount else { return "-".to_owned() };
    match Currency::from_code(&amount.currency_code) {
        Some(currency) => Money::new(amount.minor_units, currency).to_string(),
        None => format!("{} {}", amount.minor_units, harmless(&amount.currency_code)),
    }
}

/// Amounts of several currencies: `12.50 EUR + 300 JPY`; `-` when there are none.
#[must_use]
pub fn amounts(all: &[common::Money]) -> String {
    if all.is_empty() {
        return "-".to_owned();
    }
    all.iter().map(|one| amount(Some(one))).collect::<Vec<_>>().join(" + ")
}

/// `12,345`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 saga`, `2 sagas`.
#[must_use]
pub fn counted(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// `text`, or `-` when it is empty.
#[must_use]
pub fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { harmless(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_as_they_are_written() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("1h30m", 5_400), ("1d", 86_400)] {
            assert_eq!(parse_length(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "10", "m", "10x", "1h-3m", "99999999999d", "1.5h"] {
            assert!(parse_length(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ages_have_one_unit_and_lengths_two() {
        let seconds = [0, 59, 60, 3_599, 3_600, 172_799, 172_800];
        assert_eq!(seconds.map(|s| rough(Duration::from_secs(s))), ["0s", "59s", "1m", "59m", "1h", "47h", "2d"]);
        let lengths = [31, 5_000, 1_204, 184_000, 6_720_000].map(|ms| length(Duration::from_millis(ms)));
        assert_eq!(lengths, ["31ms", "5s", "1.204s", "3m04s", "1h52m"]);
    }

    #[test]
    fn what_others_wrote_never_drives_the_terminal() {
        assert_eq!(harmless("a\u{1b}[31mb\nc\u{9b}"), "a\\u{1b}[31mb\\nc\\u{9b}");
    }

    #[test]
    fn amounts_of_several_currencies_stand_side_by_side() {
        let money = |code: &str, minor_units| common::Money { currency_code: code.to_owned(), minor_units };
        assert_eq!(amounts(&[money("EUR", 1_250), money("JPY", 300)]), "12.50 EUR + 300 JPY");
        assert_eq!(amounts(&[]), "-");
    }
}
