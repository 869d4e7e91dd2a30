use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::DateTime;
use eventstore::memory::{CountingIds, MemoryClock, MemoryStore};
use eventstore::worker::{Limits, Shell, SubmitError, Worker, WorkerHandle};
use eventstore::{
    Actor, Aggregate, Append, Cause, Commit, DomainEvent, EventId, EventStore as _, Need, NewEvent, Recorded,
};
use uuid::Uuid;

use super::{LOW, asked, euros, id, lines};
use crate::domain::{
    AddStock, Contradiction, ListProduct, Listed, Product, ProductEvent, Reason, RegisterFarm, Request, Reservation,
    ReservationEvent, SetActive, Wish,
};
use crate::handler::{HandleError, Input, Output, ProductsHandler};
use crate::projections::changes_of;

/// A process with the rules of products, over a store that several may share.
struct World {
    store: Arc<MemoryStore>,
    worker: WorkerHandle<ProductsHandler>,
    series: u16,
}

impl World {
    fn new() -> Self {
        Self::over(Arc::new(MemoryStore::new(DateTime::UNIX_EPOCH)), 1)
    }

    #[expect(clippy::disallowed_methods, reason = "the runtime of the test ends the worker")]
    fn over(store: Arc<MemoryStore>, series: u16) -> Self {
        let shell = Shell {
            store: store.clone(),
            clock: Arc::new(MemoryClock::of(&store)),
            ids: Arc::new(CountingIds::new(series)),
            listeners: Vec::new(),
        };
        let (worker, handle) = Worker::new(ProductsHandler::new(LOW), shell, Limits::default());
        tokio::spawn(worker.run());
        Self { store, worker: handle, series }
    }

    /// Another process over the same store, without its memory.
    fn replica(&self) -> Self {
        Self::over(Arc::clone(&self.store), self.series + 1)
    }

    async fn submit(&self, input: Input) -> Result<Output, SubmitError<HandleError>> {
        let cause = Cause { correlation: id(1), causation: id(2), trace: None, actor: Actor::new("test") };
        Ok(self.worker.submit(input, cause).await?.output)
    }

    async fn ask(&self, request: Request) -> Result<Output, SubmitError<HandleError>> {
        self.submit(Input::Reservation(request)).await
    }

    async fn reserve(&self, number: u128, wanted: &[(u128, u32)]) -> Reservation {
        let request = asked(number, Wish::Reserve(lines(wanted)));
        let reservation_id = request.reservation_id;
        self.ask(request).await.unwrap();
        self.fold(reservation_id)
    }

    /// A farm, and products 20, 21, … with so many units.
    async fn with_stock(self, quantities: &[u64]) -> Self {
        let wish = RegisterFarm { name: "Sunny".to_owned(), email: "farm@sunny.example".to_owned() };
        self.submit(Input::RegisterFarm { farm_id: id(1), wish }).await.unwrap();
        for (number, quantity) in (20..).zip(quantities) {
            let wish = ListProduct { farm_id: id(1), name: format!("Product {number}"), price: euros(250) };
            self.submit(Input::ListProduct { product_id: id(number), wish }).await.unwrap();
            self.add(number, 1, *quantity).await;
        }
        self
    }

    async fn add(&self, number: u128, request: u128, quantity: u64) {
        let wish = AddStock { request_id: id(1_000 * number + request), quantity };
        self.submit(Input::AddStock { product_id: id(number), wish }).await.unwrap();
    }

    fn of_stream<A: Aggregate>(&self, id: Uuid) -> Vec<Recorded> {
        self.store.events().into_iter().filter(|event| event.stream == A::stream(id)).collect()
    }

    fn fold<A: Aggregate>(&self, id: Uuid) -> A {
        let events = self.of_stream::<A>(id);
        events.iter().fold(A::default(), |state, event| state.evolve(&A::Event::from_recorded(event).unwrap()))
    }

    fn product(&self, number: u128) -> Listed {
        match self.fold(id(number)) {
            Product::Listed(listed) => listed,
            Product::Unlisted => panic!("product {number} is not listed"),
        }
    }

    fn available(&self, number: u128) -> u64 {
        self.product(number).stock.available
    }
}

#[tokio::test]
async fn a_reservation_holds_all_of_its_lines_or_none() {
    let world = World::new().with_stock(&[5, 5]).await;
    let held = world.reserve(1, &[(20, 3), (21, 4)]).await;
    assert!(matches!(held, Reservation::Reserved { .. }));
    assert_eq!((world.available(20), world.available(21)), (2, 1));
    let refused = world.reserve(2, &[(20, 1), (21, 2)]).await;
    let Reservation::Rejected { refused, .. } = refused else { panic!("{refused:?}") };
    assert_eq!((refused.reason, refused.message.as_str()), (Reason::OutOfStock, "Product 21: 2 wanted, 1 available"));
    assert_eq!((world.available(20), world.available(21)), (2, 1));
}

#[tokio::test]
async fn the_last_units_go_to_one_order_only() {
    let world = World::new().with_stock(&[10]).await;
    let all = (0..30).map(|number| asked(number, Wish::Reserve(lines(&[(20, 1)]))));
    for answer in futures_of(all.map(|request| world.ask(request))).await {
        assert!(matches!(answer, Ok(Output::Answered)));
    }
    let held = |number: u128| matches!(world.fold(id(1_000 * number + 3)), Reservation::Reserved { .. });
    assert_eq!((0..30).filter(|number| held(*number)).count(), 10);
    assert_eq!(world.available(20), 0);
}

#[tokio::test]
async fn a_batch_of_reservations_of_one_product_is_one_append() {
    let world = World::new().with_stock(&[1_000]).await;
    let all = (0..256).map(|number| asked(number, Wish::Reserve(lines(&[(20, 1)]))));
    for answer in futures_of(all.map(|request| world.ask(request))).await {
        assert!(matches!(answer, Ok(Output::Answered)));
    }
    let events = world.of_stream::<Product>(id(20));
    let txs: BTreeSet<_> =
        events.iter().filter(|event| event.type_name == "StockReserved").map(|event| event.cursor.tx).collect();
    assert_eq!(txs.len(), 1);
    assert_eq!(world.available(20), 744);
}

#[tokio::test]
async fn a_request_that_comes_again_is_answered_the_same_and_stores_nothing() {
    let world = World::new().with_stock(&[5]).await;
    world.reserve(1, &[(20, 3)]).await;
    world.reserve(2, &[(20, 3)]).await;
    let stored = world.store.events().len();
    for again in [&world, &world.replica()] {
        let answer = again.ask(asked(1, Wish::Reserve(lines(&[(20, 3)])))).await.unwrap();
        assert!(matches!(answer, Output::Repeat(ReservationEvent::InventoryReserved { .. })));
        let answer = again.ask(asked(2, Wish::Reserve(lines(&[(20, 3)])))).await.unwrap();
        let Output::Repeat(ReservationEvent::InventoryRejected { message, .. }) = answer else { panic!("{answer:?}") };
        assert_eq!(message, "Product 20: 3 wanted, 2 available");
    }
    assert_eq!(world.store.events().len(), stored);
}

#[tokio::test]
async fn a_release_that_comes_first_makes_the_late_reservation_a_refusal() {
    let world = World::new().with_stock(&[5]).await;
    assert!(matches!(world.ask(asked(1, Wish::Release)).await, Ok(Output::Answered)));
    let late = world.replica().ask(asked(1, Wish::Reserve(lines(&[(20, 3)])))).await.unwrap();
    let Output::Repeat(ReservationEvent::InventoryRejected { reason, .. }) = late else { panic!("{late:?}") };
    assert_eq!(reason, Reason::ReleasedBefore);
    assert_eq!(world.available(20), 5);
}

#[tokio::test]
async fn goods_leave_and_come_back_with_their_order() {
    let world = World::new().with_stock(&[5]).await;
    world.reserve(1, &[(20, 3)]).await;
    world.ask(asked(1, Wish::Commit)).await.unwrap();
    let stock = world.product(20).stock;
    assert_eq!((stock.available, stock.reserved, stock.shipped), (2, 0, 3));
    let refused = world.ask(asked(1, Wish::Release)).await;
    assert!(matches!(refused, Err(SubmitError::Rejected(HandleError::Contradiction(Contradiction::LeftAlready)))));
    world.ask(asked(1, Wish::Restock)).await.unwrap();
    let stock = world.product(20).stock;
    assert_eq!((stock.available, stock.reserved, stock.shipped), (5, 0, 0));
}

#[tokio::test]
async fn a_closed_or_unknown_product_is_refused_with_its_reason() {
    let world = World::new().with_stock(&[5]).await;
    let unknown = world.reserve(1, &[(77, 1)]).await;
    assert!(matches!(unknown, Reservation::Rejected { refused, .. } if refused.reason == Reason::UnknownProduct));
    assert!(world.of_stream::<Product>(id(77)).is_empty());
    world.submit(Input::SetActive { product_id: id(20), wish: SetActive { active: false } }).await.unwrap();
    let closed = world.reserve(2, &[(20, 1)]).await;
    assert!(matches!(closed, Reservation::Rejected { refused, .. } if refused.reason == Reason::ProductClosed));
}

#[tokio::test]
async fn a_process_that_missed_a_delivery_does_not_refuse_an_order() {
    let world = World::new().with_stock(&[5]).await;
    world.reserve(1, &[(20, 5)]).await;
    world.replica().add(20, 2, 5).await;
    assert!(matches!(world.reserve(2, &[(20, 5)]).await, Reservation::Reserved { .. }));
    assert_eq!(world.available(20), 0);
}

#[tokio::test]
async fn two_processes_never_sell_the_same_unit() {
    let world = World::new().with_stock(&[10]).await;
    let replica = world.replica();
    let requests = (0..40).map(|number| asked(number, Wish::Reserve(lines(&[(20, 1)]))));
    let all = requests.enumerate().map(|(index, request)| if index % 2 == 0 { &world } else { &replica }.ask(request));
    for answer in futures_of(all).await {
        assert!(matches!(answer, Ok(Output::Answered)));
    }
    let stock = world.product(20).stock;
    assert_eq!((stock.available, stock.reserved), (0, 10));
}

#[tokio::test]
async fn the_read_model_adds_up_to_what_the_streams_say() {
    let world = World::new().with_stock(&[50, 50]).await;
    for number in 0..10 {
        world.reserve(number, &[(20, 2), (21, 3)]).await;
    }
    for number in 0..4 {
        world.ask(asked(number, Wish::Release)).await.unwrap();
        world.ask(asked(number + 4, Wish::Commit)).await.unwrap();
    }
    world.ask(asked(4, Wish::Restock)).await.unwrap();
    let changes = changes_of(&world.store.events()).unwrap();
    for number in [20, 21] {
        let (stock, change) = (world.product(number).stock, changes.changed[&id(number)]);
        let units = [change.available, change.reserved, change.shipped].map(|units| u64::try_from(units).unwrap());
        assert_eq!(units, [stock.available, stock.reserved, stock.shipped]);
        assert_eq!(change.version, world.of_stream::<Product>(id(number)).len() as u64);
        assert!(changes.listed.contains_key(&id(number)));
    }
}

#[tokio::test]
async fn a_farm_hears_of_a_product_that_runs_out() {
    let world = World::new().with_stock(&[12]).await;
    world.reserve(1, &[(20, 2)]).await;
    let told: Vec<_> = world
        .store
        .events()
        .iter()
        .filter(|event| crate::RELAY.categories.contains(&event.stream.category))
        .filter_map(|event| crate::messages::translate(event).unwrap())
        .filter(|told| told.subject == "farmera.products.stock_low")
        .collect();
    let body = String::from_utf8(told[0].body.clone()).unwrap();
    assert!(body.contains(r#""farmEmail":"farm@sunny.example","available":"10""#), "{body}");
    assert_eq!(told.len(), 1);
    let last = world.of_stream::<Product>(id(20)).pop().unwrap();
    assert_eq!(last.type_name, ProductEvent::STOCK_RAN_LOW);
}

async fn futures_of<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    // All at once: without the runtime's budget, which would let the worker in between.
    tokio::task::unconstrained(futures::future::join_all(all)).await
}

#[tokio::test]
async fn a_product_of_a_newer_program_waits_and_its_neighbours_go_on() {
    let world = World::new().with_stock(&[5, 5]).await;
    let event = NewEvent {
        id: EventId(id(99)),
        type_name: "FromTheFuture",
        schema_version: 1,
        payload: r#"{"FromTheFuture":{}}"#.to_owned(),
        time: DateTime::UNIX_EPOCH,
        cause: Cause { correlation: id(1), causation: id(2), trace: None, actor: Actor::new("test") },
    };
    let stream = Product::stream(id(20));
    let last = world.of_stream::<Product>(id(20)).pop().unwrap();
    let append = Append::new(stream, last.version, last.digest, vec![event]);
    world.store.commit(Commit { appends: vec![append], ..Commit::default() }).await.unwrap();

    let both = [asked(1, Wish::Reserve(lines(&[(20, 1)]))), asked(2, Wish::Reserve(lines(&[(20, 1), (21, 1)])))];
    for request in both {
        let parked = world.replica().ask(request.clone()).await;
        let Err(SubmitError::Parked(need)) = parked else { panic!("{parked:?}") };
        assert!(matches!(&need, Need::Newer { stream: newer, .. } if *newer == stream), "{need}");
        let given_back = chassis::service::unusable_not_handled(&need);
        assert!(matches!(given_back, chassis::reactor::NotHandled::Later(_)), "the message comes again");
        assert!(world.of_stream::<Reservation>(request.reservation_id).is_empty(), "nothing is refused meanwhile");
    }
    let held = world.replica().reserve(3, &[(21, 1)]).await;
    assert!(matches!(held, Reservation::Reserved { .. }));
    let changes = changes_of(&world.of_stream::<Product>(id(20)));
    assert!(changes.is_err_and(|error| error.is_newer()));
}
