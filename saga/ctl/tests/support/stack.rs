//! Everything, running, and `sagactl` as a process beside it.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test file uses its part of it, and fails by panicking"
)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chassis::clock::Uuids;
use eventstore::IdSource as _;
use farmera::up::{Options, Stack};
use farmera_proto::orders::v1 as orders;
use farmera_proto::products::v1 as products;
use tokio::sync::{Mutex, MutexGuard};

use crate::support::{Said, command};

/// What has not happened by then never will.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Payment cannot reach its processor: sagas wait at `authorize-payment`, for longer than any test.
pub const PROVIDER_AWAY: [(&str, &str); 2] =
    [("FARMERA_PAYMENT__PROVIDER_URL", "http://127.0.0.1:1"), ("FARMERA_ORDERS__PAYMENT_TIMEOUT_MS", "120000")];

/// Tests of a file take turns: several of everything at the same time are too much for a small machine.
static TURN: Mutex<()> = Mutex::const_new(());

/// A running Farmera.
pub struct Ground {
    turn: MutexGuard<'static, ()>,
    /// Everything.
    pub stack: Stack,
}

impl Ground {
    /// Starts everything, with variables for the services.
    pub async fn start(variables: &[(&str, &str)]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let turn = TURN.lock().await;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let state = farmera_local::project_root().join(format!(".farmera/sagactl-{}-{number}", std::process::id()));
        chassis::telemetry::init_logs("error");
        let mut options = Options::throwaway(state);
        options.variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let ground = Self { turn, stack: Self::stack(options).await };
        // Services take calls before a message has gone out and come back, and say so.
        ground.until(&["service", "list"], |said| said.code == 0).await;
        ground
    }

    /// On a machine that builds at the same time, a server may not answer in time: that is not what is tested here.
    async fn stack(options: Options) -> Stack {
        for _ in 0..2 {
            if let Ok(stack) = Stack::start(options.clone()).await {
                return stack;
            }
        }
        Stack::start(options).await.unwrap()
    }

    /// `sagactl` of the operator `ana`, ready to be started.
    pub fn command(&self, arguments: &[&str]) -> tokio::process::Command {
        let at = self.stack.endpoints();
        let environment = [
            ("FARMERA_ORDERS_URL", at.orders.as_str()),
            ("FARMERA_PRODUCTS_URL", at.products.as_str()),
            ("FARMERA_PAYMENT_URL", at.payment.as_str()),
            ("FARMERA_NOTIFICATION_URL", at.notification.as_str()),
            ("SAGACTL_ACTOR", "ana"),
        ];
        let mut command = tokio::process::Command::from(command(arguments, &environment));
        command.kill_on_drop(true);
        command
    }

    /// Runs it to its end.
    pub async fn sagactl(&self, arguments: &[&str]) -> Said {
        let output = tokio::time::timeout(PATIENCE, self.command(arguments).output()).await;
        output.unwrap_or_else(|_| panic!("sagactl {arguments:?} did not end")).unwrap().into()
    }

    /// Runs it and sees that all went well; what it said on standard output.
    pub async fn well(&self, arguments: &[&str]) -> String {
        let said = self.sagactl(arguments).await;
        assert_eq!(said.code, 0, "sagactl {arguments:?}: {said:?}");
        said.out
    }

    /// The same as JSON.
    pub async fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let mut arguments = arguments.to_vec();
        arguments.extend(["-o", "json"]);
        serde_json::from_str(&self.well(&arguments).await).unwrap()
    }

    /// Places an order of one unit of the first product.
    pub async fn place(&self, token: &str) -> orders::Order {
        let clients = &self.stack.clients;
        let request = products::ListProductsRequest { page_size: 1, page_token: String::new() };
        let product = clients.products.clone().list_products(request).await.unwrap().into_inner().products.remove(0);
        let request = orders::PlaceOrderRequest {
            request_id: id(),
            customer_id: id(),
            lines: vec![orders::PlaceOrderLine { product_id: product.id, quantity: 1 }],
            payment_token: token.to_owned(),
            email: "ana@example.org".to_owned(),
        };
        clients.orders.clone().place_order(request).await.unwrap().into_inner().order.unwrap()
    }

    /// Publishes what is no message of ours.
    pub async fn publish(&self, subject: &str, body: &'static str) {
        let client = async_nats::connect(&self.stack.addresses.nats.url).await.unwrap();
        client.publish(subject.to_owned(), body.into()).await.unwrap();
        client.flush().await.unwrap();
    }

    /// Runs it again and again until it says what is wanted.
    pub async fn until(&self, arguments: &[&str], wanted: impl Fn(&Said) -> bool) -> Said {
        let mut last = None;
        let said = tokio::time::timeout(PATIENCE, async {
            loop {
                let said = self.sagactl(arguments).await;
                if wanted(&said) {
                    return said;
                }
                last = Some(said);
            }
        });
        match said.await {
            Ok(said) => said,
            Err(_) => panic!("sagactl {arguments:?} never said what was wanted, last: {last:?}"),
        }
    }

    /// Stops everything.
    pub async fn stop(self) {
        self.stack.stop().await;
        drop(self.turn);
    }
}

/// A fresh id.
pub fn id() -> String {
    Uuids.next_id().to_string()
}
