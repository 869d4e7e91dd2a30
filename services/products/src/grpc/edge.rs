//! `ProductsService`: what farmers do, and what clients look at.

use std::sync::Arc;
use std::time::Duration;

use chassis::grpc::REQUEST_DEADLINE;
use chassis::problem::{self, Violations};
use chassis::projection::Followed;
use chassis::service::submit_status;
use chassis::{money, page};
use eventstore::worker::{Done, WorkerHandle};
use eventstore::{
    Actor, Aggregate, Cause, Cursor, DomainEvent, EventStore, IdSource, ReadError, StreamId, TraceContext, derived_id,
};
use farmera_proto::products::v1 as pb;
use farmera_proto::products::v1::products_service_server::ProductsService;
use tokio::time::timeout;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{refused, to_proto};
use crate::domain::{AddStock, Farm, ListProduct, Product, ProductEvent, RegisterFarm, SetActive, SetPrice};
use crate::handler::{Input, Output, ProductsHandler, Told};
use crate::projections::Catalogue;
use crate::status::{self, DOMAIN};

/// Characters of a name at most.
const NAME_MAX: usize = 120;
/// Minor units of a price at most.
const PRICE_MAX: i64 = 1_000_000_000;
/// Units of one delivery at most.
const QUANTITY_MAX: u64 = 1_000_000_000;
/// How long a command waits at most until the read model has followed it; then it is answered all the same.
const FOLLOW_LIMIT: Duration = Duration::from_secs(2);
/// Events read at a time to bring a product up to date.
const PAGE: usize = 1_000;
/// What a page token of the product list is bound to.
const LIST: &str = "products";

/// The edge.
pub struct Edge {
    /// Who decides.
    pub worker: WorkerHandle<ProductsHandler>,
    /// How far the read model has come.
    pub followed: Followed,
    /// The read model.
    pub catalogue: Catalogue,
    /// The log.
    pub store: Arc<dyn EventStore>,
    /// Where new ids come from.
    pub ids: Arc<dyn IdSource>,
}

impl Edge {
    fn cause(&self, metadata: &MetadataMap, request_id: Option<Uuid>) -> Cause {
        let id = request_id.unwrap_or_else(|| self.ids.next_id());
        let trace = metadata.get("traceparent").and_then(|trace| trace.to_str().ok());
        let trace = trace.and_then(TraceContext::read);
        Cause { correlation: id, causation: id, trace, actor: Actor::new("client") }
    }

    async fn submit(&self, input: Input, cause: Cause) -> Result<Done<Output>, Status> {
        match timeout(REQUEST_DEADLINE, self.worker.submit(input, cause)).await {
            Ok(done) => done.map_err(|error| submit_status(DOMAIN, error, status::of)),
            Err(_) => Err(problem::unavailable(DOMAIN, "the command took too long; try again")),
        }
    }

    /// A command: answered when it is durable and, unless that takes too long, seen by every reader of the catalogue.
    /// One that changed nothing waits for the change that was there before it.
    async fn command(&self, stream: StreamId, input: Input, cause: Cause) -> Result<Output, Status> {
        let done = self.submit(input, cause).await?;
        let changed = match done.committed {
            Some(committed) => Some(committed.last),
            None => {
                let last = self.store.read_stream_backwards(stream, 1).await.map_err(read_status)?;
                last.first().map(|event| event.cursor)
            }
        };
        if let Some(Cursor { tx, .. }) = changed {
            self.followed.clone().caught_up(tx, FOLLOW_LIMIT).await;
        }
        Ok(done.output)
    }

    async fn product_command(
        &self,
        product_id: Uuid,
        input: Input,
        cause: Cause,
    ) -> Result<Option<pb::Product>, Status> {
        let told = product(self.command(Product::stream(product_id), input, cause).await?)?;
        self.catalogue.forget(product_id);
        to_proto(&told).map(Some)
    }

    /// A product as it is now, also when another replica has changed it.
    async fn product_now(&self, product_id: Uuid, cause: Cause) -> Result<Told, Status> {
        let mut told = product(self.submit(Input::GetProduct { product_id }, cause).await?.output)?;
        loop {
            let after = [(Product::stream(product_id), told.version)];
            let events = self.store.read_streams(&after, PAGE).await.map_err(read_status)?;
            for recorded in &events {
                let event = ProductEvent::from_recorded(recorded).map_err(|_| problem::internal(DOMAIN))?;
                told.product = told.product.evolve(&event);
                told.version = recorded.version;
            }
            if events.len() < PAGE {
                return Ok(told);
            }
        }
    }
}

fn read_status(error: ReadError) -> Status {
    match error {
        ReadError::Unavailable(_) => problem::unavailable(DOMAIN, "the event store does not answer; try again"),
        ReadError::Corrupt(_) => problem::internal(DOMAIN),
    }
}

fn product(output: Output) -> Result<Told, Status> {
    match output {
        Output::Product(told) => Ok(told),
        Output::Farm | Output::Answered | Output::Repeat(_) => Err(problem::internal(DOMAIN)),
    }
}

#[tonic::async_trait]
impl ProductsService for Edge {
    async fn create_farm(
        &self,
        request: Request<pb::CreateFarmRequest>,
    ) -> Result<Response<pb::CreateFarmResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let mut violations = Violations::new();
        let parsed = (
            violations.uuid("request_id", &asked.request_id),
            violations.name("name", &asked.name, NAME_MAX),
            violations.email("email", &asked.email),
        );
        let (Some(request_id), Some(name), Some(email)) = parsed else { return Err(refused(violations)) };
        let farm_id = derived_id(request_id, "farm");
        let wish = RegisterFarm { name: name.clone(), email: email.clone() };
        let input = Input::RegisterFarm { farm_id, wish };
        self.command(Farm::stream(farm_id), input, self.cause(&metadata, Some(request_id))).await?;
        let farm = pb::Farm { id: farm_id.to_string(), name, email };
        Ok(Response::new(pb::CreateFarmResponse { farm: Some(farm) }))
    }

    async fn create_product(
        &self,
        request: Request<pb::CreateProductRequest>,
    ) -> Result<Response<pb::CreateProductResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let mut violations = Violations::new();
        let parsed = (
            violations.uuid("request_id", &asked.request_id),
            violations.uuid("farm_id", &asked.farm_id),
            violations.name("name", &asked.name, NAME_MAX),
            money::parse(&mut violations, "price", asked.price.as_ref(), 1, PRICE_MAX),
        );
        let (Some(request_id), Some(farm_id), Some(name), Some(price)) = parsed else {
            return Err(refused(violations));
        };
        let product_id = derived_id(request_id, "product");
        let input = Input::ListProduct { product_id, wish: ListProduct { farm_id, name, price } };
        let product = self.product_command(product_id, input, self.cause(&metadata, Some(request_id))).await?;
        Ok(Response::new(pb::CreateProductResponse { product }))
    }

    async fn set_price(&self, request: Request<pb::SetPriceRequest>) -> Result<Response<pb::SetPriceResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let mut violations = Violations::new();
        let parsed = (
            violations.uuid("product_id", &asked.product_id),
            money::parse(&mut violations, "price", asked.price.as_ref(), 1, PRICE_MAX),
        );
        let (Some(product_id), Some(price)) = parsed else { return Err(refused(violations)) };
        let input = Input::SetPrice { product_id, wish: SetPrice { price } };
        let product = self.product_command(product_id, input, self.cause(&metadata, None)).await?;
        Ok(Response::new(pb::SetPriceResponse { product }))
    }

    async fn add_stock(&self, request: Request<pb::AddStockRequest>) -> Result<Response<pb::AddStockResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let mut violations = Violations::new();
        let parsed =
            (violations.uuid("request_id", &asked.request_id), violations.uuid("product_id", &asked.product_id));
        let quantity = asked.quantity;
        if !(1..=QUANTITY_MAX).contains(&quantity) {
            violations.add("quantity", format!("is {quantity}: allowed are 1 to {QUANTITY_MAX}"));
        }
        let (Some(request_id), Some(product_id), true) = (parsed.0, parsed.1, violations.is_empty()) else {
            return Err(refused(violations));
        };
        let input = Input::AddStock { product_id, wish: AddStock { request_id, quantity } };
        let product = self.product_command(product_id, input, self.cause(&metadata, Some(request_id))).await?;
        Ok(Response::new(pb::AddStockResponse { product }))
    }

    async fn set_active(
        &self,
        request: Request<pb::SetActiveRequest>,
    ) -> Result<Response<pb::SetActiveResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let mut violations = Violations::new();
        let Some(product_id) = violations.uuid("product_id", &asked.product_id) else {
            return Err(refused(violations));
        };
        let input = Input::SetActive { product_id, wish: SetActive { active: asked.active } };
        let product = self.product_command(product_id, input, self.cause(&metadata, None)).await?;
        Ok(Response::new(pb::SetActiveResponse { product }))
    }

    async fn get_product(
        &self,
        request: Request<pb::GetProductRequest>,
    ) -> Result<Response<pb::GetProductResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let mut violations = Violations::new();
        let Some(product_id) = violations.uuid("product_id", &asked.product_id) else {
            return Err(refused(violations));
        };
        let told = self.product_now(product_id, self.cause(&metadata, None)).await?;
        Ok(Response::new(pb::GetProductResponse { product: Some(to_proto(&told)?) }))
    }

    async fn list_products(
        &self,
        request: Request<pb::ListProductsRequest>,
    ) -> Result<Response<pb::ListProductsResponse>, Status> {
        let asked = request.into_inner();
        let mut violations = Violations::new();
        let size = page::size(&mut violations, asked.page_size);
        let after = page::key(&mut violations, LIST, &asked.page_token, page::one);
        violations.finish(DOMAIN)?;
        let after = after.unwrap_or_else(Uuid::nil);
        // One more than asked for tells whether there is another page.
        let mut found = self.catalogue.page(after, size + 1).await.map_err(status::of_catalogue)?;
        let more = found.len() > size;
        found.truncate(size);
        let last = found.last().filter(|_| more).map(|(id, _)| id.to_string());
        let next_page_token = last.map(|key| page::token(LIST, &key)).unwrap_or_default();
        let products = found.into_iter().map(|(_, product)| product).collect();
        Ok(Response::new(pb::ListProductsResponse { products, next_page_token }))
    }
}
