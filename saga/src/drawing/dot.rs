use super::{Progress, asks, standing, way_back};
use crate::definition::{Definition, Step};
use crate::{Kind, Process};

pub(super) fn draw<P: Process>(definition: &Definition<P>, progress: &Progress) -> String {
    let mut drawing = format!("digraph \"{}\" {{\n", definition.id());
    line(&mut drawing, "rankdir=LR; node [fontname=\"sans-serif\"];");
    line(&mut drawing, "start [shape=circle]; completed [shape=doublecircle];");
    let mut before = vec!["start"];
    for stage in definition.stages() {
        for step in stage {
            line(&mut drawing, &node(step, progress));
            for from in &before {
                line(&mut drawing, &format!("\"{from}\" -> \"{}\";", step.name()));
            }
        }
        before = stage.iter().map(|step| step.name().as_str()).collect();
    }
    for from in before {
        line(&mut drawing, &format!("\"{from}\" -> completed;"));
    }
    back(&mut drawing, definition, progress);
    drawing.push_str("}\n");
    drawing
}

fn node<P: Process>(step: &Step<P>, progress: &Progress) -> String {
    let name = step.name();
    let shape = match step.kind() {
        Kind::Compensatable => "box",
        Kind::Pivot => "hexagon, peripheries=2",
        Kind::Retriable => "box, style=rounded",
    };
    let stands = match progress.of(step).map(|view| standing(view.phase)) {
        Some((word, false)) => format!("\\n[{word}]"),
        Some((_, true)) | None => String::new(),
    };
    format!("\"{name}\" [shape={shape}, label=\"{name}\\n{}{stands}\"];", asks(step))
}

fn back<P: Process>(drawing: &mut String, definition: &Definition<P>, progress: &Progress) {
    let stages: Vec<_> = way_back(definition).collect();
    if stages.is_empty() {
        return;
    }
    line(drawing, "compensated [shape=doublecircle];");
    for step in stages.iter().flatten() {
        let name = step.name();
        let stands = match progress.of(step).map(|view| standing(view.phase)) {
            Some((word, true)) => format!("\\n[{word}]"),
            Some((_, false)) | None => String::new(),
        };
        line(drawing, &format!("\"undo-{name}\" [shape=ellipse, label=\"undo {name}{stands}\"];"));
        line(drawing, &format!("\"{name}\" -> \"undo-{name}\" [style=dashed];"));
    }
    for (from, to) in stages.iter().zip(stages.iter().skip(1)) {
        for (from, to) in from.iter().flat_map(|from| to.iter().map(move |to| (from, to))) {
            line(drawing, &format!("\"undo-{}\" -> \"undo-{}\";", from.name(), to.name()));
        }
    }
    for step in stages.last().into_iter().flatten() {
        line(drawing, &format!("\"undo-{}\" -> compensated;", step.name()));
    }
}

fn line(drawing: &mut String, text: &str) {
    drawing.push_str("    ");
    drawing.push_str(text);
    drawing.push('\n');
}
