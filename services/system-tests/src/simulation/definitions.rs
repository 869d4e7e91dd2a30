//! Sagas that orders do not have: the same participants, asked in another order, or by sagas that run sagas.

use std::sync::Arc;
use std::time::Duration;

use ::orders::sagas::{
    AUTHORIZE_PAYMENT, CAPTURE_PAYMENT, COMMIT_INVENTORY, CONFIRM, Item, NOTIFICATION, NOTIFY, NotifiedLine,
    OrderFacts, OrderProcess, PAYMENT, PLACE_ORDER, PRODUCTS, Patience, RESERVE_INVENTORY, Request, SagasError,
    Telling, cancel_order, place_order,
};
use saga::{Ask, Definition, DefinitionError, Facts, Library, RetryPolicy, ask, local, retriable, run, saga};

/// The step that holds the goods, by a saga of its own.
pub const GOODS: &str = "goods";
/// The step that takes the money and lets the goods go, by a saga of its own.
pub const SETTLE: &str = "settle";
/// The saga that undoes the one of [`GOODS`].
pub const LET_GOODS_GO: &str = "let-goods-go";
/// Its step.
pub const RELEASE_GOODS: &str = "release-goods";
/// The version that sagas are migrated to.
pub const UPGRADED: u32 = 2;

/// Which sagas a run has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sagas {
    /// The released ones.
    Released,
    /// A new version of them comes out while orders are under way.
    Upgraded,
    /// Orders whose steps are sagas.
    Family,
}

/// What programs know, by the sagas of a run.
pub struct Libraries {
    /// As they are released.
    pub released: Arc<Library<OrderProcess>>,
    /// With the new version.
    pub upgraded: Arc<Library<OrderProcess>>,
    /// With sagas that run sagas.
    pub family: Arc<Library<OrderProcess>>,
    /// All of it, for judges.
    pub every: Arc<Library<OrderProcess>>,
}

impl Libraries {
    /// All of them.
    ///
    /// # Errors
    /// They are unsound.
    pub fn new() -> Result<Self, SagasError> {
        let patience = Patience::default();
        let released = [place_order(patience)?, cancel_order(patience)?];
        let upgraded = upgraded()?;
        let family = [family()?, hold_goods()?, let_goods_go()?, settle()?];
        let [place, cancel] = released.clone();
        let every = [place, cancel.clone(), upgraded.clone()].into_iter().chain(family.clone());
        Ok(Self {
            every: Arc::new(Library::new(every)?),
            upgraded: Arc::new(Library::new(released.clone().into_iter().chain([upgraded]))?),
            released: Arc::new(Library::new(released)?),
            family: Arc::new(Library::new(family.into_iter().chain([cancel]))?),
        })
    }
}

/// One after the other what was done at the same time: who is in the middle of that cannot be migrated.
fn upgraded() -> Result<Definition<OrderProcess>, DefinitionError> {
    saga(PLACE_ORDER, UPGRADED)
        .compensatable(RESERVE_INVENTORY, reserving())
        .compensatable(AUTHORIZE_PAYMENT, authorizing())
        .pivot(CONFIRM, local())
        .retriable(CAPTURE_PAYMENT, stubborn(ask(capture).of(PAYMENT)))
        .retriable(COMMIT_INVENTORY, stubborn(ask(commit).of(PRODUCTS)))
        .retriable(NOTIFY, stubborn(ask(notify).of(NOTIFICATION)))
        .build()
}

fn family() -> Result<Definition<OrderProcess>, DefinitionError> {
    saga(PLACE_ORDER, UPGRADED + 1)
        .compensatable(GOODS, stubborn(run("hold-goods", same)))
        .compensatable(AUTHORIZE_PAYMENT, authorizing())
        .pivot(CONFIRM, local())
        .retriable(SETTLE, stubborn(run("settle-order", same)))
        .retriable(NOTIFY, stubborn(ask(notify).of(NOTIFICATION)))
        .build()
}

fn hold_goods() -> Result<Definition<OrderProcess>, DefinitionError> {
    saga("hold-goods", 1).cancelled_by(LET_GOODS_GO).compensatable(RESERVE_INVENTORY, reserving()).build()
}

fn let_goods_go() -> Result<Definition<OrderProcess>, DefinitionError> {
    saga(LET_GOODS_GO, 1).retriable(RELEASE_GOODS, stubborn(ask(release).of(PRODUCTS))).build()
}

fn settle() -> Result<Definition<OrderProcess>, DefinitionError> {
    let capture = retriable(CAPTURE_PAYMENT, stubborn(ask(capture).of(PAYMENT)));
    let commit = retriable(COMMIT_INVENTORY, stubborn(ask(commit).of(PRODUCTS)));
    saga("settle-order", 1).in_parallel([capture, commit]).build()
}

fn reserving() -> Ask<OrderProcess> {
    ask(reserve).of(PRODUCTS).undo(release).within(Duration::from_secs(5)).retry(patient())
}

fn authorizing() -> Ask<OrderProcess> {
    ask(authorize).of(PAYMENT).undo(void).within(Duration::from_secs(10)).retry(patient())
}

fn patient() -> RetryPolicy {
    RetryPolicy::new(6, Duration::from_millis(250), Duration::from_secs(10))
}

fn stubborn(ask: Ask<OrderProcess>) -> Ask<OrderProcess> {
    ask.within(Duration::from_secs(8)).retry(RetryPolicy::new(60, Duration::from_millis(250), Duration::from_secs(300)))
}

fn same(facts: &Facts<'_, OrderProcess>) -> OrderFacts {
    facts.input().clone()
}

fn reserve(facts: &Facts<'_, OrderProcess>) -> Request {
    let order = facts.input();
    let items = order.facts.lines.iter().map(|line| Item { product_id: line.product_id, quantity: line.quantity });
    Request::ReserveInventory { order_id: order.order_id, reservation_id: order.reservation_id, items: items.collect() }
}

fn release(facts: &Facts<'_, OrderProcess>) -> Request {
    let order = facts.input();
    Request::ReleaseInventory { order_id: order.order_id, reservation_id: order.reservation_id }
}

fn commit(facts: &Facts<'_, OrderProcess>) -> Request {
    let order = facts.input();
    Request::CommitInventory { order_id: order.order_id, reservation_id: order.reservation_id }
}

fn authorize(facts: &Facts<'_, OrderProcess>) -> Request {
    let order = facts.input();
    Request::AuthorizePayment {
        order_id: order.order_id,
        payment_id: order.payment_id,
        customer_id: order.facts.customer_id,
        amount: order.facts.total,
        payment_token: order.facts.payment_token.clone(),
    }
}

fn void(facts: &Facts<'_, OrderProcess>) -> Request {
    let order = facts.input();
    Request::VoidPayment { order_id: order.order_id, payment_id: order.payment_id }
}

fn capture(facts: &Facts<'_, OrderProcess>) -> Request {
    let order = facts.input();
    Request::CapturePayment { order_id: order.order_id, payment_id: order.payment_id }
}

fn notify(facts: &Facts<'_, OrderProcess>) -> Request {
    let order = facts.input();
    Request::Notify {
        order_id: order.order_id,
        telling: Telling::Completed,
        customer_id: order.facts.customer_id,
        email: order.facts.email.clone(),
        lines: order.facts.lines.iter().map(NotifiedLine::from).collect(),
        total: order.facts.total,
    }
}
