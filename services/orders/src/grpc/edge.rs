//! `OrdersService`: what clients may do.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chassis::problem::{self, Violations};
use chassis::service::submit_status;
use eventstore::worker::WorkerHandle;
use eventstore::{Actor, Cause, Clock, IdSource, TraceContext};
use farmera_proto::orders::v1 as pb;
use farmera_proto::orders::v1::orders_service_server::OrdersService;
use futures::Stream;
use tokio::time::timeout;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Lists, Reads, Watching, place};
use crate::domain::Facts;
use crate::handler::{Input, OrdersHandler, Output, Told};
use crate::prices::Prices;
use crate::projections::orders::OrderList;
use crate::status::{DOMAIN, of_error};
use crate::view::View;

/// A client's command may take this long; what it did by then is found again with the same request id.
const DEADLINE: Duration = Duration::from_secs(10);
const REASON_LENGTH_MAX: usize = 500;

/// Serves `OrdersService`.
pub struct Edge {
    /// Where commands go.
    pub worker: WorkerHandle<OrdersHandler>,
    /// Where prices come from.
    pub prices: Prices,
    /// Where single orders come from.
    pub reads: Reads,
    /// Where lists come from.
    pub list: OrderList,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where lists wait for what they must hold.
    pub abreast: Lists,
    /// Where ids come from.
    pub ids: Arc<dyn IdSource>,
    /// Where orders are watched.
    pub watching: Watching,
}

impl Edge {
    /// What came of it, and the token for what was written.
    async fn submit(&self, order_id: Uuid, input: Input, cause: Cause) -> Result<(Told, String), Status> {
        let submitted = timeout(DEADLINE, self.worker.submit(input, cause)).await;
        let done =
            submitted.map_err(|_| problem::unavailable(DOMAIN, "no answer in time; ask again with the same id"))?;
        let done = done.map_err(|error| submit_status(DOMAIN, error, |error| of_error(order_id, error)))?;
        let output: Output = done.output;
        let told = output.ok_or_else(|| problem::internal(DOMAIN))?;
        let written_token = self.abreast.token(done.committed).await;
        Ok((told, written_token))
    }

    fn cause(&self, correlation: Uuid, customer: Uuid, trace: Option<TraceContext>) -> Cause {
        Cause { correlation, causation: self.ids.next_id(), trace, actor: Actor::new(format!("customer:{customer}")) }
    }

    /// Prices an order. A request that was carried out before is found even when its products are gone since.
    async fn facts(&self, request: place::Request) -> Result<Arc<Facts>, Status> {
        let (order_id, fingerprint) = (request.order_id, request.fingerprint());
        let offers = self.prices.offers(request.products()).await;
        let offers = offers.map_err(|error| problem::unavailable(DOMAIN, format!("{error}; try again")))?;
        match request.priced(&offers) {
            Ok(facts) => Ok(Arc::new(facts)),
            Err(refused) => match self.reads.order(order_id).await {
                Ok(view) if *view.placed.fingerprint == *fingerprint => Ok(view.placed.facts),
                Ok(_) | Err(_) => Err(refused),
            },
        }
    }
}

#[tonic::async_trait]
impl OrdersService for Edge {
    async fn place_order(
        &self,
        request: Request<pb::PlaceOrderRequest>,
    ) -> Result<Response<pb::PlaceOrderResponse>, Status> {
        let trace = trace_of(&request);
        let request = request.into_inner();
        let request = place::Request::parse(&request, prost_len(&request))?;
        let (order_id, customer_id, fingerprint) = (request.order_id, request.customer_id, request.fingerprint());
        let facts = self.facts(request).await?;
        let cause = self.cause(crate::handler::place_saga_id(order_id), customer_id, trace);
        let (told, written_token) = self.submit(order_id, Input::Place { order_id, facts, fingerprint }, cause).await?;
        let view = if told.version.get() == 1 {
            let now = self.clock.now();
            View::of_told(order_id, told, now, now)
        } else {
            self.reads.order(order_id).await?
        };
        Ok(Response::new(pb::PlaceOrderResponse { order: Some(view.to_proto()), written_token }))
    }

    async fn cancel_order(
        &self,
        request: Request<pb::CancelOrderRequest>,
    ) -> Result<Response<pb::CancelOrderResponse>, Status> {
        let trace = trace_of(&request);
        let request = request.into_inner();
        let mut violations = Violations::new();
        let order_id = violations.uuid("order_id", &request.order_id);
        let reason = violations.text("reason", &request.reason, 0, REASON_LENGTH_MAX);
        violations.finish(DOMAIN)?;
        let (Some(order_id), Some(reason)) = (order_id, reason) else { return Err(problem::internal(DOMAIN)) };
        let customer_id = self.reads.order(order_id).await?.placed.facts.customer_id;
        let cause = self.cause(crate::handler::place_saga_id(order_id), customer_id, trace);
        let (_, written_token) = self.submit(order_id, Input::Cancel { order_id, reason }, cause).await?;
        let order = self.reads.order(order_id).await?;
        Ok(Response::new(pb::CancelOrderResponse { order: Some(order.to_proto()), written_token }))
    }

    async fn get_order(&self, request: Request<pb::GetOrderRequest>) -> Result<Response<pb::GetOrderResponse>, Status> {
        let order = self.reads.order(order_id(&request.into_inner().order_id)?).await?;
        Ok(Response::new(pb::GetOrderResponse { order: Some(order.to_proto()) }))
    }

    async fn list_orders(
        &self,
        request: Request<pb::ListOrdersRequest>,
    ) -> Result<Response<pb::ListOrdersResponse>, Status> {
        let request = request.into_inner();
        let is_abreast = self.abreast.wait(&request.written_token, request.as_of_now).await?;
        let page = self.list.page(&request).await?;
        Ok(Response::new(pb::ListOrdersResponse { lags: !is_abreast, ..page }))
    }

    type WatchOrderStream = Pin<Box<dyn Stream<Item = Result<pb::WatchOrderResponse, Status>> + Send>>;

    async fn watch_order(
        &self,
        request: Request<pb::WatchOrderRequest>,
    ) -> Result<Response<Self::WatchOrderStream>, Status> {
        let request = request.into_inner();
        let changes = self.watching.watch(order_id(&request.order_id)?, request.seen_version).await?;
        Ok(Response::new(Box::pin(changes)))
    }
}

fn order_id(text: &str) -> Result<Uuid, Status> {
    let mut violations = Violations::new();
    let id = violations.uuid("order_id", text);
    violations.finish(DOMAIN)?;
    id.ok_or_else(|| problem::internal(DOMAIN))
}

fn prost_len(message: &impl prost::Message) -> usize {
    message.encoded_len()
}

fn trace_of<T>(request: &Request<T>) -> Option<TraceContext> {
    TraceContext::read(request.metadata().get("traceparent")?.to_str().ok()?)
}
