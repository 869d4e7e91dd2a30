//! The shapes of the API: what requests may say, and what answers look like.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, StatusCode, header};
use money::{Currency, Money};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::ledger::{Answer, Intent, Misasked, Said};
use crate::sandbox::{Standing, Transition};

/// Says that an answer was recorded before and is repeated.
pub(super) const REPLAYED: &str = "idempotent-replayed";

/// `POST /v1/payment_intents`
#[derive(Debug, Deserialize)]
pub(super) struct Create {
    pub(super) amount: i64,
    /// In lower or upper case.
    pub(super) currency: String,
    pub(super) payment_method: String,
    pub(super) metadata: Metadata,
    #[serde(default)]
    pub(super) capture_method: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    pub(super) payment_id: Uuid,
}

/// `POST /v1/payment_intents/{id}/capture` and `/cancel`
#[derive(Debug, Default, Deserialize)]
pub(super) struct Change {
    /// Must be the intent's, when given.
    #[serde(default)]
    pub(super) metadata: Option<Metadata>,
}

/// `POST /v1/refunds`
#[derive(Debug, Deserialize)]
pub(super) struct Refund {
    pub(super) payment_intent: String,
    #[serde(default)]
    pub(super) metadata: Option<Metadata>,
}

impl Create {
    /// The amount to hold; why there is none.
    pub(super) fn money(&self) -> Result<Money, Failed> {
        let currency = Currency::from_code(&self.currency.to_uppercase());
        match currency {
            None => Err(Failed::invalid("currency", "the currency is no ISO 4217 code")),
            Some(_) if self.amount < 1 => Err(Failed::invalid("amount", "the amount must be at least 1")),
            Some(currency) => Ok(Money::new(self.amount, currency)),
        }
    }
}

/// An error as the API tells it.
#[derive(Debug)]
pub(super) struct Failed {
    status: StatusCode,
    kind: &'static str,
    code: &'static str,
    message: String,
    more: Map<String, Value>,
}

impl Failed {
    pub(super) fn new(status: StatusCode, kind: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, code, message: message.into(), more: Map::new() }
    }

    pub(super) fn invalid(parameter: &'static str, message: impl Into<String>) -> Self {
        let code = "parameter_invalid";
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", code, message).with("param", json!(parameter))
    }

    pub(super) fn try_again() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "api_error", "try_again", "try again")
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut error = self.more;
        error.insert("type".to_owned(), json!(self.kind));
        error.insert("code".to_owned(), json!(self.code));
        error.insert("message".to_owned(), json!(self.message));
        answer(self.status, &json!({ "error": error }))
    }
}

impl From<Misasked> for Failed {
    fn from(misasked: Misasked) -> Self {
        let (status, kind, code) = match misasked {
            Misasked::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_error", "idempotency_key_reused"),
            Misasked::Missing => (StatusCode::NOT_FOUND, "invalid_request_error", "resource_missing"),
            Misasked::Full => (StatusCode::INSUFFICIENT_STORAGE, "api_error", "books_full"),
        };
        Self::new(status, kind, code, misasked.to_string())
    }
}

/// What the answer of a request looks like. The caller has dealt with answers that say nothing.
pub(super) fn told(answer_of: &Answer, is_refund: bool) -> Response<Body> {
    let mut response = match (&answer_of.said, &answer_of.intent) {
        (Some(Said::Stands(Standing::Declined)), Some(intent)) => declined(intent),
        (Some(Said::Stands(standing)), Some(intent)) if is_refund => answer(StatusCode::OK, &refund(intent, *standing)),
        (Some(Said::Stands(standing)), Some(intent)) => answer(StatusCode::OK, &payment_intent(intent, *standing)),
        (Some(Said::Refused(transition, stood)), _) => refused(*transition, *stood),
        (Some(Said::Failed), _) => failed_for_good().into_response(),
        (Some(Said::Stands(_)) | None, _) => Failed::try_again().into_response(),
    };
    if answer_of.is_replay {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

fn failed_for_good() -> Failed {
    let message = "something went wrong on our side; this answer will not change";
    Failed::new(StatusCode::INTERNAL_SERVER_ERROR, "api_error", "internal_error", message)
}

fn declined(intent: &Intent) -> Response<Body> {
    let intent_of_it = payment_intent(intent, Standing::Declined);
    let mut error = decline(intent);
    error.insert("payment_intent".to_owned(), intent_of_it);
    answer(StatusCode::PAYMENT_REQUIRED, &json!({ "error": error }))
}

fn decline(intent: &Intent) -> Map<String, Value> {
    let reason = intent.token.refusal().unwrap_or("CARD_DECLINED");
    let refusal = crate::sandbox::declined(Some(reason.to_owned()));
    let mut error = Map::new();
    error.insert("type".to_owned(), json!("card_error"));
    error.insert("code".to_owned(), json!("card_declined"));
    error.insert("decline_code".to_owned(), json!(reason.to_lowercase()));
    error.insert("message".to_owned(), json!(refusal.message));
    error
}

fn refused(transition: Transition, stood: Standing) -> Response<Body> {
    let message = format!("the payment intent is {}", stood.as_str());
    let (kind, code) = ("invalid_request_error", "payment_intent_unexpected_state");
    let reason = json!(transition.refusal().to_lowercase());
    Failed::new(StatusCode::BAD_REQUEST, kind, code, message).with("reason", reason).into_response()
}

fn refund(intent: &Intent, standing: Standing) -> Value {
    json!({
        "id": intent.id.replacen("pi_", "re_", 1),
        "object": "refund",
        "amount": intent.amount.minor_units,
        "currency": intent.amount.currency.code().to_lowercase(),
        "status": "succeeded",
        "payment_intent": payment_intent(intent, standing),
    })
}

/// An intent as it stands, or as it stood when it was told.
pub(super) fn payment_intent(intent: &Intent, standing: Standing) -> Value {
    let amount = intent.amount.minor_units;
    let when = |is_so: bool| if is_so { amount } else { 0 };
    let status = match standing {
        Standing::Failing => "processing",
        Standing::Authorized => "requires_capture",
        Standing::Declined => "requires_payment_method",
        Standing::Captured | Standing::Refunded => "succeeded",
        Standing::Voided => "canceled",
    };
    let last_payment_error = if standing == Standing::Declined { json!(decline(intent)) } else { Value::Null };
    json!({
        "id": intent.id,
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": when(standing == Standing::Authorized),
        "amount_received": when(matches!(standing, Standing::Captured | Standing::Refunded)),
        "amount_refunded": when(standing == Standing::Refunded),
        "currency": intent.amount.currency.code().to_lowercase(),
        "capture_method": "manual",
        "status": status,
        "last_payment_error": last_payment_error,
        "idempotency_key": intent.key,
        "metadata": { "payment_id": intent.payment_id },
        "requests": intent.requests,
    })
}

/// `GET /v1/payment_intents`
pub(super) fn list(intents: &[Intent], has_more: bool) -> Response<Body> {
    let data: Vec<Value> = intents.iter().map(|intent| payment_intent(intent, intent.standing)).collect();
    let page = json!({ "object": "list", "url": "/v1/payment_intents", "has_more": has_more, "data": data });
    answer(StatusCode::OK, &page)
}

/// JSON under a status.
pub(super) fn answer(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    // Cannot fail: no map in it has keys that are no strings.
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Body::from(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
