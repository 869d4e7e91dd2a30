//! `ProductsQueryService`: what orders asks for every order that is placed.

use std::collections::BTreeMap;
use std::sync::Arc;

use chassis::problem::Violations;
use eventstore::EventStore;
use farmera_proto::products::v1 as pb;
use farmera_proto::products::v1::products_query_service_server::ProductsQueryService;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::refused;
use crate::projections::Catalogue;
use crate::status::{self, DOMAIN};

/// Products, or wishes, of one request at most.
const ITEMS_MAX: usize = 500;
/// Units of one wish at most.
const QUANTITY_MAX: u32 = 10_000;

/// The query service.
pub struct Query {
    /// The read model.
    pub catalogue: Catalogue,
    /// The log.
    pub store: Arc<dyn EventStore>,
}

fn check_count(violations: &mut Violations, field: &str, count: usize) {
    if !(1..=ITEMS_MAX).contains(&count) {
        violations.add(field, format!("has {count} entries: allowed are 1 to {ITEMS_MAX}"));
    }
}

#[tonic::async_trait]
impl ProductsQueryService for Query {
    async fn get_products(
        &self,
        request: Request<pb::GetProductsRequest>,
    ) -> Result<Response<pb::GetProductsResponse>, Status> {
        let asked = request.into_inner();
        let mut violations = Violations::new();
        check_count(&mut violations, "product_ids", asked.product_ids.len());
        let mut ids = Vec::with_capacity(asked.product_ids.len().min(ITEMS_MAX));
        for (index, text) in asked.product_ids.iter().take(ITEMS_MAX).enumerate() {
            ids.extend(product_id(&mut violations, || format!("product_ids[{index}]"), text));
        }
        violations.finish(DOMAIN)?;
        let found = self.catalogue.find(&ids).await.map_err(status::of_catalogue)?;
        let products = found.into_values().map(|product| (*product).clone()).collect();
        Ok(Response::new(pb::GetProductsResponse { products }))
    }

    async fn list_ledger(
        &self,
        request: Request<pb::ListLedgerRequest>,
    ) -> Result<Response<pb::ListLedgerResponse>, Status> {
        super::ledger::page(&*self.store, &request.into_inner()).await.map(Response::new)
    }

    async fn check_availability(
        &self,
        request: Request<pb::CheckAvailabilityRequest>,
    ) -> Result<Response<pb::CheckAvailabilityResponse>, Status> {
        let wishes = wishes(&request.into_inner().wishes)?;
        let ids: Vec<Uuid> = wishes.keys().copied().collect();
        let found = self.catalogue.find(&ids).await.map_err(status::of_catalogue)?;
        let is_short = |(id, quantity): &(Uuid, u64)| {
            !found.get(id).is_some_and(|product| product.active && product.available >= *quantity)
        };
        let short_product_ids: Vec<String> =
            wishes.into_iter().filter(is_short).map(|(id, _)| id.to_string()).collect();
        let available = short_product_ids.is_empty();
        Ok(Response::new(pb::CheckAvailabilityResponse { available, short_product_ids }))
    }
}

/// The name of a field costs an allocation; it is made only for one that is wrong.
fn product_id(violations: &mut Violations, field: impl FnOnce() -> String, text: &str) -> Option<Uuid> {
    match text.parse::<Uuid>() {
        Ok(id) if !id.is_nil() => Some(id),
        Ok(_) | Err(_) => violations.uuid(&field(), text),
    }
}

/// Wishes by product; several for one product add up.
fn wishes(asked: &[pb::check_availability_request::Wish]) -> Result<BTreeMap<Uuid, u64>, Status> {
    let mut violations = Violations::new();
    check_count(&mut violations, "wishes", asked.len());
    let mut wishes = BTreeMap::new();
    for (index, wish) in asked.iter().take(ITEMS_MAX).enumerate() {
        if !(1..=QUANTITY_MAX).contains(&wish.quantity) {
            let found = wish.quantity;
            violations.add(format!("wishes[{index}].quantity"), format!("is {found}: allowed are 1 to {QUANTITY_MAX}"));
        }
        if let Some(id) = product_id(&mut violations, || format!("wishes[{index}].product_id"), &wish.product_id) {
            *wishes.entry(id).or_default() += u64::from(wish.quantity);
        }
    }
    if violations.is_empty() { Ok(wishes) } else { Err(refused(violations)) }
}
