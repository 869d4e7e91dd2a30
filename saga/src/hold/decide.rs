use chrono::{DateTime, Utc};
use eventstore::Aggregate as _;
use uuid::Uuid;

use super::{HoldEvent, HoldInput, HoldPhase, HoldTarget, Holds, Judgement, ReleasePlan};
use crate::ByHand;
use crate::cause::{DETAIL_LENGTH_MAX, cut};

/// Why a command about a hold has no effect.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HoldRefusal {
    /// It stands already. Nothing to do; to change it, release it first.
    #[error("{target} is held already")]
    AlreadyHeld {
        /// What.
        target: HoldTarget,
    },
    /// There is none. Nothing to do.
    #[error("{target} is not held")]
    NotHeld {
        /// What.
        target: HoldTarget,
    },
    /// Release another one first.
    #[error("there are {} holds already", Holds::HOLDS_MAX)]
    TooMany,
    /// Name a later time, or none.
    #[error("the hold would be over before it begins")]
    Over,
    /// Choose a canary of at most 100, 1 to 500 a second, at least one failure.
    #[error("the plan is out of bounds: {plan:?}")]
    Plan {
        /// The plan.
        plan: ReleasePlan,
    },
}

/// What follows when `input` meets `holds` at `now`. Pure, like [`crate::decide`].
///
/// # Errors
/// [`HoldRefusal`] says what whoever sent the command should do. Messages are never refused.
pub fn decide(holds: &Holds, input: HoldInput, now: DateTime<Utc>) -> Result<Vec<HoldEvent>, HoldRefusal> {
    match input {
        HoldInput::Place { target, until, plan, reason, actor } => {
            let by_hand = ByHand { actor, reason: cut(reason, DETAIL_LENGTH_MAX) };
            place(holds, target, until, plan, by_hand, now)
        }
        HoldInput::Release { target, plan, reason, actor } => {
            let Some(hold) = holds.get(&target) else { return Err(HoldRefusal::NotHeld { target }) };
            let plan = sound(plan.unwrap_or(hold.plan))?;
            let by_hand = Some(ByHand { actor, reason: cut(reason, DETAIL_LENGTH_MAX) });
            Ok(vec![HoldEvent::ReleaseStarted { target, plan, by_hand, at: now }])
        }
        HoldInput::Advance { target, judged, waiting } => Ok(advance(holds, &target, &judged, waiting, now)),
        HoldInput::Wake => Ok(over(holds, now)),
    }
}

fn sound(plan: ReleasePlan) -> Result<ReleasePlan, HoldRefusal> {
    if plan.is_sound() { Ok(plan) } else { Err(HoldRefusal::Plan { plan }) }
}

fn place(
    holds: &Holds,
    target: HoldTarget,
    until: Option<DateTime<Utc>>,
    plan: ReleasePlan,
    by_hand: ByHand,
    now: DateTime<Utc>,
) -> Result<Vec<HoldEvent>, HoldRefusal> {
    let plan = sound(plan)?;
    match holds.get(&target) {
        Some(hold) if !hold.is_releasing() => return Err(HoldRefusal::AlreadyHeld { target }),
        None if holds.iter().count() >= Holds::HOLDS_MAX => return Err(HoldRefusal::TooMany),
        Some(_) | None => {}
    }
    if until.is_some_and(|until| until <= now) {
        return Err(HoldRefusal::Over);
    }
    Ok(vec![HoldEvent::Placed { target, by_hand, until, plan, at: now }])
}

fn over(holds: &Holds, now: DateTime<Utc>) -> Vec<HoldEvent> {
    let over = holds.iter().filter(|hold| match &hold.phase {
        HoldPhase::Standing { until, stopped: _ } => until.is_some_and(|until| until <= now),
        HoldPhase::Releasing { .. } => false,
    });
    over.map(|hold| {
        let (target, plan) = (hold.target.clone(), hold.plan);
        HoldEvent::ReleaseStarted { target, plan, by_hand: None, at: now }
    })
    .collect()
}

fn advance(
    holds: &Holds,
    target: &HoldTarget,
    judged: &[(Uuid, Judgement)],
    waiting: Vec<Uuid>,
    now: DateTime<Utc>,
) -> Vec<HoldEvent> {
    let Some(hold) = holds.get(target).filter(|hold| hold.is_releasing()) else { return Vec::new() };
    let of = |wanted: Judgement| -> Vec<Uuid> {
        let known = judged.iter().filter(|(saga_id, judgement)| {
            *judgement == wanted && hold.in_flight().iter().any(|gone| gone.saga_id == *saga_id)
        });
        known.map(|(saga_id, _)| *saga_id).collect()
    };
    let (worked, failed) = (of(Judgement::Worked), of(Judgement::Failed));
    let (target, at) = (target.clone(), now);
    let mut events = Vec::new();
    if !worked.is_empty() || !failed.is_empty() {
        events.push(HoldEvent::Judged { target: target.clone(), worked, failed, at });
    }
    let after = events.iter().fold(holds.clone(), Holds::evolve);
    let Some(hold) = after.get(&target) else { return events };
    let HoldPhase::Releasing { plan, failed, in_flight, .. } = &hold.phase else { return events };
    if *failed >= plan.failures_max {
        events.push(HoldEvent::ReleaseStopped { target, failed: *failed, at });
        return events;
    }
    let is_empty = waiting.is_empty();
    let mut sagas = waiting;
    sagas.retain(|saga_id| in_flight.iter().all(|gone| gone.saga_id != *saga_id));
    sagas.truncate(hold.allowance(now));
    if !sagas.is_empty() {
        events.push(HoldEvent::LetGo { target, sagas, at });
    } else if is_empty && in_flight.is_empty() {
        events.push(HoldEvent::Ended { target, at });
    }
    events
}
