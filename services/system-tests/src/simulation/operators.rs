//! What operators do in one run, drawn from the seed before anything happens.

use std::time::Duration;

use ::orders::sagas::{
    AUTHORIZE_PAYMENT, CANCEL_ORDER, CAPTURE_PAYMENT, NOTIFICATION, PAYMENT, PLACE_ORDER, PRODUCTS, REFUND_PAYMENT,
};
use saga::hold::{HoldTarget, ReleasePlan};
use saga_simulator::Chance;

use super::definitions::Sagas;
use super::plan::{ORDERS, Plan, STORM};

/// How often somebody looks for a hold that stopped being released, and how many times: what failed in the storm.
const ROUNDS: u32 = 30;
const ROUND: Duration = Duration::from_secs(30);

/// One thing that an operator does to a saga.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deed {
    /// Stops it where it stands.
    Pause,
    /// Lets it go on.
    Unpause,
    /// Lets nothing become due.
    Freeze,
    /// Lets time count again.
    Thaw,
    /// Has a step tried again.
    Retry,
    /// Has seen to a step by hand.
    Skip,
    /// Moves what is due, by so many milliseconds.
    Shift(i64),
    /// Takes a timer away.
    Untime,
    /// Has what is parked tried again.
    Resume,
    /// Ends it as it stands.
    Abandon,
    /// Binds it to the new version.
    Migrate,
}

/// To which saga of an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Of {
    /// The one that makes it happen.
    Place,
    /// The one that undoes it once it is completed.
    Cancel,
    /// The one that holds its goods, where that is a saga.
    Goods,
    /// The one that settles it, where that is a saga.
    Settle,
}

/// What is done.
#[derive(Clone, PartialEq, Debug)]
pub enum Act {
    /// Something to a saga.
    Saga {
        /// The number of the order.
        order: u64,
        /// Which of its sagas.
        of: Of,
        /// What.
        deed: Deed,
        /// Which of the steps that are at stake.
        pick: usize,
        /// The act that has to be done before; without it this one makes no sense.
        after: Option<usize>,
    },
    /// Something is held.
    Hold {
        /// What.
        target: HoldTarget,
        /// Since the world began.
        until: Duration,
        /// How it is released.
        plan: ReleasePlan,
    },
    /// It is released.
    Release {
        /// What.
        target: HoldTarget,
    },
    /// Whatever is held without an end is released.
    ReleaseWhatStands,
    /// The program with the new version is running from now on.
    Upgrade,
}

/// What operators do.
#[derive(Clone, Debug)]
pub struct Operators {
    /// Which sagas there are.
    pub sagas: Sagas,
    /// What is done, and when.
    pub acts: Vec<(Duration, Act)>,
}

impl Operators {
    /// Nobody does anything.
    pub const NONE: Self = Self { sagas: Sagas::Released, acts: Vec::new() };

    /// The operators of a seed: nobody in three seeds of ten, otherwise each kind of act in half of them.
    #[must_use]
    pub fn drawn(seed: u64, plan: &Plan) -> Self {
        let mut chance = Chance::new(seed ^ 0x4f70_6572);
        if chance.strikes(3_000) {
            return Self::NONE;
        }
        let sagas = chance.pick(&[Sagas::Released, Sagas::Released, Sagas::Upgraded, Sagas::Family]).copied();
        let mut operators = Self { sagas: sagas.unwrap_or(Sagas::Released), acts: Vec::new() };
        if operators.sagas == Sagas::Upgraded {
            let at = Duration::from_millis(chance.between(1_000, 20_000));
            operators.acts.push((at, Act::Upgrade));
            (0..ORDERS).for_each(|order| operators.migrate(&mut chance, at, order));
        }
        for (deed, back) in [
            (Deed::Pause, Some(Deed::Unpause)),
            (Deed::Freeze, Some(Deed::Thaw)),
            (Deed::Untime, Some(Deed::Resume)),
            (Deed::Retry, None),
            (Deed::Skip, None),
            (Deed::Shift(0), None),
            (Deed::Abandon, None),
        ] {
            let count = if chance.strikes(5_000) { 0 } else { chance.between(1, 6) };
            (0..count).for_each(|_| operators.act(&mut chance, plan, deed, back));
        }
        let holds = if chance.strikes(5_000) { 0 } else { chance.between(1, 3) };
        (0..holds).for_each(|_| operators.hold(&mut chance));
        if holds > 0 {
            operators.acts.extend((1..=ROUNDS).map(|round| (STORM + ROUND * round, Act::ReleaseWhatStands)));
        }
        operators
    }

    fn migrate(&mut self, chance: &mut Chance, upgraded: Duration, order: u64) {
        if chance.strikes(5_000) {
            let at = upgraded + Duration::from_millis(chance.below(15_000));
            let act = Act::Saga { order, of: Of::Place, deed: Deed::Migrate, pick: 0, after: None };
            self.acts.push((at, act));
        }
    }

    fn act(&mut self, chance: &mut Chance, plan: &Plan, deed: Deed, back: Option<Deed>) {
        let order = chance.below(ORDERS);
        let Some(placed) = plan.order(order).map(|order| order.at) else { return };
        let of = match deed {
            // A child that is abandoned leaves its parent with somebody's word to wait for.
            Deed::Abandon | Deed::Migrate => Of::Place,
            Deed::Pause
            | Deed::Unpause
            | Deed::Freeze
            | Deed::Thaw
            | Deed::Retry
            | Deed::Skip
            | Deed::Shift(_)
            | Deed::Untime
            | Deed::Resume => {
                let all = [Of::Place, Of::Place, Of::Place, Of::Cancel, Of::Goods, Of::Settle];
                chance.pick(&all).copied().unwrap_or(Of::Place)
            }
        };
        let deed = match deed {
            Deed::Shift(_) => Deed::Shift(i64::try_from(chance.below(60_000)).unwrap_or(0) - 30_000),
            Deed::Pause
            | Deed::Unpause
            | Deed::Freeze
            | Deed::Thaw
            | Deed::Retry
            | Deed::Skip
            | Deed::Untime
            | Deed::Resume
            | Deed::Abandon
            | Deed::Migrate => deed,
        };
        let late = chance.pick(&[300, 3_000, 20_000]).copied().unwrap_or(300);
        let at = placed + Duration::from_millis(chance.below(late));
        let pick = usize::try_from(chance.below(8)).unwrap_or(0);
        self.acts.push((at, Act::Saga { order, of, deed, pick, after: None }));
        if let Some(deed) = back {
            let (after, lasts) = (Some(self.acts.len() - 1), Duration::from_millis(chance.below(20_000)));
            self.acts.push((at + lasts, Act::Saga { order, of, deed, pick, after }));
        }
    }

    fn hold(&mut self, chance: &mut Chance) {
        let step = |definition: &str, step: &'static str| HoldTarget::Step {
            definition: definition.to_owned(),
            step: step.into(),
        };
        let participant = |name: &str| HoldTarget::Participant(name.to_owned());
        let targets = [
            participant(PAYMENT),
            participant(PRODUCTS),
            participant(NOTIFICATION),
            step(PLACE_ORDER, AUTHORIZE_PAYMENT),
            step(PLACE_ORDER, CAPTURE_PAYMENT),
            step(CANCEL_ORDER, REFUND_PAYMENT),
        ];
        let Some(target) = chance.pick(&targets).cloned() else { return };
        let plan = ReleasePlan {
            canary: chance.pick(&[0, 1, 3]).copied().unwrap_or(0),
            rate_per_second: chance.pick(&[1, 5, 500]).copied().unwrap_or(5),
            failures_max: chance.pick(&[1, 3, 100]).copied().unwrap_or(3),
        };
        let at = Duration::from_millis(chance.below(STORM.as_secs() * 900));
        let lasts = chance.between(1_000, 30_000);
        let release = chance.strikes(5_000).then(|| at + Duration::from_millis(chance.below(lasts)));
        let until = at + Duration::from_millis(lasts);
        self.acts.push((at, Act::Hold { target: target.clone(), until, plan }));
        self.acts.extend(release.map(|at| (at, Act::Release { target })));
    }
}
