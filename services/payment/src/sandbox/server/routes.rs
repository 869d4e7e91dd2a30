//! Requests in, answers out: between the wire, the weather and the books.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use axum::middleware::{self, Next};
use axum::routing::{get, post};
use chassis::config::Secret;
use futures::stream;
use serde::Deserialize;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::time::sleep;
use uuid::Uuid;

use super::api::{self, Change, Create, Failed, Refund};
use super::book::Book;
use super::ledger::{Answer, Asked, Filter, Said, What};
use super::weather::{Fate, Lost, Sky, Weather};
use crate::sandbox::{NEVER, Transition};

const BODY_BYTES_MAX: usize = 16 * 1024;
const KEY_BYTES_MAX: usize = 255;
const PAGE_DEFAULT: usize = 10;
const PAGE_MAX: usize = 100;
/// The journal is sent in pieces of so many bytes.
const PIECE_BYTES: u64 = 64 * 1024;
/// What `Idempotency-Key` and the rest of a request are hashed under.
const FINGERPRINTS: Uuid = Uuid::from_u128(0x8d0c_9b5e_6f0a_4c53_9a56_2f4e_1c1d_7b21);

/// What every request needs.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) book: Arc<Book>,
    pub(super) sky: Arc<Sky>,
    pub(super) key: Option<Secret>,
    pub(super) journal: Arc<std::path::Path>,
    /// Bytes of a torn line that the start cut off.
    pub(super) torn_bytes: u64,
}

type Told = Result<Response<Body>, Failed>;

pub(super) fn router(place: Place) -> Router {
    let payments = Router::new()
        .route("/v1/payment_intents", post(create).get(list))
        .route("/v1/payment_intents/{id}", get(retrieve))
        .route("/v1/payment_intents/{id}/capture", post(capture))
        .route("/v1/payment_intents/{id}/cancel", post(cancel))
        .route("/v1/refunds", post(refund));
    let operators = Router::new()
        .route("/v1/journal", get(journal))
        .route("/v1/sandbox/weather", get(weather).put(change_weather))
        .route("/v1/sandbox/faults", get(faults));
    payments
        .merge(operators)
        .fallback(|| async {
            Failed::new(StatusCode::NOT_FOUND, "invalid_request_error", "unknown_url", "no such URL").into_response()
        })
        .route_layer(middleware::from_fn_with_state(place.clone(), authenticate))
        .route("/healthz", get(health))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(place)
}

async fn authenticate(State(place): State<Place>, request: Request, next: Next) -> Response<Body> {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let is_known = place.key.as_ref().is_none_or(|key| {
        // No secret of value: the comparison need not take the same time for all.
        given.and_then(|given| given.strip_prefix("Bearer ")).is_some_and(|given| given == key.expose())
    });
    if is_known {
        return next.run(request).await;
    }
    let message = "the API key is missing or unknown";
    Failed::new(StatusCode::UNAUTHORIZED, "authentication_error", "api_key_invalid", message).into_response()
}

async fn create(State(place): State<Place>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    tell(async {
        let asked: Create = parse(&body)?;
        if asked.capture_method.as_deref().is_some_and(|method| method != "manual") {
            return Err(Failed::invalid("capture_method", "the sandbox captures manually"));
        }
        let amount = asked.money()?;
        let (payment_id, payment_method) = (asked.metadata.payment_id, asked.payment_method);
        let what = What::Create { payment_id, amount, payment_method };
        change(&place, asked_by(&headers, "/v1/payment_intents", &body, what)?, false).await
    })
    .await
}

async fn capture(place: State<Place>, id: Path<String>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    tell(change_intent(place.0, id.0, Transition::Capture, headers, body)).await
}

async fn cancel(place: State<Place>, id: Path<String>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    tell(change_intent(place.0, id.0, Transition::Void, headers, body)).await
}

async fn refund(State(place): State<Place>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    tell(async {
        let asked: Refund = parse(&body)?;
        let payment_id = asked.metadata.map(|metadata| metadata.payment_id);
        let what = What::Change { charge: asked.payment_intent, payment_id, transition: Transition::Refund };
        change(&place, asked_by(&headers, "/v1/refunds", &body, what)?, true).await
    })
    .await
}

async fn change_intent(place: Place, charge: String, transition: Transition, headers: HeaderMap, body: Bytes) -> Told {
    let asked: Change = if body.is_empty() { Change::default() } else { parse(&body)? };
    let path = format!("/v1/payment_intents/{charge}/{}", transition.refusal());
    let payment_id = asked.metadata.map(|metadata| metadata.payment_id);
    let what = What::Change { charge, payment_id, transition };
    change(&place, asked_by(&headers, &path, &body, what)?, false).await
}

/// A request with effect, through the weather and the books.
async fn change(place: &Place, asked: Asked, is_refund: bool) -> Told {
    let fate = arrive(place).await?;
    if fate.is_duplicate {
        place.book.ask(&asked, fate.spend).await?;
    }
    let answer = place.book.ask(&asked, fate.spend).await?;
    if is_never_answered(&asked, &answer) {
        sleep(NEVER).await;
        return Err(Failed::try_again());
    }
    leave(fate, api::told(&answer, is_refund)).await
}

/// True when the card says that nobody hears of this request.
fn is_never_answered(asked: &Asked, answer: &Answer) -> bool {
    match (&asked.what, &answer.said, &answer.intent) {
        (What::Create { .. }, None | Some(Said::Stands(_)), Some(intent)) => {
            intent.token.is_never_answered(intent.requests)
        }
        (What::Create { .. } | What::Change { .. }, _, _) => false,
    }
}

async fn retrieve(State(place): State<Place>, Path(id): Path<String>) -> Response<Body> {
    tell(async {
        let fate = arrive(&place).await?;
        let intent = place.book.find(&id).await.ok_or(super::ledger::Misasked::Missing)?;
        leave(fate, api::answer(StatusCode::OK, &api::payment_intent(&intent, intent.standing))).await
    })
    .await
}

#[derive(Deserialize)]
struct Page {
    limit: Option<usize>,
    starting_after: Option<String>,
    idempotency_key: Option<String>,
    #[serde(rename = "metadata[payment_id]")]
    payment_id: Option<Uuid>,
}

async fn list(
    State(place): State<Place>,
    page: Result<Query<Page>, axum::extract::rejection::QueryRejection>,
) -> Response<Body> {
    tell(async {
        let Query(page) = page.map_err(|error| Failed::invalid("query", error.body_text()))?;
        let limit = page.limit.unwrap_or(PAGE_DEFAULT);
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(Failed::invalid("limit", format!("the limit must be 1 to {PAGE_MAX}")));
        }
        let fate = arrive(&place).await?;
        let filter = Filter { key: page.idempotency_key, payment_id: page.payment_id, after: page.starting_after };
        let mut found = place.book.list(&filter, limit + 1).await;
        let has_more = found.len() > limit;
        found.truncate(limit);
        leave(fate, api::list(&found, has_more)).await
    })
    .await
}

/// What is on disk of the journal, as NDJSON.
async fn journal(State(place): State<Place>) -> Response<Body> {
    let bytes = place.book.on_disk().bytes;
    let file = match tokio::fs::File::open(&place.journal).await {
        Ok(file) => file,
        Err(error) => {
            return Failed::new(StatusCode::INTERNAL_SERVER_ERROR, "api_error", "no_journal", error.to_string())
                .into_response();
        }
    };
    let pieces = stream::try_unfold(file.take(bytes), |mut file| async move {
        let mut piece = Vec::new();
        let read = (&mut file).take(PIECE_BYTES).read_to_end(&mut piece).await?;
        Ok::<_, std::io::Error>((read > 0).then(|| (Bytes::from(piece), file)))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let kind = header::HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

async fn weather(State(place): State<Place>) -> Response<Body> {
    api::answer(StatusCode::OK, &place.sky.weather())
}

async fn change_weather(State(place): State<Place>, body: Bytes) -> Response<Body> {
    tell(async {
        let weather: Weather = parse(&body)?;
        weather.check().map_err(|error| Failed::invalid("weather", error.to_string()))?;
        place.sky.change(weather);
        Ok(api::answer(StatusCode::OK, &weather))
    })
    .await
}

async fn faults(State(place): State<Place>) -> Response<Body> {
    api::answer(StatusCode::OK, &place.sky.fired())
}

async fn health(State(place): State<Place>) -> Response<Body> {
    let on_disk = place.book.on_disk();
    let report = json!({
        "status": "ok",
        "entries": on_disk.number,
        "journal_bytes": on_disk.bytes,
        "torn_bytes_cut_at_start": place.torn_bytes,
    });
    api::answer(StatusCode::OK, &report)
}

/// The way in.
async fn arrive(place: &Place) -> Result<Fate, Failed> {
    let latency = place.sky.weather().latency();
    if latency > Duration::ZERO {
        sleep(latency).await;
    }
    let fate = place.sky.draw();
    if fate.is_error {
        return Err(Failed::try_again());
    }
    if fate.is_request_lost {
        sleep(NEVER).await;
        return Err(Failed::try_again());
    }
    Ok(fate)
}

/// The way out.
async fn leave(fate: Fate, response: Response<Body>) -> Told {
    match fate.lost_reply {
        None => Ok(response),
        Some(Lost::Never) => {
            sleep(NEVER).await;
            Err(Failed::try_again())
        }
        Some(Lost::BreaksOff) => {
            let (head, _) = response.into_parts();
            let pieces = [Ok(Bytes::from_static(b"{\"id\":\"pi_")), Err(std::io::Error::other("broken off"))];
            Ok(Response::from_parts(head, Body::from_stream(stream::iter(pieces))))
        }
        Some(Lost::Garbage) => {
            Ok(Response::new(Body::from("<html><body><h1>Welcome to the hotel's wireless network</h1></body></html>")))
        }
    }
}

async fn tell(told: impl Future<Output = Told>) -> Response<Body> {
    told.await.unwrap_or_else(Failed::into_response)
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failed> {
    serde_json::from_slice(body).map_err(|error| Failed::invalid("body", format!("the body cannot be read: {error}")))
}

fn asked_by(headers: &HeaderMap, path: &str, body: &[u8], what: What) -> Result<Asked, Failed> {
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !(1..=KEY_BYTES_MAX).contains(&key.len()) {
        let message = format!("the header Idempotency-Key must have 1 to {KEY_BYTES_MAX} characters");
        return Err(Failed::invalid("Idempotency-Key", message));
    }
    let mut whole = format!("{} {path}\n", Method::POST).into_bytes();
    whole.extend_from_slice(body);
    Ok(Asked { key: key.to_owned(), fingerprint: Uuid::new_v5(&FINGERPRINTS, &whole), what })
}
