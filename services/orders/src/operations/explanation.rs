//! Why a saga stands where it stands, and what can be done about it.

use chrono::{DateTime, Utc};
use eventstore::{Actor, Recorded};
use farmera_proto::saga::v1 as pb;
use pb::timeline_entry::Lane;
use pb::waiting::Place;
use saga::hold::{Hold, HoldPhase};
use saga::{Definition, Holds, Status, StepName, Until, pending};
use uuid::Uuid;

use super::act::{Act, Effect, Mandate, Rules};
use super::history::{Event, History, lane_of};
use super::holding;
use super::steps::{Times, Usuals, usual};
use crate::NAME;
use crate::sagas::{AUTHORIZE_PAYMENT, OrderProcess, RESERVE_INVENTORY, participant};

/// What a saga waits for, and since when.
#[must_use]
pub fn waiting(
    history: &History,
    definition: &Definition<OrderProcess>,
    usuals: &Usuals,
    holds: &Holds,
) -> Vec<pb::Waiting> {
    let times = Times::of(history);
    let wanted = pending(&history.saga).wanted;
    let told = wanted.into_iter().map(|wanted| {
        let name = wanted.step.as_str();
        let (owes, due) = match wanted.until {
            Until::Deadline(time) | Until::Retry(time) => (participant(name), Some(time)),
            Until::Operator => ("operator", None),
            Until::Release => ("hold", None),
        };
        let policy = definition.step(name).and_then(|step| step.ask()).map(|ask| ask.policy(wanted.lane));
        pb::Waiting {
            step: name.to_owned(),
            lane: lane_of(wanted.lane).into(),
            participant: owes.to_owned(),
            attempt: wanted.attempt,
            attempts_max: policy.map_or(0, |policy| policy.attempts_max.get()),
            since: times.begun(name, wanted.lane).map(Into::into),
            due_time: due.map(Into::into),
            last_error: times.error(name),
            usual: usual(usuals, name, wanted.lane),
            held_by: (wanted.until == Until::Release).then(|| held_by(history, &wanted.step, holds)).flatten(),
            ..pb::Waiting::default()
        }
    });
    told.collect()
}

/// Who holds a step, why, since when and until when: as the saga was told when it came to the hold, and as the hold is now.
fn held_by(history: &History, name: &StepName, holds: &Holds) -> Option<pb::HeldBy> {
    let told = history.events.iter().rev().find_map(|event| {
        let Event::StepHeld { step, hold, actor, reason, at, .. } = event else { return None };
        (step == name).then_some((hold, actor, reason, *at))
    });
    let (target, actor, reason, since) = told?;
    let now = holds.get(target);
    let (until, stopped) = match now.map(|hold| &hold.phase) {
        Some(HoldPhase::Standing { until, stopped }) => (*until, stopped.as_ref().map(holding::stopped)),
        Some(HoldPhase::Releasing { .. }) | None => (None, None),
    };
    let by_hand = now.map(|hold| (&hold.by_hand.actor, &hold.by_hand.reason));
    let (actor, reason) = by_hand.unwrap_or((actor, reason));
    Some(pb::HeldBy {
        target: target.to_string(),
        actor: actor.as_str().to_owned(),
        reason: reason.clone(),
        since: Some(since.into()),
        until: until.map(Into::into),
        releasing: now.is_some_and(Hold::is_releasing),
        stopped: stopped.unwrap_or_default(),
        release: format!("sagactl hold release {target} --reason WHY --plan"),
    })
}

/// The events by which the question that a saga waits for was put, the first one first; none when it was not put.
/// Once that one has left, the participant may have it: the question is the same with every attempt.
pub fn asked_by<'h>(history: &'h History, waiting: &pb::Waiting) -> impl Iterator<Item = &'h Recorded> {
    let (lane, wanted) = (waiting.lane(), waiting.step.clone());
    let asks = move |event: &Event| match lane {
        Lane::Forward => matches!(event, Event::StepRequested { step, .. } if *step == *wanted),
        Lane::Undo => matches!(event, Event::CompensationRequested { step, .. } if *step == *wanted),
        Lane::Unspecified => false,
    };
    let told = history.recorded.iter().zip(&history.events);
    told.filter(move |(_, event)| asks(event)).map(|(recorded, _)| recorded)
}

/// Says of a question that it has not left: nobody has heard of it.
pub fn unsent(waiting: &mut pb::Waiting, cause: Option<String>) {
    waiting.place = Place::Outbox.into();
    waiting.place_reason = because(&format!("{NAME}' own outbox has not sent the request"), &cause.unwrap_or_default());
}

/// Says of a question that has left how far it has come.
pub fn located(waiting: &mut pb::Waiting, found: &pb::LocateQuestionResponse, way_in: &str) {
    let place = found.place();
    let participant = &waiting.participant;
    let (words, reason) = match place {
        Place::OnTheWay => (format!("{participant} has not taken the request in"), found.reason.as_str()),
        Place::Parked => (format!("{participant} could not handle the request"), found.reason.as_str()),
        Place::Participant => (format!("{participant} works at it"), found.reason.as_str()),
        Place::AnswerOutbox => {
            (format!("{participant} has answered, and its outbox has not sent the answer"), found.reason.as_str())
        }
        Place::Answered => (format!("{participant} has answered, and {NAME} has not taken the answer in"), way_in),
        Place::Unspecified | Place::Outbox => return,
    };
    waiting.place_reason = because(&words, reason);
    waiting.place = place.into();
}

/// Says of a question that has left that it cannot be seen where it is.
pub fn unlocated(waiting: &mut pb::Waiting, error: &str) {
    let words = format!("{} does not say whether it has the request", waiting.participant);
    waiting.place_reason = because(&words, error);
}

fn because(words: &str, reason: &str) -> String {
    if reason.is_empty() { words.to_owned() } else { format!("{words}: {reason}") }
}

/// Every act with what it would do now; refused ones say why.
#[must_use]
pub fn legal_acts(history: &History, saga_id: Uuid, rules: Rules<'_>, now: DateTime<Utc>) -> Vec<pb::LegalAct> {
    let mandate = Mandate { actor: Actor::new("operator:preview"), reason: "preview".to_owned() };
    let acts = Act::all(&history.saga);
    let told = acts.into_iter().map(|act| {
        let effect = act.effect(rules, saga_id, &history.saga, &mandate, now);
        legal_act(&act, effect, history)
    });
    told.collect()
}

fn legal_act(act: &Act, effect: Effect, history: &History) -> pb::LegalAct {
    let (name, step) = (act.name().to_owned(), act.step().map(ToString::to_string).unwrap_or_default());
    match effect {
        Effect::Takes { events, requests, repeated, state } => pb::LegalAct {
            effect: in_words(act, &requests, repeated, state, history),
            act: name,
            step,
            refused: String::new(),
            events,
            requests,
            needs_approval: act.is_destructive(),
        },
        Effect::Refused(refused) => {
            pb::LegalAct { act: name, step, refused, needs_approval: act.is_destructive(), ..pb::LegalAct::default() }
        }
    }
}

fn in_words(act: &Act, requests: &[String], repeated: u32, state: pb::saga::State, history: &History) -> String {
    let state = state.as_str_name().trim_start_matches("STATE_");
    let mut words = match act {
        Act::Skip(_) => "counts the step as seen to by hand".to_owned(),
        Act::Abandon => match holdings(history).as_slice() {
            [] => "ends it, nothing is undone".to_owned(),
            held => format!("ends it, nothing is undone: {} will be owed until it is seen to", held.join(", ")),
        },
        Act::Retry(_)
        | Act::Cancel
        | Act::Pause
        | Act::Unpause
        | Act::Resume
        | Act::ShiftTimer(..)
        | Act::FreezeTimer
        | Act::ThawTimer
        | Act::CancelTimer(_)
        | Act::Migrate(_) => match requests {
            [] => "sends nothing".to_owned(),
            requests => format!("sends {}", requests.join(", ")),
        },
    };
    if repeated > 0 {
        words.push_str(" (asked before: absorbed if it was handled)");
    }
    format!("{words}; then {state}")
}

/// What a saga holds, for people. What was asked for and is not answered is believed, and may not be held at all.
#[must_use]
pub fn holdings(history: &History) -> Vec<String> {
    let exposure = history.exposure();
    let money = |minor: i64| amount(minor, &exposure.currency_code);
    let mut told = Vec::new();
    if exposure.authorized_minor_units != 0 {
        let believed = believed(history, AUTHORIZE_PAYMENT);
        told.push(format!("payment: {} authorized{believed}", money(exposure.authorized_minor_units)));
    }
    if exposure.captured_minor_units != 0 {
        told.push(format!("payment: {} captured", money(exposure.captured_minor_units)));
    }
    if exposure.reserved_units != 0 {
        let (units, value) = (exposure.reserved_units, money(exposure.reserved_minor_units));
        let unit = if units == 1 { "unit" } else { "units" };
        let believed = believed(history, RESERVE_INVENTORY);
        told.push(format!("products: {units} {unit} reserved, worth {value}{believed}"));
    }
    told
}

/// What is added to what `step` holds, while nobody has said that it does.
fn believed(history: &History, step: &str) -> &'static str {
    let is_done = |event: &Event| matches!(event, Event::StepSucceeded { step: done, .. } if *done == *step);
    if history.events.iter().any(is_done) { "" } else { " (asked for, not confirmed)" }
}

fn amount(minor_units: i64, currency: &str) -> String {
    money::Currency::from_code(currency)
        .map_or_else(|| minor_units.to_string(), |currency| money::Money::new(minor_units, currency).to_string())
}

/// Where it stands and why, in one sentence.
#[must_use]
pub fn summary(history: &History, waiting: &[pb::Waiting]) -> String {
    let error = history.error();
    let because = if error.is_empty() { String::new() } else { format!(": {error}") };
    match history.saga.status() {
        Status::NotStarted => "it does not exist".to_owned(),
        Status::Completed => "completed: every step is done".to_owned(),
        Status::Compensated => format!("everything was undone{because}"),
        Status::Abandoned => match holdings(history).as_slice() {
            [] => "ended by an operator as it stood; what it owed was seen to".to_owned(),
            owed => format!("ended by an operator as it stood, nothing was undone: it owes {}", owed.join(", ")),
        },
        Status::Paused => "an operator stopped it; it waits to be unpaused".to_owned(),
        Status::Parked => match waiting.iter().find(|waiting| waiting.participant == "operator") {
            Some(parked) => format!("{} got no answer in {} tries{because}", parked.step, parked.attempt),
            None => format!("it waits for an operator{because}"),
        },
        Status::Running | Status::Compensating => match waiting {
            [] => "it is about to go on".to_owned(),
            waiting => {
                let each = waiting.iter().map(|one| match &one.held_by {
                    Some(held) => format!("the end of the hold of {} for {}", held.target, one.step),
                    None => stands(one),
                });
                format!("waits for {}{because}", each.collect::<Vec<_>>().join(" and "))
            }
        },
    }
}

/// Where a question stands, and with whom.
fn stands(waiting: &pb::Waiting) -> String {
    let pb::Waiting { participant, step, attempt, attempts_max, place_reason, .. } = waiting;
    match waiting.place() {
        Place::Outbox | Place::OnTheWay | Place::Parked => {
            format!("the way to {participant} for {step}: {place_reason}")
        }
        Place::AnswerOutbox | Place::Answered => format!("the way back from {participant} for {step}: {place_reason}"),
        Place::Participant => format!("{participant} for {step} (try {attempt} of {attempts_max}): {place_reason}"),
        Place::Unspecified => format!("{participant} for {step} (try {attempt} of {attempts_max})"),
    }
}
