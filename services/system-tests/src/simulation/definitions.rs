//! Sagas that orders do not have: the same participants, asked in another order, or by sagas that run sagas.

use std::sync::Arc;
use std::time::Duration;

use ::orders::sagas::{
    AUTHORIZE_PAYMENT, CAPTURE_PAYMENT, COMMIT_INVENTORY, CONFIRM, NOTIFY, OrderFacts, OrderProcess, PLACE_ORDER,
    Patience, RESERVE_INVENTORY, SagasError, cancel_order, place_order, steps,
};
use saga::{Ask, Definition, DefinitionError, Facts, Library, RetryPolicy, local, retriable, run, saga};

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

/// How long whoever must not give up waits for an answer.
const BRIEF: Duration = Duration::from_secs(8);
const BRIEFLY: Patience = Patience { version: UPGRADED, inventory: BRIEF, payment: BRIEF, notification: BRIEF };

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
    let patience = Patience::default();
    saga(PLACE_ORDER, UPGRADED)
        .compensatable(RESERVE_INVENTORY, steps::reserve(patience))
        .compensatable(AUTHORIZE_PAYMENT, steps::authorize(patience))
        .pivot(CONFIRM, local())
        .retriable(CAPTURE_PAYMENT, steps::capture(BRIEFLY))
        .retriable(COMMIT_INVENTORY, steps::commit(BRIEFLY))
        .retriable(NOTIFY, steps::notify(BRIEFLY))
        .build()
}

fn family() -> Result<Definition<OrderProcess>, DefinitionError> {
    saga(PLACE_ORDER, UPGRADED + 1)
        .compensatable(GOODS, child("hold-goods"))
        .compensatable(AUTHORIZE_PAYMENT, steps::authorize(Patience::default()))
        .pivot(CONFIRM, local())
        .retriable(SETTLE, child("settle-order"))
        .retriable(NOTIFY, steps::notify(BRIEFLY))
        .build()
}

fn hold_goods() -> Result<Definition<OrderProcess>, DefinitionError> {
    let reserve = steps::reserve(Patience::default());
    saga("hold-goods", 1).cancelled_by(LET_GOODS_GO).compensatable(RESERVE_INVENTORY, reserve).build()
}

fn let_goods_go() -> Result<Definition<OrderProcess>, DefinitionError> {
    saga(LET_GOODS_GO, 1).retriable(RELEASE_GOODS, steps::release(BRIEFLY)).build()
}

fn settle() -> Result<Definition<OrderProcess>, DefinitionError> {
    let capture = retriable(CAPTURE_PAYMENT, steps::capture(BRIEFLY));
    let commit = retriable(COMMIT_INVENTORY, steps::commit(BRIEFLY));
    saga("settle-order", 1).in_parallel([capture, commit]).build()
}

/// Another saga of the same order, and patience with it.
fn child(definition: &'static str) -> Ask<OrderProcess> {
    let policy = RetryPolicy::new(60, Duration::from_millis(250), Duration::from_secs(300));
    run(definition, same).within(BRIEF).retry(policy)
}

fn same(facts: &Facts<'_, OrderProcess>) -> OrderFacts {
    facts.input().clone()
}
