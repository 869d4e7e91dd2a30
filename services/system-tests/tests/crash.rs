//! The all-in-one process is killed in the middle of load and started again; every accepted order ends.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use farmera::addresses::Addresses;
use farmera::clients::Clients;
use farmera_proto::orders::v1::order::State;
use support::{catalogue, end_of, invariants_hold, order_of, place};
use tokio::process::{Child, Command};
use tokio::time::timeout;

const KILLS: usize = 3;
const CLIENTS: usize = 32;
const ORDERS_PER_CLIENT: usize = 20;

/// `farmera up` as its own process.
struct Process {
    child: Child,
    clients: Clients,
}

/// Next to this test in the target folder: `make test` builds the whole workspace.
fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let found = test.ancestors().map(|folder| folder.join("farmera")).find(|path| path.is_file());
    found.expect("the farmera binary is not built: cargo build --package farmera")
}

impl Process {
    async fn start(state: &Path) -> Self {
        Addresses::remove(state);
        let child = Command::new(binary())
            .args(["up", "--free-ports", "--state"])
            .arg(state)
            .env("FARMERA_LOG", std::env::var("FARMERA_LOG").unwrap_or_else(|_| "warn".to_owned()))
            .env("FARMERA_ORDERS__INVENTORY_TIMEOUT_MS", "2000")
            .env("FARMERA_ORDERS__PAYMENT_TIMEOUT_MS", "4000")
            .env("FARMERA_ORDERS__NOTIFICATION_TIMEOUT_MS", "2000")
            .env("FARMERA_PAYMENT__PROVIDER_TIMEOUT_MS", "1000")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let addresses = async {
            loop {
                if let Some(addresses) = Addresses::load(state) {
                    return addresses;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let addresses = timeout(Duration::from_secs(60), addresses).await.expect("farmera up did not become ready");
        Self { child, clients: Clients::connect(addresses.endpoints).unwrap() }
    }

    async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// Places orders until told to stop; says which were accepted. What is not answered is no promise.
async fn load(clients: Clients, product: String, index: usize) -> Vec<String> {
    let mut accepted = Vec::new();
    for number in 0..ORDERS_PER_CLIENT {
        let token = if (index + number).is_multiple_of(10) { "tok_declined" } else { "tok_success" };
        let asked = place(&clients, order_of(&product, 1, token));
        match timeout(Duration::from_secs(5), asked).await {
            Ok(Ok(order)) => accepted.push(order.id),
            Ok(Err(_)) | Err(_) => break,
        }
    }
    accepted
}

#[tokio::test(flavor = "multi_thread")]
async fn every_accepted_order_ends_although_the_process_is_killed_in_the_middle() {
    let state = farmera_local::project_root().join(format!(".farmera/crash-{}", std::process::id()));
    let mut accepted = Vec::new();
    let mut process = Process::start(&state).await;
    let product = catalogue(&process.clients).await.into_iter().max_by_key(|product| product.available).unwrap().id;
    for _ in 0..KILLS {
        let mut loads: Vec<_> =
            (0..CLIENTS).map(|index| Box::pin(load(process.clients.clone(), product.clone(), index))).collect();
        // Kill when a quarter of the clients are through: the others are in the middle of it.
        let mut through = Vec::new();
        while through.len() < CLIENTS / 4 {
            let (orders, _, rest) = futures::future::select_all(loads).await;
            through.push(orders);
            loads = rest;
        }
        let (killed, rest) = tokio::join!(process.kill(), futures::future::join_all(loads));
        let () = killed;
        accepted.extend(through.into_iter().chain(rest).flatten());
        process = Process::start(&state).await;
    }
    assert!(accepted.len() > CLIENTS, "the load was cut before it began");
    for order in &accepted {
        let end = end_of(&process.clients, order).await.state();
        assert!(matches!(end, State::Completed | State::Failed), "order {order} ended as {end:?}");
    }
    invariants_hold(&process.clients).await;
    process.kill().await;
    std::fs::remove_dir_all(&state).unwrap_or_default();
}
