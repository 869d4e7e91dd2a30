//! What orders needs to know, from the environment.

use std::time::Duration;

use chassis::config::{Common, ConfigError, Env};

use crate::sagas::Patience;

/// Orders' configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// What every service needs.
    pub common: Common,
    /// Where products answers queries.
    pub products_url: String,
    /// Where payment answers queries.
    pub payment_url: String,
    /// Where notification answers queries.
    pub notification_url: String,
    /// How long participants are waited for.
    pub patience: Patience,
}

impl Config {
    /// Reads `FARMERA_ORDERS__…`: what every service needs, `PRODUCTS_URL` (http://127.0.0.1:50051), `PAYMENT_URL`
    /// (http://127.0.0.1:50054), `NOTIFICATION_URL` (http://127.0.0.1:50055), and the patience with participants
    /// `INVENTORY_TIMEOUT_MS`, `PAYMENT_TIMEOUT_MS`, `NOTIFICATION_TIMEOUT_MS`.
    ///
    /// # Errors
    /// [`ConfigError`] names the variable.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let env = env.of_service(crate::NAME);
        let default = Patience::default();
        let patience = |key, default: Duration| env.millis(key, default);
        Ok(Self {
            common: Common::from_env(&env, crate::DEFAULT_PORT)?,
            products_url: env.value(
                "PRODUCTS_URL",
                "http://127.0.0.1:50051".to_owned(),
                "an address such as http://host:50051",
            )?,
            payment_url: env.value(
                "PAYMENT_URL",
                "http://127.0.0.1:50054".to_owned(),
                "an address such as http://host:50054",
            )?,
            notification_url: env.value(
                "NOTIFICATION_URL",
                "http://127.0.0.1:50055".to_owned(),
                "an address such as http://host:50055",
            )?,
            patience: Patience {
                inventory: patience("INVENTORY_TIMEOUT_MS", default.inventory)?,
                payment: patience("PAYMENT_TIMEOUT_MS", default.payment)?,
                notification: patience("NOTIFICATION_TIMEOUT_MS", default.notification)?,
            },
        })
    }
}
