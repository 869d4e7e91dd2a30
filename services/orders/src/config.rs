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
    /// Operators' plans for more sagas than this need a second person's approval.
    pub approval_above: u32,
}

/// Few enough to be looked at one by one.
const APPROVAL_ABOVE: u32 = 100;

impl Config {
    /// Reads `FARMERA_ORDERS__…`: what every service needs, `PRODUCTS_URL` (http://127.0.0.1:50051), `PAYMENT_URL`
    /// (http://127.0.0.1:50054), `NOTIFICATION_URL` (http://127.0.0.1:50055), and the patience with participants
    /// `INVENTORY_TIMEOUT_MS`, `PAYMENT_TIMEOUT_MS`, `NOTIFICATION_TIMEOUT_MS`. `APPROVAL_ABOVE`: operators' plans for
    /// more sagas than this (100) need a second person's approval.
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
            approval_above: env.value("APPROVAL_ABOVE", APPROVAL_ABOVE, "a number of sagas")?,
            patience: Patience {
                inventory: patience("INVENTORY_TIMEOUT_MS", default.inventory)?,
                payment: patience("PAYMENT_TIMEOUT_MS", default.payment)?,
                notification: patience("NOTIFICATION_TIMEOUT_MS", default.notification)?,
            },
        })
    }
}
