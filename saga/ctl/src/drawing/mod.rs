//! Definitions as pictures, with the progress of a saga or without.
//!
//! One [`Picture`] is made from what the server says; [`text`], [`mermaid`], [`dot`] and [`svg`] only draw it. No state is
//! told by colour alone.

pub mod dot;
pub mod mermaid;
pub mod svg;
pub mod text;

use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::definition_step::Kind;
use farmera_proto::saga::v1::saga::State;
use farmera_proto::saga::v1::step_state::Phase;

use crate::output::words::harmless;
use crate::saga::state::state_name;

/// How far a step is, in one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Nothing was begun.
    NotReached,
    /// It is at it, or its turn comes.
    Now,
    /// Done.
    Passed,
    /// Refused, or it waits for an operator.
    Failed,
    /// Left out.
    Skipped,
}

impl Mark {
    /// The sign of it, the same in every drawing.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::NotReached => ".",
            Self::Now => ">>",
            Self::Passed => "OK",
            Self::Failed => "X",
            Self::Skipped => "~",
        }
    }
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What it is to the way back.
    pub kind: Kind,
    /// Who takes it; empty for a local step.
    pub participant: String,
    /// How far it is on the way forward.
    pub forward: Mark,
    /// How far it is on the way back; `None` when it is not on it.
    pub undo: Option<Mark>,
}

/// What is drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// `place-order@1`, with the saga's state behind it.
    pub title: String,
    /// Stages in order; the steps of one are taken at the same time.
    pub stages: Vec<Vec<Node>>,
    /// How far the end is.
    pub end: Mark,
    /// What the end is called.
    pub end_name: &'static str,
    /// True when there is progress to be shown.
    pub has_progress: bool,
}

impl Picture {
    /// A saga's definition with its progress; `None` when the server did not send the definition.
    #[must_use]
    pub fn of_saga(answer: &pb::GetSagaResponse) -> Option<Self> {
        let saga = answer.saga.clone().unwrap_or_default();
        if answer.stages.is_empty() {
            return None;
        }
        let stages = stages(&answer.stages, |name| {
            answer.steps.iter().find(|state| state.step == name).map_or(Phase::Unspecified, pb::StepState::phase)
        });
        let (end, end_name) = match saga.state() {
            State::Completed => (Mark::Passed, "completed"),
            State::Compensated => (Mark::Failed, "compensated"),
            State::Abandoned => (Mark::Failed, "abandoned"),
            State::Unspecified | State::Running | State::Compensating | State::Parked | State::Paused => {
                (Mark::NotReached, "completed")
            }
        };
        let (name, version) = (harmless(&saga.definition), saga.definition_version);
        let title = format!("{name}@{version} {}", state_name(saga.state()));
        Some(Self { title, stages, end, end_name, has_progress: true })
    }

    /// A definition as it is.
    #[must_use]
    pub fn of_definition(definition: &pb::Definition) -> Self {
        Self {
            title: format!("{}@{}", harmless(&definition.name), definition.version),
            stages: stages(&definition.stages, |_| Phase::Unspecified),
            end: Mark::NotReached,
            end_name: "completed",
            has_progress: false,
        }
    }
}

fn stages(stages: &[pb::DefinitionStage], phase_of: impl Fn(&str) -> Phase) -> Vec<Vec<Node>> {
    let node = |step: &pb::DefinitionStep| {
        let (forward, undo) = marks(phase_of(&step.name));
        Node { name: harmless(&step.name), kind: step.kind(), participant: harmless(&step.participant), forward, undo }
    };
    stages.iter().map(|stage| stage.steps.iter().map(node).collect()).collect()
}

fn marks(phase: Phase) -> (Mark, Option<Mark>) {
    match phase {
        Phase::Unspecified => (Mark::NotReached, None),
        Phase::Asked | Phase::Waiting | Phase::Held => (Mark::Now, None),
        Phase::Parked | Phase::Rejected => (Mark::Failed, None),
        Phase::Done => (Mark::Passed, None),
        Phase::Skipped => (Mark::Skipped, None),
        Phase::Owed => (Mark::Passed, Some(Mark::NotReached)),
        Phase::UndoAsked | Phase::UndoWaiting | Phase::UndoHeld => (Mark::Passed, Some(Mark::Now)),
        Phase::UndoParked => (Mark::Passed, Some(Mark::Failed)),
        Phase::Undone => (Mark::Passed, Some(Mark::Passed)),
        Phase::UndoSkipped => (Mark::Passed, Some(Mark::Skipped)),
    }
}

/// What a kind means, in a word; empty for the ordinary one.
#[must_use]
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Unspecified | Kind::Compensatable => "",
        Kind::Pivot => "no way back",
        Kind::Retriable => "until done",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// place-order, refused by the card after the goods were reserved, and being undone.
    pub(crate) fn undoing() -> Picture {
        let step = |name: &str, kind: Kind| pb::DefinitionStep {
            name: name.to_owned(),
            kind: kind.into(),
            ..Default::default()
        };
        let stage = |steps| pb::DefinitionStage { steps };
        let state = |step: &str, phase: Phase| pb::StepState {
            step: step.to_owned(),
            phase: phase.into(),
            ..Default::default()
        };
        let answer = pb::GetSagaResponse {
            saga: Some(pb::Saga {
                definition: "place-order".to_owned(),
                definition_version: 1,
                state: State::Compensating.into(),
                ..pb::Saga::default()
            }),
            stages: vec![
                stage(vec![step("reserve", Kind::Compensatable)]),
                stage(vec![step("authorize", Kind::Compensatable)]),
                stage(vec![step("confirm", Kind::Pivot)]),
                stage(vec![step("capture", Kind::Retriable), step("ship", Kind::Retriable)]),
            ],
            steps: vec![state("reserve", Phase::UndoAsked), state("authorize", Phase::Rejected)],
            ..pb::GetSagaResponse::default()
        };
        Picture::of_saga(&answer).unwrap()
    }

    #[test]
    fn without_a_definition_there_is_no_picture() {
        assert_eq!(Picture::of_saga(&pb::GetSagaResponse::default()), None);
    }
}
