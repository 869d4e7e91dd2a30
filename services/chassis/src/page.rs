//! Lists, a page at a time (AIP-158).

use std::str::FromStr;

use chrono::{DateTime, Datelike as _, Utc};
use uuid::Uuid;

use crate::problem::Violations;

/// Rows of a page when the client does not say.
const DEFAULT: usize = 50;
/// Rows of a page at most.
const MAX: usize = 1_000;

/// The size of a page: 0 means 50, more than 1,000 means 1,000, negative is refused.
#[must_use]
pub fn size(violations: &mut Violations, page_size: i32) -> usize {
    match usize::try_from(page_size) {
        Ok(0) => DEFAULT,
        Ok(size) => size.min(MAX),
        Err(_) => {
            violations.add("page_size", format!("is {page_size}: allowed are 0 to {MAX}"));
            DEFAULT
        }
    }
}

/// The token of the page after the row with `key`, bound to the question that was asked.
///
/// Not a secret and no authority: it holds a sort key, and a checksum over it and `question`, so that a token that was
/// made up or belongs to another question is refused instead of answered wrongly.
#[must_use]
pub fn token(question: &str, key: &str) -> String {
    let text = format!("{:08x}{key}", checksum(question, key));
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// The key in a token, as `read` reads it; `None` for the first page. The checksum keeps nobody out who wants to make a
/// token up, so `read` takes only what can be asked for: what it does not take is refused like any other such token.
#[must_use]
pub fn key<T>(
    violations: &mut Violations,
    question: &str,
    token: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Option<T> {
    if token.is_empty() {
        return None;
    }
    let key = opened(question, token, read);
    if key.is_none() {
        refuse(violations);
    }
    key
}

/// The key in a token of this question, as `read` reads it; `None` for one that was made up.
pub(crate) fn opened<T>(question: &str, token: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    let text = decode(token)?;
    let (sum, key) = text.split_at_checked(8)?;
    if u32::from_str_radix(sum, 16).ok()? == checksum(question, key) { read(key) } else { None }
}

/// Says that a token was made up: what is found out only when the page is asked for.
pub fn refuse(violations: &mut Violations) {
    violations.add("page_token", "is not the next_page_token of a page with the same other fields");
}

/// Reads a key that is one value.
#[must_use]
pub fn one<T: FromStr>(key: &str) -> Option<T> {
    key.parse().ok()
}

/// The key of a row in a list that is sorted by time: `micros/id`.
#[must_use]
pub fn moment_key(time: DateTime<Utc>, id: Uuid) -> String {
    format!("{}/{id}", time.timestamp_micros())
}

/// Reads the key of a row in a list that is sorted by time.
#[must_use]
pub fn moment(key: &str) -> Option<(DateTime<Utc>, Uuid)> {
    let (micros, id) = key.split_once('/')?;
    Some((time(micros.parse().ok()?)?, id.parse().ok()?))
}

/// A time in microseconds since 1970 that every database can hold: of the years 1 to 9999.
#[must_use]
pub fn time(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros).filter(|time| (1..=9_999).contains(&time.year()))
}

fn decode(token: &str) -> Option<String> {
    let digits = token.as_bytes();
    if digits.len() > 1_024 {
        return None;
    }
    let bytes = digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
}

/// FNV-1a, 32 bits (Fowler, Noll, Vo).
fn checksum(question: &str, key: &str) -> u32 {
    let bytes = question.bytes().chain([0]).chain(key.bytes());
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_gives_its_key_back_for_the_same_question_only() {
        let mut violations = Violations::new();
        let token = token("orders/customer=7", "0199");
        assert_eq!(key(&mut violations, "orders/customer=7", &token, one::<u32>), Some(199));
        assert!(violations.is_empty());
        assert_eq!(key(&mut violations, "orders/customer=8", &token, one::<u32>), None);
        assert!(!violations.is_empty());
    }

    #[test]
    fn a_made_up_token_is_refused() {
        for made_up in ["x", "zz", "00", "ffffffffffffffffffff", "ä"] {
            let mut violations = Violations::new();
            assert_eq!(key(&mut violations, "orders", made_up, one::<String>), None);
            assert!(!violations.is_empty());
        }
    }

    #[test]
    fn a_token_with_a_right_checksum_is_refused_when_its_key_cannot_be_asked_for() {
        let id = Uuid::nil();
        for made_up in [format!("{}/{id}", i64::MIN), format!("{}/{id}", i64::MAX), format!("1/{id}/2"), "1".to_owned()]
        {
            let mut violations = Violations::new();
            assert_eq!(key(&mut violations, "orders", &token("orders", &made_up), moment), None, "{made_up}");
            assert!(!violations.is_empty(), "{made_up}");
        }
        let mut violations = Violations::new();
        let now = DateTime::UNIX_EPOCH + chrono::Duration::microseconds(1);
        assert_eq!(key(&mut violations, "orders", &token("orders", &moment_key(now, id)), moment), Some((now, id)));
        assert!(violations.is_empty());
    }

    #[test]
    fn page_sizes_are_brought_into_their_limits() {
        let mut violations = Violations::new();
        assert_eq!([0, 7, 5_000].map(|wish| size(&mut violations, wish)), [50, 7, 1_000]);
        assert!(violations.is_empty());
        let _ = size(&mut violations, -1);
        assert!(!violations.is_empty());
    }
}
