//! A gRPC status in one line: message, reason, every violation, and what to do.

use std::error::Error as _;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::failure::Failure;
use crate::output::words::harmless;

/// Reasons that mean: what you saw is not what is there.
const MOVED: [&str; 2] = ["PLAN_STALE", "PLAN_EXPIRED"];

/// The reason of a plan that this caller may not apply alone.
const APPROVAL_REQUIRED: &str = "APPROVAL_REQUIRED";
/// The reason of a call that does not say who acts.
const ACTOR_REQUIRED: &str = "ACTOR_REQUIRED";
/// The reason of a query that means nothing; its metadata has the byte offset of the mistake.
const INVALID_QUERY: &str = "INVALID_QUERY";

/// What the service `name` at `url` means by `status`.
#[must_use]
pub fn explain(name: &str, url: &str, status: &Status) -> Failure {
    if let Some(cause) = broken_connection(status) {
        return if is_silence(status) { away(name, url, &cause) } else { garbled(name, url, &cause) };
    }
    let details = status.get_error_details();
    let reason = details.error_info().map_or("", |info| info.reason.as_str());
    let mut line = harmless(status.message().trim_end_matches('.'));
    line = match details.error_info() {
        Some(info) => format!("{line} [{}, {}]", harmless(&info.reason), harmless(&info.domain)),
        None => format!("{line} [{:?}, {name}]", status.code()),
    };
    if let Some(violations) = violations(&details) {
        line = format!("{line}: {violations}");
    }
    let advice = match details.retry_info().and_then(|retry| retry.retry_delay) {
        Some(delay) => format!("try again in {} ms", delay.as_millis()),
        None => advice(status.code(), reason).to_owned(),
    };
    if !advice.is_empty() {
        line = format!("{line}; {advice}");
    }
    failure(status.code(), reason, line)
}

/// The same for a call with a query: the mistake in it is shown on two lines of its own.
#[must_use]
pub fn explain_query(name: &str, url: &str, status: &Status, query: &str) -> Failure {
    let failure = explain(name, url, status);
    let details = status.get_error_details();
    let offset = details.error_info().filter(|info| info.reason == INVALID_QUERY).and_then(|info| {
        let offset: usize = info.metadata.get("offset")?.parse().ok()?;
        Some(query.get(..offset).unwrap_or(query).chars().count())
    });
    match (failure, offset) {
        (Failure::Usage(line), Some(position)) => Failure::Usage(format!("{line}\n{}", caret(query, position))),
        (failure, _) => failure,
    }
}

/// Nobody answers there.
#[must_use]
pub fn away(name: &str, url: &str, cause: &str) -> Failure {
    Failure::Unavailable(format!(
        "{name} does not answer at {url} ({cause}); is it running there? `sagactl context list` shows the addresses"
    ))
}

/// There is an answer, and it breaks the rules of the way: its headers are larger than a client takes, or it is no HTTP/2.
#[must_use]
fn garbled(name: &str, url: &str, cause: &str) -> Failure {
    Failure::Failed(format!("{name} at {url} answers, but its answer cannot be read ({cause}); see the service's log"))
}

/// No answer in time.
#[must_use]
pub fn silent(name: &str, url: &str) -> Failure {
    Failure::Unavailable(format!("{name} at {url} did not answer in time; try again, or give it longer: --timeout"))
}

/// All of them, when there is more than the one that is the message already.
fn violations(details: &ErrorDetails) -> Option<String> {
    let violations = &details.bad_request()?.field_violations;
    let each = violations.iter().map(|one| format!("{}: {}", harmless(&one.field), harmless(&one.description)));
    (violations.len() > 1).then(|| each.collect::<Vec<_>>().join("; "))
}

/// Whether what broke is the connection: whoever is away says nothing.
fn is_silence(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(here) = cause {
        if here.is::<std::io::Error>() {
            return true;
        }
        cause = here.source();
    }
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled)
}

/// The lowest cause, when the status is not an answer but the lack of a connection.
fn broken_connection(status: &Status) -> Option<String> {
    let mut cause: &dyn std::error::Error = status.source()?;
    while let Some(lower) = cause.source() {
        cause = lower;
    }
    let text = cause.to_string();
    // The system's number for it differs from system to system.
    Some(harmless(text.split(" (os error").next().unwrap_or(&text)))
}

fn failure(code: Code, reason: &str, line: String) -> Failure {
    if MOVED.contains(&reason) {
        return Failure::Conflict(line);
    }
    if reason == APPROVAL_REQUIRED {
        return Failure::Denied(line);
    }
    match code {
        Code::InvalidArgument | Code::OutOfRange => Failure::Usage(line),
        Code::NotFound => Failure::NotFound(line),
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => Failure::Unavailable(line),
        Code::Aborted | Code::AlreadyExists | Code::FailedPrecondition => Failure::Conflict(line),
        Code::PermissionDenied | Code::Unauthenticated => Failure::Denied(line),
        Code::Ok | Code::Cancelled | Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => {
            Failure::Failed(line)
        }
    }
}

fn advice(code: Code, reason: &str) -> &'static str {
    match reason {
        _ if MOVED.contains(&reason) => return "look at a new plan: the same command with --plan",
        APPROVAL_REQUIRED => return "a second person: sagactl op approve HASH",
        ACTOR_REQUIRED => return "say who acts: --actor NAME, SAGACTL_ACTOR, or the context's actor",
        _ => {}
    }
    match code {
        Code::InvalidArgument if reason == INVALID_QUERY => "`sagactl cheat` shows how queries are written",
        Code::InvalidArgument | Code::OutOfRange => "correct the request",
        Code::NotFound => "check the name; the list command shows what there is",
        Code::Unavailable | Code::ResourceExhausted | Code::Aborted | Code::DeadlineExceeded => "try again",
        Code::Internal | Code::Unknown | Code::DataLoss => "see the service's log",
        Code::Unimplemented => "the service is of another version than this program: `sagactl version`",
        Code::Unauthenticated => "renew the credentials: --token-file, or the context's token_file",
        // The message of a refused rule says what to do.
        Code::Ok | Code::Cancelled | Code::AlreadyExists | Code::FailedPrecondition | Code::PermissionDenied => "",
    }
}

/// The two lines that show where a query makes no sense, below the message: the query, and a caret under its character
/// number `position`, counted from 0.
#[must_use]
pub fn caret(query: &str, position: usize) -> String {
    // A line is a line, whatever stands in it: every character takes one place.
    let shown = text::blanked(query);
    format!("  {shown}\n  {}^", " ".repeat(position.min(query.chars().count())))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_stale_plan_is_a_conflict_whatever_its_code() {
        let mut details = ErrorDetails::new();
        details.set_error_info("PLAN_STALE", "orders.farmera.dev", HashMap::new());
        let status = Status::with_error_details(Code::FailedPrecondition, "saga 7 has moved", details);
        let failure = explain("orders", "http://o", &status);
        let line =
            "saga 7 has moved [PLAN_STALE, orders.farmera.dev]; look at a new plan: the same command with --plan";
        assert_eq!((failure.to_string().as_str(), failure.exit_code()), (line, 4));
    }

    #[test]
    fn every_code_has_its_exit_code() {
        let codes = [
            (Code::InvalidArgument, 2),
            (Code::NotFound, 3),
            (Code::Aborted, 4),
            (Code::FailedPrecondition, 4),
            (Code::PermissionDenied, 5),
            (Code::Unauthenticated, 5),
            (Code::Unavailable, 7),
            (Code::DeadlineExceeded, 7),
            (Code::Unimplemented, 1),
            (Code::Internal, 1),
        ];
        for (code, expected) in codes {
            assert_eq!(explain("orders", "http://o", &Status::new(code, "m")).exit_code(), expected, "{code:?}");
        }
    }

    #[test]
    fn the_caret_stands_under_the_mistake() {
        assert_eq!(caret("state=STUCK AND stat=1", 16), format!("  state=STUCK AND stat=1\n  {}^", " ".repeat(16)));
        assert_eq!(caret("é=1", 400), "  é=1\n     ^");
    }
}
