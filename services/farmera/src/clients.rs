//! gRPC clients of every service, with a deadline on every call.

use std::time::Duration;

use farmera_proto::notification::v1::notification_service_client::NotificationServiceClient;
use farmera_proto::orders::v1::orders_query_service_client::OrdersQueryServiceClient;
use farmera_proto::orders::v1::orders_service_client::OrdersServiceClient;
use farmera_proto::payment::v1::payment_query_service_client::PaymentQueryServiceClient;
use farmera_proto::payment::v1::payment_service_client::PaymentServiceClient;
use farmera_proto::products::v1::products_service_client::ProductsServiceClient;
use farmera_proto::saga::v1::saga_query_service_client::SagaQueryServiceClient;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::addresses::Endpoints;
use crate::explain::explain;
use crate::failure::Failure;

/// A call may take this long: more than a service allows itself.
pub const CALL_DEADLINE: Duration = Duration::from_secs(20);
/// Answers with many orders and all their lines are large.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Whom we talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Orders and sagas.
    Orders,
    /// The catalogue.
    Products,
    /// Payments and the provider's books.
    Payment,
    /// What was told to whom.
    Notification,
}

/// A client of every service. Cheap to clone: clones share connections.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Where they are.
    pub endpoints: Endpoints,
    /// The edge of orders.
    pub orders: OrdersServiceClient<Channel>,
    /// Orders by id.
    pub orders_query: OrdersQueryServiceClient<Channel>,
    /// Sagas.
    pub sagas: SagaQueryServiceClient<Channel>,
    /// The edge of the catalogue.
    pub products: ProductsServiceClient<Channel>,
    /// The edge of payment.
    pub payment: PaymentServiceClient<Channel>,
    /// The provider's books.
    pub payment_query: PaymentQueryServiceClient<Channel>,
    /// The edge of notification.
    pub notification: NotificationServiceClient<Channel>,
}

impl Clients {
    /// Clients that connect when they are first used.
    ///
    /// # Errors
    /// [`Failure::Setup`] when an address makes no sense.
    pub fn connect(endpoints: Endpoints) -> Result<Self, Failure> {
        let orders = channel(&endpoints.orders)?;
        let products = channel(&endpoints.products)?;
        let payment = channel(&endpoints.payment)?;
        let notification = channel(&endpoints.notification)?;
        Ok(Self {
            orders: OrdersServiceClient::new(orders.clone()).max_decoding_message_size(ANSWER_BYTES_MAX),
            orders_query: OrdersQueryServiceClient::new(orders.clone()).max_decoding_message_size(ANSWER_BYTES_MAX),
            sagas: SagaQueryServiceClient::new(orders).max_decoding_message_size(ANSWER_BYTES_MAX),
            products: ProductsServiceClient::new(products),
            payment: PaymentServiceClient::new(payment.clone()),
            payment_query: PaymentQueryServiceClient::new(payment),
            notification: NotificationServiceClient::new(notification),
            endpoints,
        })
    }

    /// The answer of a call, or what went wrong in words.
    ///
    /// # Errors
    /// [`Failure`] by the status, or [`Failure::Unavailable`] after [`CALL_DEADLINE`].
    pub async fn ask<T>(
        &self,
        peer: Peer,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(CALL_DEADLINE, call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(self.failure(peer, &status)),
            Err(_) => Err(self.silence(peer)),
        }
    }

    /// What a status means to a person.
    #[must_use]
    pub fn failure(&self, peer: Peer, status: &Status) -> Failure {
        let (name, url) = self.named(peer);
        explain(name, url, status)
    }

    /// No answer in time.
    #[must_use]
    pub fn silence(&self, peer: Peer) -> Failure {
        let (name, url) = self.named(peer);
        Failure::Unavailable(format!("{name} at {url} did not answer in time; see its log and /readyz, then try again"))
    }

    fn named(&self, peer: Peer) -> (&'static str, &str) {
        match peer {
            Peer::Orders => ("orders", &self.endpoints.orders),
            Peer::Products => ("products", &self.endpoints.products),
            Peer::Payment => ("payment", &self.endpoints.payment),
            Peer::Notification => ("notification", &self.endpoints.notification),
        }
    }
}

/// A connection that is made when it is first used.
///
/// # Errors
/// [`Failure::Setup`] when the address makes no sense.
pub fn channel(url: &str) -> Result<Channel, Failure> {
    chassis::grpc::channel(url)
        .map_err(|_| Failure::Setup(format!("{url:?} is no address; expected one such as http://127.0.0.1:50052")))
}
