//! A saga's events as a timeline for people.

use chrono::{DateTime, SecondsFormat, Utc};
use eventstore::{Actor, DomainEvent as _, Recorded};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::timeline_entry::Lane;
use saga::{Lane as SagaLane, SagaEvent};

use crate::operations::history::cause_text as cause;
use crate::sagas::OrderProcess;

/// What one event says, in a line.
pub fn entry(recorded: &Recorded, event: &SagaEvent<OrderProcess>) -> pb::TimelineEntry {
    let (lane, attempt, outcome, detail) = said(event);
    pb::TimelineEntry {
        version: recorded.version.get(),
        time: Some(recorded.time.into()),
        event: event.type_name().to_owned(),
        step: event.step().map(ToString::to_string).unwrap_or_default(),
        attempt,
        lane: lane.into(),
        outcome: outcome.to_owned(),
        detail,
        actor: recorded.cause.actor.as_str().to_owned(),
    }
}

fn said(event: &SagaEvent<OrderProcess>) -> (Lane, u32, &'static str, String) {
    match event {
        SagaEvent::Started { definition, .. } => (Lane::Unspecified, 0, "started", definition.to_string()),
        SagaEvent::StepRequested { attempt, deadline, .. } => (Lane::Forward, *attempt, "requested", until(*deadline)),
        SagaEvent::StepAwaited { attempt, deadline, .. } => (Lane::Forward, *attempt, "awaited", until(*deadline)),
        SagaEvent::StepSkipped { lane, by_hand, .. } => {
            let detail = by_hand.as_ref().map_or_else(|| "nothing to do".to_owned(), |by| who(&by.actor, &by.reason));
            (of(*lane), 0, "skipped", detail)
        }
        SagaEvent::StepRetried { lane, actor, reason, .. } => (of(*lane), 0, "retried", who(actor, reason)),
        SagaEvent::StepSucceeded { .. } => (Lane::Forward, 0, "done", String::new()),
        SagaEvent::StepRejected { reason, .. } => (Lane::Forward, 0, "rejected", reason.to_string()),
        SagaEvent::StepUnknown { attempt, detail, retry_at, .. } => {
            (Lane::Forward, *attempt, "unknown", again(detail, *retry_at))
        }
        SagaEvent::CompensationStarted { cause: why } => (Lane::Unspecified, 0, "undoing", cause(why)),
        SagaEvent::CompensationRequested { attempt, deadline, .. } => {
            (Lane::Undo, *attempt, "requested", until(*deadline))
        }
        SagaEvent::CompensationSucceeded { .. } => (Lane::Undo, 0, "undone", String::new()),
        SagaEvent::CompensationFailed { attempt, detail, retry_at, .. } => {
            (Lane::Undo, *attempt, "unknown", again(detail, *retry_at))
        }
        SagaEvent::CancelRequested { reason, actor } => (Lane::Unspecified, 0, "cancel requested", who(actor, reason)),
        SagaEvent::Parked { lane, detail, .. } => (of(*lane), 0, "parked", detail.clone()),
        SagaEvent::Resumed { actor, reason } => (Lane::Unspecified, 0, "resumed", who(actor, reason)),
        SagaEvent::Paused { actor, reason, .. } => (Lane::Unspecified, 0, "paused", who(actor, reason)),
        SagaEvent::Unpaused { actor, reason, .. } => (Lane::Unspecified, 0, "unpaused", who(actor, reason)),
        SagaEvent::ChildRequested { attempt, child_id, definition, .. } => {
            (Lane::Forward, *attempt, "run", format!("{definition} as saga {child_id}"))
        }
        SagaEvent::ChildUndoRequested { attempt, child_id, .. } => {
            (Lane::Undo, *attempt, "requested", format!("saga {child_id} is to be undone"))
        }
        SagaEvent::StepHeld { lane, hold, actor, reason, .. } => {
            (of(*lane), 0, "held", format!("{hold} is held {}", who(actor, reason)))
        }
        SagaEvent::StepReleased { lane, .. } => (of(*lane), 0, "released", String::new()),
        SagaEvent::TimersShifted { by_ms, actor, reason, .. } => {
            (Lane::Unspecified, 0, "timers shifted", format!("by {by_ms} ms, {}", who(actor, reason)))
        }
        SagaEvent::TimersFrozen { actor, reason, .. } => (Lane::Unspecified, 0, "timers frozen", who(actor, reason)),
        SagaEvent::TimersThawed { actor, reason, .. } => (Lane::Unspecified, 0, "timers thawed", who(actor, reason)),
        SagaEvent::TimerCancelled { actor, reason, .. } => {
            (Lane::Unspecified, 0, "timer cancelled", who(actor, reason))
        }
        SagaEvent::Migrated { definition, actor, reason, .. } => {
            (Lane::Unspecified, 0, "migrated", format!("to {definition}, {}", who(actor, reason)))
        }
        SagaEvent::Abandoned { actor, reason, owed } => {
            let owed: Vec<_> = owed.iter().map(ToString::to_string).collect();
            let detail = format!("{}; owed: {}", who(actor, reason), owed.join(", "));
            (Lane::Unspecified, 0, "abandoned", detail)
        }
        SagaEvent::Completed => (Lane::Unspecified, 0, "completed", String::new()),
        SagaEvent::Compensated { cause: why } => (Lane::Unspecified, 0, "compensated", cause(why)),
    }
}

fn of(lane: SagaLane) -> Lane {
    match lane {
        SagaLane::Forward => Lane::Forward,
        SagaLane::Undo => Lane::Undo,
    }
}

fn who(actor: &Actor, reason: &str) -> String {
    format!("by {}: {reason}", actor.as_str())
}

fn until(deadline: DateTime<Utc>) -> String {
    format!("answer due {}", clock(deadline))
}

fn again(detail: &str, retry_at: Option<DateTime<Utc>>) -> String {
    match retry_at {
        Some(time) => format!("{detail}; again {}", clock(time)),
        None => format!("{detail}; no more tries"),
    }
}

fn clock(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
