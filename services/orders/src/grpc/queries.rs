//! `OrdersQueryService`: what other services may ask.

use chassis::problem::Violations;
use farmera_proto::orders::v1 as pb;
use farmera_proto::orders::v1::orders_query_service_server::OrdersQueryService;
use tonic::{Request, Response, Status};

use super::Reads;
use crate::status::DOMAIN;
use crate::view::View;

const ORDERS_MAX: usize = 500;

/// Serves `OrdersQueryService`.
pub struct Queries(pub Reads);

#[tonic::async_trait]
impl OrdersQueryService for Queries {
    async fn get_orders(
        &self,
        request: Request<pb::GetOrdersRequest>,
    ) -> Result<Response<pb::GetOrdersResponse>, Status> {
        let wanted = request.into_inner().order_ids;
        let mut violations = Violations::new();
        if !(1..=ORDERS_MAX).contains(&wanted.len()) {
            violations.add("order_ids", format!("has {} ids: allowed are 1 to {ORDERS_MAX}", wanted.len()));
        }
        let ids = wanted.iter().take(ORDERS_MAX).enumerate();
        let ids: Vec<_> = ids.filter_map(|(index, id)| violations.uuid(&format!("order_ids[{index}]"), id)).collect();
        violations.finish(DOMAIN)?;
        let orders = self.0.orders(&ids).await?;
        Ok(Response::new(pb::GetOrdersResponse { orders: orders.iter().map(View::to_proto).collect() }))
    }
}
