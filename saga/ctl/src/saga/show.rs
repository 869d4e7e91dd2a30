//! `sagactl saga show`: what a saga did, what it undid, and when.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::get_saga_request::At;
use farmera_proto::saga::v1::timeline_entry::Lane;

use crate::connection::Server;
use crate::failure::Failure;
use crate::output::paint::Tone;
use crate::output::table::{Cell, Column, Table};
use crate::output::words::{clock, harmless, length, or_dash, time, timestamp};
use crate::output::{Format, Out, json_line, tell};
use crate::session::Session;

use super::moment::{Moment, parse_moment};
use super::state::{is_over, phase_name, state_name, state_tone, step_name};
use super::{exposure, find, find_id};

const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(300);

/// What to show.
#[derive(Args, Debug)]
pub struct Show {
    /// A saga's id, or its order's.
    pub id: String,
    /// Every event, instead of a line per step.
    #[arg(long)]
    pub events: bool,
    /// Every event, and those that come, until it is over.
    #[arg(long, conflicts_with = "at")]
    pub follow: bool,
    /// As it was: after so many events, or at a time (12:30 of TZ's zone, 2026-11-26T12:30:00Z).
    #[arg(long, value_name = "VERSION|TIME", value_parser = parse_moment)]
    pub at: Option<Moment>,
}

/// Asks and prints.
///
/// # Errors
/// [`Failure`] of the server.
pub async fn command(show: Show, session: &mut Session) -> Result<(), Failure> {
    let server = session.server()?;
    if show.follow {
        return follow(&server, &show.id, session).await;
    }
    let saga_id = find_id(&server, &show.id).await?;
    let at = show.at.map(|at| match at.on(session.out.now) {
        Moment::Version(version) => At::AtVersion(version),
        Moment::Time(time) => At::AtTime(timestamp(time)),
        Moment::TimeOfDay(_) => At::AtTime(timestamp(session.out.now)),
    });
    let request = pb::GetSagaRequest { saga_id, with_events: show.events, at };
    let answer = server.ask(server.sagas().get_saga(request)).await?;
    let saga = answer.saga.clone().unwrap_or_default();
    let out = &mut session.out;
    if out.whole(&format!("saga/{}", saga.id), &answer)? {
        return Ok(());
    }
    for line in heading(&saga, out) {
        out.line(line)?;
    }
    if show.events {
        Timeline::new(&saga).print(&answer.timeline, out)?;
    } else {
        steps(&answer, &saga, out)?;
    }
    let newest = match answer.newest_version {
        newest if newest > saga.version => format!(" of {newest}"),
        _ => String::new(),
    };
    out.line(format!("version {}{newest}", saga.version))?;
    if !show.events {
        let id = &saga.id;
        out.tell(format!("every event: sagactl saga show {id} --events; why: sagactl saga explain {id}"))?;
    }
    Ok(())
}

/// What stands above a saga's steps.
#[must_use]
pub fn heading(saga: &pb::Saga, out: &Out) -> Vec<String> {
    let state = out.tint(state_tone(saga.state()), state_name(saga.state()));
    let name = out.tint(Tone::Strong, &format!("{}@{}", harmless(&saga.definition), saga.definition_version));
    let held = exposure::shown(saga.exposure.as_slice());
    let mut lines = vec![format!("{name} {state}  saga {} of order {}  exposure {held}", saga.id, saga.order_id)];
    if !saga.cause.is_empty() {
        lines.push(format!("cause {}", harmless(&saga.cause)));
    }
    if !saga.waiting_for.is_empty() {
        lines.push(format!("waits for {}", harmless(&saga.waiting_for.join(", "))));
    }
    if let Some(wake) = time(saga.wake_time.as_ref()) {
        lines.push(format!("acts by itself at {}", clock(wake, out.now)));
    }
    lines
}

fn steps(answer: &pb::GetSagaResponse, saga: &pb::Saga, out: &mut Out) -> Result<(), Failure> {
    const COLUMNS: &[Column] = &[
        Column::right("#"),
        Column::right("+TIME"),
        Column::left("STEP"),
        Column::right("TRIES"),
        Column::left("FORWARD"),
        Column::left("UNDO"),
        Column::left("ERROR"),
    ];
    let start = time(saga.start_time.as_ref());
    let rows: Vec<Vec<Cell>> = answer
        .steps
        .iter()
        .enumerate()
        .map(|(index, step)| {
            let (forward, undo) = lanes(step);
            let tries = match (step.attempts, step.attempts_max) {
                (0, _) => "-".to_owned(),
                (attempts, 0) => attempts.to_string(),
                (attempts, max) => format!("{attempts}/{max}"),
            };
            vec![
                (index + 1).to_string().into(),
                since(start, time(step.begin_time.as_ref())).into(),
                step.step.as_str().into(),
                tries.into(),
                forward,
                undo,
                or_blank(&step.error).into(),
            ]
        })
        .collect();
    let mut table = Table::new(COLUMNS, out.format == Format::Wide);
    for line in table.lines(&rows, out.paint) {
        out.line(line)?;
    }
    Ok(())
}

/// What stands in the lanes of a step: a word, and how long it took.
fn lanes(step: &pb::StepState) -> (Cell, Cell) {
    let (word, tone, lane) = phase_name(step.phase());
    let took =
        |from: Option<&pbjson_types::Timestamp>, to: Option<&pbjson_types::Timestamp>| match (time(from), time(to)) {
            (Some(from), Some(to)) => format!(" {}", length((to - from).to_std().unwrap_or_default())),
            (Some(_) | None, Some(_) | None) => String::new(),
        };
    let forward_took = took(step.begin_time.as_ref(), step.settle_time.as_ref());
    match lane {
        Lane::Forward | Lane::Unspecified => (Cell::toned(format!("{word}{forward_took}"), tone), "".into()),
        Lane::Undo => {
            let undo_took = took(step.undo_begin_time.as_ref(), step.undo_settle_time.as_ref());
            let forward = match step.settle_time {
                Some(_) => Cell::from(format!("done{forward_took}")),
                // Nobody learned whether it was done; undoing it makes sure.
                None => "unknown".into(),
            };
            (forward, Cell::toned(format!("{word}{undo_took}"), tone))
        }
    }
}

fn or_blank(text: &str) -> String {
    if text.is_empty() { String::new() } else { or_dash(text) }
}

fn since(start: Option<DateTime<Utc>>, time: Option<DateTime<Utc>>) -> String {
    match (start, time) {
        (Some(start), Some(time)) => {
            let millis = (time - start).num_milliseconds().max(0);
            format!("{}.{:03}s", millis / 1_000, millis % 1_000)
        }
        (Some(_) | None, Some(_) | None) => "-".to_owned(),
    }
}

/// A saga's events, a line each, forward and undo in lanes of their own.
pub struct Timeline {
    table: Table,
    start: Option<DateTime<Utc>>,
}

impl Timeline {
    /// Nothing is printed yet.
    #[must_use]
    pub fn new(saga: &pb::Saga) -> Self {
        const COLUMNS: &[Column] = &[
            Column::right("#"),
            Column::right("+TIME"),
            Column::left("STEP"),
            Column::right("TRY"),
            Column::left("FORWARD"),
            Column::left("UNDO"),
            Column::left("ACTOR"),
            Column::left("DETAIL"),
        ];
        Self { table: Table::new(COLUMNS, false), start: time(saga.start_time.as_ref()) }
    }

    /// Prints what is next.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn print(&mut self, entries: &[pb::TimelineEntry], out: &mut Out) -> Result<(), Failure> {
        let rows: Vec<Vec<Cell>> = entries.iter().map(|entry| self.row(entry)).collect();
        if rows.is_empty() {
            return Ok(());
        }
        for line in self.table.lines(&rows, out.paint) {
            out.line(line)?;
        }
        out.flush()
    }

    fn row(&self, entry: &pb::TimelineEntry) -> Vec<Cell> {
        let outcome = Cell::toned(&entry.outcome, tone(&entry.outcome));
        let (forward, undo) = match entry.lane() {
            Lane::Undo => ("".into(), outcome),
            Lane::Forward | Lane::Unspecified => (outcome, "".into()),
        };
        vec![
            entry.version.to_string().into(),
            since(self.start, time(entry.time.as_ref())).into(),
            if entry.step.is_empty() { "(saga)" } else { &entry.step }.into(),
            if entry.attempt == 0 { String::new() } else { entry.attempt.to_string() }.into(),
            forward,
            undo,
            or_blank(&entry.actor).into(),
            or_blank(&entry.detail).into(),
        ]
    }
}

fn tone(outcome: &str) -> Tone {
    match outcome {
        "done" | "undone" | "completed" => Tone::Good,
        "rejected" | "failed" | "parked" => Tone::Bad,
        "unknown" | "undoing" | "compensated" | "cancel requested" => Tone::Uneasy,
        _ => Tone::Plain,
    }
}

async fn follow(server: &Server, id: &str, session: &mut Session) -> Result<(), Failure> {
    let mut answer = find(server, id).await?;
    let saga = answer.saga.clone().unwrap_or_default();
    if session.out.is_for_people() {
        for line in heading(&saga, &session.out) {
            session.out.line(line)?;
        }
    }
    let mut timeline = Timeline::new(&saga);
    let mut told = 0;
    loop {
        let entries: Vec<_> = answer.timeline.into_iter().filter(|entry| entry.version > told).collect();
        told = entries.last().map_or(told, |entry| entry.version);
        if session.out.is_for_people() {
            timeline.print(&entries, &mut session.out)?;
        } else {
            for entry in &entries {
                session.out.line(json_line(entry)?)?;
            }
            session.out.flush()?;
        }
        let state = answer.saga.unwrap_or_default();
        if is_over(state.state()) {
            let step = step_name(&state.step, state.lane());
            tell(
                format!("saga/{} is over: {} {}", state.id, state_name(state.state()), step.trim_matches('-'))
                    .trim_end(),
            );
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN_AFTER) => {}
            interrupted = tokio::signal::ctrl_c() => {
                drop(interrupted);
                return Ok(());
            }
        }
        answer = super::get(server, &state.id).await?;
    }
}
