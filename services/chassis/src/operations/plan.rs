//! Plans: what an act would do to each of some sagas, before anybody does it.

use std::collections::{BTreeMap, HashMap};

use chrono::TimeDelta;
use farmera_proto::saga::v1 as pb;
use pb::act::Kind;
use sha2::{Digest as _, Sha256};

use super::{Foreseen, Mandate};

/// How long a plan can be applied.
pub const LIFETIME: TimeDelta = TimeDelta::minutes(10);
/// The first digits of a hash that name a plan.
pub const PREFIX_LENGTH_MIN: usize = 12;
/// Groups of a plan that are told.
const GROUPS_MAX: usize = 100;
/// Things of one plan at most.
pub const SELECTED_MAX: usize = 10_000;

/// Puts a plan of `service` together: counts, groups, and the hash over everything that it rests on.
#[must_use]
pub fn assemble(service: &'static str, act: pb::Act, mandate: &Mandate, foreseen: Foreseen) -> pb::Plan {
    let Foreseen { mut items, repeated_requests } = foreseen;
    items.sort_by(|one, other| one.id.cmp(&other.id));
    items.dedup_by(|one, other| one.id == other.id);
    let count = |wanted: fn(&pb::PlanItem) -> bool| {
        u32::try_from(items.iter().filter(|item| wanted(item)).count()).unwrap_or(u32::MAX)
    };
    pb::Plan {
        hash: hash(service, &act, mandate, &items),
        selected: u32::try_from(items.len()).unwrap_or(u32::MAX),
        effective: count(|item| item.refused.is_empty()),
        refused: count(|item| !item.refused.is_empty()),
        exposures: exposures(&items),
        groups: groups(&items),
        act: Some(act),
        reason: mandate.reason.clone(),
        actor: mandate.actor.as_str().to_owned(),
        items,
        repeated_requests,
        service: service.to_owned(),
        ..pb::Plan::default()
    }
}

/// SHA-256 over service, act, reason, actor, and of each item what it is, the version it is at and what would happen to it. Every
/// part is preceded by its length: no two plans are spelled alike.
fn hash(service: &str, act: &pb::Act, mandate: &Mandate, items: &[pb::PlanItem]) -> String {
    let mut sha = Sha256::new();
    let mut part = |text: &[u8]| {
        sha.update((text.len() as u64).to_be_bytes());
        sha.update(text);
    };
    part(service.as_bytes());
    part(&prost::Message::encode_to_vec(act));
    part(mandate.reason.as_bytes());
    part(mandate.actor.as_str().as_bytes());
    for item in items {
        part(item.id.as_bytes());
        part(&item.version.to_be_bytes());
        part(item.refused.as_bytes());
        part(&item.affected.to_be_bytes());
        part(&(item.events.len() as u64).to_be_bytes());
        item.events.iter().chain(&item.requests).for_each(|text| part(text.as_bytes()));
    }
    sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn exposures(items: &[pb::PlanItem]) -> Vec<pb::Exposure> {
    let mut sums: BTreeMap<&str, pb::Exposure> = BTreeMap::new();
    for exposure in items.iter().filter_map(|item| item.exposure.as_ref()) {
        let sum = sums.entry(&exposure.currency_code).or_default();
        sum.currency_code.clone_from(&exposure.currency_code);
        sum.authorized_minor_units = sum.authorized_minor_units.saturating_add(exposure.authorized_minor_units);
        sum.captured_minor_units = sum.captured_minor_units.saturating_add(exposure.captured_minor_units);
        sum.reserved_minor_units = sum.reserved_minor_units.saturating_add(exposure.reserved_minor_units);
        sum.reserved_units = sum.reserved_units.saturating_add(exposure.reserved_units);
    }
    let is_something =
        |sum: &pb::Exposure| sum.authorized_minor_units | sum.captured_minor_units | sum.reserved_units != 0;
    sums.into_values().filter(is_something).collect()
}

fn groups(items: &[pb::PlanItem]) -> Vec<pb::PlanGroup> {
    let mut groups: BTreeMap<(&str, &[String], &[String]), pb::PlanGroup> = BTreeMap::new();
    for item in items {
        let group = groups.entry((&item.refused, &item.events, &item.requests)).or_insert_with(|| pb::PlanGroup {
            events: item.events.clone(),
            requests: item.requests.clone(),
            refused: item.refused.clone(),
            count: 0,
            sample_id: item.id.clone(),
        });
        group.count += 1;
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    groups.truncate(GROUPS_MAX);
    groups
}

/// True when what was planned is not what would happen now.
#[must_use]
pub fn has_moved(planned: &pb::PlanItem, now: &pb::PlanItem) -> bool {
    let rests_on =
        |item: &pb::PlanItem| (item.version, item.events.clone(), item.requests.clone(), item.refused.clone());
    let bearable = planned.affected.saturating_mul(2).max(planned.affected.saturating_add(10));
    rests_on(planned) != rests_on(now) || now.affected > bearable
}

/// The ids of what was planned and is not as it was, any more.
#[must_use]
pub fn moved(planned: &[pb::PlanItem], now: &[pb::PlanItem]) -> Vec<String> {
    let now: HashMap<&str, &pb::PlanItem> = now.iter().map(|item| (item.id.as_str(), item)).collect();
    let is_moved = |item: &&pb::PlanItem| now.get(item.id.as_str()).is_none_or(|now| has_moved(item, now));
    planned.iter().filter(is_moved).map(|item| item.id.clone()).collect()
}

/// Whether an act leaves something behind that nobody but a person will see to.
#[must_use]
pub fn is_destructive(kind: Kind) -> bool {
    match kind {
        Kind::Skip | Kind::Abandon | Kind::Discard => true,
        Kind::Unspecified
        | Kind::Retry
        | Kind::Cancel
        | Kind::Pause
        | Kind::Unpause
        | Kind::Resume
        | Kind::Redrive
        | Kind::ShiftTimer
        | Kind::FreezeTimer
        | Kind::ThawTimer
        | Kind::CancelTimer
        | Kind::Migrate
        | Kind::Hold
        | Kind::Release
        | Kind::RebuildProjection
        | Kind::RebuildTransport
        | Kind::RenewTransport
        | Kind::TellAgain => false,
    }
}

/// Why a second person has to approve a plan; empty when nobody has to.
#[must_use]
pub fn approval_reason(plan: &pb::Plan, approval_above: u32) -> String {
    let kind = plan.act.as_ref().map_or(Kind::Unspecified, pb::Act::kind);
    if plan.effective == 0 {
        return String::new();
    }
    if is_destructive(kind) {
        return "it leaves something behind that only a person can see to".to_owned();
    }
    // One item may let many sagas go, or send many messages.
    let changes = match matches!(kind, Kind::Release | Kind::RebuildTransport | Kind::TellAgain) {
        true => plan.items.iter().map(|item| item.affected).sum(),
        false => u64::from(plan.effective),
    };
    if changes > u64::from(approval_above) {
        return format!("it changes {changes}, more than {approval_above}");
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use eventstore::Actor;

    use super::*;

    fn item(id: &str, version: u64, events: &[&str], refused: &str) -> pb::PlanItem {
        pb::PlanItem {
            id: id.to_owned(),
            version,
            events: events.iter().map(|event| (*event).to_owned()).collect(),
            refused: refused.to_owned(),
            exposure: Some(pb::Exposure {
                currency_code: "EUR".to_owned(),
                captured_minor_units: 5,
                ..Default::default()
            }),
            ..pb::PlanItem::default()
        }
    }

    fn by(who: &str) -> Mandate {
        Mandate { actor: Actor::new(who), reason: "why".to_owned() }
    }

    fn planned(act: pb::Act, who: &str, items: Vec<pb::PlanItem>) -> pb::Plan {
        assemble("orders", act, &by(who), Foreseen { items, repeated_requests: 0 })
    }

    fn plan(items: Vec<pb::PlanItem>) -> pb::Plan {
        planned(pb::Act::default(), "operator:ana", items)
    }

    #[test]
    fn a_hash_follows_from_what_the_plan_rests_on_and_not_from_the_order_of_its_sagas() {
        let one = plan(vec![item("a", 1, &["X"], ""), item("b", 2, &["X"], "")]);
        let same = plan(vec![item("b", 2, &["X"], ""), item("a", 1, &["X"], ""), item("a", 1, &["X"], "")]);
        assert_eq!(one, same);
        let others = [
            plan(vec![item("a", 2, &["X"], ""), item("b", 2, &["X"], "")]),
            plan(vec![item("a", 1, &["Y"], ""), item("b", 2, &["X"], "")]),
            plan(vec![item("a", 1, &["X"], "")]),
            planned(pb::Act::default(), "operator:bob", one.items.clone()),
            planned(pb::Act { step: "s".to_owned(), ..Default::default() }, "operator:ana", one.items.clone()),
            assemble(
                "payment",
                pb::Act::default(),
                &by("operator:ana"),
                Foreseen { items: one.items.clone(), repeated_requests: 0 },
            ),
        ];
        for other in others {
            assert_ne!(one.hash, other.hash);
        }
    }

    #[test]
    fn sagas_that_fare_alike_are_one_group_and_what_they_hold_is_summed_up() {
        let plan = plan(vec![item("a", 1, &["X"], ""), item("b", 7, &["X"], ""), item("c", 1, &[], "over")]);
        assert_eq!(plan.groups.iter().map(|group| group.count).collect::<Vec<_>>(), [2, 1]);
        assert_eq!((plan.selected, plan.effective, plan.refused), (3, 2, 1));
        assert_eq!(plan.exposures[0].captured_minor_units, 15);
    }

    #[test]
    fn a_plan_bears_that_sagas_come_and_go_but_not_that_there_are_far_more() {
        let planned = |affected| pb::PlanItem { affected, ..item("payment", 1, &["X"], "") };
        assert!(!has_moved(&planned(3), &planned(13)) && !has_moved(&planned(100), &planned(200)));
        assert!(has_moved(&planned(3), &planned(14)) && has_moved(&planned(100), &planned(201)));
        assert!(has_moved(&planned(3), &pb::PlanItem { version: 2, ..planned(3) }));
        assert!(has_moved(&planned(3), &pb::PlanItem { refused: "over".to_owned(), ..planned(3) }));
    }

    #[test]
    fn large_and_destructive_plans_need_a_second_person() {
        let of = |kind: Kind, affected| {
            let items = ["a", "b"].map(|id| pb::PlanItem { affected, ..item(id, 1, &["X"], "") });
            planned(pb::Act { kind: kind.into(), ..Default::default() }, "operator:ana", items.to_vec())
        };
        assert_eq!(approval_reason(&of(Kind::Pause, 0), 2), "");
        assert_ne!(approval_reason(&of(Kind::Pause, 0), 1), "");
        assert_ne!(approval_reason(&of(Kind::Abandon, 0), 100), "");
        for kind in [Kind::Release, Kind::RebuildTransport, Kind::TellAgain] {
            assert_ne!(approval_reason(&of(kind, 51), 100), "", "{kind:?} of many");
            assert_eq!(approval_reason(&of(kind, 50), 100), "", "{kind:?} of some");
        }
        assert_eq!(approval_reason(&of(Kind::RebuildProjection, 51), 100), "", "a long log is no large change");
        assert_eq!(approval_reason(&of(Kind::Hold, 51), 100), "", "a hold changes no saga");
    }
}
