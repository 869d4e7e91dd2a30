//! What would happen, as people read it.

use chrono::{DateTime, Utc};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::act::Kind;
use farmera_proto::saga::v1::plan::State;

use crate::failure::Failure;
use crate::output::Listed;
use crate::output::paint::Tone;
use crate::output::table::{Cell, Column};
use crate::output::words::{counted, harmless, length, or_dash, time};
use crate::saga::exposure;
use crate::saga::state::{state_name, state_tone};
use crate::session::Session;

/// A plan's name as it is shown and taken.
#[must_use]
pub fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// The command that makes plans of this kind.
#[must_use]
pub fn command_of(kind: Kind) -> &'static str {
    words_of(kind).0
}

/// What acts of this kind are done to.
#[must_use]
pub fn thing_of(kind: Kind) -> &'static str {
    words_of(kind).1
}

/// The command, and the thing.
fn words_of(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Unspecified => ("(unknown)", "saga"),
        Kind::Retry => ("saga retry", "saga"),
        Kind::Skip => ("saga skip", "saga"),
        Kind::Cancel => ("saga cancel", "saga"),
        Kind::Abandon => ("saga abandon", "saga"),
        Kind::Pause => ("saga pause", "saga"),
        Kind::Unpause => ("saga unpause", "saga"),
        Kind::Resume => ("saga resume", "saga"),
        Kind::Redrive => ("dlq redrive", "letter"),
        Kind::Discard => ("dlq discard", "letter"),
        Kind::ShiftTimer => ("timer shift", "saga"),
        Kind::FreezeTimer => ("timer freeze", "saga"),
        Kind::ThawTimer => ("timer thaw", "saga"),
        Kind::CancelTimer => ("timer cancel", "saga"),
        Kind::Migrate => ("saga migrate", "saga"),
        Kind::Hold => ("hold set", "hold"),
        Kind::Release => ("hold release", "hold"),
        Kind::RebuildProjection => ("projection rebuild", "read model"),
        Kind::RebuildTransport => ("transport rebuild", "stream"),
        Kind::RenewTransport => ("transport renew", "stream"),
        Kind::TellAgain => ("replay events", "range"),
    }
}

/// Prints a plan: what would happen, how often, and how to make it happen.
///
/// # Errors
/// The output cannot be written.
pub fn print(plan: &pb::Plan, command: &str, session: &mut Session) -> Result<(), Failure> {
    let out = &mut session.out;
    if out.whole(&plan.hash, plan)? {
        return Ok(());
    }
    for line in lines(plan, command, out.now) {
        out.line(line)?;
    }
    Ok(())
}

/// The lines of a plan for people.
#[must_use]
pub fn lines(plan: &pb::Plan, command: &str, now: DateTime<Utc>) -> Vec<String> {
    let hash = short(&plan.hash);
    let kind = plan.act.as_ref().map_or(Kind::Unspecified, pb::Act::kind);
    let expires = time(plan.expire_time.as_ref())
        .map(|at| length((at - now).to_std().unwrap_or_default()))
        .unwrap_or_else(|| "-".to_owned());
    let selected = counted(u64::from(plan.selected), thing_of(kind));
    let held = exposure::shown(&plan.exposures);
    let mut lines = vec![format!("PLAN {hash}   {selected}, exposure {held}, expires in {expires}")];
    for group in &plan.groups {
        lines.extend(group_lines(group));
    }
    lines.extend(plan.items.iter().filter_map(|item| concerned(kind, item)));
    lines.push(format!("{:>6}  refused", plan.refused));
    if plan.repeated_requests > 0 {
        let repeated = counted(u64::from(plan.repeated_requests), "request");
        lines.push(format!("of these {repeated} were sent before: the participant absorbs what it has handled"));
    }
    if !plan.reason.is_empty() {
        lines.push(format!("reason: {}", harmless(&plan.reason)));
    }
    match plan.state() {
        State::NeedsApproval => {
            lines.push(format!("approval: {}", harmless(&plan.approval_reason)));
            lines.push(format!("a second person: sagactl op approve {hash}"));
            lines.push(format!("then apply: sagactl {command} --apply {hash}"));
        }
        State::Ready | State::Unspecified if plan.effective == 0 => lines.push("nothing to apply".to_owned()),
        State::Ready | State::Unspecified => {
            if !plan.approved_by.is_empty() {
                lines.push(format!("approved by {}", harmless(&plan.approved_by)));
            }
            lines.push(format!("each one: sagactl op plan {hash}"));
            lines.push(format!("apply: sagactl {command} --apply {hash}{}", caution(plan.effective)));
        }
        State::Applied => lines.push(format!("applied: sagactl op watch {}", harmless(&plan.operation_id))),
        State::Expired => lines.push(format!("expired; make it anew: sagactl {command} --plan")),
    }
    lines
}

/// Whom a hold is about.
fn concerned(kind: Kind, item: &pb::PlanItem) -> Option<String> {
    let sagas = counted(item.affected, "saga");
    match kind {
        Kind::Hold => Some(format!("        {sagas} there now: they wait when their time is over, newcomers at once")),
        Kind::Release => Some(format!("        {sagas} waiting now")),
        Kind::RebuildProjection => Some(format!("        {} to apply", counted(item.affected, "event"))),
        Kind::Unspecified
        | Kind::Retry
        | Kind::Skip
        | Kind::Cancel
        | Kind::Abandon
        | Kind::Pause
        | Kind::Unpause
        | Kind::Resume
        | Kind::Redrive
        | Kind::Discard
        | Kind::ShiftTimer
        | Kind::FreezeTimer
        | Kind::ThawTimer
        | Kind::CancelTimer
        | Kind::Migrate
        | Kind::RebuildTransport
        | Kind::RenewTransport
        | Kind::TellAgain => None,
    }
}

fn caution(effective: u32) -> &'static str {
    if effective > 10 { " --rate 5/s --canary 3 --max-failures 2" } else { "" }
}

fn group_lines(group: &pb::PlanGroup) -> Vec<String> {
    if !group.refused.is_empty() {
        return vec![format!(
            "{:>6}  refused: {} (such as {})",
            group.count,
            harmless(&group.refused),
            group.sample_id
        )];
    }
    let of = |all: &[String]| all.iter().map(|one| harmless(one)).collect::<Vec<_>>().join(", ");
    let what = if group.events.is_empty() { "no change".to_owned() } else { of(&group.events) };
    let mut lines = vec![format!("{:>6}  {what} (such as {})", group.count, group.sample_id)];
    if !group.requests.is_empty() {
        lines.push(format!("        sends {}", of(&group.requests)));
    }
    lines
}

impl Listed for pb::PlanItem {
    const COLUMNS: &'static [Column] = &[
        Column::left("NAME"),
        Column::left("STATE"),
        Column::left("STEP"),
        Column::left("AFTER"),
        Column::left("RECORDS"),
        Column::left("SENDS"),
        Column::left("REFUSED"),
        Column::right("EXPOSURE"),
        Column::right("VERSION").wide(),
    ];

    fn name(&self) -> String {
        self.id.clone()
    }

    fn cells(&self, _now: DateTime<Utc>) -> Vec<Cell> {
        vec![
            self.id.as_str().into(),
            Cell::toned(state_name(self.state()), state_tone(self.state())),
            or_dash(&self.step).into(),
            Cell::toned(state_name(self.state_after()), state_tone(self.state_after())),
            or_dash(&self.events.join(", ")).into(),
            or_dash(&self.requests.join(", ")).into(),
            Cell::toned(or_dash(&self.refused), if self.refused.is_empty() { Tone::Plain } else { Tone::Bad }),
            exposure::shown(self.exposure.as_slice()).into(),
            self.version.to_string().into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> pb::Plan {
        let group = pb::PlanGroup {
            events: vec!["StepRetried refund-payment".to_owned(), "StepRequested refund-payment".to_owned()],
            requests: vec!["RefundPayment (payment)".to_owned()],
            count: 35,
            sample_id: "s1".to_owned(),
            ..pb::PlanGroup::default()
        };
        let refused = pb::PlanGroup {
            refused: "the saga is over".to_owned(),
            count: 2,
            sample_id: "s2".to_owned(),
            ..pb::PlanGroup::default()
        };
        pb::Plan {
            hash: "7f3c1e00112233445566".to_owned(),
            act: Some(pb::Act { kind: Kind::Retry.into(), ..pb::Act::default() }),
            reason: "provider back".to_owned(),
            expire_time: Some(pbjson_types::Timestamp { seconds: 600, nanos: 0 }),
            state: State::Ready.into(),
            selected: 37,
            effective: 35,
            refused: 2,
            exposures: vec![pb::Exposure {
                currency_code: "EUR".to_owned(),
                captured_minor_units: 512_000,
                ..pb::Exposure::default()
            }],
            groups: vec![group, refused],
            repeated_requests: 35,
            ..pb::Plan::default()
        }
    }

    #[test]
    fn a_plan_says_what_would_happen_and_how_to_make_it_happen() {
        let expected = "\
PLAN 7f3c1e001122   37 sagas, exposure money 5120.00 EUR, expires in 10m00s
    35  StepRetried refund-payment, StepRequested refund-payment (such as s1)
        sends RefundPayment (payment)
     2  refused: the saga is over (such as s2)
     2  refused
of these 35 requests were sent before: the participant absorbs what it has handled
reason: provider back
each one: sagactl op plan 7f3c1e001122
apply: sagactl saga retry --apply 7f3c1e001122 --rate 5/s --canary 3 --max-failures 2";
        assert_eq!(lines(&plan(), "saga retry", DateTime::UNIX_EPOCH).join("\n"), expected);
    }

    #[test]
    fn a_plan_that_needs_a_second_person_says_what_that_person_types() {
        let plan =
            pb::Plan { state: State::NeedsApproval.into(), approval_reason: "it is destructive".to_owned(), ..plan() };
        let shown = lines(&plan, "saga skip", DateTime::UNIX_EPOCH).join("\n");
        assert!(shown.contains("a second person: sagactl op approve 7f3c1e001122"), "{shown}");
    }
}
