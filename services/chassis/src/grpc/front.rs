//! What every request meets first, whatever it asks for.
//!
//! - What is not gRPC is told so: HTTP 415, as <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md> has it.
//! - A deadline that the client gave is kept, and says its name: `DEADLINE_EXCEEDED`. The server beneath would answer
//!   `CANCELLED`, which is what a client reads that has given up by itself.
//! - A message above the limit is `RESOURCE_EXHAUSTED`, as with other servers. The server beneath says `OUT_OF_RANGE`.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tonic::{Code, Status};

const TIMEOUT: &str = "grpc-timeout";
/// The server beneath keeps the same deadline: it is met before it.
const BEFORE: Duration = Duration::from_millis(2);
/// How the server beneath begins what it says of a message above the limit.
const TOO_LARGE: &str = "Error, decoded message length too large";

/// Passes a request on, and puts right what comes back.
pub(super) async fn front(request: Request, next: Next) -> Response {
    if !is_grpc(request.headers()) {
        let words = "this is a gRPC server: send application/grpc";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, words).into_response();
    }
    let Some(deadline) = deadline_of(request.headers()) else { return named(next.run(request).await) };
    match tokio::time::timeout(deadline.saturating_sub(BEFORE), next.run(request)).await {
        Ok(response) => named(response),
        Err(_) => {
            let words = format!("no answer within the {} ms that the client gave", deadline.as_millis());
            Status::deadline_exceeded(words).into_http::<Body>()
        }
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let content = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content.strip_prefix("application/grpc").is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
}

/// One to eight digits and a unit. What is no such thing is no deadline.
fn deadline_of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let count = digits.parse::<u64>().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// The answer with the code that other servers give.
fn named(response: Response) -> Response {
    let too_large = Status::from_header_map(response.headers())
        .filter(|status| status.code() == Code::OutOfRange && status.message().starts_with(TOO_LARGE));
    match too_large {
        Some(status) => Status::resource_exhausted(status.message()).into_http::<Body>(),
        None => response,
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::middleware::from_fn;
    use tonic::codegen::Service as _;

    use super::*;

    async fn asked(
        answer: impl Fn() -> Response + Clone + Send + Sync + 'static,
        headers: &[(&str, &str)],
    ) -> Response {
        let handler = move || {
            let answer = answer.clone();
            async move { answer() }
        };
        ask(Router::new().fallback(handler), headers).await
    }

    async fn ask(router: Router, headers: &[(&str, &str)]) -> Response {
        let mut request = axum::http::Request::post("/farmera.orders.v1.OrdersService/PlaceOrder");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut router = router.layer(from_fn(front));
        router.call(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    fn code(response: &Response) -> Option<Code> {
        Status::from_header_map(response.headers()).map(|status| status.code())
    }

    const GRPC: (&str, &str) = ("content-type", "application/grpc");

    #[tokio::test]
    async fn a_deadline_that_passes_is_called_one() {
        let never = Router::new().fallback(std::future::pending::<Response>);
        let response = ask(never, &[GRPC, ("grpc-timeout", "20m")]).await;
        assert_eq!(code(&response), Some(Code::DeadlineExceeded));
    }

    #[tokio::test]
    async fn what_is_not_grpc_is_told_so() {
        for content in ["text/plain", "application/json", "application/grpcx"] {
            let response = asked(|| Status::ok("").into_http(), &[("content-type", content)]).await;
            assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content}");
        }
        let response = asked(|| Status::ok("").into_http(), &[]).await;
        assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        for content in ["application/grpc", "application/grpc+proto", "application/grpc; charset=utf-8"] {
            let response = asked(|| Status::ok("").into_http(), &[("content-type", content)]).await;
            assert_eq!(response.status(), StatusCode::OK, "{content}");
        }
    }

    #[tokio::test]
    async fn a_message_above_the_limit_is_called_what_other_servers_call_it() {
        let words = format!("{TOO_LARGE}: found 5242885 bytes, the limit is: 4194304 bytes");
        let response = asked(move || Status::out_of_range(words.clone()).into_http(), &[GRPC]).await;
        assert_eq!(code(&response), Some(Code::ResourceExhausted));
        let response = asked(|| Status::out_of_range("page 7 of 3").into_http(), &[GRPC]).await;
        assert_eq!(code(&response), Some(Code::OutOfRange));
    }

    #[test]
    fn a_deadline_is_read_as_the_protocol_writes_it() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(TIMEOUT, text.parse().unwrap());
            deadline_of(&headers)
        };
        assert_eq!(read("2S"), Some(Duration::from_secs(2)));
        assert_eq!(read("1H"), Some(Duration::from_secs(3_600)));
        assert_eq!(read("99999999M"), Some(Duration::from_secs(99_999_999 * 60)));
        assert_eq!(read("250u"), Some(Duration::from_micros(250)));
        for wrong in ["", "S", "2", "2s", "-1S", "+1S", "123456789m", "1é"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
