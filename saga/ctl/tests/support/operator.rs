//! An operator at a running Farmera, who types `sagactl`; and a customer who places orders.

use std::time::Duration;

use chassis::clock::Uuids;
use eventstore::IdSource as _;
use farmera::clients::Clients;
use farmera_proto::orders::v1 as orders;
use farmera_proto::products::v1 as products;

use super::{Said, command};

/// What has not happened by then never will.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Both of them.
pub struct Operator {
    clients: Clients,
}

impl Operator {
    /// In front of these services.
    pub fn new(clients: Clients) -> Self {
        Self { clients }
    }

    /// `sagactl` of the operator `ana`, ready to be started.
    pub fn command(&self, arguments: &[&str]) -> tokio::process::Command {
        let at = &self.clients.endpoints;
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
        let clients = &self.clients;
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
}

/// A fresh id.
pub fn id() -> String {
    Uuids.next_id().to_string()
}
