use chrono::{DateTime, TimeDelta, Utc};
use eventstore::{Aggregate, Category, StreamId};
use serde::Serialize;
use uuid::Uuid;

use super::{HoldEvent, HoldTarget, ReleasePlan};
use crate::{ByHand, Process, Step};

/// The holds of a service: the fold of their one stream.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Holds(pub(super) Vec<Hold>);

/// One hold.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Hold {
    /// What is held.
    pub target: HoldTarget,
    /// Who placed it, and why.
    pub by_hand: ByHand,
    /// Since when.
    pub since: DateTime<Utc>,
    /// How it is released when its time is over.
    pub plan: ReleasePlan,
    /// How far it is.
    pub phase: HoldPhase,
}

/// How far a hold is.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub enum HoldPhase {
    /// Whoever comes waits.
    Standing {
        /// When it is released by itself.
        until: Option<DateTime<Utc>>,
        /// The release that did not come to its end, if there was one since it was placed.
        stopped: Option<StoppedRelease>,
    },
    /// Those who wait are let go by and by; who comes meanwhile waits behind them.
    Releasing {
        /// How.
        plan: ReleasePlan,
        /// How many were let go.
        let_go: u32,
        /// How many of them got an answer.
        worked: u32,
        /// How many got none.
        failed: u32,
        /// Those of whom nothing is known yet.
        in_flight: Vec<LetGo>,
        /// Since when the rate counts for the next ones.
        counts_since: DateTime<Utc>,
        /// Who wants it released, and why; `None` when its time was over.
        by_hand: Option<ByHand>,
        /// When it would have been released by itself; what is left of that counts again should the release stop.
        until: Option<DateTime<Utc>>,
    },
}

/// A release that stopped by itself: too many of those who were let go got no answer.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StoppedRelease {
    /// Who wanted it, and why; `None` when the hold's time was over.
    pub by_hand: Option<ByHand>,
    /// When it stopped.
    pub at: DateTime<Utc>,
    /// How many were let go.
    pub let_go: u32,
    /// How many of them got an answer.
    pub worked: u32,
    /// How many got none.
    pub failed: u32,
}

/// A saga that was let go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct LetGo {
    /// Which.
    pub saga_id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
}

impl Holds {
    /// The id of their stream: there is one in each service.
    pub const ID: Uuid = Uuid::from_u128(0x0000_0000_0000_8000_8000_0000_0000_0001);
    /// The most there may be at a time.
    pub const HOLDS_MAX: usize = 64;
    /// How often a release that is under way is looked after.
    pub const RELEASE_INTERVAL: TimeDelta = TimeDelta::milliseconds(500);

    /// None at all.
    pub const NONE: &'static Self = &Self(Vec::new());

    /// Their stream.
    #[must_use]
    pub fn only_stream() -> StreamId {
        Self::stream(Self::ID)
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Hold> {
        self.0.iter()
    }

    /// The hold over `target`.
    #[must_use]
    pub fn get(&self, target: &HoldTarget) -> Option<&Hold> {
        self.0.iter().find(|hold| hold.target == *target)
    }

    /// The first hold that `step` of the definition called `definition` comes to. Who was let go from `passed` passes
    /// whatever else is being released, too: two releases would hand it back and forth for ever.
    #[must_use]
    pub fn over<P: Process>(&self, definition: &str, step: &Step<P>, passed: Option<&HoldTarget>) -> Option<&Hold> {
        let participant = step.ask().and_then(crate::Ask::participant);
        let stands = |hold: &&Hold| passed.is_none_or(|passed| hold.target != *passed && !hold.is_releasing());
        self.0.iter().filter(stands).find(|hold| match &hold.target {
            HoldTarget::Participant(name) => participant == Some(name.as_str()),
            HoldTarget::Step { definition: of, step: name } => of == definition && *name == step.name,
        })
    }

    /// When something is due: the end of a hold, or the next look at a release.
    #[must_use]
    pub fn next_wake(&self) -> Option<DateTime<Utc>> {
        let due = self.0.iter().filter_map(|hold| match &hold.phase {
            HoldPhase::Standing { until, stopped: _ } => *until,
            HoldPhase::Releasing { counts_since, .. } => Some(*counts_since + Self::RELEASE_INTERVAL),
        });
        due.min()
    }

    fn get_mut(&mut self, target: &HoldTarget) -> Option<&mut Hold> {
        self.0.iter_mut().find(|hold| hold.target == *target)
    }
}

impl Hold {
    /// When it is released by itself, or would have been.
    #[must_use]
    pub fn until(&self) -> Option<DateTime<Utc>> {
        match &self.phase {
            HoldPhase::Standing { until, .. } | HoldPhase::Releasing { until, .. } => *until,
        }
    }

    /// The release stops: the hold stands as it stood before. A time that is over has had its release.
    fn stop(&mut self, at: DateTime<Utc>) {
        let HoldPhase::Releasing { let_go, worked, failed, by_hand, until, .. } = &self.phase else { return };
        let (let_go, worked, failed, by_hand) = (*let_go, *worked, *failed, by_hand.clone());
        let until = until.filter(|until| by_hand.is_some() && *until > at);
        self.phase =
            HoldPhase::Standing { until, stopped: Some(StoppedRelease { by_hand, at, let_go, worked, failed }) };
    }

    /// How many of those who wait may go at `now`; 0 unless it is being released.
    #[must_use]
    pub fn allowance(&self, now: DateTime<Utc>) -> usize {
        let HoldPhase::Releasing { plan, let_go, worked, failed, in_flight, counts_since, .. } = &self.phase else {
            return 0;
        };
        let room = ReleasePlan::IN_FLIGHT_MAX.saturating_sub(in_flight.len());
        if *let_go < plan.canary {
            return room.min((plan.canary - let_go) as usize);
        }
        if worked + failed < plan.canary {
            return 0;
        }
        // After a standstill of whoever carries this out nobody makes up for lost time.
        let elapsed_ms = (now - *counts_since).num_milliseconds().clamp(0, 1_000);
        let earned = u64::from(plan.rate_per_second) * elapsed_ms.unsigned_abs() / 1_000;
        room.min(usize::try_from(earned).unwrap_or(usize::MAX))
    }

    /// Those who were let go and of whom nothing is known yet.
    #[must_use]
    pub fn in_flight(&self) -> &[LetGo] {
        match &self.phase {
            HoldPhase::Standing { .. } => &[],
            HoldPhase::Releasing { in_flight, .. } => in_flight,
        }
    }

    /// True while those who wait are let go.
    #[must_use]
    pub fn is_releasing(&self) -> bool {
        match &self.phase {
            HoldPhase::Standing { .. } => false,
            HoldPhase::Releasing { .. } => true,
        }
    }
}

impl Aggregate for Holds {
    const CATEGORY: Category = Category::new("hold");

    type Event = HoldEvent;

    fn evolve(mut self, event: &HoldEvent) -> Self {
        match event {
            HoldEvent::Placed { target, by_hand, until, plan, at } => {
                self.0.retain(|hold| hold.target != *target);
                let phase = HoldPhase::Standing { until: *until, stopped: None };
                let (target, by_hand) = (target.clone(), by_hand.clone());
                self.0.push(Hold { target, by_hand, since: *at, plan: *plan, phase });
            }
            HoldEvent::ReleaseStarted { target, plan, by_hand, at } => {
                if let Some(hold) = self.get_mut(target) {
                    let in_flight = hold.in_flight().to_vec();
                    let (plan, counts_since, by_hand, until) = (*plan, *at, by_hand.clone(), hold.until());
                    let (let_go, worked, failed) = (0, 0, 0);
                    hold.phase =
                        HoldPhase::Releasing { plan, let_go, worked, failed, in_flight, counts_since, by_hand, until };
                }
            }
            HoldEvent::LetGo { target, sagas, at } => {
                if let Some(HoldPhase::Releasing { let_go, in_flight, counts_since, .. }) = self.phase_mut(target) {
                    *let_go = let_go.saturating_add(u32::try_from(sagas.len()).unwrap_or(u32::MAX));
                    in_flight.extend(sagas.iter().map(|saga_id| LetGo { saga_id: *saga_id, at: *at }));
                    *counts_since = *at;
                }
            }
            HoldEvent::Judged { target, worked: well, failed: badly, at } => {
                if let Some(HoldPhase::Releasing { worked, failed, in_flight, plan, counts_since, .. }) =
                    self.phase_mut(target)
                {
                    let was_canary = *worked + *failed < plan.canary;
                    *worked = worked.saturating_add(u32::try_from(well.len()).unwrap_or(u32::MAX));
                    *failed = failed.saturating_add(u32::try_from(badly.len()).unwrap_or(u32::MAX));
                    in_flight.retain(|gone| !well.contains(&gone.saga_id) && !badly.contains(&gone.saga_id));
                    if was_canary {
                        *counts_since = *at;
                    }
                }
            }
            HoldEvent::ReleaseStopped { target, at, .. } => {
                if let Some(hold) = self.get_mut(target) {
                    hold.stop(*at);
                }
            }
            HoldEvent::Ended { target, .. } => self.0.retain(|hold| hold.target != *target),
        }
        self
    }
}

impl Holds {
    fn phase_mut(&mut self, target: &HoldTarget) -> Option<&mut HoldPhase> {
        self.get_mut(target).map(|hold| &mut hold.phase)
    }
}
