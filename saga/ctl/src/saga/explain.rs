//! `sagactl saga explain`: why a saga stands where it stands, and what can be done.

use chrono::{DateTime, Utc};
use clap::Args;
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::timeline_entry::Lane;

use crate::failure::Failure;
use crate::output::Out;
use crate::output::words::{age, counted, harmless, length, time};
use crate::session::Session;

use super::state::{state_name, state_tone, step_name};
use super::{exposure, find_id};

/// Which saga.
#[derive(Args, Debug)]
pub struct Explain {
    /// A saga's id, or its order's.
    pub id: String,
}

/// Asks and prints.
///
/// # Errors
/// [`Failure`] of the server.
pub async fn command(explain: Explain, session: &mut Session) -> Result<(), Failure> {
    let server = session.server()?;
    let saga_id = find_id(&server, &explain.id).await?;
    let request = pb::ExplainSagaRequest { saga_id: saga_id.clone() };
    let answer = server.ask(server.sagas().explain_saga(request)).await?;
    let out = &mut session.out;
    if out.whole(&format!("saga/{saga_id}"), &answer)? {
        return Ok(());
    }
    for line in lines(&answer, out) {
        out.line(line)?;
    }
    out.tell(format!("its steps: sagactl saga show {saga_id}; as a picture: sagactl saga graph {saga_id}"))
}

/// The answer for people.
#[must_use]
pub fn lines(answer: &pb::ExplainSagaResponse, out: &Out) -> Vec<String> {
    let saga = answer.saga.clone().unwrap_or_default();
    let state = out.tint(state_tone(saga.state()), state_name(saga.state()));
    let mut lines = vec![format!("{state}  {}", harmless(&answer.summary))];
    for waiting in &answer.waiting {
        lines.push(format!("Waits   {}", waits(waiting, out.now)));
        if let Some(usual) = &waiting.usual {
            lines.push(format!("Usual   {}", usually(usual, waiting, out.now)));
        }
        if !waiting.last_error.is_empty() {
            lines.push(format!("Error   {}", harmless(&waiting.last_error)));
        }
    }
    let holds: Vec<_> = answer.holdings.iter().map(|one| harmless(one)).collect();
    let holds = if holds.is_empty() { "nothing".to_owned() } else { holds.join("; ") };
    let label = if saga.state() == pb::saga::State::Abandoned { "Owes " } else { "Holds" };
    lines.push(format!("{label}   {holds}"));
    if !saga.cause.is_empty() {
        lines.push(format!("Cause   {}", harmless(&saga.cause)));
    }
    if answer.alike > 1 {
        let alike = counted(answer.alike, "saga");
        let held = exposure::shown(&answer.alike_exposures);
        lines.push(format!("Alike   {alike} at this step with this error, exposure {held}"));
    }
    if answer.dead_letters > 0 {
        let letters = counted(answer.dead_letters, "dead letter");
        lines.push(format!("Letters {letters} for it: sagactl dlq list --saga {}", saga.id));
    }
    lines.extend(acts(answer, &saga.id));
    lines
}

fn waits(waiting: &pb::Waiting, now: DateTime<Utc>) -> String {
    let step = step_name(&waiting.step, waiting.lane());
    if let Some(held) = &waiting.held_by {
        return held_back(&step, held, now);
    }
    let tries = match (waiting.attempt, waiting.attempts_max) {
        (0, _) => String::new(),
        (attempt, 0) => format!(", try {attempt}"),
        (attempt, max) => format!(", try {attempt} of {max}"),
    };
    let since = age(time(waiting.since.as_ref()), now);
    let due = match time(waiting.due_time.as_ref()) {
        Some(due) if due > now => format!("; acts by itself in {}", length((due - now).to_std().unwrap_or_default())),
        Some(_) => "; due now".to_owned(),
        None => "; next timer: none".to_owned(),
    };
    match harmless(&waiting.place_reason) {
        nobody_said if nobody_said.is_empty() => {
            format!("{step}: {} owes the answer for {since}{tries}{due}", harmless(&waiting.participant))
        }
        place => format!("{step}, for {since}: {place}{tries}{due}"),
    }
}

/// Who holds it, why, since when, until when, and how it is released.
fn held_back(step: &str, held: &pb::HeldBy, now: DateTime<Utc>) -> String {
    let (target, actor, reason) = (harmless(&held.target), harmless(&held.actor), harmless(&held.reason));
    let since = age(time(held.since.as_ref()), now);
    let until = match (held.releasing, time(held.until.as_ref())) {
        (true, _) => "; it is being released, and lets it go in its turn".to_owned(),
        (false, Some(until)) => {
            format!("; released by itself in {}", length((until - now).to_std().unwrap_or_default()))
        }
        (false, None) => "; nothing releases it by itself".to_owned(),
    };
    let release = harmless(&held.release);
    let stopped = match held.stopped.as_str() {
        "" => String::new(),
        stopped => format!("\nStopped {}", harmless(stopped)),
    };
    format!("{step}: held at {target} by {actor} for {since}: {reason}{until}{stopped}\nRelease {release}")
}

fn usually(usual: &pb::Usual, waiting: &pb::Waiting, now: DateTime<Utc>) -> String {
    let of = |duration: Option<&pbjson_types::Duration>| {
        let duration = duration.cloned().unwrap_or_default();
        let seconds = u64::try_from(duration.seconds).unwrap_or(0);
        std::time::Duration::new(seconds, u32::try_from(duration.nanos).unwrap_or(0))
    };
    let (p50, p99) = (of(usual.p50.as_ref()), of(usual.p99.as_ref()));
    let waited = time(waiting.since.as_ref()).and_then(|since| (now - since).to_std().ok());
    let verdict = match waited {
        Some(waited) if waited > p99 => ", this one is longer than 99 of 100",
        Some(_) | None => "",
    };
    let lane = if waiting.lane() == Lane::Undo { "undoing this step" } else { "this step" };
    format!("{lane} takes p50 {} p99 {} (of {}){verdict}", length(p50), length(p99), usual.count)
}

fn acts(answer: &pb::ExplainSagaResponse, id: &str) -> Vec<String> {
    let (may, may_not): (Vec<_>, Vec<_>) = answer.acts.iter().partition(|act| act.refused.is_empty());
    let mut lines = Vec::new();
    let width = answer.acts.iter().map(|act| act.act.chars().count()).max().unwrap_or(0);
    for (index, act) in may.iter().enumerate() {
        let before = if index == 0 { "You can" } else { "       " };
        let step = if act.step.is_empty() { String::new() } else { format!("{}: ", harmless(&act.step)) };
        let approval = if act.needs_approval { " (a second person approves)" } else { "" };
        lines.push(format!("{before} {:<width$}  -> {step}{}{approval}", harmless(&act.act), harmless(&act.effect)));
    }
    for (index, act) in may_not.iter().enumerate() {
        let before = if index == 0 { "Refused" } else { "       " };
        lines.push(format!("{before} {:<width$}  {}", harmless(&act.act), harmless(&act.refused)));
    }
    if let Some(act) = may.first() {
        let step = if act.step.is_empty() { String::new() } else { format!(" --step {}", harmless(&act.step)) };
        lines.push(format!("Preview sagactl saga {} {id}{step} --reason WHY --plan", harmless(&act.act)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use farmera_proto::saga::v1::saga::State;

    use super::*;
    use crate::output::Format;
    use crate::output::paint::Paint;

    #[test]
    fn a_step_that_is_held_back_names_who_why_until_when_and_the_command() {
        let second = |seconds| Some(pbjson_types::Timestamp { seconds, nanos: 0 });
        let held = pb::HeldBy {
            target: "payment".to_owned(),
            actor: "operator:ana".to_owned(),
            reason: "INC-204".to_owned(),
            since: second(0),
            until: second(7_200),
            releasing: false,
            release: "sagactl hold release payment --reason WHY --plan".to_owned(),
            stopped: String::new(),
        };
        let waiting = |held: pb::HeldBy| pb::Waiting {
            step: "authorize-payment".to_owned(),
            participant: "hold".to_owned(),
            held_by: Some(held),
            ..pb::Waiting::default()
        };
        let now = DateTime::from_timestamp(600, 0).unwrap();
        let expected = "\
authorize-payment: held at payment by operator:ana for 10m: INC-204; released by itself in 1h50m
Release sagactl hold release payment --reason WHY --plan";
        assert_eq!(waits(&waiting(held.clone()), now), expected);
        let open = waits(&waiting(pb::HeldBy { until: None, ..held.clone() }), now);
        assert!(open.contains("INC-204; nothing releases it by itself"), "{open}");
        let releasing = waits(&waiting(pb::HeldBy { releasing: true, ..held }), now);
        assert!(releasing.contains("it is being released"), "{releasing}");
    }

    #[test]
    fn an_explanation_names_the_debtor_the_holdings_and_every_act() {
        let second = |seconds| Some(pbjson_types::Timestamp { seconds, nanos: 0 });
        let long = |seconds| Some(pbjson_types::Duration { seconds, nanos: 0 });
        let waiting = pb::Waiting {
            step: "refund-payment".to_owned(),
            lane: Lane::Forward.into(),
            participant: "operator".to_owned(),
            attempt: 6,
            attempts_max: 6,
            since: second(0),
            last_error: "PROVIDER_DOWN".to_owned(),
            usual: Some(pb::Usual { p50: long(1), p99: long(6), count: 120 }),
            ..pb::Waiting::default()
        };
        let act = |act: &str, effect: &str, refused: &str| pb::LegalAct {
            act: act.to_owned(),
            step: "refund-payment".to_owned(),
            effect: effect.to_owned(),
            refused: refused.to_owned(),
            needs_approval: act == "skip",
            ..pb::LegalAct::default()
        };
        let answer = pb::ExplainSagaResponse {
            saga: Some(pb::Saga { id: "s1".to_owned(), state: State::Parked.into(), ..pb::Saga::default() }),
            summary: "refund-payment is parked after 6 of 6 tries".to_owned(),
            waiting: vec![waiting],
            holdings: vec!["240.00 EUR captured".to_owned()],
            acts: vec![
                act("retry", "sends RefundPayment again", ""),
                act("skip", "goes on without it", ""),
                act("cancel", "", "it is past its pivot"),
            ],
            alike: 37,
            ..pb::ExplainSagaResponse::default()
        };
        let now = DateTime::from_timestamp(6_720, 0).unwrap();
        let out = Out::new(Format::Table, Paint::plain(), now, std::io::sink());
        let expected = "\
PARKED  refund-payment is parked after 6 of 6 tries
Waits   refund-payment: operator owes the answer for 1h, try 6 of 6; next timer: none
Usual   this step takes p50 1s p99 6s (of 120), this one is longer than 99 of 100
Error   PROVIDER_DOWN
Holds   240.00 EUR captured
Alike   37 sagas at this step with this error, exposure -
You can retry   -> refund-payment: sends RefundPayment again
        skip    -> refund-payment: goes on without it (a second person approves)
Refused cancel  it is past its pivot
Preview sagactl saga retry s1 --step refund-payment --reason WHY --plan";
        assert_eq!(lines(&answer, &out).join("\n"), expected);
    }
}
