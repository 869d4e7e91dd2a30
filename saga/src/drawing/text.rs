use std::fmt::Write as _;

use super::{Progress, asks, is_undone, standing};
use crate::definition::Definition;
use crate::{Kind, Process, Saga};

/// A line per step: where it stands, what it is, whether it can be undone. Steps of a group share their number.
pub(super) fn draw<P: Process>(definition: &Definition<P>, saga: Option<&Saga<P>>, progress: &Progress) -> String {
    let mut drawing = definition.id().to_string();
    if let Some(saga) = saga {
        let _ = write!(drawing, ": {:?}", saga.status());
    }
    drawing.push('\n');
    let width = definition.steps().iter().map(|step| step.name().as_str().len()).max().unwrap_or(0);
    for (number, stage) in (1..).zip(definition.stages()) {
        for step in stage {
            let mark = match step.kind() {
                Kind::Compensatable if is_undone(step) => "<->",
                Kind::Compensatable => "-->",
                Kind::Pivot => "=|=",
                Kind::Retriable => "==>",
            };
            let stands = match progress.of(step).map(|view| standing(view.phase)) {
                Some((word, false)) => format!(" [{word}]"),
                Some((word, true)) => format!(" [undo: {word}]"),
                None => String::new(),
            };
            let _ = writeln!(drawing, "{number:>3} {mark} {:width$}  {}{stands}", step.name().as_str(), asks(step));
        }
    }
    drawing.push_str("    <-> can be undone, --> needs no undoing, =|= no way back, ==> tried until it is done\n");
    drawing
}
