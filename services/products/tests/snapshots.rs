//! A product that sells well is loaded as quickly as any other.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use eventstore::memory::CountingIds;
use eventstore::worker::{Limits, Shell, Worker};
use eventstore::{Actor, Aggregate, Cause, EventStore, Snapshot, Version};
use eventstore_postgres::{PostgresStore, StoreOptions};
use farmera_local::{DatabaseSpec, Servers, TestServers};
use money::{Currency, Money};
use products::domain::{Line, Lines, Product, ProductEvent, Reason, Request, Wish};
use products::handler::{Input, ProductsHandler};
use proptest::prelude::*;
use sqlx::Connection as _;
use uuid::Uuid;

/// Under this many units a farm is told.
const LOW: u64 = 10;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0000 + number)
}

fn euros(minor_units: i64) -> Money {
    Money::new(minor_units, Currency::EUR)
}

fn listed(name: &str) -> ProductEvent {
    ProductEvent::ProductListed {
        farm_id: id(1),
        farm_name: "Sunny".to_owned(),
        farm_email: "farm@sunny.example".to_owned(),
        name: name.to_owned(),
        price: euros(250),
    }
}

fn added(request: u128, quantity: u64) -> ProductEvent {
    ProductEvent::StockAdded { request_id: id(request), quantity }
}

fn fold(events: &[ProductEvent]) -> Product {
    events.iter().fold(Product::default(), Product::evolve)
}

fn any_event() -> impl Strategy<Value = ProductEvent> {
    let quantity = 1_u32..40;
    prop_oneof![
        (any::<u64>(), 1_u64..1_000).prop_map(|(request, quantity)| added(u128::from(request), quantity)),
        any::<i32>().prop_map(|price| ProductEvent::PriceSet { price: euros(i64::from(price)) }),
        any::<bool>().prop_map(|active| ProductEvent::ActiveSet { active }),
        quantity.clone().prop_map(|quantity| ProductEvent::StockReserved { reservation_id: id(30), quantity }),
        quantity.clone().prop_map(|quantity| ProductEvent::StockReleased { reservation_id: id(30), quantity }),
        quantity.clone().prop_map(|quantity| ProductEvent::StockShipped { reservation_id: id(30), quantity }),
        quantity.clone().prop_map(|quantity| ProductEvent::StockReturned { reservation_id: id(30), quantity }),
        quantity.prop_map(|quantity| {
            let reason = Reason::OutOfStock;
            ProductEvent::ReservationRefused { reservation_id: id(30), quantity, reason }
        }),
        (0_u64..20).prop_map(|available| ProductEvent::StockRanLow {
            available,
            threshold: LOW,
            farm_id: id(1),
            farm_email: "farm@sunny.example".to_owned(),
            name: "Carrots".to_owned(),
        }),
    ]
}

proptest! {
    /// I11: whatever happened, and wherever the snapshot was taken.
    #[test]
    fn a_snapshot_and_the_events_after_it_are_the_full_fold(
        events in proptest::collection::vec(any_event(), 0..60),
        listing in 0_usize..3,
        cut in 0_usize..62,
    ) {
        let mut history = events;
        history.insert(listing.min(history.len()), listed("Carrots"));
        let shape = Product::SNAPSHOT.unwrap();
        let (before, after) = history.split_at(cut.min(history.len()));
        let text = shape.freeze(&fold(before)).unwrap();
        let thawed = after.iter().fold(shape.thaw(&text).unwrap(), Product::evolve);
        prop_assert_eq!(thawed, fold(&history));
    }
}

/// If this is red, what a product's state holds or how it is folded has changed: count the number of
/// [`Product::SNAPSHOT`] up and write the new form down here.
#[test]
fn the_shape_has_not_changed_without_its_number() {
    let reserved = ProductEvent::StockReserved { reservation_id: id(30), quantity: 42 };
    let low = ProductEvent::StockRanLow {
        available: 8,
        threshold: LOW,
        farm_id: id(1),
        farm_email: "farm@sunny.example".to_owned(),
        name: "Carrots".to_owned(),
    };
    let product = fold(&[listed("Carrots"), added(9, 50), reserved, low]);
    let shape = Product::SNAPSHOT.unwrap();
    let written = r#"{"Listed":{"listing":{"farm_id":"01990000-0000-7000-8000-000000000001","farm_name":"Sunny","farm_email":"farm@sunny.example","name":"Carrots","price_first":{"minor_units":250,"currency":"EUR"}},"price":{"minor_units":250,"currency":"EUR"},"active":true,"stock":{"available":8,"reserved":42,"shipped":0},"told_low_at":10,"deliveries":[["01990000-0000-7000-8000-000000000009",50]]}}"#;
    assert_eq!((shape.number(), shape.freeze(&product).unwrap().as_str()), (1, written));
}

#[test]
fn a_state_is_as_large_after_many_reservations_as_after_few() {
    let shape = Product::SNAPSHOT.unwrap();
    let size = |rounds: u32| {
        let round = |number: u32| {
            let reservation_id = id(1_000 + u128::from(number));
            let reserved = ProductEvent::StockReserved { reservation_id, quantity: 1 };
            [reserved, ProductEvent::StockShipped { reservation_id, quantity: 1 }]
        };
        let start = fold(&[listed("Carrots"), added(9, 1_000_000)]);
        let product = (100_000..100_000 + rounds).flat_map(round).fold(start, |product, event| product.evolve(&event));
        shape.freeze(&product).unwrap().len()
    };
    assert!(size(100_000) <= size(100) + 10);
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
    owner.close().await.unwrap();
    servers
}

const LISTED: &str = r#"{"ProductListed":{"farm_id":"01990000-0000-7000-8000-000000000001","farm_name":"Sunny","farm_email":"farm@sunny.example","name":"Carrots","price":{"minor_units":250,"currency":"EUR"}}}"#;
const ADDED: &str = r#"{"StockAdded":{"request_id":"01990000-0000-7000-8000-000000000009","quantity":1000000000}}"#;

/// A product that was listed, stocked, and reserved `reservations` times: written as the database's owner.
async fn sold_well(servers: &Servers, product: u128, reservations: i64) {
    let mut owner = sqlx::PgConnection::connect(&servers.owner_url("products").unwrap()).await.unwrap();
    let statement = "
        insert into event
            (version, time, stream_id, event_id, correlation_id, causation_id, schema_version, category, type, actor, payload)
        select version, now(), $1, gen_random_uuid(), $1, $1, 1, 'product',
            case version when 1 then 'ProductListed' when 2 then 'StockAdded' else 'StockReserved' end, 'test',
            case version when 1 then $3::json when 2 then $4::json
            else json_build_object('StockReserved', json_build_object('reservation_id', gen_random_uuid(), 'quantity', 1))
            end
        from generate_series(1, $2 + 2) as version";
    let query = sqlx::query(statement).bind(id(product)).bind(reservations).bind(LISTED).bind(ADDED);
    query.execute(&mut owner).await.unwrap();
    sqlx::raw_sql("analyze event").execute(&mut owner).await.unwrap();
    owner.close().await.unwrap();
}

/// How long a process that knows nothing takes to reserve one unit of the product: load, decide, commit.
async fn first_reservation(servers: &Servers, series: u16, product: u128) -> Duration {
    let options = StoreOptions::new(servers.service_url("products").unwrap());
    let store: Arc<dyn EventStore> = Arc::new(PostgresStore::connect(&options).unwrap());
    let now = store.now().await.unwrap();
    let shell = Shell {
        store: Arc::clone(&store),
        clock: Arc::new(eventstore::memory::FixedClock(now)),
        ids: Arc::new(CountingIds::new(series)),
        listeners: vec![],
    };
    let (worker, handle) = Worker::new(ProductsHandler::new(LOW), shell, Limits::default());
    let client = async move {
        let number = 1_000 * u128::from(series);
        let lines = Lines::new(vec![Line { product_id: id(product), quantity: 1 }]).unwrap();
        let (saga_id, order_id, reservation_id) = (id(number + 1), id(number + 2), id(number + 3));
        let request = Request { saga_id, order_id, reservation_id, wish: Wish::Reserve(lines) };
        let cause = Cause { correlation: id(1), causation: id(2), trace: None, actor: Actor::new("test") };
        let start = Instant::now();
        handle.submit(Input::Reservation(request), cause).await.unwrap();
        start.elapsed()
    };
    tokio::join!(worker.run(), client).1
}

async fn snapshot(store: &dyn EventStore, product: u128) -> Option<Snapshot> {
    store.read_snapshots(&[Product::stream(id(product))]).await.unwrap().pop()
}

/// As it is without any snapshot.
async fn full_fold(store: &dyn EventStore, product: u128) -> (Product, Version) {
    let (mut state, mut version) = (Product::default(), Version::NONE);
    loop {
        let page = store.read_streams(&[(Product::stream(id(product)), version)], 50_000).await.unwrap();
        let Some(last) = page.last() else { return (state, version) };
        version = last.version;
        for event in &page {
            state = state.evolve(&eventstore::DomainEvent::from_recorded(event).unwrap());
        }
    }
}

#[tokio::test]
async fn a_long_stream_in_postgres_is_read_from_its_snapshot_and_comes_to_the_same() {
    let servers = servers().await;
    sold_well(&servers, 20, 20_000).await;
    let store = PostgresStore::connect(&StoreOptions::new(servers.service_url("products").unwrap())).unwrap();

    first_reservation(&servers, 1, 20).await;
    let kept = snapshot(&store, 20).await.unwrap();
    let (state, version) = full_fold(&store, 20).await;
    assert_eq!((kept.version, kept.shape), (version, 1));
    assert_eq!(Product::SNAPSHOT.unwrap().thaw(&kept.state).unwrap(), state);

    // The events before the snapshot are not looked at any more: they could not even be read.
    let mut owner = sqlx::PgConnection::connect(&servers.owner_url("products").unwrap()).await.unwrap();
    let statement = "update event set payload = '{}' where version between 2 and 20000 and stream_id = $1";
    sqlx::query(statement).bind(id(20)).execute(&mut owner).await.unwrap();
    first_reservation(&servers, 2, 20).await;
    let last = store.read_stream_backwards(Product::stream(id(20)), 1).await.unwrap();
    assert_eq!(last.first().unwrap().version, version.plus(1));
}

/// Not a test: `cargo test --release -p products --test snapshots -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn a_million_reservations() {
    let servers = servers().await;
    for (product, reservations) in [(20, 1_000), (21, 1_000_000)] {
        sold_well(&servers, product, reservations).await;
    }
    for (series, product) in [(1, 20), (2, 21), (3, 20), (4, 21), (5, 20), (6, 21)] {
        let took = first_reservation(&servers, series, product).await;
        let kind = if series < 3 { "all events" } else { "from the snapshot" };
        let events = if product == 20 { 1_002 } else { 1_000_002 };
        println!("{events:9} events, {kind:18} {took:?}");
    }
}
