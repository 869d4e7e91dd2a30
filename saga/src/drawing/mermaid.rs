use super::{Progress, asks, standing, way_back};
use crate::definition::{Definition, Step};
use crate::{Kind, Process};

/// Colours of what a step may be.
const CLASSES: &str = "    classDef done fill:#d7f0d7,stroke:#3a7a3a
    classDef asked fill:#dbe8fb,stroke:#2f5f9e
    classDef waiting fill:#fdf3cf,stroke:#a07c10
    classDef held fill:#e8e0f5,stroke:#6b4fa0
    classDef parked fill:#fbdcdc,stroke:#a03030
    classDef rejected fill:#fbdcdc,stroke:#a03030
    classDef skipped fill:#eeeeee,stroke:#888888
";

pub(super) fn draw<P: Process>(definition: &Definition<P>, progress: &Progress) -> String {
    let mut drawing = format!("---\ntitle: {}\n---\nflowchart LR\n    start((start))\n", definition.id());
    let mut before = vec!["start"];
    for stage in definition.stages() {
        for step in stage {
            line(&mut drawing, &node(step));
            for from in &before {
                line(&mut drawing, &format!("{from} --> {}", step.name()));
            }
        }
        before = stage.iter().map(|step| step.name().as_str()).collect();
    }
    line(&mut drawing, "completed(((completed)))");
    for from in before {
        line(&mut drawing, &format!("{from} --> completed"));
    }
    back(&mut drawing, definition);
    classes(&mut drawing, definition, progress);
    drawing
}

fn node<P: Process>(step: &Step<P>) -> String {
    let (name, asks) = (step.name(), asks(step));
    match step.kind() {
        Kind::Compensatable => format!("{name}[\"{name}<br/>{asks}\"]"),
        Kind::Pivot => format!("{name}{{{{\"{name}<br/>{asks}<br/>no way back\"}}}}"),
        Kind::Retriable => format!("{name}[[\"{name}<br/>{asks}\"]]"),
    }
}

/// The way back below: each undo, the last step's first, and where it begins.
fn back<P: Process>(drawing: &mut String, definition: &Definition<P>) {
    let stages: Vec<_> = way_back(definition).collect();
    if stages.is_empty() {
        return;
    }
    line(drawing, "compensated(((compensated)))");
    for stage in &stages {
        for step in stage {
            let name = step.name();
            line(drawing, &format!("undo-{name}([\"undo {name}\"])"));
            line(drawing, &format!("{name} -. undo .-> undo-{name}"));
        }
    }
    for (from, to) in stages.iter().zip(stages.iter().skip(1)) {
        for (from, to) in from.iter().flat_map(|from| to.iter().map(move |to| (from, to))) {
            line(drawing, &format!("undo-{} --> undo-{}", from.name(), to.name()));
        }
    }
    for step in stages.last().into_iter().flatten() {
        line(drawing, &format!("undo-{} --> compensated", step.name()));
    }
}

fn classes<P: Process>(drawing: &mut String, definition: &Definition<P>, progress: &Progress) {
    let standing = definition.steps().iter().filter_map(|step| Some((step, standing(progress.of(step)?.phase))));
    let mut classes = standing.peekable();
    if classes.peek().is_some() {
        drawing.push_str(CLASSES);
    }
    for (step, (word, is_undo)) in classes {
        let name = step.name();
        let node = if is_undo { format!("undo-{name}") } else { name.to_string() };
        line(drawing, &format!("class {node} {word}"));
    }
}

fn line(drawing: &mut String, text: &str) {
    drawing.push_str("    ");
    drawing.push_str(text);
    drawing.push('\n');
}
