//! What payment reads from the environment: `FARMERA_PAYMENT__<KEY>`, or `FARMERA_<KEY>`.

use std::time::Duration;

use chassis::config::{Common, ConfigError, Env, Secret, ServiceEnv};

use crate::processor::{self, BaseUrl};
use crate::settle::Patience;

/// The configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// What every service needs.
    pub common: Common,
    /// `PROVIDER_TIMEOUT_MS` (2000), `PROVIDER_TRIES_MAX` (4), `PROVIDER_CONCURRENCY_MAX` (2048).
    pub patience: Patience,
    /// Who moves the money.
    pub provider: Provider,
}

/// Who moves the money.
#[derive(Clone, Debug)]
pub enum Provider {
    /// The sandbox in this process: no money moves. Only where `SANDBOX` is `true`, and `PROVIDER_URL` is not set.
    Sandbox {
        /// `SANDBOX_LATENCY_MS` (0): how much longer every call takes.
        latency: Duration,
        /// `SANDBOX_CONNECTIONS_MAX` (4): connections to its books.
        connections_max: u32,
    },
    /// A processor behind HTTP: `PROVIDER_URL`, `PROVIDER_KEY` (nothing), `PROVIDER_CONNECTIONS_MAX` (256).
    Processor(processor::Options),
}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// [`ConfigError`] names the variable.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let env = env.of_service(crate::NAME);
        let number = |key: &str, default: u32| -> Result<u32, ConfigError> {
            const EXPECTED: &str = "a number, 1 to 65535";
            Ok(env.optional::<std::num::NonZeroU16>(key, EXPECTED)?.map_or(default, |number| number.get().into()))
        };
        let mut patience = Patience {
            timeout: env.millis("PROVIDER_TIMEOUT_MS", Duration::from_secs(2))?,
            tries_max: number("PROVIDER_TRIES_MAX", 4)?,
            concurrency_max: number("PROVIDER_CONCURRENCY_MAX", 2_048)? as usize,
        };
        let provider = match provider_url(&env)? {
            None if !env.value("SANDBOX", false, "true or false")? => {
                return Err(ConfigError::Missing {
                    name: format!("FARMERA_{}__PROVIDER_URL", crate::NAME.to_uppercase()),
                    meaning: "who moves the money; where none is to move, say FARMERA_PAYMENT__SANDBOX=true",
                });
            }
            None => Provider::Sandbox {
                latency: Duration::from_millis(
                    env.value::<u16>("SANDBOX_LATENCY_MS", 0, "milliseconds, 0 to 65535")?.into(),
                ),
                connections_max: number("SANDBOX_CONNECTIONS_MAX", 4)?,
            },
            Some(url) => {
                let connections_max = number("PROVIDER_CONNECTIONS_MAX", 256)? as usize;
                // A call that waits for a connection is not under way yet: its time must not run.
                patience.concurrency_max = patience.concurrency_max.min(connections_max);
                let timeout = patience.timeout;
                Provider::Processor(processor::Options { url, key: provider_key(&env)?, timeout, connections_max })
            }
        };
        Ok(Self { common: Common::from_env(&env, crate::DEFAULT_PORT)?, patience, provider })
    }
}

fn provider_url(env: &ServiceEnv<'_>) -> Result<Option<BaseUrl>, ConfigError> {
    const EXPECTED: &str = "http:// or https:// and a host, without user and query";
    let Some(text) = env.optional::<String>("PROVIDER_URL", EXPECTED)? else { return Ok(None) };
    text.parse().map(Some).map_err(|_| ConfigError::Malformed {
        name: "FARMERA_PAYMENT__PROVIDER_URL".to_owned(),
        // What stands before it may be a password.
        found: text.rsplit('@').next().unwrap_or_default().to_owned(),
        expected: EXPECTED,
    })
}

fn provider_key(env: &ServiceEnv<'_>) -> Result<Option<Secret>, ConfigError> {
    match env.secret("PROVIDER_KEY", "what the provider knows us by") {
        Ok(key) => Ok(Some(key)),
        Err(ConfigError::Missing { .. }) => Ok(None),
        Err(error @ (ConfigError::Malformed { .. } | ConfigError::Unreadable { .. })) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> Env {
        Env::default().with("FARMERA_DATABASE_URL", "postgres://x").with("FARMERA_NATS_URL", "nats://x")
    }

    #[test]
    fn without_an_address_nobody_plays_with_money_unless_that_is_said() {
        for unsaid in [env(), env().with("FARMERA_PAYMENT__SANDBOX", "false")] {
            let error = Config::from_env(&unsaid).unwrap_err().to_string();
            assert!(
                error.starts_with("FARMERA_PAYMENT__PROVIDER_URL is not set: ") && error.contains("SANDBOX"),
                "{error}"
            );
        }
        let config = Config::from_env(&env().with("FARMERA_PAYMENT__SANDBOX", "true")).unwrap();
        assert!(matches!(config.provider, Provider::Sandbox { connections_max: 4, .. }));
        assert_eq!(config.patience.concurrency_max, 2_048);
    }

    #[test]
    fn with_an_address_it_is_a_processor_and_calls_do_not_outnumber_connections() {
        let env = env().with("FARMERA_PAYMENT__PROVIDER_URL", "https://api.example.com");
        let config = Config::from_env(&env.with("FARMERA_PAYMENT__PROVIDER_KEY", "sk_live_1")).unwrap();
        assert_eq!(config.patience.concurrency_max, 256);
        assert!(!format!("{config:?}").contains("sk_live_1"));
        let Provider::Processor(options) = config.provider else { panic!("no processor") };
        assert_eq!(options.key.unwrap().expose(), "sk_live_1");
    }

    #[test]
    fn an_address_with_a_password_is_refused_by_the_variables_name() {
        let env = env().with("FARMERA_PAYMENT__PROVIDER_URL", "https://user:sk_live_1@provider");
        let error = Config::from_env(&env).unwrap_err().to_string();
        assert!(error.starts_with("FARMERA_PAYMENT__PROVIDER_URL is \"provider\": expected "), "{error}");
    }
}
