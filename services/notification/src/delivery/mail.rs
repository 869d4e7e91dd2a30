//! One letter as a mail (RFC 5322, MIME); every transport sends the same bytes.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use email_encoding::headers::rfc2047;
use email_encoding::headers::writer::EmailWriter;
use lettre::Address;
use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use tracing::error;
use uuid::Uuid;

use crate::domain::News;
use crate::templates::Templates;

/// Names a mail for ever: its notification and the recipient's number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MailId {
    /// The notification.
    pub notification: Uuid,
    /// The recipient's number.
    pub recipient: u16,
}

const DOMAIN: &str = "@farmera>";

impl MailId {
    /// The `Message-ID`: a mail that is sent twice can be told by it.
    #[must_use]
    pub fn header(self) -> String {
        format!("<{}.{}{DOMAIN}", self.notification, self.recipient)
    }

    /// Reads [`Self::header`].
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let (notification, recipient) = header.trim().strip_prefix('<')?.strip_suffix(DOMAIN)?.split_once('.')?;
        Some(Self { notification: notification.parse().ok()?, recipient: recipient.parse().ok()? })
    }
}

/// A mail, ready to be sent.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Its name.
    pub id: MailId,
    /// When its news was accepted.
    pub date: DateTime<Utc>,
    /// From and to whom.
    pub envelope: Envelope,
    /// Headers and body, lines ending with CRLF.
    pub bytes: Vec<u8>,
}

/// Writes mails.
pub struct Composer {
    templates: Templates,
    from: Mailbox,
}

impl Composer {
    /// Mails from `from`.
    ///
    /// # Errors
    /// A template is wrong: a defect of the program.
    pub fn new(from: Mailbox) -> Result<Self, minijinja::Error> {
        Ok(Self { templates: Templates::new()?, from })
    }

    /// Writes the mail to one recipient. The same arguments always give the same bytes.
    ///
    /// # Errors
    /// There can be no such mail; the words say why.
    pub fn compose(&self, id: MailId, news: &News, date: DateTime<Utc>) -> Result<Mail, String> {
        let recipients = news.recipients();
        let to = recipients.get(usize::from(id.recipient)).ok_or("there is no such recipient")?;
        let to: Address = to.parse().map_err(|_| "not an e-mail address")?;
        let words = self.templates.words(news, id.recipient).map_err(|failed| {
            error!(error = &failed as &dyn std::error::Error, "a template does not fit its news");
            "a template does not fit"
        })?;
        let words = words.ok_or("there are no words for this recipient")?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .raw_header(subject(words.subject)?)
            .date(system_time(date))
            .message_id(Some(id.header()))
            .header(ContentType::TEXT_PLAIN)
            .raw_header(automatic())
            .body(words.body)
            .map_err(|failed| failed.to_string())?;
        Ok(Mail { id, date, envelope: message.envelope().clone(), bytes: message.formatted() })
    }
}

/// A subject, encoded from its first character to its last (RFC 2047), ASCII or not: no name that stands in it is
/// decoded to something else by who reads it.
fn subject(text: String) -> Result<HeaderValue, String> {
    let name = HeaderName::new_from_ascii_str("Subject");
    let mut encoded = String::new();
    let mut writer = EmailWriter::new(&mut encoded, name.len() + ": ".len(), 0, false);
    rfc2047::encode(&text, &mut writer).map_err(|_| "the subject cannot be written")?;
    // It writes its last blanks when it goes.
    drop(writer);
    Ok(HeaderValue::dangerous_new_pre_encoded(name, text, encoded))
}

/// Nobody's answering machine shall answer (RFC 3834).
fn automatic() -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned())
}

fn system_time(time: DateTime<Utc>) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use money::{Currency, Money};

    use super::*;
    use crate::domain::{FailureNews, FarmShare, Line, OrderNews, StockNews};

    fn composer() -> Composer {
        Composer::new("Farmera <no-reply@farmera.test>".parse().unwrap()).unwrap()
    }

    fn id() -> MailId {
        MailId { notification: Uuid::from_u128(7), recipient: 0 }
    }

    fn text(mail: &Mail) -> String {
        String::from_utf8(mail.bytes.clone()).unwrap()
    }

    #[test]
    fn a_mail_is_the_same_every_time_and_named_after_its_notification() {
        let failure = FailureNews {
            order_id: Uuid::from_u128(7),
            email: "ana@example.org".to_owned(),
            reason: "OUT_OF_STOCK".to_owned(),
            message: "no eggs left".to_owned(),
        };
        let news = News::OrderFailed(failure);
        let mail = composer().compose(id(), &news, DateTime::default()).unwrap();
        assert_eq!(mail.bytes, composer().compose(id(), &news, DateTime::default()).unwrap().bytes);
        let message_id = text(&mail).lines().find_map(|line| line.strip_prefix("Message-ID: ").and_then(MailId::parse));
        assert_eq!(message_id, Some(id()));
        assert!(text(&mail).contains("To: ana@example.org\r\n"));
    }

    #[test]
    fn a_name_that_looks_encoded_is_read_as_it_is() {
        let stock = StockNews {
            product_id: Uuid::nil(),
            product_name: "=?utf-8?q?You_won?=".to_owned(),
            farm_email: "farm@example.org".to_owned(),
            available: 3,
        };
        let mail = composer().compose(id(), &News::StockLow(stock), DateTime::default()).unwrap();
        let text = text(&mail);
        let headers = text.split("\r\n\r\n").next().unwrap();
        // What a reader gets after decoding once: the name as it was written.
        let encoded = "Subject: =?utf-8?b?PT91dGYtOD9xP1lvdV93b24/PSBydW5zIG91dA==?=";
        assert!(headers.lines().any(|line| line == encoded), "{headers}");
        assert!(!headers.contains("?q?"), "{headers}");
    }

    #[test]
    fn a_long_subject_stays_in_lines_of_encoded_words() {
        let value = subject("Käse =?utf-8?q?x?= ".repeat(40)).unwrap();
        let mut headers = lettre::message::header::Headers::new();
        headers.insert_raw(value);
        for line in headers.to_string().trim_end().lines() {
            let word = line.trim_start_matches("Subject:").trim();
            assert!(line.len() <= 78 && word.starts_with("=?utf-8?b?") && word.ends_with("?="), "{line}");
        }
    }

    #[test]
    fn what_the_edges_take_can_be_sent_to() {
        let pieces = ["a", "a.b", "a+b", "a..b", "\"a\"", "o'x", "", "\u{e4}", "a b", "x_y", "a,b"];
        let domains = ["b.c", "localhost", "-b.c", "b..c", "b_c.d", "1.2.3.4", "xn--a.b", "b.c.", "", "\u{fc}.c"];
        let mut taken = 0;
        for address in pieces.iter().flat_map(|local| domains.iter().map(move |domain| format!("{local}@{domain}"))) {
            let Ok(edge) = text::email(&address) else { continue };
            taken += 1;
            let parsed = edge.parse::<Address>();
            assert!(parsed.is_ok_and(|parsed| parsed.to_string() == edge), "{address}");
        }
        assert!(taken >= 10, "{taken}");
    }

    #[test]
    fn what_others_wrote_never_becomes_a_header() {
        let stock = StockNews {
            product_id: Uuid::nil(),
            product_name: "Eggs\r\nBcc: everybody@example.org\r\n\r\nHi".to_owned(),
            farm_email: "farm@example.org".to_owned(),
            available: 3,
        };
        let mail = composer().compose(id(), &News::StockLow(stock.clone()), DateTime::default()).unwrap();
        let text = text(&mail);
        let headers = text.split("\r\n\r\n").next().unwrap();
        assert!(!headers.lines().any(|line| line.starts_with("Bcc")), "{headers}");
        for email in ["", "nobody", "a@b.c\r\nBcc: x@y.z", "a@b.c, x@y.z"] {
            let news = News::StockLow(StockNews { farm_email: email.to_owned(), ..stock.clone() });
            assert_eq!(composer().compose(id(), &news, DateTime::default()).unwrap_err(), "not an e-mail address");
        }
    }

    #[test]
    #[ignore = "a measurement: run with --release --ignored --nocapture"]
    fn a_mail_costs_less_than_50_microseconds() {
        let line = |name: &str| Line { name: name.to_owned(), quantity: 2 };
        let lines = vec![line("Eggs"), line("Milk"), line("Käse")];
        let news = News::OrderCompleted(OrderNews {
            saga_id: Uuid::nil(),
            order_id: Uuid::from_u128(7),
            email: "ana@example.org".to_owned(),
            farms: vec![FarmShare { name: "Hill".to_owned(), email: "hill@example.org".to_owned(), lines }],
            total: Money::new(1250, Currency::EUR),
        });
        let composer = composer();
        let started = Instant::now();
        const COUNT: u32 = 20_000;
        let bytes: usize =
            (0..COUNT).map(|_| composer.compose(id(), &news, DateTime::default()).unwrap().bytes.len()).sum();
        let each = started.elapsed() / COUNT;
        println!("{each:?} and {} bytes a mail", bytes / COUNT as usize);
        assert!(each < Duration::from_micros(50));
    }
}
