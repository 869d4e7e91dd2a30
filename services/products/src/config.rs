//! What this service is told by its environment.

use std::time::Duration;

use chassis::config::{Common, ConfigError, Env};

use crate::{DEFAULT_PORT, NAME};

const STOCK_LOW_THRESHOLD: u64 = 10;
const CATALOGUE_CACHE: Duration = Duration::from_millis(100);

/// The configuration of products.
#[derive(Clone, Debug)]
pub struct Config {
    /// What every service needs.
    pub common: Common,
    /// `STOCK_LOW_THRESHOLD`: a farm is told when at most this many units of a product are left; 10 unless told.
    pub stock_low_threshold: u64,
    /// `CATALOGUE_CACHE_MS`: how long a product that was read may be shown without looking again; 100 ms unless told.
    pub catalogue_cache: Duration,
}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// [`ConfigError`] names the variable.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let env = env.of_service(NAME);
        Ok(Self {
            common: Common::from_env(&env, DEFAULT_PORT)?,
            stock_low_threshold: env.value("STOCK_LOW_THRESHOLD", STOCK_LOW_THRESHOLD, "a number of units")?,
            catalogue_cache: env.millis("CATALOGUE_CACHE_MS", CATALOGUE_CACHE)?,
        })
    }
}
