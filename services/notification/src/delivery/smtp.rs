//! Mails to a mail server.
//!
//! Not exactly once: when the process dies, or the connection breaks, between the server's taking a mail and our
//! recording it, the mail goes out again, with the same `Message-ID`, by which receivers may drop it.

use std::net::IpAddr;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use lettre::transport::smtp::PoolConfig;
use lettre::transport::smtp::response::{Category, Severity};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::mail::Mail;
use crate::domain::Outcome;

/// Mails under way at a time, each on its own connection.
const CONCURRENT_MAX: u32 = 16;
/// Every answer of the server is waited for this long.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A mail server.
pub struct Smtp(AsyncSmtpTransport<Tokio1Executor>);

impl Smtp {
    /// The server at `url`: `smtps://user:password@host`, or `smtp://…` with STARTTLS. Only with a server on this very
    /// machine `smtp://` may be without encryption; elsewhere that takes an explicit `?tls=none`.
    ///
    /// # Errors
    /// `url` makes no sense; the words do not hold it, because it may hold a password.
    pub fn new(url: &str) -> Result<Self, String> {
        let url = encrypted(url)?;
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(&url).map_err(|failed| failed.to_string())?;
        let pool = PoolConfig::new().max_size(CONCURRENT_MAX);
        Ok(Self(builder.timeout(Some(TIMEOUT)).pool_config(pool).build()))
    }

    /// Sends mails until `deadline`; says what became of each, in their order.
    pub async fn send(&self, mails: &[Mail], deadline: Instant) -> Vec<Outcome> {
        let sending: Vec<_> = mails.iter().map(|mail| self.send_one(mail, deadline)).collect();
        stream::iter(sending).buffered(CONCURRENT_MAX as usize).collect().await
    }

    async fn send_one(&self, mail: &Mail, deadline: Instant) -> Outcome {
        match timeout_at(deadline, self.0.send_raw(&mail.envelope, &mail.bytes)).await {
            Ok(Ok(_)) => Outcome::Told,
            Ok(Err(failed)) => outcome(&failed),
            Err(_) => Outcome::NotNow { reason: "the mail server does not answer in time".to_owned() },
        }
    }

    /// Closes idle connections.
    pub async fn close(&self) {
        self.0.shutdown().await;
    }
}

fn outcome(failed: &lettre::transport::smtp::Error) -> Outcome {
    let reason = failed.to_string();
    let refused = failed.status().is_some_and(|code| {
        code.severity == Severity::PermanentNegativeCompletion
            && match code.category {
                Category::Syntax | Category::Information | Category::Unspecified4 | Category::MailSystem => true,
                // About the connection or who we are (53x), not about this mail.
                Category::Connections | Category::Unspecified3 => false,
            }
    });
    if refused { Outcome::Refused { reason } } else { Outcome::NotNow { reason } }
}

/// `url`, with STARTTLS required where it leaves that open and the server is not on this machine. What it says is read
/// from its query alone: a password may hold any words.
fn encrypted(url: &str) -> Result<String, String> {
    let mut url = Url::parse(url).map_err(|failed| failed.to_string())?;
    if url.fragment().is_some() {
        return Err("there is a # in it: a password writes that as %23".to_owned());
    }
    if url.scheme() != "smtp" {
        return Ok(url.into());
    }
    let said: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let tls = said.iter().find(|(key, _)| key == "tls").map(|(_, value)| value.as_str());
    match tls {
        // Without a word the library encrypts nothing.
        Some("none") => {
            let rest: Vec<_> = said.iter().filter(|(key, _)| key != "tls").collect();
            url.set_query(None);
            if !rest.is_empty() {
                url.query_pairs_mut().extend_pairs(rest);
            }
        }
        None if !is_here(&url) => {
            url.query_pairs_mut().append_pair("tls", "required");
        }
        Some(_) | None => {}
    }
    Ok(url.into())
}

fn is_here(url: &Url) -> bool {
    // The address in brackets is one, too: other schemes than those of the web keep hosts as they are written.
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_does_not_travel_in_the_clear_unless_somebody_says_so() {
        let cases = [
            ("smtp://u:p@mail.test:587", "smtp://u:p@mail.test:587?tls=required"),
            ("smtp://u:p@mail.test?tls=opportunistic", "smtp://u:p@mail.test?tls=opportunistic"),
            ("smtp://mail.test?tls=none", "smtp://mail.test"),
            ("smtp://mail.test?x=1&tls=none", "smtp://mail.test?x=1"),
            ("smtp://127.0.0.1:2525", "smtp://127.0.0.1:2525"),
            ("smtp://[::1]:2525", "smtp://[::1]:2525"),
            ("smtps://u:p@mail.test", "smtps://u:p@mail.test"),
            ("smtp://localhost.evil.test", "smtp://localhost.evil.test?tls=required"),
            // A password is a password, whatever it holds.
            ("smtp://u:tls=none@mail.test", "smtp://u:tls%3Dnone@mail.test?tls=required"),
            ("smtp://u:p%3Ftls=none@mail.test", "smtp://u:p%3Ftls%3Dnone@mail.test?tls=required"),
            ("smtp://u:p@mail.test/tls=none", "smtp://u:p@mail.test/tls=none?tls=required"),
            ("smtp://u:p@mail.test?notls=none", "smtp://u:p@mail.test?notls=none&tls=required"),
            ("SMTP://u:p@mail.test", "smtp://u:p@mail.test?tls=required"),
        ];
        for (said, expected) in cases {
            assert_eq!(encrypted(said).unwrap(), expected, "{said}");
        }
        assert!(encrypted("smtp://u:1#tls=none@mail.test").is_err());
    }

    #[tokio::test]
    async fn an_address_that_makes_no_sense_is_refused_without_telling_it() {
        let reason = Smtp::new("http://u:secret@mail.test").err().unwrap();
        assert!(!reason.contains("secret"), "{reason}");
    }
}
