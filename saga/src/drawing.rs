use crate::definition::{Action, Definition, Step};
use crate::{Kind, Process};

impl<P: Process> Definition<P> {
    /// The definition as a Mermaid flowchart, for pages that people read. Drawn from what runs, so it cannot be out of
    /// date; a test that compares it with the page keeps the page in step.
    #[must_use]
    pub fn to_mermaid(&self) -> String {
        let mut drawing = format!("---\ntitle: {}\n---\nflowchart LR\n    start((start))\n", self.id());
        let mut before = vec!["start"];
        for stage in self.stages() {
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
        drawing
    }
}

fn node<P: Process>(step: &Step<P>) -> String {
    let name = step.name();
    let asks = match step.action() {
        Action::Ask(ask) => format!("<br/>within {:?}, {} times", ask.timeout(), ask.retry.attempts_max),
        Action::Local => "<br/>local".to_owned(),
    };
    match step.kind() {
        Kind::Compensatable => format!("{name}[\"{name}{asks}<br/>can be undone\"]"),
        Kind::Pivot => format!("{name}{{{{\"{name}{asks}<br/>no way back\"}}}}"),
        Kind::Retriable => format!("{name}[[\"{name}{asks}\"]]"),
    }
}

fn line(drawing: &mut String, text: &str) {
    drawing.push_str("    ");
    drawing.push_str(text);
    drawing.push('\n');
}
