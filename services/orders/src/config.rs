//! What orders needs to know, from the environment.

use std::time::Duration;

use chassis::config::{Common, ConfigError, Env, ServiceEnv};

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
    /// How long participants are waited for: a version of the sagas each, the oldest first, never none.
    pub patience: Vec<Patience>,
}

/// The highest version that the environment can speak of. A program with other steps counts on from there.
const VERSION_MAX: u32 = 9;
/// Of products, payment and notification.
const KEYS: [&str; 3] = ["INVENTORY_TIMEOUT_MS", "PAYMENT_TIMEOUT_MS", "NOTIFICATION_TIMEOUT_MS"];

impl Config {
    /// Reads `FARMERA_ORDERS__…`: what every service needs, `PRODUCTS_URL` (http://127.0.0.1:50051), `PAYMENT_URL`
    /// (http://127.0.0.1:50054), `NOTIFICATION_URL` (http://127.0.0.1:50055), and the patience with participants
    /// `INVENTORY_TIMEOUT_MS`, `PAYMENT_TIMEOUT_MS`, `NOTIFICATION_TIMEOUT_MS`. Those are of version 1 of the sagas; with
    /// `_V2` to `_V9` at the end they are of that version, which exists as soon as one of them is set, and takes what is
    /// not set from the version before.
    ///
    /// # Errors
    /// [`ConfigError`] names the variable.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let env = env.of_service(crate::NAME);
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
            patience: patience(&env)?,
        })
    }
}

fn patience(env: &ServiceEnv<'_>) -> Result<Vec<Patience>, ConfigError> {
    let mut newest = patience_of(env, "", Patience::default())?;
    let mut versions = vec![newest];
    for version in Patience::default().version + 1..=VERSION_MAX {
        let suffix = format!("_V{version}");
        if KEYS.iter().any(|key| env.is_set(&format!("{key}{suffix}"))) {
            newest = patience_of(env, &suffix, Patience { version, ..newest })?;
            versions.push(newest);
        }
    }
    Ok(versions)
}

fn patience_of(env: &ServiceEnv<'_>, suffix: &str, unless_set: Patience) -> Result<Patience, ConfigError> {
    let within = |key: &str, unless_set: Duration| env.millis(&format!("{key}{suffix}"), unless_set);
    let [inventory, payment, notification] = KEYS;
    Ok(Patience {
        inventory: within(inventory, unless_set.inventory)?,
        payment: within(payment, unless_set.payment)?,
        notification: within(notification, unless_set.notification)?,
        ..unless_set
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Vec<Patience>, ConfigError> {
        let with = |env: Env, (key, value): &(&str, &str)| env.with(format!("FARMERA_ORDERS__{key}"), *value);
        patience(&variables.iter().fold(Env::default(), with).of_service(crate::NAME))
    }

    #[test]
    fn a_version_is_what_is_said_of_it_and_else_what_was_before() {
        let seconds = Duration::from_secs;
        let first = Patience { payment: seconds(20), ..Patience::default() };
        assert_eq!(read(&[]).unwrap(), [Patience::default()]);
        let all =
            [("PAYMENT_TIMEOUT_MS", "20000"), ("INVENTORY_TIMEOUT_MS_V2", "7000"), ("PAYMENT_TIMEOUT_MS_V4", "8000")];
        let second = Patience { version: 2, inventory: seconds(7), ..first };
        assert_eq!(read(&all).unwrap(), [first, second, Patience { version: 4, payment: seconds(8), ..second }]);
    }

    #[test]
    fn a_version_that_makes_no_sense_is_refused_by_its_name() {
        let refused = read(&[("PAYMENT_TIMEOUT_MS_V3", "soon")]).unwrap_err().to_string();
        assert!(refused.starts_with("FARMERA_ORDERS__PAYMENT_TIMEOUT_MS_V3 is \"soon\""), "{refused}");
    }
}
