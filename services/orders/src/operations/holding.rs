//! What operators may do to holds, and what it would lead to.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, Utc};
use farmera_proto::saga::v1 as pb;
use saga::hold::{HoldEvent, HoldInput, ReleasePlan, StoppedRelease, decide};
use saga::{HoldTarget, Holds, Library};

use super::act::Mandate;
use crate::sagas::OrderProcess;

/// What can be done to a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldAct {
    /// Hold something, and release it by itself at a time, if one is named.
    Place {
        /// When it is released by itself.
        until: Option<DateTime<Utc>>,
        /// How it is released then.
        pace: Option<ReleasePlan>,
    },
    /// Let those who wait go.
    Release {
        /// How; `None`: as was said when it was placed.
        pace: Option<ReleasePlan>,
    },
}

impl HoldAct {
    /// What it means to the rules of holds.
    #[must_use]
    pub fn input(&self, target: HoldTarget, mandate: &Mandate) -> HoldInput {
        let Mandate { actor, reason } = mandate.clone();
        match self {
            Self::Place { until, pace } => {
                let (until, plan) = (*until, pace.unwrap_or_default());
                HoldInput::Place { target, until, plan, reason, actor }
            }
            Self::Release { pace } => HoldInput::Release { target, plan: *pace, reason, actor },
        }
    }

    /// What it would do at `now`. Nothing is recorded; `affected` sagas are concerned.
    #[must_use]
    pub fn effect(
        &self,
        holds: &Holds,
        target: &HoldTarget,
        affected: u64,
        mandate: &Mandate,
        now: DateTime<Utc>,
    ) -> pb::PlanItem {
        let item =
            pb::PlanItem { id: target.to_string(), version: version(holds, target), affected, ..Default::default() };
        match decide(holds, self.input(target.clone(), mandate), now) {
            Ok(events) => pb::PlanItem { events: events.iter().map(told).collect(), ..item },
            Err(refusal) => pb::PlanItem { refused: refusal.to_string(), ..item },
        }
    }
}

/// What a plan about a hold rests on: 0 without a hold, else since when it stands, and whether it is being released.
#[must_use]
pub fn version(holds: &Holds, target: &HoldTarget) -> u64 {
    holds.get(target).map_or(0, |hold| {
        let since = u64::try_from(hold.since.timestamp_micros()).unwrap_or(0);
        since * 2 + u64::from(hold.is_releasing())
    })
}

/// Everything that a hold can stand over: participants first.
#[must_use]
pub fn targets(library: &Library<OrderProcess>) -> BTreeSet<HoldTarget> {
    let steps = library.definitions().flat_map(|definition| {
        let name = &definition.id().name;
        definition.steps().iter().flat_map(move |step| {
            let participant = step.ask().and_then(saga::Ask::participant);
            let step = HoldTarget::Step { definition: name.to_string(), step: step.name().clone() };
            participant.map(|name| [HoldTarget::Participant(name.to_owned()), step]).into_iter().flatten()
        })
    });
    steps.collect()
}

/// An event about a hold, in short.
fn told(event: &HoldEvent) -> String {
    match event {
        HoldEvent::Placed { target, until, plan, .. } => {
            let until = until.map_or_else(
                || "until somebody releases it".to_owned(),
                |until| format!("until {}, then {}", until.to_rfc3339_opts(SecondsFormat::Secs, true), pace(*plan)),
            );
            format!("HoldPlaced {target} {until}")
        }
        HoldEvent::ReleaseStarted { target, plan, .. } => format!("HoldReleaseStarted {target}: {}", pace(*plan)),
        HoldEvent::LetGo { target, sagas, .. } => format!("HeldSagasLetGo {target}: {}", sagas.len()),
        HoldEvent::Judged { target, .. } => format!("ReleasedSagasJudged {target}"),
        HoldEvent::ReleaseStopped { target, .. } => format!("HoldReleaseStopped {target}"),
        HoldEvent::Ended { target, .. } => format!("HoldEnded {target}"),
    }
}

/// A release that did not come to its end, for people: who wanted it, when it stopped and why.
#[must_use]
pub fn stopped(release: &StoppedRelease) -> String {
    let StoppedRelease { by_hand, at, let_go, failed, .. } = release;
    let who = by_hand
        .as_ref()
        .map_or_else(|| "when its time was over".to_owned(), |by| format!("by {}: {}", by.actor.as_str(), by.reason));
    let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
    format!("the release {who} stopped at {at}: {failed} of {let_go} that were let go got no answer")
}

fn pace(plan: ReleasePlan) -> String {
    let ReleasePlan { canary, rate_per_second, failures_max } = plan;
    format!("{canary} first, then {rate_per_second} a second, stopped by {failures_max} failures")
}

#[cfg(test)]
mod tests {
    use eventstore::{Actor, Aggregate as _};

    use super::*;
    use crate::sagas::{Patience, library};

    const AT: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn payment() -> HoldTarget {
        HoldTarget::Participant("payment".to_owned())
    }

    fn mandate() -> Mandate {
        Mandate { actor: Actor::new("operator:ana"), reason: "why".to_owned() }
    }

    fn held() -> Holds {
        let place = HoldAct::Place { until: None, pace: None };
        let events = decide(&Holds::default(), place.input(payment(), &mandate()), AT).unwrap();
        events.iter().fold(Holds::default(), Holds::evolve)
    }

    #[test]
    fn a_plan_about_a_hold_rests_on_the_hold_that_stands() {
        let release = HoldAct::Release { pace: None };
        let item = release.effect(&held(), &payment(), 7, &mandate(), AT);
        assert_eq!(item.events, ["HoldReleaseStarted payment: 5 first, then 50 a second, stopped by 3 failures"]);
        assert_eq!(item.affected, 7);
        let none = release.effect(&Holds::default(), &payment(), 7, &mandate(), AT);
        assert_eq!((none.refused.as_str(), none.events.len()), ("payment is not held", 0));
        let releasing = decide(&held(), release.input(payment(), &mandate()), AT).unwrap();
        let releasing = releasing.iter().fold(held(), Holds::evolve);
        assert_ne!(version(&releasing, &payment()), version(&held(), &payment()));
    }

    #[test]
    fn only_what_the_definitions_know_can_be_held() {
        let known = targets(&library(&[Patience::default()]).unwrap());
        for text in ["payment", "products", "notification", "place-order/authorize-payment"] {
            assert!(known.contains(&text.parse().unwrap()), "{text}");
        }
        for text in ["paymnet", "place-order/confirm", "place-order/refund-payment"] {
            assert!(!known.contains(&text.parse().unwrap()), "{text}");
        }
    }
}
