//! Dead letters as people and programs see them.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use eventstore::LetterState;
use serde::{Serialize, Serializer};

use super::letters::{Kept, heads};
use crate::output::{self, Format, Paint};

const CAUSE_LENGTH_MAX: usize = 90;

/// Letters with the same cause.
#[derive(Serialize)]
struct Cause {
    service: &'static str,
    consumer: String,
    cause: String,
    letters: u64,
    lines: u64,
    #[serde(serialize_with = "utc")]
    oldest: Option<DateTime<Utc>>,
    example: String,
}

/// A letter, for programs.
#[derive(Serialize)]
struct Letter<'a> {
    letter: String,
    consumer: &'a str,
    key: Option<&'a str>,
    sequence: u64,
    message: &'a str,
    subject: &'a str,
    state: &'static str,
    #[serde(serialize_with = "utc")]
    parked_at: Option<DateTime<Utc>>,
    cause: &'a str,
    attempts: u32,
    last_error: Option<&'a str>,
    #[serde(serialize_with = "utc")]
    ended_at: Option<DateTime<Utc>>,
    ended_by: Option<&'a str>,
    discarded_because: Option<&'a str>,
}

#[derive(Serialize)]
struct List<'a> {
    causes: Vec<Cause>,
    letters: Vec<Letter<'a>>,
}

/// A letter with its content, for programs.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    letter: Letter<'a>,
    headers: serde_json::Value,
    /// As text; what is no UTF-8 is replaced.
    body: String,
    body_bytes: usize,
}

pub(super) fn list(found: &[Kept], letters: bool, format: Format) {
    match format {
        Format::Json => {
            output::json(&List { causes: causes(found), letters: found.iter().map(letter).collect() });
        }
        Format::Table if found.is_empty() => output::line("No dead letters."),
        Format::Table if letters => letter_table(found),
        Format::Table => cause_table(found),
    }
}

pub(super) fn one(kept: &Kept, format: Format) {
    let stored = &kept.stored.letter;
    let headers = serde_json::from_str(&stored.headers).unwrap_or_default();
    let body = String::from_utf8_lossy(&stored.body).into_owned();
    match format {
        Format::Json => {
            output::json(&Whole { letter: letter(kept), headers, body, body_bytes: stored.body.len() });
        }
        Format::Table => {
            let shown = letter(kept);
            let mut table = Paint::of_stdout().table(&["letter", &shown.letter], &[]);
            let attempts = shown.attempts.to_string();
            let sequence = shown.sequence.to_string();
            let (parked, ended) = (seen(shown.parked_at), seen(shown.ended_at));
            for (name, value) in [
                ("consumer", shown.consumer),
                ("key", shown.key.unwrap_or("-")),
                ("sequence", &sequence),
                ("message", shown.message),
                ("subject", shown.subject),
                ("state", shown.state),
                ("parked", &parked),
                ("cause", shown.cause),
                ("attempts", &attempts),
                ("last error", shown.last_error.unwrap_or("-")),
                ("ended", &ended),
                ("by", shown.ended_by.unwrap_or("-")),
                ("because", shown.discarded_because.unwrap_or("-")),
            ] {
                table.add_row([name, value]);
            }
            output::table(&table);
            output::line("");
            output::json(&headers);
            output::line("");
            output::line(printable(&body));
        }
    }
}

fn cause_table(found: &[Kept]) {
    let mut table = Paint::of_stdout().table(&["letters", "lines", "consumer", "oldest", "example", "cause"], &[0, 1]);
    for cause in causes(found) {
        let (letters, lines) = (output::grouped(cause.letters), output::grouped(cause.lines));
        table.add_row([letters, lines, cause.consumer, seen(cause.oldest), cause.example, short(&cause.cause)]);
    }
    output::table(&table);
}

fn letter_table(found: &[Kept]) {
    let mut table =
        Paint::of_stdout().table(&["letter", "consumer", "key", "state", "parked", "attempts", "cause"], &[5]);
    for shown in found.iter().map(letter) {
        let (key, attempts) = (shown.key.unwrap_or("-").to_owned(), shown.attempts.to_string());
        let (consumer, state) = (shown.consumer.to_owned(), shown.state.to_owned());
        table.add_row([shown.letter, consumer, key, state, seen(shown.parked_at), attempts, short(shown.cause)]);
    }
    output::table(&table);
}

/// The most frequent first.
fn causes(found: &[Kept]) -> Vec<Cause> {
    let mut causes: BTreeMap<(&str, &str, String), Vec<&Kept>> = BTreeMap::new();
    for kept in found {
        let letter = &kept.stored.letter;
        causes.entry((kept.service, &letter.consumer, cause_of(&letter.reason))).or_default().push(kept);
    }
    let mut causes: Vec<Cause> = causes
        .into_iter()
        .map(|((_, consumer, cause), letters)| {
            let lines = heads(letters.iter().copied()).len() as u64;
            let first = letters.first();
            Cause {
                service: first.map_or("", |kept| kept.service),
                consumer: consumer.to_owned(),
                cause,
                letters: letters.len() as u64,
                lines,
                oldest: first.map(|kept| kept.stored.parked_at),
                example: first.map_or_else(String::new, |kept| kept.place().to_string()),
            }
        })
        .collect();
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.letters));
    causes
}

/// A reason without what differs from letter to letter: ids and numbers.
fn cause_of(reason: &str) -> String {
    let varies = |word: &str| {
        let bare = word.trim_matches(|letter: char| !letter.is_ascii_alphanumeric());
        bare.len() > 3 && bare.chars().any(|letter| letter.is_ascii_digit())
    };
    let words: Vec<&str> = reason.split(' ').map(|word| if varies(word) { "…" } else { word }).collect();
    words.join(" ")
}

fn letter(kept: &Kept) -> Letter<'_> {
    let stored = &kept.stored;
    let (state, ended_at, ended_by, discarded_because) = match &stored.state {
        LetterState::Waiting => ("waiting", None, None, None),
        LetterState::Redriving => ("redriving", None, None, None),
        LetterState::Redriven { at, by } => ("redriven", Some(*at), Some(by.as_str()), None),
        LetterState::Discarded { at, by, reason } => ("discarded", Some(*at), Some(by.as_str()), Some(reason.as_str())),
    };
    Letter {
        letter: kept.place().to_string(),
        consumer: &stored.letter.consumer,
        key: stored.letter.key.as_deref(),
        sequence: stored.letter.sequence,
        message: &stored.letter.message,
        subject: &stored.letter.subject,
        state,
        parked_at: Some(stored.parked_at),
        cause: &stored.letter.reason,
        attempts: stored.attempts,
        last_error: stored.last_error.as_deref(),
        ended_at,
        ended_by,
        discarded_because,
    }
}

/// A time for people: theirs.
fn seen(time: Option<DateTime<Utc>>) -> String {
    time.map(|time| text::moment(output::local(time))).unwrap_or_default()
}

/// A time for programs: UTC.
fn utc<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true)).serialize(serializer)
}

fn short(text: &str) -> String {
    let text = printable(text);
    if text.chars().count() <= CAUSE_LENGTH_MAX {
        return text;
    }
    let kept: String = text.chars().take(CAUSE_LENGTH_MAX).collect();
    format!("{kept}…")
}

/// What strangers wrote moves no cursor.
fn printable(text: &str) -> String {
    text::shown_lines(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_differ_in_ids_alone_are_one_cause() {
        let one = cause_of("waits behind an earlier message of saga/0199c0de-0001-7000-8000-000000000001");
        let other = cause_of("waits behind an earlier message of saga/0199c0de-0001-7000-8000-000000000002");
        assert_eq!((one.as_str(), &one), ("waits behind an earlier message of …", &other));
        assert_ne!(cause_of("attribute id is missing"), cause_of("attribute type is missing"));
    }

    #[test]
    fn a_strangers_escapes_reach_no_terminal() {
        assert_eq!(short("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
    }
}
