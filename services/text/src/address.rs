//! Addresses that a mail can be sent to.

use email_address::EmailAddress;

use crate::{Unfit, shown};

/// Characters of an address at most, and of its local part (RFC 5321, 4.5.3.1).
const LENGTH_MAX: usize = 254;
const LOCAL_LENGTH_MAX: usize = 64;
/// Characters of what is no address that are told again.
const FOUND_LENGTH_MAX: usize = 64;

/// An e-mail address to which any mail server delivers: a local part without quotation marks and a domain name, in ASCII.
/// It is no looser than what the mail library takes; whether anybody reads there, only a mail can tell.
///
/// # Errors
/// [`Unfit::Length`], [`Unfit::Address`].
pub fn email(text: &str) -> Result<String, Unfit> {
    let text = text.trim();
    let length = text.chars().take(LENGTH_MAX + 1).count();
    if !(3..=LENGTH_MAX).contains(&length) {
        return Err(Unfit::Length { length, min: 3, max: LENGTH_MAX });
    }
    let sound = text.rsplit_once('@').is_some_and(|(local, domain)| is_local(local) && is_domain(domain));
    if sound {
        return Ok(text.to_owned());
    }
    Err(Unfit::Address { found: shown(&text.chars().take(FOUND_LENGTH_MAX).collect::<String>()) })
}

fn is_local(local: &str) -> bool {
    let plain = local.chars().all(|letter| letter.is_ascii_graphic() && letter != '"');
    plain && local.len() <= LOCAL_LENGTH_MAX && EmailAddress::is_valid_local_part(local)
}

/// A name, not the number of a machine: its last label is no number.
fn is_domain(domain: &str) -> bool {
    let plain = domain.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.'));
    let named = domain.rsplit('.').next().is_some_and(|last| last.chars().any(|letter| letter.is_ascii_alphabetic()));
    plain && named && EmailAddress::is_valid_domain(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_any_server_delivers_to_is_taken() {
        for fine in
            ["ana@example.org", "a.b+c@x-y.example", "o'neil@farm.test", "x@localhost", "a@xn--bcher-kva.example"]
        {
            assert_eq!(email(fine).as_deref(), Ok(fine));
        }
        assert_eq!(email(" ana@example.org\n").as_deref(), Ok("ana@example.org"));
    }

    #[test]
    fn what_no_mail_can_be_sent_to_is_refused() {
        let long = format!("{}@example.org", "x".repeat(65));
        for bad in [
            "nobody",
            "@example.org",
            "ana@",
            "a@b@c.example",
            "a b@example.org",
            "a..b@example.org",
            ".a@example.org",
            "a.@example.org",
            "a@-example.org",
            "a@example..org",
            "a@.org",
            "a@exa_mple.org",
            "a,b@example.org",
            "a@example.org, b@example.org",
            "<a@example.org>",
            "\"a b\"@example.org",
            "a@127.0.0.1",
            "a@[127.0.0.1]",
            "ana@b\u{fc}cher.example",
            "an\u{e4}@example.org",
            "ana@example.org\u{200b}",
            "a\u{202e}b@example.org",
            long.as_str(),
        ] {
            assert!(matches!(email(bad), Err(Unfit::Address { .. })), "{bad:?}: {:?}", email(bad));
        }
        assert!(matches!(email(&"x".repeat(100_000)), Err(Unfit::Length { length: 255, .. })));
    }
}
