//! A card processor behind HTTP, as `farmera sandbox-provider` serves one.
//!
//! Every change carries the key of its intent as `Idempotency-Key`, so a request that comes twice has one effect. What an
//! answer means is in `wire`; whatever cannot be understood for sure is [`ProviderError::Unanswered`], and whoever called
//! looks into the books before anything else. Every call has a deadline, and there are so many at a time at most.
//!
//! The key and cards' tokens are in no log and no error.

mod wire;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chassis::config::Secret;
use http::{HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use money::Money;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::domain::Reference;
use crate::provider::{Charge, Key, PaymentProvider, ProviderError};
use wire::Reply;

/// A connection that is not there by then is not coming.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Connections that nobody uses are closed before servers and proxies in between do it.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// A page of a hundred charges has some 60 KiB.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Charges of one page.
const PAGE_MAX: usize = 100;

/// Where the processor is, and how to deal with it.
#[derive(Clone, Debug)]
pub struct Options {
    /// `https://host`, or `http://host` inside a network of one's own; the API's paths are added to it.
    pub url: BaseUrl,
    /// Shown as a bearer; nothing when absent.
    pub key: Option<Secret>,
    /// How long one call may take.
    pub timeout: Duration,
    /// Connections, and calls, at a time.
    pub connections_max: usize,
}

/// The address of a processor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BaseUrl(String);

/// It is no address of a processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected http:// or https:// with a host, without user, query and fragment")]
pub struct NoBaseUrl;

impl std::str::FromStr for BaseUrl {
    type Err = NoBaseUrl;

    fn from_str(text: &str) -> Result<Self, NoBaseUrl> {
        let uri: Uri = text.parse().map_err(|_| NoBaseUrl)?;
        let is_http = uri.scheme_str().is_some_and(|scheme| scheme == "http" || scheme == "https");
        let is_host = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        if !is_http || !is_host || uri.query().is_some() {
            return Err(NoBaseUrl);
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

/// The way to the processor.
pub struct Processor {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: BaseUrl,
    authorization: Option<HeaderValue>,
    timeout: Duration,
    slots: Semaphore,
}

/// The processor cannot be reached from here, ever.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The system's list of certificate authorities is missing or unreadable.
    #[error("no certificate authorities are known here")]
    Certificates(#[source] std::io::Error),
    /// The key has characters that no header can hold.
    #[error("the provider's key cannot be sent")]
    Key,
}

impl Processor {
    /// The way to the processor; nothing is sent yet.
    ///
    /// # Errors
    /// [`Unusable`]: trying again unchanged is useless.
    pub fn new(options: Options) -> Result<Self, Unusable> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_LIMIT));
        let tls = HttpsConnectorBuilder::new().with_native_roots().map_err(Unusable::Certificates)?;
        let connector = tls.https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_LIMIT)
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(options.connections_max)
            .build(connector);
        let authorization = options.key.as_ref().map(bearer).transpose()?;
        let slots = Semaphore::new(options.connections_max);
        Ok(Self { client, url: options.url, authorization, timeout: options.timeout, slots })
    }

    async fn post(&self, key: &Key, path: &str, body: &Value) -> Result<Reply, ProviderError> {
        let request = self.request(Method::POST, path).header("idempotency-key", key.to_string());
        let request = request.header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(Full::from(body.to_string()))).await
    }

    async fn get(&self, path: &str) -> Result<Reply, ProviderError> {
        self.send(self.request(Method::GET, path).body(Full::default())).await
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.url.0));
        match &self.authorization {
            Some(authorization) => request.header(header::AUTHORIZATION, authorization),
            None => request,
        }
    }

    /// One call, under its deadline. Dropped at any await it is cut off, and its connection closed.
    async fn send(&self, request: Result<Request<Full<Bytes>>, http::Error>) -> Result<Reply, ProviderError> {
        let request = request.map_err(|error| ProviderError::Malformed(format!("no request: {error}")))?;
        let call = async {
            let _slot = self.slots.acquire().await.map_err(|error| unanswered(&error))?;
            let response = self.client.request(request).await.map_err(|error| unanswered(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| ProviderError::Unanswered(format!("the answer broke off: {error}")))?;
            Ok(Reply::new(head.status, &head.headers, body.to_bytes()))
        };
        let late = || Err(ProviderError::Unanswered(format!("nothing within {:?}", self.timeout)));
        timeout(self.timeout, call).await.unwrap_or_else(|_| late())
    }

    async fn change(&self, key: &Key, reference: &Reference, verb: &str) -> Result<Charge, ProviderError> {
        let path = format!("/v1/payment_intents/{}/{verb}", segment(reference)?);
        self.post(key, &path, &json!({ "metadata": { "payment_id": key.payment_id } })).await?.charge(key.payment_id)
    }
}

#[async_trait]
impl PaymentProvider for Processor {
    async fn authorize(&self, key: &Key, amount: Money, token: &str) -> Result<Charge, ProviderError> {
        let body = json!({
            "amount": amount.minor_units,
            "currency": amount.currency.code().to_lowercase(),
            "capture_method": "manual",
            "confirm": true,
            "payment_method": token,
            "metadata": { "payment_id": key.payment_id },
        });
        self.post(key, "/v1/payment_intents", &body).await?.authorized(key.payment_id)
    }

    async fn capture(&self, key: &Key, reference: &Reference) -> Result<Charge, ProviderError> {
        self.change(key, reference, "capture").await
    }

    async fn void(&self, key: &Key, reference: &Reference) -> Result<Charge, ProviderError> {
        self.change(key, reference, "cancel").await
    }

    async fn refund(&self, key: &Key, reference: &Reference) -> Result<Charge, ProviderError> {
        let intent = segment(reference)?;
        let body = json!({ "payment_intent": intent, "metadata": { "payment_id": key.payment_id } });
        self.post(key, "/v1/refunds", &body).await?.refunded(key.payment_id)
    }

    async fn lookup(&self, key: &Key) -> Result<Option<Charge>, ProviderError> {
        let mut found = self.get(&format!("/v1/payment_intents?limit=2&idempotency_key={key}")).await?.page()?;
        match (found.pop(), found.pop()) {
            (None, _) => Ok(None),
            (Some(charge), None) if charge.payment_id == key.payment_id => Ok(Some(charge)),
            (Some(_), _) => Err(ProviderError::Malformed(format!("the key {key} has charges of other payments"))),
        }
    }

    async fn list(&self, after: Option<&Reference>, limit: usize) -> Result<Vec<Charge>, ProviderError> {
        let mut charges: Vec<Charge> = Vec::new();
        let mut after = after.cloned();
        while charges.len() < limit {
            let size = (limit - charges.len()).min(PAGE_MAX);
            let mut path = format!("/v1/payment_intents?limit={size}");
            if let Some(after) = &after {
                path.push_str("&starting_after=");
                path.push_str(segment(after).map_err(|_| ProviderError::Unknown(after.clone()))?);
            }
            let page = self.get(&path).await?.page_after(after.as_ref())?;
            let is_last = page.len() < size;
            after = page.last().map(|last| last.reference.clone());
            charges.extend(page);
            if is_last {
                break;
            }
        }
        Ok(charges)
    }
}

/// The header, which no `Debug` prints.
fn bearer(key: &Secret) -> Result<HeaderValue, Unusable> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose())).map_err(|_| Unusable::Key)?;
    value.set_sensitive(true);
    Ok(value)
}

/// A reference as a part of a path: a foreign one must not lead anywhere else.
fn segment(reference: &Reference) -> Result<&str, ProviderError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if reference.0.is_empty() || !reference.0.bytes().all(is_plain) {
        return Err(ProviderError::Malformed(format!("{reference} is no charge")));
    }
    Ok(&reference.0)
}

fn unanswered(error: &dyn std::error::Error) -> ProviderError {
    let mut reason = error.to_string();
    let mut cause = error.source();
    // The outer errors only say that something failed.
    while let Some(inner) = cause {
        reason = format!("{reason}: {inner}");
        cause = inner.source();
    }
    ProviderError::Unanswered(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_and_a_host_and_nothing_that_logs_must_not_show() {
        for good in ["http://127.0.0.1:12111", "https://api.example.com/", "http://provider/base"] {
            assert!(good.parse::<BaseUrl>().is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:12111", "ftp://host", "http://user:secret@host", "http://host?key=1", "/v1"] {
            assert!(bad.parse::<BaseUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_foreign_reference_leads_nowhere_else() {
        for bad in ["", "pi_1/../refunds", "pi_1?x=1", "pi 1"] {
            assert!(segment(&Reference(bad.to_owned())).is_err(), "{bad}");
        }
        assert_eq!(segment(&Reference("pi_1-a".to_owned())).unwrap(), "pi_1-a");
    }

    #[test]
    fn the_key_is_never_printed() {
        let header = bearer(&Secret::new("sk_live_1")).unwrap();
        assert!(!format!("{header:?}").contains("sk_live_1"));
    }
}
