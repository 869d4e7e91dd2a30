//! A Mermaid flowchart.

use farmera_proto::saga::v1::definition_step::Kind;

use super::{Mark, Node, Picture};

/// Draws it.
#[must_use]
pub fn draw(picture: &Picture) -> String {
    let mut drawing = format!("---\ntitle: \"{}\"\n---\nflowchart LR\n    start((start))\n", quoted(&picture.title));
    let mut before = vec!["start".to_owned()];
    let mut undone: Vec<String> = Vec::new();
    for (column, stage) in picture.stages.iter().enumerate() {
        let ids: Vec<String> = (0..stage.len()).map(|row| format!("s{column}_{row}")).collect();
        for (node, id) in stage.iter().zip(&ids) {
            line(&mut drawing, &shape(node, id, picture.has_progress));
            let arrow = if node.forward == Mark::NotReached { "-.->" } else { "-->" };
            for from in &before {
                line(&mut drawing, &format!("{from} {arrow} {id}"));
            }
            if let Some(mark) = node.undo {
                line(&mut drawing, &format!("{id} -.-> u{id}[/\"undo {} {}\"/]", quoted(&node.name), mark.sign()));
                undone.push(format!("u{id}"));
            }
        }
        before = ids;
    }
    line(&mut drawing, &format!("finish((({})))", picture.end_name));
    for from in before {
        line(&mut drawing, &format!("{from} {} finish", if picture.end == Mark::Passed { "-->" } else { "-.->" }));
    }
    if !undone.is_empty() {
        line(&mut drawing, "classDef undo stroke-dasharray: 4 3");
        line(&mut drawing, &format!("class {} undo", undone.join(",")));
    }
    drawing.trim_end().to_owned()
}

fn shape(node: &Node, id: &str, has_progress: bool) -> String {
    let sign = if has_progress { format!(" {}", node.forward.sign()) } else { String::new() };
    let label = format!("{}{sign}", quoted(&node.name));
    match node.kind {
        Kind::Unspecified | Kind::Compensatable => format!("{id}[\"{label}\"]"),
        Kind::Pivot => format!("{id}{{{{\"{label}\"}}}}"),
        Kind::Retriable => format!("{id}[[\"{label}\"]]"),
    }
}

fn quoted(text: &str) -> String {
    text.replace('"', "#quot;")
}

fn line(drawing: &mut String, text: &str) {
    drawing.push_str("    ");
    drawing.push_str(text);
    drawing.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::tests::undoing;
    use super::*;

    #[test]
    fn undoing_hangs_on_what_is_undone() {
        let drawing = draw(&undoing());
        assert!(drawing.contains("s0_0[\"reserve OK\"]") && drawing.contains("s0_0 -.-> us0_0[/\"undo reserve >>\"/]"));
        assert!(drawing.contains("s2_0 -.-> s3_1"), "{drawing}");
    }
}
