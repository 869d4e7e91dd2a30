//! A gRPC status in one line: message, reason, every violation, and what to do.

use std::error::Error as _;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::failure::Failure;

/// What `service` at `url` means by `status`.
#[must_use]
pub fn explain(service: &str, url: &str, status: &Status) -> Failure {
    if let Some(cause) = unreadable(status) {
        let line =
            format!("{service} at {url} answers, but its answer cannot be read ({cause}); see the service's log");
        return Failure::Failed(line);
    }
    if let Some(cause) = broken_connection(status) {
        let line =
            format!("{service} does not answer at {url} ({cause}); is it running? `farmera up` starts everything");
        return Failure::Unavailable(line);
    }
    let details = status.get_error_details();
    let mut line = status.message().trim_end_matches('.').to_owned();
    if let Some(info) = details.error_info() {
        line = format!("{line} [{}, {}]", info.reason, info.domain);
    } else {
        line = format!("{line} [{:?}, {service}]", status.code());
    }
    let violations = details.bad_request().map(|request| request.field_violations.as_slice()).unwrap_or_default();
    // One violation is the message already.
    if violations.len() > 1 {
        let each: Vec<String> = violations.iter().map(|one| format!("{}: {}", one.field, one.description)).collect();
        line = format!("{line}: {}", each.join("; "));
    }
    let reason = details.error_info().map_or("", |info| info.reason.as_str());
    let advice = match details.retry_info().and_then(|retry| retry.retry_delay) {
        Some(delay) => format!("try again in {} ms", delay.as_millis()),
        None => advice(status.code(), reason).to_owned(),
    };
    if !advice.is_empty() {
        line = format!("{line}; {advice}");
    }
    failure(status.code(), line)
}

/// The lowest cause, when there was an answer and it broke the rules of the way: its headers are larger than a client
/// takes, or it is no HTTP/2. Whoever is away says nothing.
fn unreadable(status: &Status) -> Option<String> {
    let cause = broken_connection(status)?;
    // No answer, but the end of a connection.
    let silent = matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled);
    (!silent && !lowest_io(status)).then_some(cause)
}

fn lowest_io(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(here) = cause {
        if here.is::<std::io::Error>() {
            return true;
        }
        cause = here.source();
    }
    false
}

/// The lowest cause, when the status is not an answer but the lack of a connection.
fn broken_connection(status: &Status) -> Option<String> {
    let mut cause: &dyn std::error::Error = status.source()?;
    while let Some(lower) = cause.source() {
        cause = lower;
    }
    Some(cause.to_string())
}

fn failure(code: Code, line: String) -> Failure {
    match code {
        Code::NotFound => Failure::NotFound(line),
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => Failure::Unavailable(line),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => Failure::Failed(line),
    }
}

fn advice(code: Code, reason: &str) -> &'static str {
    match code {
        Code::InvalidArgument | Code::OutOfRange => "correct the request",
        Code::AlreadyExists if reason == "REQUEST_ID_REUSED" => "use another --request-id",
        Code::NotFound => "check the id",
        Code::Unavailable | Code::ResourceExhausted | Code::Aborted => "try again",
        Code::DeadlineExceeded => "try again with the same --request-id: it takes effect once",
        Code::Internal | Code::Unknown | Code::DataLoss => "see the service's log",
        Code::Unimplemented => "the service is older than this client",
        // The message of a refused rule says what to do.
        Code::Ok
        | Code::Cancelled
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Unauthenticated => "",
    }
}

#[cfg(test)]
mod tests {
    use chassis::problem::{Violations, unavailable};

    use super::*;

    #[test]
    fn every_violation_stands_in_one_line() {
        let mut violations = Violations::new();
        violations.add("lines[0].quantity", "is 0: allowed are 1 to 10000");
        violations.add("email", "has 0 characters: allowed are 3 to 254");
        let status = violations.finish("orders.farmera.dev").unwrap_err();
        let failure = explain("orders", "http://o", &status);
        assert_eq!(
            failure.to_string(),
            "lines[0].quantity: is 0: allowed are 1 to 10000 (and 1 more) [INVALID_REQUEST, orders.farmera.dev]: \
             lines[0].quantity: is 0: allowed are 1 to 10000; email: has 0 characters: allowed are 3 to 254; \
             correct the request"
        );
    }

    #[test]
    fn a_service_that_is_away_says_when_to_try_again() {
        let failure = explain("orders", "http://o", &unavailable("orders.farmera.dev", "the event store is away"));
        assert!(matches!(failure, Failure::Unavailable(_)));
        let line = "the event store is away [TEMPORARILY_UNAVAILABLE, orders.farmera.dev]; try again in 500 ms";
        assert_eq!(failure.to_string(), line);
    }

    #[test]
    fn an_unknown_id_has_an_exit_code_of_its_own() {
        assert!(matches!(explain("orders", "http://o", &Status::not_found("no order 7")), Failure::NotFound(_)));
    }
}
