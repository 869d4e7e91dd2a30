//! The simulator bound to our cores: orders with two orchestrators, products, payment, notification and a card provider,
//! in one world, from one seed.

mod definitions;
mod desk;
mod envelope;
mod gate;
mod hands;
mod judges;
mod notification;
mod operators;
mod orders;
mod payment;
mod plan;
mod plants;
mod products;
mod provider;
mod rules;
mod stillness;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ::orders::domain::Order;
use ::orders::handler::OrdersHandler;
use ::orders::sagas::OrderProcess;
use ::payment::domain::Payment as PaymentState;
use ::payment::handler::Payments;
use ::products::domain::{Product, Reservation};
use ::products::handler::ProductsHandler;
use eventstore::Recorded;
use saga::{Library, Saga};
use saga_runtime::{Engine, HoldsInForce};
use saga_simulator::{Fault, Outcome, World, judge};

use self::definitions::{Libraries, Sagas};
use self::hands::Hands;
use self::notification::Notification;
use self::operators::Operators;
use self::orders::{CANCEL, OPERATE, Orders, Promises};
use self::payment::Payment;
use self::plan::{Plan, STOCK_LOW_THRESHOLD, STORM};
use self::products::Products;
use self::provider::Provider;
use self::rules::{OrdersRules, ProductsRules};

pub use self::plan::ORDERS;
pub use self::plants::Plant;

/// One run.
#[derive(Clone, Debug)]
pub struct Report {
    /// From which seed.
    pub seed: u64,
    /// What became of the world.
    pub outcome: Outcome,
    /// Orders that were placed.
    pub orders: usize,
    /// Events in all logs.
    pub events: usize,
    /// A digest of all logs: the same run has the same.
    pub fingerprint: u64,
    /// What operators did, and what came of it: how often.
    pub acts: BTreeMap<&'static str, u64>,
}

/// What there is to run, besides the seed.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The bug that is planted.
    pub plant: Option<Plant>,
    /// Whether operators do something.
    pub has_operators: bool,
    /// Whether the story is kept.
    pub tells: bool,
}

impl Default for Setting {
    /// No bug, operators, no story.
    fn default() -> Self {
        Self { plant: None, has_operators: true, tells: false }
    }
}

/// A bench for many runs: what does not depend on the seed is made once.
pub struct Bench {
    libraries: Libraries,
}

/// The sagas cannot be run: see [`::orders::sagas::SagasError`].
pub type BenchError = ::orders::sagas::SagasError;

impl Bench {
    /// A bench with the production sagas.
    ///
    /// # Errors
    /// They are unsound.
    pub fn new() -> Result<Self, BenchError> {
        Ok(Self { libraries: Libraries::new()? })
    }

    /// Runs the world of `seed`, and judges it.
    #[must_use]
    pub fn run(&self, seed: u64, setting: Setting) -> Report {
        let Setting { plant, has_operators, tells } = setting;
        let plan = Rc::new(Plan::drawn(seed));
        let operators = if has_operators { Operators::drawn(seed, &plan) } else { Operators::NONE };
        let promises = Rc::new(RefCell::new(Promises::default()));
        let provider = Rc::new(RefCell::new(Provider::new(seed)));
        let mut world = World::new(seed, STORM, plant.and_then(Plant::bug), tells);
        let in_force = HoldsInForce::new();
        let rules = Rc::new(self.rules(operators.sagas, &in_force, plant));
        let (acts, kept) = (operators.acts.clone(), Rc::clone(&promises));
        let (plan_of_orders, reads) = (Rc::clone(&plan), None);
        let service = Orders { rules, plan: plan_of_orders, promises: kept, operators, in_force, seed, reads };
        let orders = world.add(service, 2);
        let rules = Rc::new(ProductsRules { rules: ProductsHandler::new(STOCK_LOW_THRESHOLD), plant });
        let products = world.add(Products { rules, plan: Rc::clone(&plan) }, 2);
        let payment = world.add(Payment { rules: Rc::new(Payments), provider: Rc::clone(&provider), plant }, 2);
        let notification = world.add(Notification { rules: Rc::default() }, 1);
        for number in 0..Products::commands(&plan) {
            world.ask(products, number, Duration::from_millis(number));
        }
        for (number, order) in (0..).zip(&plan.orders) {
            world.ask(orders, number, order.at);
            if let Some(at) = order.cancelled {
                world.ask(orders, CANCEL + number, at);
            }
        }
        for (number, (at, _)) in (0..).zip(&acts) {
            world.ask(orders, OPERATE + number, *at);
        }
        world.run();
        self.judge(seed, world, [orders, products, payment, notification], &promises.borrow(), &provider.borrow())
    }

    fn rules(&self, sagas: Sagas, in_force: &HoldsInForce, plant: Option<Plant>) -> OrdersRules {
        let handler = |library: &Arc<Library<OrderProcess>>| {
            OrdersHandler::new(Engine::new(Arc::clone(library)).with_holds(in_force.clone()))
        };
        let Libraries { released, upgraded, family, .. } = &self.libraries;
        let (released, upgraded) = match sagas {
            Sagas::Released => (handler(released), None),
            Sagas::Upgraded => (handler(released), Some(handler(upgraded))),
            Sagas::Family => (handler(family), None),
        };
        let every = Arc::clone(&self.libraries.every);
        OrdersRules { released, upgraded, is_upgraded: AtomicBool::new(false), every, plant }
    }

    fn judge(
        &self,
        seed: u64,
        mut world: World,
        [orders, products, payment, notification]: [usize; 4],
        promises: &Promises,
        provider: &Provider,
    ) -> Report {
        let logs: Vec<Vec<Recorded>> = world.stores().iter().map(|(_, store)| store.events()).collect();
        let log = |station: usize| logs.get(station).map_or(&[][..], Vec::as_slice);
        let mut verdict = judges::Verdict::default();
        logs.iter().for_each(|log| verdict.0.extend(judge::versions(log)));
        let hands = Hands::of(log(orders));
        judges::ends(&mut verdict, log(orders), promises, &hands);
        judges::histories(&mut verdict, log(orders), &self.libraries.every);
        judges::goods(&mut verdict, log(products), log(orders), &hands);
        judges::barrier(&mut verdict, log(products));
        judges::money(&mut verdict, log(orders), provider, &hands);
        judges::books(&mut verdict, log(payment), provider, &hands);
        hands::owed(&mut verdict, &hands, log(products), provider);
        let fired = &world.nature().fired;
        let kept_all = fired.of(Fault::Wiped) + fired.of(Fault::RolledBack) == 0;
        judges::news(&mut verdict, log(orders), log(notification), kept_all);
        world.audit(orders, &mut |nature, cache, log| {
            judge::memory::<Order>(nature, cache, log);
            judge::memory::<Saga<OrderProcess>>(nature, cache, log);
        });
        world.audit(products, &mut |nature, cache, log| {
            judge::memory::<Product>(nature, cache, log);
            judge::memory::<Reservation>(nature, cache, log);
        });
        world.audit(payment, &mut |nature, cache, log| judge::memory::<PaymentState>(nature, cache, log));
        for violation in verdict.0 {
            world.nature().accuse(violation.promise, violation.what);
        }
        let placed = orders::folded(log(orders)).len();
        let (events, fingerprint) = (logs.iter().map(Vec::len).sum(), fingerprint(&logs));
        Report { seed, outcome: world.end(), orders: placed, events, fingerprint, acts: hands.acts }
    }
}

/// FNV-1a over the digests of all events.
fn fingerprint(logs: &[Vec<Recorded>]) -> u64 {
    let digests = logs.iter().flatten().map(|event| event.digest.map(|digest| format!("{digest:?}")));
    digests
        .flatten()
        .flat_map(String::into_bytes)
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
