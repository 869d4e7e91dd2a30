//! Where the services are: what a running `farmera up` wrote down, and how a client finds it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The file below the state folder.
pub const FILE: &str = "addresses.json";

/// The gRPC servers a client talks to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// `http://127.0.0.1:50052`.
    pub orders: String,
    /// `http://127.0.0.1:50051`.
    pub products: String,
    /// `http://127.0.0.1:50054`.
    pub payment: String,
    /// `http://127.0.0.1:50055`.
    pub notification: String,
}

impl Endpoints {
    /// Where a service answers; whatever is no other's is asked of orders.
    #[must_use]
    pub fn of(&self, service: &str) -> &str {
        match service {
            "products" => &self.products,
            "payment" => &self.payment,
            "notification" => &self.notification,
            _ => &self.orders,
        }
    }
}

impl Default for Endpoints {
    fn default() -> Self {
        let local = |port: u16| format!("http://127.0.0.1:{port}");
        Self { orders: local(50052), products: local(50051), payment: local(50054), notification: local(50055) }
    }
}

/// A running `farmera up`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// The process.
    pub pid: u32,
    /// Its gRPC servers.
    pub endpoints: Endpoints,
    /// Its admin port, an address to append `/readyz` to.
    pub admin: String,
    /// Further replicas of every service, if any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<Replica>,
    /// Where it keeps its state.
    pub state: PathBuf,
    /// Where mails end that would be sent in production.
    pub mailbox: PathBuf,
    /// Its Postgres.
    pub postgres: Postgres,
    /// Its nats-server.
    pub nats: Nats,
}

/// One more replica of every service, in the process of a running `farmera up`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// Its gRPC servers.
    pub endpoints: Endpoints,
    /// Its admin port.
    pub admin: String,
}

/// The Postgres of a running `farmera up`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Postgres {
    /// The postmaster.
    pub pid: Option<u32>,
    /// Host and port; the passwords are in the state folder.
    pub address: String,
    /// `15.18`.
    pub version: String,
    /// Whether a commit reaches the disk.
    pub fsync: bool,
}

/// The nats-server of a running `farmera up`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nats {
    /// The process.
    pub pid: Option<u32>,
    /// Its URL.
    pub url: String,
}

impl Addresses {
    /// Writes them down below the state folder: whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self).map_err(io::Error::from)?;
        let draft = self.state.join(".addresses.json.new");
        fs::write(&draft, text)?;
        fs::rename(draft, self.state.join(FILE))
    }

    /// What the last `farmera up` on `state` wrote; it may be dead since.
    #[must_use]
    pub fn load(state: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(state.join(FILE)).ok()?).ok()
    }

    /// Forgets them; nothing when there are none.
    pub fn remove(state: &Path) {
        drop(fs::remove_file(state.join(FILE)));
    }

    /// False when the process is surely gone. Systems without `/proc` cannot be sure.
    #[must_use]
    pub fn may_be_alive(&self) -> bool {
        may_be_alive(self.pid)
    }
}

/// A `farmera up` that has taken its ports and is not ready yet. Known from a file beside the state folder, which may
/// not be there yet or be wiped meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starting {
    /// The process.
    pub pid: u32,
    /// Its gRPC servers to be.
    pub endpoints: Endpoints,
    /// Its admin port to be.
    pub admin: String,
}

/// As long as it lives, others are told that this process is starting.
#[derive(Debug)]
pub struct StartingNotice(PathBuf);

impl Starting {
    /// Tells others, until the notice is dropped.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn tell(&self, state: &Path) -> io::Result<StartingNotice> {
        let file = Self::file(state);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&file, serde_json::to_vec_pretty(self).map_err(io::Error::from)?)?;
        Ok(StartingNotice(file))
    }

    /// The `farmera up` that is starting on `state`, if there is one and its process is alive.
    #[must_use]
    pub fn load(state: &Path) -> Option<Self> {
        let starting: Self = serde_json::from_slice(&fs::read(Self::file(state)).ok()?).ok()?;
        Some(starting).filter(|starting| may_be_alive(starting.pid))
    }

    fn file(state: &Path) -> PathBuf {
        let mut name = state.file_name().unwrap_or_default().to_owned();
        name.push(".starting.json");
        state.with_file_name(name)
    }
}

impl Drop for StartingNotice {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// False when the process is surely gone. Systems without `/proc` cannot be sure.
fn may_be_alive(pid: u32) -> bool {
    !Path::new("/proc/self").exists() || Path::new("/proc").join(pid.to_string()).exists()
}

/// The state folder of `farmera up` when none is given.
#[must_use]
pub fn default_state() -> PathBuf {
    farmera_local::project_root().join(".farmera/up")
}

/// Where the services are, as far as the caller says so.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Addresses (default: the running `farmera up`, else the default ports)")]
pub struct Target {
    /// The orders service, for example http://127.0.0.1:50052.
    #[arg(long, env = "FARMERA_ORDERS_URL", value_name = "URL", hide_env_values = true)]
    pub orders_url: Option<String>,
    /// The products service.
    #[arg(long, env = "FARMERA_PRODUCTS_URL", value_name = "URL", hide_env_values = true)]
    pub products_url: Option<String>,
    /// The payment service.
    #[arg(long, env = "FARMERA_PAYMENT_URL", value_name = "URL", hide_env_values = true)]
    pub payment_url: Option<String>,
    /// The notification service.
    #[arg(long, env = "FARMERA_NOTIFICATION_URL", value_name = "URL", hide_env_values = true)]
    pub notification_url: Option<String>,
    /// The state folder of a running `farmera up`.
    #[arg(long, value_name = "DIR")]
    pub target_state: Option<PathBuf>,
}

impl Target {
    /// True when the caller says where anything is.
    #[must_use]
    pub fn is_given(&self) -> bool {
        let urls = [&self.orders_url, &self.products_url, &self.payment_url, &self.notification_url];
        self.target_state.is_some() || urls.iter().any(|url| url.is_some())
    }

    /// The `farmera up` meant by the caller, if it left its addresses and may be alive.
    #[must_use]
    pub fn running_up(&self) -> Option<Addresses> {
        let state = self.target_state.clone().unwrap_or_else(default_state);
        Addresses::load(&state).filter(Addresses::may_be_alive)
    }

    /// Where the services are: as given, else as the running `farmera up` wrote, else the default ports.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the caller names a state folder on which nothing runs, or names nothing and the
    /// `farmera up` that is meant is not ready yet: its catalogue may be half there.
    pub fn endpoints(&self) -> Result<Endpoints, Failure> {
        let urls = [&self.orders_url, &self.products_url, &self.payment_url, &self.notification_url];
        let state = self.target_state.clone().unwrap_or_else(default_state);
        if let Some(starting) = Starting::load(&state).filter(|_| urls.iter().all(|url| url.is_none())) {
            return Err(Failure::Unavailable(format!(
                "`farmera up` (process {}) is starting: its services, or their catalogue, are not there yet; try again \
                 when it has printed `{}`",
                starting.pid,
                crate::up::READY
            )));
        }
        let known = match (self.running_up(), &self.target_state) {
            (Some(addresses), _) => addresses.endpoints,
            (None, None) => Endpoints::default(),
            (None, Some(state)) => {
                let state = state.display();
                return Err(Failure::Unavailable(format!("no `farmera up` runs on {state}, or it is not ready yet")));
            }
        };
        Ok(Endpoints {
            orders: self.orders_url.clone().unwrap_or(known.orders),
            products: self.products_url.clone().unwrap_or(known.products),
            payment: self.payment_url.clone().unwrap_or(known.payment),
            notification: self.notification_url.clone().unwrap_or(known.notification),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_is_given_wins_over_what_is_known() {
        let target = Target { orders_url: Some("http://o:1".to_owned()), ..Target::default() };
        assert_eq!(target.endpoints().unwrap().orders, "http://o:1");
    }

    #[test]
    fn whoever_comes_before_it_is_ready_is_told_to_wait_and_not_what_is_half_there() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("up");
        let starting = Starting { pid: std::process::id(), endpoints: Endpoints::default(), admin: String::new() };
        let target = Target { target_state: Some(state.clone()), ..Target::default() };
        let notice = starting.tell(&state).unwrap();
        let told = target.endpoints().unwrap_err();
        assert!(matches!(&told, Failure::Unavailable(why) if why.contains("is starting")), "{told:?}");
        drop(notice);
        assert_eq!(Starting::load(&state), None);
        // A process that died while it was starting starts no more.
        std::mem::forget(Starting { pid: u32::MAX, ..starting }.tell(&state).unwrap());
        assert_eq!(Starting::load(&state), None);
    }

    #[test]
    fn a_named_state_on_which_nothing_runs_is_never_replaced_by_the_default_ports() {
        let target = Target { target_state: Some(PathBuf::from("/nonexistent")), ..Target::default() };
        assert!(matches!(target.endpoints(), Err(Failure::Unavailable(_))));
    }
}
