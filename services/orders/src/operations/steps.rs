//! Every step of a saga as it stands, and the definition's stages.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use farmera_proto::saga::v1 as pb;
use pb::step_state::Phase;
use saga::{Definition, Kind, Lane, Step, StepPhase, Until, pending};

use super::history::{Event, History};
use crate::projections::sagas::Usual;
use crate::sagas::{OrderProcess, participant};

/// What is usual for each step in each lane (the number of `TimelineEntry.Lane`).
pub type Usuals = HashMap<(String, i16), Usual>;

/// All steps of `definition` as they stand in `history`, those that were not begun included.
#[must_use]
pub fn steps(history: &History, definition: &Definition<OrderProcess>) -> Vec<pb::StepState> {
    let views = history.saga.steps();
    let pending = pending(&history.saga);
    let times = Times::of(history);
    let state = |step: &Step<OrderProcess>| {
        let name = step.name().as_str();
        let view = views.iter().find(|view| view.name == *name);
        let phase = view.map_or(Phase::Unspecified, |view| phase_of(view.phase));
        let wanted = pending.wanted.iter().find(|wanted| wanted.step == *name);
        let lane = wanted.map_or(Lane::Forward, |wanted| wanted.lane);
        let due = wanted.and_then(|wanted| match wanted.until {
            Until::Deadline(time) | Until::Retry(time) => Some(time),
            Until::Operator | Until::Release => None,
        });
        pb::StepState {
            step: name.to_owned(),
            participant: participant(name).to_owned(),
            phase: phase.into(),
            attempts: view.map_or(0, |view| view.attempts),
            attempts_max: step.ask().map_or(0, |ask| ask.policy(lane).attempts_max.get()),
            begin_time: times.at(&times.begun, name, Lane::Forward),
            settle_time: times.at(&times.settled, name, Lane::Forward),
            undo_begin_time: times.at(&times.begun, name, Lane::Undo),
            undo_settle_time: times.at(&times.settled, name, Lane::Undo),
            due_time: due.map(Into::into),
            error: times.errors.get(name).cloned().unwrap_or_default(),
        }
    };
    definition.steps().iter().map(state).collect()
}

/// When steps were begun and settled, and what was learned last of each.
#[derive(Default)]
pub(super) struct Times {
    begun: HashMap<(String, Lane), DateTime<Utc>>,
    settled: HashMap<(String, Lane), DateTime<Utc>>,
    errors: HashMap<String, String>,
}

impl Times {
    pub(super) fn of(history: &History) -> Self {
        let mut times = Self::default();
        for (recorded, event) in history.recorded.iter().zip(&history.events) {
            times.take(recorded.time, event);
        }
        times
    }

    /// Since when a step is sought in a lane.
    pub(super) fn begun(&self, step: &str, lane: Lane) -> Option<DateTime<Utc>> {
        self.begun.get(&(step.to_owned(), lane)).copied()
    }

    /// What was learned last of a step; empty when nothing was.
    pub(super) fn error(&self, step: &str) -> String {
        self.errors.get(step).cloned().unwrap_or_default()
    }

    fn at(
        &self,
        times: &HashMap<(String, Lane), DateTime<Utc>>,
        step: &str,
        lane: Lane,
    ) -> Option<pbjson_types::Timestamp> {
        times.get(&(step.to_owned(), lane)).copied().map(Into::into)
    }

    fn take(&mut self, time: DateTime<Utc>, event: &Event) {
        match event {
            Event::StepRequested { step, .. }
            | Event::StepAwaited { step, .. }
            | Event::ChildRequested { step, .. } => self.begin(step.as_str(), time, Lane::Forward),
            Event::CompensationRequested { step, .. } | Event::ChildUndoRequested { step, .. } => {
                self.begin(step.as_str(), time, Lane::Undo)
            }
            Event::StepSucceeded { step, .. } => {
                self.errors.remove(step.as_str());
                self.settle(step.as_str(), time, Lane::Forward);
            }
            Event::StepRejected { step, reason } => {
                self.errors.insert(step.to_string(), reason.to_string());
                self.settle(step.as_str(), time, Lane::Forward);
            }
            Event::StepSkipped { step, lane, .. } => self.settle(step.as_str(), time, *lane),
            Event::CompensationSucceeded { step } => self.settle(step.as_str(), time, Lane::Undo),
            Event::StepUnknown { step, detail, .. }
            | Event::CompensationFailed { step, detail, .. }
            | Event::Parked { step, detail, .. } => {
                self.errors.insert(step.to_string(), detail.clone());
            }
            Event::Started { .. }
            | Event::StepRetried { .. }
            | Event::CompensationStarted { .. }
            | Event::CancelRequested { .. }
            | Event::Resumed { .. }
            | Event::Paused { .. }
            | Event::Unpaused { .. }
            | Event::StepHeld { .. }
            | Event::StepReleased { .. }
            | Event::TimersShifted { .. }
            | Event::TimersFrozen { .. }
            | Event::TimersThawed { .. }
            | Event::TimerCancelled { .. }
            | Event::Migrated { .. }
            | Event::Abandoned { .. }
            | Event::Completed
            | Event::Compensated { .. } => {}
        }
    }

    fn begin(&mut self, step: &str, time: DateTime<Utc>, lane: Lane) {
        self.begun.entry((step.to_owned(), lane)).or_insert(time);
    }

    fn settle(&mut self, step: &str, time: DateTime<Utc>, lane: Lane) {
        // A local step is begun and settled at once.
        self.begin(step, time, lane);
        self.settled.insert((step.to_owned(), lane), time);
    }
}

fn phase_of(phase: StepPhase) -> Phase {
    match phase {
        StepPhase::Asked => Phase::Asked,
        StepPhase::Waiting => Phase::Waiting,
        StepPhase::Parked => Phase::Parked,
        StepPhase::Held => Phase::Held,
        StepPhase::UndoHeld => Phase::UndoHeld,
        StepPhase::Rejected => Phase::Rejected,
        StepPhase::Done => Phase::Done,
        StepPhase::Skipped => Phase::Skipped,
        StepPhase::Owed => Phase::Owed,
        StepPhase::UndoAsked => Phase::UndoAsked,
        StepPhase::UndoWaiting => Phase::UndoWaiting,
        StepPhase::UndoParked => Phase::UndoParked,
        StepPhase::Undone => Phase::Undone,
        StepPhase::UndoSkipped => Phase::UndoSkipped,
    }
}

/// The stages of a definition, each step with what is usual for it.
#[must_use]
pub fn stages(definition: &Definition<OrderProcess>, usuals: &Usuals) -> Vec<pb::DefinitionStage> {
    let stage = |stage: &[Step<OrderProcess>]| pb::DefinitionStage {
        steps: stage.iter().map(|step| definition_step(step, usuals)).collect(),
    };
    definition.stages().map(stage).collect()
}

fn definition_step(step: &Step<OrderProcess>, usuals: &Usuals) -> pb::DefinitionStep {
    use pb::definition_step::Kind as Told;
    let kind = match step.kind() {
        Kind::Compensatable => Told::Compensatable,
        Kind::Pivot => Told::Pivot,
        Kind::Retriable => Told::Retriable,
    };
    let name = step.name().as_str();
    let undo = step.ask().filter(|ask| ask.has_undo()).map(|ask| ask.policy(Lane::Undo).attempts_max.get());
    pb::DefinitionStep {
        name: name.to_owned(),
        kind: kind.into(),
        participant: participant(name).to_owned(),
        timeout: step.ask().map(|ask| duration(ask.timeout())),
        attempts_max: step.ask().map_or(0, |ask| ask.policy(Lane::Forward).attempts_max.get()),
        undo_attempts_max: undo.unwrap_or(0),
        usual: usual(usuals, name, Lane::Forward),
    }
}

/// What is usual for a step in a lane.
#[must_use]
pub fn usual(usuals: &Usuals, step: &str, lane: Lane) -> Option<pb::Usual> {
    let lane = match lane {
        Lane::Forward => 1,
        Lane::Undo => 2,
    };
    let usual = usuals.get(&(step.to_owned(), lane))?;
    Some(pb::Usual { p50: Some(duration(usual.p50)), p99: Some(duration(usual.p99)), count: usual.count })
}

/// A duration in the contract's words.
#[must_use]
pub fn duration(span: Duration) -> pbjson_types::Duration {
    let nanos = i32::try_from(span.subsec_nanos()).unwrap_or(0);
    pbjson_types::Duration { seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX), nanos }
}
