//! Errors at the edge: what is wrong, whose fault it is, and what to do, in `google.rpc` details.

use std::collections::HashMap;
use std::time::Duration;

use eventstore::{DecodeError, Need};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};
use tracing::{error, warn};
use uuid::Uuid;

/// Bytes of all violations that are told: with everything around them, and as the header of HTTP/2 that they become (base64),
/// they stay below the half of what clients take as headers (16 KiB), or the whole answer would be lost.
const VIOLATIONS_BYTES_MAX: usize = 3 * 1024;
/// Bytes of one violation.
const DESCRIPTION_BYTES_MAX: usize = 400;
/// Bytes of a message: non-ASCII takes three times as many in a header.
const MESSAGE_BYTES_MAX: usize = 1_024;
/// Bytes of a dynamic part of a message.
const METADATA_BYTES_MAX: usize = 256;

/// What is wrong with a request, found in one go: all of it, or as much as an answer may hold and how much more there is.
#[derive(Debug, Default)]
pub struct Violations {
    told: Vec<FieldViolation>,
    bytes: usize,
    more: usize,
}

impl Violations {
    /// Nothing is wrong yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `field` is wrong: `description` gives the reason and the limit.
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        let (field, description) = (field.into(), cut(description.into(), DESCRIPTION_BYTES_MAX));
        let bytes = field.len() + description.len();
        if self.more > 0 || self.bytes + bytes > VIOLATIONS_BYTES_MAX {
            self.more += 1;
            return;
        }
        self.bytes += bytes;
        self.told.push(FieldViolation::new(field, description));
    }

    /// True when nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// A UUID that is not nil.
    #[must_use]
    pub fn uuid(&mut self, field: &str, text: &str) -> Option<Uuid> {
        match text.parse::<Uuid>() {
            Ok(id) if !id.is_nil() => Some(id),
            Ok(_) | Err(_) => {
                self.add(field, format!("is {:?}: expected a UUID that is not nil", shortened(text)));
                None
            }
        }
    }

    /// A line that people read, of `min` to `max` characters, by the rule of [`text::line`].
    #[must_use]
    pub fn text(&mut self, field: &str, text: &str, min: usize, max: usize) -> Option<String> {
        self.fit(field, text::line(text, min, max))
    }

    /// A name of 1 to `max` characters, by the rule of [`text::name`].
    #[must_use]
    pub fn name(&mut self, field: &str, text: &str, max: usize) -> Option<String> {
        self.fit(field, text::name(text, max))
    }

    /// A word that programs read, of 1 to `max` visible ASCII characters. What was found is not told: it may be secret.
    #[must_use]
    pub fn token(&mut self, field: &str, text: &str, max: usize) -> Option<String> {
        if !(1..=max).contains(&text.len()) || !text.chars().all(|letter| letter.is_ascii_graphic()) {
            let found = text.len();
            self.add(field, format!("has {found} bytes: allowed are 1 to {max} letters, digits and signs of ASCII"));
            return None;
        }
        Some(text.to_owned())
    }

    fn fit(&mut self, field: &str, read: Result<String, text::Unfit>) -> Option<String> {
        read.map_err(|unfit| self.add(field, unfit.to_string())).ok()
    }

    /// An e-mail address that a mail can be sent to, by the rule of [`text::email`].
    #[must_use]
    pub fn email(&mut self, field: &str, text: &str) -> Option<String> {
        self.fit(field, text::email(text))
    }

    /// The request, if nothing is wrong with it.
    ///
    /// # Errors
    /// INVALID_ARGUMENT with every violation; of very many the first ones, and as the last how many more there are.
    pub fn finish(mut self, domain: &'static str) -> Result<(), Status> {
        let Some(first) = self.told.first() else { return Ok(()) };
        let first = cut(format!("{}: {}", first.field, first.description), DESCRIPTION_BYTES_MAX);
        let message = match self.told.len() + self.more {
            1 => first,
            count => format!("{first} (and {} more)", count - 1),
        };
        if self.more > 0 {
            let more = format!("{} more violations are not told: correct these first", self.more);
            self.told.push(FieldViolation::new("request", more));
        }
        let mut details = ErrorDetails::new();
        details.set_error_info("INVALID_REQUEST", domain, HashMap::new());
        details.set_bad_request(self.told);
        Err(Status::with_error_details(Code::InvalidArgument, message, details))
    }
}

/// `text`, or its beginning: at most so many bytes, with a mark where it was cut.
fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max.saturating_sub('…'.len_utf8())));
        text.push('…');
    }
    text
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

/// An error with a reason that a program can act on.
#[derive(Debug)]
pub struct Problem {
    code: Code,
    reason: &'static str,
    message: String,
    metadata: HashMap<String, String>,
    retry_after: Option<Duration>,
}

impl Problem {
    /// `reason` is UPPER_SNAKE, at most 63 characters, and never changes; `message` is for people.
    #[must_use]
    pub fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        let message = cut(message.into(), MESSAGE_BYTES_MAX);
        Self { code, reason, message, metadata: HashMap::new(), retry_after: None }
    }

    /// Adds a dynamic part of the message for programs; it is cut at 256 bytes.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.metadata.insert(key.to_owned(), cut(value.to_string(), METADATA_BYTES_MAX));
        self
    }

    /// Trying again makes sense, after this long.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// The gRPC status; `domain` is the service's: `orders.farmera.dev`.
    #[must_use]
    pub fn into_status(self, domain: &'static str) -> Status {
        let mut details = ErrorDetails::new();
        details.set_error_info(self.reason, domain, self.metadata);
        if let Some(delay) = self.retry_after {
            details.set_retry_info(Some(delay));
        }
        Status::with_error_details(self.code, self.message, details)
    }
}

/// The service cannot answer now; the same request may be sent again.
#[must_use]
pub fn unavailable(domain: &'static str, message: impl Into<String>) -> Status {
    Problem::new(Code::Unavailable, "TEMPORARILY_UNAVAILABLE", message)
        .retry_after(Duration::from_millis(500))
        .into_status(domain)
}

/// A defect or a corrupt row: the log has the details, the client gets none.
#[must_use]
pub fn internal(domain: &'static str) -> Status {
    Problem::new(Code::Internal, "INTERNAL", "an internal error; the service's log has the details").into_status(domain)
}

/// The thing's history cannot be used by this program. A newer one understands it: another replica may be that program
/// already, so trying again makes sense. What is damaged is nobody's to try.
#[must_use]
pub fn unusable(domain: &'static str, need: &Need) -> Status {
    match need {
        Need::Newer { stream, .. } => {
            warn!(%need, "a stream is of a newer program");
            Problem::new(
                Code::Unavailable,
                "OF_NEWER_PROGRAM",
                format!("{stream} has events of a newer program than this one: deploy that program, then try again"),
            )
            .with("stream", stream)
            .retry_after(Duration::from_secs(5))
            .into_status(domain)
        }
        Need::Broken { .. } | Need::NotLoaded(_) => {
            error!(%need, "a stream cannot be used");
            internal(domain)
        }
    }
}

/// The same for a history that was read for an answer.
#[must_use]
pub fn undecodable(domain: &'static str, error: DecodeError) -> Status {
    unusable(domain, &Need::from(error))
}

/// Refuses a message above `limit` bytes.
///
/// # Errors
/// INVALID_ARGUMENT naming size and limit.
pub fn check_size(domain: &'static str, size: usize, limit: usize) -> Result<(), Status> {
    if size <= limit {
        return Ok(());
    }
    let mut violations = Violations::new();
    violations.add("request", format!("has {size} bytes: allowed are {limit}"));
    violations.finish(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_violation_is_named_with_its_limit() {
        let mut violations = Violations::new();
        let _ = violations.uuid("order_id", "seven");
        let _ = violations.text("name", "", 1, 120);
        let _ = violations.email("email", "nobody");
        let status = violations.finish("orders.farmera.dev").unwrap_err();
        let details = status.get_error_details();
        let fields: Vec<_> = details.bad_request().unwrap().field_violations.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["order_id", "name", "email"]);
        assert_eq!(status.message(), "order_id: is \"seven\": expected a UUID that is not nil (and 2 more)");
    }

    #[test]
    fn a_refusal_is_bounded_in_bytes_and_says_how_much_is_left_out() {
        let mut violations = Violations::new();
        for index in 0..10_000 {
            let _ = violations.uuid(&format!("lines[{index}].product_id"), &"\u{10ffff}".repeat(100));
        }
        let status = violations.finish("orders.farmera.dev").unwrap_err();
        let told = status.get_error_details().bad_request().unwrap().field_violations.clone();
        let last = &told.last().unwrap().description;
        assert_eq!(*last, format!("{} more violations are not told: correct these first", 10_000 - (told.len() - 1)));
        assert!(status.message().ends_with("(and 9999 more)"), "{}", status.message());
        assert!(told.len() > 5 && status.details().len() < 5 * 1_024, "{} in {}", told.len(), status.details().len());
        let long = Problem::new(Code::Aborted, "LONG", "ä".repeat(9_000)).with("what", "ä".repeat(9_000));
        let status = long.into_status("orders.farmera.dev");
        assert!(status.details().len() + status.message().len() * 3 < 8 * 1_024);
    }

    #[test]
    fn a_problem_carries_its_reason_and_when_to_try_again() {
        let status = unavailable("orders.farmera.dev", "the event store is away");
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "TEMPORARILY_UNAVAILABLE");
        assert!(details.retry_info().unwrap().retry_delay.is_some());
    }
}
