//! Drawings of a definition, and of where a saga stands on it. Drawn from what runs, so they cannot be out of date; a test
//! that compares one with its page keeps the page in step.

mod dot;
mod mermaid;
mod text;

use crate::definition::{Action, Definition, Step};
use crate::{Kind, Process, Saga, StepPhase, StepView};

/// How to draw.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Drawing {
    /// A Mermaid flowchart, for pages.
    Mermaid,
    /// A Graphviz digraph.
    Dot,
    /// Plain text, for terminals: a line per step.
    Text,
}

/// Draws `definition`: the way forward, the way back, and the point of no return. With a saga of it, also how far it is.
#[must_use]
pub fn render<P: Process>(definition: &Definition<P>, saga: Option<&Saga<P>>, drawing: Drawing) -> String {
    let progress = Progress(saga.map(Saga::steps).unwrap_or_default());
    match drawing {
        Drawing::Mermaid => mermaid::draw(definition, &progress),
        Drawing::Dot => dot::draw(definition, &progress),
        Drawing::Text => text::draw(definition, saga, &progress),
    }
}

impl<P: Process> Definition<P> {
    /// The definition as a Mermaid flowchart; see [`render`].
    #[must_use]
    pub fn to_mermaid(&self) -> String {
        render(self, None, Drawing::Mermaid)
    }
}

/// How far the steps of a saga are; empty without one.
struct Progress(Vec<StepView>);

impl Progress {
    fn of<P: Process>(&self, step: &Step<P>) -> Option<&StepView> {
        self.0.iter().find(|view| view.name == step.name)
    }
}

/// What a step does, in a few words.
fn asks<P: Process>(step: &Step<P>) -> String {
    let Action::Ask(ask) = step.action() else { return "local".to_owned() };
    let whom = match (ask.child(), ask.participant()) {
        (Some(child), _) => format!("runs {child}, "),
        (None, Some(participant)) => format!("{participant}, "),
        (None, None) if ask.is_awaited() => "word from outside, ".to_owned(),
        (None, None) => String::new(),
    };
    let condition = if ask.is_conditional() { ", only if needed" } else { "" };
    format!("{whom}within {:?}, {} times{condition}", ask.timeout(), ask.retry.attempts_max)
}

/// Whether anything is done when the step is undone.
fn is_undone<P: Process>(step: &Step<P>) -> bool {
    step.kind() == Kind::Compensatable && step.ask().is_some_and(crate::Ask::has_undo)
}

/// The stages of the way back, the last first, without those that have nothing to undo.
fn way_back<P: Process>(definition: &Definition<P>) -> impl Iterator<Item = Vec<&Step<P>>> {
    let stages = definition.stages().rev().map(|stage| stage.iter().filter(|step| is_undone(step)).collect::<Vec<_>>());
    stages.filter(|stage| !stage.is_empty())
}

/// Where a step stands, in a word, and whether that is about its undoing.
fn standing(phase: StepPhase) -> (&'static str, bool) {
    match phase {
        StepPhase::Asked => ("asked", false),
        StepPhase::Waiting => ("waiting", false),
        StepPhase::Parked => ("parked", false),
        StepPhase::Held => ("held", false),
        StepPhase::Rejected => ("rejected", false),
        StepPhase::Done | StepPhase::Owed => ("done", false),
        StepPhase::Skipped => ("skipped", false),
        StepPhase::UndoAsked => ("asked", true),
        StepPhase::UndoWaiting => ("waiting", true),
        StepPhase::UndoParked => ("parked", true),
        StepPhase::UndoHeld => ("held", true),
        StepPhase::Undone => ("done", true),
        StepPhase::UndoSkipped => ("skipped", true),
    }
}
