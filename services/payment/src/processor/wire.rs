//! What an answer means. Only what is understood for sure is an answer.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use money::{Currency, Money};
use serde::Deserialize;
use uuid::Uuid;

use crate::domain::{Reference, Refusal};
use crate::provider::{Charge, ChargeStatus, ProviderError};

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Reply {
    status: StatusCode,
    /// The answer was recorded when the key was first used.
    is_replay: bool,
    body: Bytes,
}

#[derive(Deserialize)]
struct Intent {
    id: String,
    amount: i64,
    #[serde(default)]
    amount_refunded: i64,
    currency: String,
    status: String,
    #[serde(default)]
    last_payment_error: Option<CardError>,
    metadata: Metadata,
    #[serde(default)]
    requests: u32,
}

#[derive(Deserialize)]
struct Metadata {
    payment_id: Uuid,
}

#[derive(Deserialize)]
struct Refund {
    payment_intent: Intent,
}

#[derive(Deserialize)]
struct Page {
    data: Vec<Intent>,
}

#[derive(Deserialize)]
struct Failed {
    error: CardError,
}

#[derive(Deserialize)]
struct CardError {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    decline_code: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    message: String,
    #[serde(default)]
    payment_intent: Option<Box<Intent>>,
}

impl Reply {
    pub(super) fn new(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Self {
        let is_replay = headers.get("idempotent-replayed").is_some_and(|value| value.as_bytes() == b"true");
        Self { status, is_replay, body }
    }

    /// The charge after a capture or a void.
    pub(super) fn charge(&self, payment_id: Uuid) -> Result<Charge, ProviderError> {
        own(self.intent()?.into_charge()?, payment_id)
    }

    /// The charge after an authorization; a decline is one, too.
    pub(super) fn authorized(&self, payment_id: Uuid) -> Result<Charge, ProviderError> {
        if let Some(declined) = self.declined() {
            return own(declined.into_charge()?, payment_id);
        }
        self.charge(payment_id)
    }

    /// The charge after a refund.
    pub(super) fn refunded(&self, payment_id: Uuid) -> Result<Charge, ProviderError> {
        let refund: Refund = self.understood()?;
        own(refund.payment_intent.into_charge()?, payment_id)
    }

    /// A page of charges.
    pub(super) fn page(&self) -> Result<Vec<Charge>, ProviderError> {
        let page: Page = self.understood()?;
        page.data.into_iter().map(Intent::into_charge).collect()
    }

    /// A page of the charges after one, which the provider may not know.
    pub(super) fn page_after(&self, after: Option<&Reference>) -> Result<Vec<Charge>, ProviderError> {
        let is_unknown = serde_json::from_slice::<Failed>(&self.body)
            .is_ok_and(|Failed { error }| error.code == "resource_missing" && self.status.is_client_error());
        match after.filter(|_| is_unknown) {
            Some(after) => Err(ProviderError::Unknown(after.clone())),
            None => self.page(),
        }
    }

    fn intent(&self) -> Result<Intent, ProviderError> {
        self.understood()
    }

    /// The intent in the error of a card that was declined.
    fn declined(&self) -> Option<Intent> {
        if self.status != StatusCode::PAYMENT_REQUIRED {
            return None;
        }
        let failed: Failed = serde_json::from_slice(&self.body).ok()?;
        failed.error.payment_intent.map(|intent| *intent)
    }

    fn understood<T: for<'a> Deserialize<'a>>(&self) -> Result<T, ProviderError> {
        if self.status != StatusCode::OK {
            return Err(self.failure());
        }
        // What the body holds instead is not repeated: nobody knows what is in it.
        serde_json::from_slice(&self.body)
            .map_err(|_| ProviderError::Unanswered("the answer cannot be understood".to_owned()))
    }

    /// Anything but success. A body that is not the provider's own says nothing: it may be that of a proxy.
    fn failure(&self) -> ProviderError {
        let status = self.status.as_u16();
        let Ok(Failed { error }) = serde_json::from_slice::<Failed>(&self.body) else {
            return ProviderError::Unanswered(format!("status {status} without an error of the provider"));
        };
        let told = format!("{status} {} {}: {}", error.kind, error.code, error.message);
        match (status, error.kind.as_str(), error.code.as_str()) {
            (402, "card_error", _) | (400, _, "payment_intent_unexpected_state") => {
                ProviderError::Refused(error.into_refusal())
            }
            (400 | 404, "invalid_request_error", _) | (400 | 422, "idempotency_error", _) => {
                ProviderError::Malformed(told)
            }
            (500..=599, "api_error", _) if self.is_replay => ProviderError::KeySpent(told),
            // A wrong key (401), too many calls (429), the same key at the same time (409): an answer comes later.
            (_, _, _) => ProviderError::Unanswered(told),
        }
    }
}

impl Intent {
    fn into_charge(self) -> Result<Charge, ProviderError> {
        let Some(currency) = Currency::from_code(&self.currency.to_uppercase()) else {
            return Err(ProviderError::Malformed(format!("{} is in no known currency", self.id)));
        };
        let status = match (self.status.as_str(), self.last_payment_error) {
            ("requires_capture", _) => ChargeStatus::Authorized,
            ("succeeded", _) if self.amount_refunded == 0 => ChargeStatus::Captured,
            ("succeeded", _) if self.amount_refunded == self.amount => ChargeStatus::Refunded,
            ("canceled", _) => ChargeStatus::Voided,
            ("requires_payment_method", Some(error)) => ChargeStatus::Declined(error.into_refusal()),
            // Somebody gave a part back by hand: that is nothing that we can go on from.
            ("succeeded", _) => return Err(ProviderError::Malformed(format!("{} is refunded in part", self.id))),
            (other, _) => {
                let reason = format!("{} is in the state {}", self.id, word(other));
                return Err(ProviderError::Unanswered(reason));
            }
        };
        let (reference, payment_id) = (Reference(self.id), self.metadata.payment_id);
        Ok(Charge { reference, payment_id, amount: Money::new(self.amount, currency), status, requests: self.requests })
    }
}

impl CardError {
    fn into_refusal(self) -> Refusal {
        let reason = self.decline_code.or(self.reason).unwrap_or(self.code);
        Refusal::new(word(&reason).to_uppercase(), self.message)
    }
}

/// What a provider calls something, cut down to what a reason may look like.
fn word(text: &str) -> String {
    const LENGTH_MAX: usize = 64;
    let kept = |char: &char| char.is_ascii_alphanumeric() || *char == '_';
    let word: String = text.chars().filter(kept).take(LENGTH_MAX).collect();
    if word.is_empty() { "unknown".to_owned() } else { word }
}

fn own(charge: Charge, payment_id: Uuid) -> Result<Charge, ProviderError> {
    if charge.payment_id == payment_id {
        return Ok(charge);
    }
    Err(ProviderError::Malformed(format!("{} belongs to another payment", charge.reference)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYMENT: Uuid = Uuid::from_u128(1);

    fn reply(status: u16, body: &str) -> Reply {
        Reply::new(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), Bytes::from(body.to_owned()))
    }

    fn intent(status: &str, refunded: i64) -> String {
        format!(
            r#"{{"id":"pi_1","amount":5,"amount_refunded":{refunded},"currency":"eur","status":"{status}",
                "last_payment_error":null,"metadata":{{"payment_id":"{PAYMENT}"}}}}"#
        )
    }

    fn error(kind: &str, code: &str) -> String {
        format!(r#"{{"error":{{"type":"{kind}","code":"{code}","message":"m"}}}}"#)
    }

    #[test]
    fn every_state_of_an_intent_is_a_state_of_a_charge_or_no_answer() {
        let status = |word: &str, refunded| reply(200, &intent(word, refunded)).charge(PAYMENT).map(|it| it.status);
        assert_eq!(status("requires_capture", 0).unwrap(), ChargeStatus::Authorized);
        assert_eq!(status("succeeded", 0).unwrap(), ChargeStatus::Captured);
        assert_eq!(status("succeeded", 5).unwrap(), ChargeStatus::Refunded);
        assert_eq!(status("canceled", 0).unwrap(), ChargeStatus::Voided);
        assert!(matches!(status("succeeded", 2), Err(ProviderError::Malformed(_))));
        for unknown in ["processing", "requires_action", "requires_payment_method", "brand_new"] {
            assert!(matches!(status(unknown, 0), Err(ProviderError::Unanswered(_))), "{unknown}");
        }
    }

    #[test]
    fn a_charge_to_go_on_after_that_is_not_in_the_books_is_unknown_and_nothing_else_is() {
        let (after, missing) = (Reference("pi_7".to_owned()), error("invalid_request_error", "resource_missing"));
        for status in [400, 404] {
            let answer = reply(status, &missing).page_after(Some(&after));
            assert_eq!(answer, Err(ProviderError::Unknown(after.clone())), "{status}");
        }
        let at_the_start = reply(404, &missing).page_after(None);
        assert!(matches!(at_the_start, Err(ProviderError::Malformed(_))));
        let other = reply(400, &error("invalid_request_error", "parameter_invalid")).page_after(Some(&after));
        assert!(matches!(other, Err(ProviderError::Malformed(_))));
    }

    #[test]
    fn only_the_providers_own_no_is_a_no() {
        let refused = reply(402, &error("card_error", "card_declined")).charge(PAYMENT);
        assert!(matches!(refused, Err(ProviderError::Refused(refusal)) if refusal.reason == "CARD_DECLINED"));
        let refused = reply(400, &error("invalid_request_error", "payment_intent_unexpected_state")).charge(PAYMENT);
        assert!(matches!(refused, Err(ProviderError::Refused(_))));
        for (status, kind, code) in [
            (400, "invalid_request_error", "parameter_invalid"),
            (404, "invalid_request_error", "resource_missing"),
            (422, "idempotency_error", "idempotency_key_reused"),
        ] {
            let answer = reply(status, &error(kind, code)).charge(PAYMENT);
            assert!(matches!(answer, Err(ProviderError::Malformed(_))), "{status} {kind}");
        }
        for (status, body) in [
            (200, "<html>".to_owned()),
            (200, String::new()),
            (204, String::new()),
            (302, String::new()),
            (401, error("authentication_error", "api_key_invalid")),
            (402, "<html>pay for the wireless network</html>".to_owned()),
            (404, "no such page".to_owned()),
            (409, error("idempotency_error", "in_use")),
            (429, error("rate_limit_error", "slow_down")),
            (500, error("api_error", "internal_error")),
            (502, "bad gateway".to_owned()),
        ] {
            let answer = reply(status, &body).charge(PAYMENT);
            assert!(matches!(answer, Err(ProviderError::Unanswered(_))), "{status} {body}: {answer:?}");
        }
    }

    #[test]
    fn a_failure_that_is_repeated_for_its_key_spends_the_key() {
        let mut failed = reply(500, &error("api_error", "internal_error"));
        assert!(matches!(failed.charge(PAYMENT), Err(ProviderError::Unanswered(_))));
        failed.is_replay = true;
        assert!(matches!(failed.charge(PAYMENT), Err(ProviderError::KeySpent(_))));
    }

    #[test]
    fn the_charge_of_another_payment_is_no_answer_to_ours() {
        let answer = reply(200, &intent("requires_capture", 0)).charge(Uuid::from_u128(2));
        assert!(matches!(answer, Err(ProviderError::Malformed(_))));
    }

    #[test]
    fn a_declined_card_is_a_charge_that_was_never_held() {
        let declined = format!(
            r#"{{"error":{{"type":"card_error","code":"card_declined","decline_code":"insufficient_funds",
                "message":"m","payment_intent":{}}}}}"#,
            intent("requires_payment_method", 0).replace(
                "null",
                r#"{"type":"card_error","code":"card_declined","decline_code":"insufficient_funds","message":"m"}"#
            )
        );
        let charge = reply(402, &declined).authorized(PAYMENT).unwrap();
        assert_eq!(charge.status, ChargeStatus::Declined(Refusal::new("INSUFFICIENT_FUNDS", "m")));
    }
}
