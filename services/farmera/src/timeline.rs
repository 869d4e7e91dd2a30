//! A saga as people read it: what it did, what it undid, and when.

use chrono::{DateTime, Utc};
use comfy_table::{Cell, Color};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::saga::State;
use farmera_proto::saga::v1::timeline_entry::Lane;

use crate::output::{Paint, local, trimmed};

/// The header and the table of one saga.
#[must_use]
pub fn render(saga: &pb::Saga, timeline: &[pb::TimelineEntry], paint: Paint) -> String {
    let mut lines = vec![heading(saga, paint)];
    if !saga.cause.is_empty() {
        lines.push(format!("  cause: {}", saga.cause));
    }
    if !saga.waiting_for.is_empty() {
        lines.push(format!("  waiting for: {}", saga.waiting_for.join(", ")));
    }
    if let Some(wake) = time(saga.wake_time.as_ref()) {
        lines.push(format!("  acts by itself at {}", text::moment(local(wake))));
    }
    lines.push(trimmed(&table(saga, timeline, paint)));
    lines.join("\n")
}

fn heading(saga: &pb::Saga, paint: Paint) -> String {
    let state = match saga.state() {
        State::Completed => paint.good(state_name(saga.state())),
        State::Compensated | State::Parked | State::Paused | State::Abandoned => paint.bad(state_name(saga.state())),
        State::Unspecified | State::Running | State::Compensating => state_name(saga.state()).to_owned(),
    };
    let name = paint.strong(&format!("{} v{}", saga.definition, saga.definition_version));
    format!("{name} {state}  {}", paint.faint(&format!("saga {} of order {}", saga.id, saga.order_id)))
}

/// A saga's state, one word.
#[must_use]
pub fn state_name(state: State) -> &'static str {
    match state {
        State::Unspecified => "unknown",
        State::Running => "running",
        State::Compensating => "compensating",
        State::Parked => "parked",
        State::Paused => "paused",
        State::Completed => "completed",
        State::Compensated => "compensated",
        State::Abandoned => "abandoned",
    }
}

fn table(saga: &pb::Saga, timeline: &[pb::TimelineEntry], paint: Paint) -> String {
    let mut table = paint.table(&["#", "time", "step", "try", "forward", "undo", "detail"], &[0, 1, 3]);
    let start = time(saga.start_time.as_ref()).or_else(|| time(timeline.first()?.time.as_ref()));
    for entry in timeline {
        let outcome = paint.cell(&entry.outcome, color(&entry.outcome));
        let (forward, undo) = match entry.lane() {
            Lane::Undo => (Cell::new(""), outcome),
            Lane::Unspecified | Lane::Forward => (outcome, Cell::new("")),
        };
        let attempt = if entry.attempt == 0 { String::new() } else { entry.attempt.to_string() };
        let step = if entry.step.is_empty() { "(saga)" } else { &entry.step };
        table.add_row(vec![
            Cell::new(entry.version),
            Cell::new(since(start, time(entry.time.as_ref()))),
            Cell::new(step),
            Cell::new(attempt),
            forward,
            undo,
            Cell::new(&entry.detail),
        ]);
    }
    table.to_string().lines().map(|line| format!("  {line}\n")).collect()
}

fn color(outcome: &str) -> Option<Color> {
    match outcome {
        "done" | "undone" | "completed" => Some(Color::Green),
        "rejected" | "failed" | "parked" => Some(Color::Red),
        "unknown" | "undoing" | "compensated" | "cancel requested" => Some(Color::Yellow),
        _ => None,
    }
}

fn since(start: Option<DateTime<Utc>>, time: Option<DateTime<Utc>>) -> String {
    match (start, time) {
        (Some(start), Some(time)) => {
            let micros = (time - start).num_microseconds().unwrap_or(i64::MAX);
            format!("+{}.{} ms", micros / 1_000, (micros % 1_000).abs() / 100)
        }
        (None | Some(_), None | Some(_)) => String::new(),
    }
}

/// A contract's time.
#[must_use]
pub fn time(time: Option<&pbjson_types::Timestamp>) -> Option<DateTime<Utc>> {
    let time = time?;
    DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(version: u64, nanos: i32, step: &str, lane: Lane, outcome: &str) -> pb::TimelineEntry {
        pb::TimelineEntry {
            version,
            time: Some(pbjson_types::Timestamp { seconds: 7, nanos }),
            step: step.to_owned(),
            attempt: u32::from(!step.is_empty()),
            lane: lane.into(),
            outcome: outcome.to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn what_is_undone_stands_in_a_lane_of_its_own() {
        let saga = pb::Saga {
            id: "s".to_owned(),
            definition: "place-order".to_owned(),
            definition_version: 1,
            order_id: "o".to_owned(),
            state: State::Compensated.into(),
            cause: "card declined".to_owned(),
            start_time: Some(pbjson_types::Timestamp { seconds: 7, nanos: 0 }),
            ..Default::default()
        };
        let timeline = [
            entry(1, 0, "", Lane::Unspecified, "started"),
            entry(2, 1_250_000, "authorize-payment", Lane::Forward, "rejected"),
            entry(3, 12_000_000, "reserve-inventory", Lane::Undo, "undone"),
        ];
        let expected = "\
place-order v1 compensated  saga s of order o
  cause: card declined
  #      TIME  STEP               TRY  FORWARD   UNDO    DETAIL
  1   +0.0 ms  (saga)                  started
  2   +1.2 ms  authorize-payment    1  rejected
  3  +12.0 ms  reserve-inventory    1            undone";
        assert_eq!(render(&saga, &timeline, Paint::plain()), expected);
    }
}
