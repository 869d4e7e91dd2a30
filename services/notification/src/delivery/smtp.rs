//! Mails to a mail server.
//!
//! Not exactly once: when the process dies, or the connection breaks, between the server's taking a mail and our
//! recording it, the mail goes out again, with the same `Message-ID`, by which receivers may drop it.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use lettre::transport::smtp::PoolConfig;
use lettre::transport::smtp::response::{Category, Severity};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use tokio::time::{Instant, timeout_at};

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
        let builder =
            AsyncSmtpTransport::<Tokio1Executor>::from_url(&encrypted(url)).map_err(|failed| failed.to_string())?;
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

/// `url`, with STARTTLS required where it leaves that open and the server is not on this machine.
fn encrypted(url: &str) -> String {
    let Some(rest) = url.strip_prefix("smtp://") else { return url.to_owned() };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let local = ["127.0.0.1", "localhost", "[::1]"]
        .iter()
        .any(|name| host.strip_prefix(name).is_some_and(|port| port.is_empty() || port.starts_with(':')));
    if local || rest.contains("tls=") {
        return url.replace("?tls=none", "");
    }
    let separator = if rest.contains('?') { '&' } else { '?' };
    format!("{url}{separator}tls=required")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_does_not_travel_in_the_clear_unless_somebody_says_so() {
        assert_eq!(encrypted("smtp://u:p@mail.test:587"), "smtp://u:p@mail.test:587?tls=required");
        assert_eq!(encrypted("smtp://u:p@mail.test?tls=opportunistic"), "smtp://u:p@mail.test?tls=opportunistic");
        assert_eq!(encrypted("smtp://mail.test?tls=none"), "smtp://mail.test");
        assert_eq!(encrypted("smtp://127.0.0.1:2525"), "smtp://127.0.0.1:2525");
        assert_eq!(encrypted("smtps://u:p@mail.test"), "smtps://u:p@mail.test");
        assert_eq!(encrypted("smtp://localhost.evil.test"), "smtp://localhost.evil.test?tls=required");
    }

    #[tokio::test]
    async fn an_address_that_makes_no_sense_is_refused_without_telling_it() {
        let reason = Smtp::new("http://u:secret@mail.test").err().unwrap();
        assert!(!reason.contains("secret"), "{reason}");
    }
}
