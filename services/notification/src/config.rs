//! What the environment says.

use std::path::PathBuf;

use chassis::config::{Common, ConfigError, Env, Secret};
use lettre::message::Mailbox;

use crate::{DEFAULT_PORT, NAME};

/// Where mails go.
#[derive(Clone, Debug)]
pub enum MailTransport {
    /// Into mbox files in this folder.
    File(PathBuf),
    /// To the mail server at this address.
    Smtp(Secret),
}

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// What every service needs.
    pub common: Common,
    /// Where mails go.
    pub transport: MailTransport,
    /// Who they are from.
    pub from: Mailbox,
}

impl Config {
    /// Reads `MAIL_TRANSPORT` (`file`, the default, or `smtp`), `MAILBOX_DIR`, `SMTP_URL` (or `SMTP_URL_FILE`) and
    /// `MAIL_FROM`, as `FARMERA_NOTIFICATION__<KEY>` or `FARMERA_<KEY>`.
    ///
    /// # Errors
    /// [`ConfigError`] names the variable.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let env = env.of_service(NAME);
        let transport: String = env.value("MAIL_TRANSPORT", "file".to_owned(), "file or smtp")?;
        let transport = match transport.as_str() {
            "file" => {
                let folder = env.value("MAILBOX_DIR", PathBuf::from(".farmera/mailbox"), "a folder")?;
                MailTransport::File(folder)
            }
            "smtp" => MailTransport::Smtp(env.secret("SMTP_URL", "the mail server (smtps://user:password@host)")?),
            other => {
                return Err(ConfigError::Malformed {
                    name: "FARMERA_NOTIFICATION__MAIL_TRANSPORT".to_owned(),
                    found: other.to_owned(),
                    expected: "file or smtp",
                });
            }
        };
        let from = env.optional("MAIL_FROM", "an address such as Farmera <no-reply@example.org>")?;
        let from = match from {
            Some(from) => from,
            None => default_from(),
        };
        Ok(Self { common: Common::from_env(&env, DEFAULT_PORT)?, transport, from })
    }
}

fn default_from() -> Mailbox {
    Mailbox::new(Some("Farmera".to_owned()), lettre::Address::new_dangerous("no-reply", "farmera.localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> Env {
        Env::default().with("FARMERA_DATABASE_URL", "postgres://x").with("FARMERA_NATS_URL", "nats://x")
    }

    #[test]
    fn mails_go_into_a_folder_unless_told_otherwise() {
        let config = Config::from_env(&env()).unwrap();
        assert!(matches!(config.transport, MailTransport::File(_)));
        assert_eq!(config.from.to_string(), "Farmera <no-reply@farmera.localhost>");
        assert_eq!(config.common.grpc_address.port(), DEFAULT_PORT);
    }

    #[test]
    fn a_mail_server_needs_an_address_that_is_never_printed() {
        let smtp = env().with("FARMERA_MAIL_TRANSPORT", "smtp");
        assert!(matches!(Config::from_env(&smtp), Err(ConfigError::Missing { .. })));
        let config = Config::from_env(&smtp.with("FARMERA_SMTP_URL", "smtp://u:hunter2@h")).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let error = |key: &str, value: &str| Config::from_env(&env().with(key, value)).unwrap_err().to_string();
        assert!(error("FARMERA_MAIL_TRANSPORT", "pigeon").contains("expected file or smtp"));
        assert!(error("FARMERA_MAIL_FROM", "nobody").starts_with("FARMERA_MAIL_FROM"));
    }
}
