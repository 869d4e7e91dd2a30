//! The whole service over a real Postgres and a real nats-server.

use std::sync::Arc;
use std::time::Duration;

use chassis::broker::Broker;
use chassis::config::{Env, Secret};
use chassis::envelope::{Incoming, Outgoing, request_id, seal_repeat};
use chassis::health::Health;
use chassis::reactor::{self, ConsumerSpec, NotHandled, React};
use chassis::service::Surroundings;
use chassis::shutdown::Shutdown;
use chrono::DateTime;
use eventstore::memory::MemoryStore;
use eventstore::{Actor, Cause, DeadLetter};
use farmera_local::{DatabaseSpec, Servers, TestServers};
use farmera_proto::common::v1::Money;
use farmera_proto::orders::v1 as orders;
use farmera_proto::products::v1 as pb;
use pb::products_query_service_client::ProductsQueryServiceClient;
use pb::products_service_client::ProductsServiceClient;
use serde::Serialize;
use sqlx::Connection as _;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::Channel;

use super::{asked, id};
use crate::domain::Wish;

const PATIENCE: Duration = Duration::from_secs(20);
const ANSWERS: ConsumerSpec =
    ConsumerSpec { stream: "FARMERA_PRODUCTS", durable: "test", subjects: &["farmera.products.>"] };

/// Hears what products tells.
struct Ear(mpsc::UnboundedSender<Incoming>);

#[async_trait::async_trait]
impl React for Ear {
    async fn react(&self, message: Incoming) -> Result<(), NotHandled> {
        drop(self.0.send(message));
        Ok(())
    }

    async fn park(&self, letter: DeadLetter) -> Result<(), NotHandled> {
        panic!("not ours: {letter:?}")
    }
}

async fn servers() -> Servers {
    let start = || {
        TestServers::start(|options| {
            options.databases = vec![DatabaseSpec::new("products", "products_owner", "products_service")];
        })
    };
    let servers = tokio::task::spawn_blocking(start).await.unwrap().unwrap();
    let mut owner = sqlx::PgConnection::connect(&servers.owner_url("products").unwrap()).await.unwrap();
    eventstore_postgres::MIGRATOR.run(&mut owner).await.unwrap();
    crate::migrator().run(&mut owner).await.unwrap();
    owner.close().await.unwrap();
    servers
}

/// The service, and who speaks with it.
struct World {
    edge: ProductsServiceClient<Channel>,
    query: ProductsQueryServiceClient<Channel>,
    broker: Broker,
    heard: mpsc::UnboundedReceiver<Incoming>,
}

impl World {
    async fn publish(&self, subject: &'static str, body: &impl Serialize, message: u128) {
        let body = serde_json::to_value(body).unwrap();
        let correlation = body["sagaId"].as_str().unwrap().parse().unwrap();
        let cause = Cause { correlation, causation: id(message), trace: None, actor: Actor::new("test") };
        let body = serde_json::to_vec(&body).unwrap();
        let (message_type, _) = farmera_proto::events::ALL.iter().find(|(_, known)| *known == subject).unwrap();
        let outgoing = Outgoing { subject, message_type, body };
        let sealed = seal_repeat("/farmera/orders", outgoing, "test", DateTime::UNIX_EPOCH, &cause);
        let published = self.broker.jetstream.publish_with_headers(subject, sealed.headers(), sealed.body.into());
        published.await.unwrap().await.unwrap();
    }

    async fn heard(&mut self) -> Incoming {
        timeout(PATIENCE, self.heard.recv()).await.unwrap().unwrap()
    }

    async fn product(&mut self, product_id: &str) -> pb::Product {
        let request = pb::GetProductRequest { product_id: product_id.to_owned() };
        self.edge.get_product(request).await.unwrap().into_inner().product.unwrap()
    }

    async fn create(&mut self, request: u128, name: &str) -> Result<pb::Product, tonic::Status> {
        let request_id = id(7).to_string();
        let farm =
            pb::CreateFarmRequest { request_id, name: "Sunny".to_owned(), email: "farm@sunny.example".to_owned() };
        let farm = self.edge.create_farm(farm).await.unwrap().into_inner().farm.unwrap();
        let request = pb::CreateProductRequest {
            request_id: id(request).to_string(),
            farm_id: farm.id,
            name: name.to_owned(),
            price: Some(Money { currency_code: "EUR".to_owned(), minor_units: 250 }),
        };
        Ok(self.edge.create_product(request).await?.into_inner().product.unwrap())
    }

    async fn seen(&mut self, product_id: &str) -> Vec<pb::Product> {
        let request = pb::GetProductsRequest { product_ids: vec![product_id.to_owned(), id(99).to_string()] };
        self.query.get_products(request).await.unwrap().into_inner().products
    }

    async fn is_available(&mut self, product_id: &str, quantity: u32) -> bool {
        let wish = pb::check_availability_request::Wish { product_id: product_id.to_owned(), quantity };
        let request = pb::CheckAvailabilityRequest { wishes: vec![wish] };
        self.query.check_availability(request).await.unwrap().into_inner().available
    }
}

fn reservation(number: u128, product_id: &str, quantity: u32) -> orders::InventoryReservationRequested {
    let request = asked(number, Wish::Release);
    let item = orders::inventory_reservation_requested::Item { product_id: product_id.to_owned(), quantity };
    orders::InventoryReservationRequested {
        saga_id: request.saga_id.to_string(),
        order_id: request.order_id.to_string(),
        reservation_id: request.reservation_id.to_string(),
        items: vec![item],
    }
}

async fn edge_claims(world: &mut World) -> String {
    let carrots = world.create(8, "Carrots").await.unwrap();
    assert_eq!(world.create(8, "Carrots").await.unwrap(), carrots);
    assert_eq!(world.create(8, "Beans").await.unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(world.seen(&carrots.id).await, std::slice::from_ref(&carrots));
    let stock = pb::AddStockRequest { request_id: id(10).to_string(), product_id: carrots.id.clone(), quantity: 30 };
    for _ in 0..2 {
        let stocked = world.edge.add_stock(stock.clone()).await.unwrap().into_inner().product.unwrap();
        assert_eq!((stocked.available, stocked.stocked, stocked.version), (30, 30, 2));
    }
    let price = Some(Money { currency_code: "EUR".to_owned(), minor_units: 300 });
    let request = pb::SetPriceRequest { product_id: carrots.id.clone(), price: price.clone() };
    world.edge.set_price(request).await.unwrap();
    let seen = world.seen(&carrots.id).await;
    assert_eq!((seen[0].price.clone(), seen[0].available, seen[0].version), (price, 30, 3));
    assert!(world.is_available(&carrots.id, 30).await);
    assert!(!world.is_available(&carrots.id, 31).await);
    assert!(!world.is_available(&id(99).to_string(), 1).await);
    let status = world.edge.add_stock(pb::AddStockRequest { quantity: 0, ..stock }).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::InvalidArgument, "quantity: is 0: allowed are 1 to 1000000000")
    );
    carrots.id
}

async fn pages_hold_every_product_once(world: &mut World) {
    for number in 0..4 {
        world.create(20 + number, "Beans").await.unwrap();
    }
    let (mut ids, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListProductsRequest { page_size: 2, page_token };
        let page = world.edge.list_products(request).await.unwrap().into_inner();
        ids.extend(page.products.into_iter().map(|product| product.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(ids.len(), 5);
    assert!(ids.is_sorted());
}

async fn sagas_are_answered(world: &mut World, product_id: &str) {
    let reserve = reservation(1, product_id, 25);
    world.publish("farmera.orders.inventory_reservation_requested", &reserve, 101).await;
    let first = [world.heard().await, world.heard().await];
    let question = first.iter().find_map(|answer| answer.request);
    assert_eq!(question, request_id(id(1_001), "farmera.orders.v1.InventoryReservationRequested"));
    let mut subjects = first.map(|answer| answer.subject);
    subjects.sort();
    assert_eq!(subjects, ["farmera.products.inventory_reserved", "farmera.products.stock_low"]);
    world.publish("farmera.orders.inventory_reservation_requested", &reserve, 102).await;
    let again = world.heard().await;
    assert_eq!(again.subject, "farmera.products.inventory_reserved");
    assert_eq!(again.request, question, "the recorded answer names the same question");
    let answer: pb::InventoryReserved = serde_json::from_slice(&again.body).unwrap();
    assert_eq!(answer.reservation_id, reserve.reservation_id);
    world.publish("farmera.orders.inventory_reservation_requested", &reservation(2, product_id, 6), 103).await;
    let refused: pb::InventoryRejected = serde_json::from_slice(&world.heard().await.body).unwrap();
    assert_eq!((refused.reason.as_str(), refused.message.as_str()), ("OUT_OF_STOCK", "Carrots: 6 wanted, 5 available"));
    let orders::InventoryReservationRequested { saga_id, order_id, reservation_id, .. } = reserve;
    let commit = orders::InventoryCommitRequested { saga_id, order_id, reservation_id };
    world.publish("farmera.orders.inventory_commit_requested", &commit, 104).await;
    assert_eq!(world.heard().await.subject, "farmera.products.inventory_committed");
    let product = world.product(product_id).await;
    assert_eq!((product.available, product.reserved, product.shipped, product.stocked), (5, 0, 25, 30));
    let close = pb::SetActiveRequest { product_id: product_id.to_owned(), active: false };
    let closed = world.edge.set_active(close).await.unwrap().into_inner().product.unwrap();
    assert_eq!(world.seen(product_id).await, [closed], "the read model says what the stream says");
    assert!(!world.is_available(product_id, 1).await);
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the test ends what it starts")]
async fn what_a_client_created_can_be_ordered_at_once_and_sagas_are_answered() {
    let servers = servers().await;
    let env = Env::default()
        .with("FARMERA_DATABASE_URL", servers.service_url("products").unwrap())
        .with("FARMERA_NATS_URL", servers.nats_url());
    let (trigger, shutdown) = Shutdown::new();
    let health = Health::new();
    let listener = chassis::grpc::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let around = Surroundings { health: health.clone(), shutdown: shutdown.clone() };
    let service = tokio::spawn(crate::run(crate::Config::from_env(&env).unwrap(), listener, around));
    let broker = Broker::connect("test", &Secret::new(servers.nats_url()), health.component("test")).await.unwrap();
    broker.client.flush().await.unwrap();
    broker.ensure_stream("FARMERA_ORDERS").await.unwrap();
    let (ear, heard) = mpsc::unbounded_channel();
    let ear = Arc::new(Ear(ear));
    let hearing = tokio::spawn(reactor::run(
        ANSWERS,
        broker.clone(),
        Arc::new(MemoryStore::new(DateTime::UNIX_EPOCH)),
        ear,
        health.component("ear"),
        shutdown,
    ));
    let channel = chassis::grpc::channel(&url).unwrap();
    let (edge, query) = (ProductsServiceClient::new(channel.clone()), ProductsQueryServiceClient::new(channel));
    let mut world = World { edge, query, broker, heard };

    let product_id = edge_claims(&mut world).await;
    pages_hold_every_product_once(&mut world).await;
    sagas_are_answered(&mut world, &product_id).await;

    drop(world);
    trigger.trigger();
    assert!(timeout(PATIENCE, service).await.unwrap().unwrap().unwrap(), "the service drains");
    timeout(PATIENCE, hearing).await.unwrap().unwrap();
}
