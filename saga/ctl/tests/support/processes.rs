//! Services as processes of their own over private servers, so that one can be killed, and another version deployed.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "each test file uses its part of it, and fails by panicking"
)]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::ops::Deref;
use std::path::PathBuf;
use std::process::Stdio;

use chassis::clock::Uuids;
use eventstore::IdSource as _;
use farmera::addresses::Endpoints;
use farmera::catalogue;
use farmera::clients::Clients;
use farmera::services::SERVICES;
use farmera_local::{DatabaseSpec, Servers, TestServers};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, MutexGuard};

use crate::support::Said;
use crate::support::operator::Operator;

/// Below what systems hand out to outgoing connections: whoever tries to reach a killed process is not given its port.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// Tests of a file take turns: several of everything at the same time are too much for a small machine.
static TURN: Mutex<()> = Mutex::const_new(());

/// Every service has a place here, whether it runs or not.
pub struct Processes {
    running: BTreeMap<&'static str, Child>,
    servers: Servers,
    clients: Clients,
    operator: Operator,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for Processes {
    type Target = Operator;

    fn deref(&self) -> &Operator {
        &self.operator
    }
}

/// Next to this test in the target folder: `make test` builds the whole workspace.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let found = test.ancestors().map(|folder| folder.join("farmera")).find(|path| path.is_file());
    found.expect("the farmera binary is not built: cargo build --workspace")
}

/// A port that was free a moment ago.
fn free() -> String {
    let random = |_| {
        let [.., high, low] = Uuids.next_id().into_bytes();
        PORTS.start + u16::from_be_bytes([high, low]) % (PORTS.end - PORTS.start)
    };
    let port = (0..64).map(random).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    format!("http://127.0.0.1:{}", port.expect("a free port"))
}

fn database(service: &str) -> String {
    format!("farmera_{service}")
}

impl Processes {
    /// Servers, and a place for every service. Nothing runs yet.
    pub async fn new() -> Self {
        let turn = TURN.lock().await;
        let spec = |name: &str| DatabaseSpec::new(name, format!("{name}_owner"), name);
        let databases = SERVICES.iter().map(|service| spec(&database(service.name))).collect();
        let start = || TestServers::start(|options| options.databases = databases).unwrap();
        let servers = tokio::task::spawn_blocking(start).await.unwrap();
        for service in &SERVICES {
            let url = servers.owner_url(&database(service.name)).unwrap();
            farmera::migrate::migrate(service, &url).await.unwrap();
        }
        let endpoints = Endpoints { orders: free(), products: free(), payment: free(), notification: free() };
        let clients = Clients::connect(endpoints).unwrap();
        let operator = Operator::new(clients.clone());
        Self { running: BTreeMap::new(), servers, clients, operator, _turn: turn }
    }

    /// Starts every service and fills the catalogue.
    pub async fn start(&mut self, variables: &[(&str, &str)]) {
        for service in &SERVICES {
            self.run(service.name, variables);
        }
        self.are_ready().await;
        catalogue::seed(&self.clients).await.unwrap();
    }

    /// Every service that runs takes calls.
    pub async fn are_ready(&self) {
        self.until(&["service", "list"], |said| said.code == 0).await;
    }

    /// Starts a service that does not run.
    pub fn run(&mut self, service: &'static str, variables: &[(&str, &str)]) {
        let process = self.program(&["run", service], variables).spawn().unwrap();
        assert!(self.running.insert(service, process).is_none(), "{service} runs already");
    }

    /// SIGKILL.
    pub async fn kill(&mut self, service: &'static str) {
        self.running.remove(service).expect("a service that runs").kill().await.unwrap();
    }

    /// Kills it and starts it anew with these variables.
    pub async fn deploy(&mut self, service: &'static str, variables: &[(&str, &str)]) {
        self.kill(service).await;
        self.run(service, variables);
        self.are_ready().await;
    }

    /// `farmera` to its end, where the services run.
    pub async fn farmera(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Said {
        self.program(arguments, variables).output().await.unwrap().into()
    }

    /// A service's database, as its owner.
    pub fn owner_url(&self, service: &str) -> String {
        self.servers.owner_url(&database(service)).unwrap()
    }

    /// The broker.
    pub fn nats_url(&self) -> String {
        self.servers.nats_url()
    }

    fn program(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
        let at = &self.clients.endpoints;
        let mut command = Command::new(program());
        command.args(arguments).env_clear().stdin(Stdio::null()).kill_on_drop(true);
        for service in &SERVICES {
            let prefix = format!("FARMERA_{}__", service.name.to_uppercase());
            let url = match service.name {
                "products" => &at.products,
                "payment" => &at.payment,
                "notification" => &at.notification,
                _ => &at.orders,
            };
            command.env(format!("{prefix}GRPC_ADDRESS"), url.trim_start_matches("http://"));
            let name = database(service.name);
            command.env(format!("{prefix}DATABASE_URL"), self.servers.service_url(&name).unwrap());
            command.env(format!("{prefix}MIGRATION_URL"), self.servers.owner_url(&name).unwrap());
        }
        command.env("FARMERA_ORDERS__PRODUCTS_URL", &at.products).env("FARMERA_ORDERS__PAYMENT_URL", &at.payment);
        command.env("FARMERA_ORDERS__NOTIFICATION_URL", &at.notification);
        command.env("FARMERA_NOTIFICATION__MAILBOX_DIR", self.servers.root().join("mailbox"));
        command.env("FARMERA_NATS_URL", self.servers.nats_url()).env("FARMERA_ADMIN_ADDRESS", "127.0.0.1:0");
        command.env("FARMERA_PAYMENT__SANDBOX", "true");
        command.env("FARMERA_LOG", "error").envs(variables.iter().copied());
        command
    }
}
