//! Stock, as the handler of products keeps it: what catches the bugs that would be planted there.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;

use chrono::DateTime;
use eventstore::memory::{CountingIds, MemoryClock, MemoryStore};
use eventstore::worker::{Limits, Shell, Worker, WorkerHandle};
use eventstore::{Actor, Cause};
use money::{Currency, Money};
use products::domain::{
    AddStock, Line, Lines, ListProduct, Product, Reason, RegisterFarm, Request, ReservationEvent, Stock, Wish,
};
use products::handler::{Input, Output, ProductsHandler};
use uuid::Uuid;

const FARM: u128 = 1;
const CARROTS: u128 = 2;
/// All there is of them.
const QUANTITY: u32 = 5;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0000 + number)
}

/// A farm with a few carrots.
struct World {
    worker: WorkerHandle<ProductsHandler>,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "the runtime of the test ends the worker")]
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::new(DateTime::UNIX_EPOCH));
        let clock = Arc::new(MemoryClock::of(&store));
        let shell = Shell { store, clock, ids: Arc::new(CountingIds::new(1)), listeners: Vec::new() };
        let (worker, handle) = Worker::new(ProductsHandler::new(0), shell, Limits::default());
        tokio::spawn(worker.run());
        let world = Self { worker: handle };
        let wish = RegisterFarm { name: "Sunny".to_owned(), email: "farm@sunny.example".to_owned() };
        world.submit(Input::RegisterFarm { farm_id: id(FARM), wish }).await;
        let price = Money::new(250, Currency::EUR);
        let wish = ListProduct { farm_id: id(FARM), name: "Carrots".to_owned(), price };
        world.submit(Input::ListProduct { product_id: id(CARROTS), wish }).await;
        let wish = AddStock { request_id: id(3), quantity: u64::from(QUANTITY) };
        world.submit(Input::AddStock { product_id: id(CARROTS), wish }).await;
        world
    }

    async fn submit(&self, input: Input) -> Output {
        let cause = Cause { correlation: id(4), causation: id(5), trace: None, actor: Actor::new("test") };
        self.worker.submit(input, cause).await.unwrap().output
    }

    async fn reserve(&self, order: u128) -> Output {
        let line = Line { product_id: id(CARROTS), quantity: QUANTITY };
        self.ask(order, Wish::Reserve(Lines::new(vec![line]).unwrap())).await
    }

    async fn ask(&self, order: u128, wish: Wish) -> Output {
        let (saga_id, order_id, reservation_id) = (id(order), id(order + 1), id(order + 2));
        self.submit(Input::Reservation(Request { saga_id, order_id, reservation_id, wish })).await
    }

    /// Units that can be had, and units that are held.
    async fn stock(&self) -> (u64, u64) {
        let output = self.submit(Input::GetProduct { product_id: id(CARROTS) }).await;
        let Output::Product(told) = output else { panic!("{output:?}") };
        let Product::Listed(listed) = told.product else { panic!("{told:?}") };
        let Stock { available, reserved, .. } = listed.stock;
        (available, reserved)
    }
}

#[tokio::test]
async fn a_release_that_comes_first_makes_the_late_reservation_a_refusal() {
    let world = World::new().await;
    assert!(matches!(world.ask(100, Wish::Release).await, Output::Answered));
    let late = world.reserve(100).await;
    let Output::Repeat(ReservationEvent::InventoryRejected { reason, .. }) = late else { panic!("{late:?}") };
    assert_eq!(reason, Reason::ReleasedBefore);
    assert_eq!(world.stock().await, (u64::from(QUANTITY), 0), "nobody would ever let go of them");
}

#[tokio::test]
async fn released_goods_can_be_had_again() {
    let world = World::new().await;
    world.reserve(100).await;
    assert_eq!(world.stock().await, (0, u64::from(QUANTITY)));
    world.ask(100, Wish::Release).await;
    assert_eq!(world.stock().await, (u64::from(QUANTITY), 0));
    assert!(matches!(world.reserve(200).await, Output::Answered));
    assert_eq!(world.stock().await, (0, u64::from(QUANTITY)));
}
