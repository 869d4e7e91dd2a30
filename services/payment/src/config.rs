//! What payment reads from the environment: `FARMERA_PAYMENT__<KEY>`, or `FARMERA_<KEY>`.

use std::time::Duration;

use chassis::config::{Common, ConfigError, Env};

use crate::settle::Patience;

/// The configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// What every service needs.
    pub common: Common,
    /// `PROVIDER_TIMEOUT_MS` (2000), `PROVIDER_TRIES_MAX` (4), `PROVIDER_CONCURRENCY_MAX` (2048).
    pub patience: Patience,
    /// `SANDBOX_LATENCY_MS` (0): how much longer every call to the sandbox provider takes.
    pub sandbox_latency: Duration,
    /// `SANDBOX_CONNECTIONS_MAX` (4): connections to the sandbox's books.
    pub sandbox_connections_max: u32,
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
        Ok(Self {
            common: Common::from_env(&env, crate::DEFAULT_PORT)?,
            patience: Patience {
                timeout: env.millis("PROVIDER_TIMEOUT_MS", Duration::from_secs(2))?,
                tries_max: number("PROVIDER_TRIES_MAX", 4)?,
                concurrency_max: number("PROVIDER_CONCURRENCY_MAX", 2_048)? as usize,
            },
            sandbox_latency: Duration::from_millis(
                env.value::<u16>("SANDBOX_LATENCY_MS", 0, "milliseconds, 0 to 65535")?.into(),
            ),
            sandbox_connections_max: number("SANDBOX_CONNECTIONS_MAX", 4)?,
        })
    }
}
