use chrono::{DateTime, Datelike, Utc};

use crate::{Cause, Commit, DeadLetter, NewEvent, Recorded, StreamId, TimerChange, Version};

/// Why no store can ever take a commit. The same answer from every store, before anything is written.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unstorable {
    /// An append without events.
    #[error("nothing to append to stream {0}")]
    Nothing(StreamId),
    /// Two entries for one stream.
    #[error("stream {0} is named twice")]
    Twice(StreamId),
    /// A name that is empty or over its limit.
    #[error("{what} has {length} characters, 1 to {limit} are possible")]
    Length {
        /// Which field.
        what: &'static str,
        /// How long it is.
        length: usize,
        /// How long it may be.
        limit: usize,
    },
    /// Text with a NUL byte: Postgres cannot keep it. The escape `\u0000` in a JSON text is fine.
    #[error("{0} holds a NUL byte")]
    Nul(&'static str),
    /// A number or time outside of what a store keeps.
    #[error("{0} is out of range")]
    Range(&'static str),
    /// A text that is not JSON.
    #[error("{what} is not JSON: {reason}")]
    NotJson {
        /// Which field.
        what: &'static str,
        /// What the parser said.
        reason: String,
    },
}

const CATEGORY_LENGTH_MAX: usize = 32;
const TYPE_NAME_LENGTH_MAX: usize = 64;
const TRACE_LENGTH_MAX: usize = 512;
const CONSUMER_LENGTH_MAX: usize = 128;
const MESSAGE_LENGTH_MAX: usize = 256;
const KEY_LENGTH_MAX: usize = 128;
const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

impl Commit {
    /// Checks all limits but one: whether payloads and headers are JSON is found by the store as it parses them.
    ///
    /// # Errors
    /// [`Unstorable`]: no store takes this commit.
    pub fn check(&self) -> Result<(), Unstorable> {
        for append in &self.appends {
            check_stream(append.stream)?;
            if append.events().is_empty() {
                return Err(Unstorable::Nothing(append.stream));
            }
            version_in_range(append.expected, append.events().len())?;
            append.events().iter().try_for_each(check_event)?;
        }
        for timer in &self.timers {
            check_stream(timer.stream())?;
            if let TimerChange::Arm { due, .. } = timer {
                time("due time", *due)?;
            }
        }
        named_once(self.appends.iter().map(|append| append.stream).collect())?;
        named_once(self.timers.iter().map(TimerChange::stream).collect())?;
        self.inbox.iter().try_for_each(|entry| name("consumer", &entry.consumer, CONSUMER_LENGTH_MAX))?;
        self.dead_letters.iter().try_for_each(check_letter)
    }
}

impl Recorded {
    /// Checks all limits of an event that comes from elsewhere: from a file, not from a store.
    ///
    /// # Errors
    /// [`Unstorable`]: no store takes it.
    pub fn check(&self) -> Result<(), Unstorable> {
        check_stream(self.stream)?;
        version_in_range(self.version, 0)?;
        check_fields(&self.type_name, self.schema_version, &self.payload, self.time, &self.cause)?;
        parse("payload", &self.payload)
    }
}

impl DeadLetter {
    /// This letter in a form that every store takes, so that whatever cannot be handled can at least be parked: NUL
    /// bytes become U+FFFD, over-long names are cut, and headers that are not JSON are kept as a JSON string.
    #[must_use]
    pub fn into_storable(self) -> Self {
        Self {
            consumer: fitting(&self.consumer, CONSUMER_LENGTH_MAX),
            message: fitting(&self.message, MESSAGE_LENGTH_MAX),
            // A key that is cut might be somebody else's: rather none.
            key: self.key.filter(|key| check_key(key).is_ok()),
            sequence: self.sequence.min(i64::MAX as u64),
            subject: without_nul(&self.subject),
            headers: match parse("headers", &self.headers) {
                Ok(()) => self.headers,
                Err(_) => serde_json::Value::String(self.headers).to_string(),
            },
            body: self.body,
            reason: without_nul(&self.reason),
        }
    }
}

/// Is `text` JSON, as Postgres' type `json` understands it?
pub(crate) fn parse(what: &'static str, text: &str) -> Result<(), Unstorable> {
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(Unstorable::NotJson { what, reason: error.to_string() }),
    }
}

fn check_stream(stream: StreamId) -> Result<(), Unstorable> {
    name("category", stream.category.as_str(), CATEGORY_LENGTH_MAX)
}

fn check_event(event: &NewEvent) -> Result<(), Unstorable> {
    check_fields(event.type_name, event.schema_version, &event.payload, event.time, &event.cause)
}

fn check_fields(
    type_name: &str,
    schema_version: u16,
    payload: &str,
    at: DateTime<Utc>,
    cause: &Cause,
) -> Result<(), Unstorable> {
    name("event type", type_name, TYPE_NAME_LENGTH_MAX)?;
    no_nul("actor", cause.actor.as_str())?;
    if let Some(trace) = &cause.trace {
        no_nul("trace", &trace.0)?;
        at_most("trace", trace.0.len(), TRACE_LENGTH_MAX)?;
    }
    no_nul("payload", payload)?;
    at_most("payload", payload.len(), PAYLOAD_BYTES_MAX)?;
    time("event time", at)?;
    i16::try_from(schema_version).map(drop).map_err(|_| Unstorable::Range("schema version"))
}

fn check_letter(letter: &DeadLetter) -> Result<(), Unstorable> {
    name("consumer", &letter.consumer, CONSUMER_LENGTH_MAX)?;
    name("message", &letter.message, MESSAGE_LENGTH_MAX)?;
    letter.key.as_deref().map_or(Ok(()), check_key)?;
    i64::try_from(letter.sequence).map_err(|_| Unstorable::Range("sequence"))?;
    no_nul("subject", &letter.subject)?;
    no_nul("headers", &letter.headers)?;
    no_nul("reason", &letter.reason)
}

/// `#` marks the lines of letters without a key.
fn check_key(key: &str) -> Result<(), Unstorable> {
    name("key", key, KEY_LENGTH_MAX)?;
    if key.starts_with('#') { Err(Unstorable::Range("key")) } else { Ok(()) }
}

fn version_in_range(expected: Version, more: usize) -> Result<(), Unstorable> {
    let last = expected.get().checked_add(more as u64).and_then(|last| i64::try_from(last).ok());
    last.map(drop).ok_or(Unstorable::Range("version"))
}

/// Four-digit years: what both chrono and Postgres keep, and print alike.
fn time(what: &'static str, time: DateTime<Utc>) -> Result<(), Unstorable> {
    if (1..=9999).contains(&time.year()) { Ok(()) } else { Err(Unstorable::Range(what)) }
}

fn name(what: &'static str, text: &str, limit: usize) -> Result<(), Unstorable> {
    no_nul(what, text)?;
    if text.is_empty() {
        return Err(Unstorable::Length { what, length: 0, limit });
    }
    // Bytes first: counting characters is only worth it for what might be too long.
    if text.len() > limit { at_most(what, text.chars().count(), limit) } else { Ok(()) }
}

fn at_most(what: &'static str, length: usize, limit: usize) -> Result<(), Unstorable> {
    if length > limit { Err(Unstorable::Length { what, length, limit }) } else { Ok(()) }
}

fn no_nul(what: &'static str, text: &str) -> Result<(), Unstorable> {
    if text.as_bytes().contains(&0) { Err(Unstorable::Nul(what)) } else { Ok(()) }
}

fn named_once(mut streams: Vec<StreamId>) -> Result<(), Unstorable> {
    streams.sort_unstable();
    let twice = streams.windows(2).find_map(|pair| match pair {
        [one, other] if one == other => Some(*one),
        _ => None,
    });
    twice.map_or(Ok(()), |stream| Err(Unstorable::Twice(stream)))
}

fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn fitting(text: &str, limit: usize) -> String {
    if text.is_empty() {
        return "unnamed".to_owned();
    }
    without_nul(text).chars().take(limit).collect()
}
