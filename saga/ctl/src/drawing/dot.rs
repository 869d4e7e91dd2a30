//! For Graphviz.

use farmera_proto::saga::v1::definition_step::Kind;

use super::{Mark, Node, Picture};

/// Draws it.
#[must_use]
pub fn draw(picture: &Picture) -> String {
    let mut drawing = String::from("digraph saga {\n");
    line(&mut drawing, &format!("label=\"{}\"; labelloc=t; rankdir=LR;", quoted(&picture.title)));
    line(&mut drawing, "node [shape=box, style=filled, fillcolor=white, fontname=\"sans-serif\"];");
    line(&mut drawing, "start [shape=circle];");
    let mut before = vec!["start".to_owned()];
    for (column, stage) in picture.stages.iter().enumerate() {
        let ids: Vec<String> = (0..stage.len()).map(|row| format!("s{column}_{row}")).collect();
        for (node, id) in stage.iter().zip(&ids) {
            line(&mut drawing, &shape(node, id, picture.has_progress));
            let style = if node.forward == Mark::NotReached { "dashed" } else { "solid" };
            for from in &before {
                line(&mut drawing, &format!("{from} -> {id} [style={style}];"));
            }
            if let Some(mark) = node.undo {
                let (name, fill) = (quoted(&node.name), fill(mark));
                let label = format!("undo {name} {}", mark.sign());
                line(&mut drawing, &format!("u{id} [label=\"{label}\", fillcolor={fill}, style=\"filled,dashed\"];"));
                line(&mut drawing, &format!("{id} -> u{id} [style=dotted, constraint=false];"));
            }
        }
        before = ids;
    }
    let (name, fill) = (picture.end_name, fill(picture.end));
    line(&mut drawing, &format!("finish [label=\"{name}\", shape=doublecircle, fillcolor={fill}];"));
    for from in before {
        line(
            &mut drawing,
            &format!("{from} -> finish [style={}];", if picture.end == Mark::Passed { "solid" } else { "dashed" }),
        );
    }
    drawing.push('}');
    drawing
}

fn shape(node: &Node, id: &str, has_progress: bool) -> String {
    let shape = match node.kind {
        Kind::Unspecified | Kind::Compensatable => "box",
        Kind::Pivot => "hexagon",
        Kind::Retriable => "component",
    };
    let sign = if has_progress { format!(" {}", node.forward.sign()) } else { String::new() };
    let (name, fill) = (quoted(&node.name), fill(node.forward));
    format!("{id} [label=\"{name}{sign}\", shape={shape}, fillcolor={fill}];")
}

fn fill(mark: Mark) -> &'static str {
    match mark {
        Mark::NotReached => "white",
        Mark::Now => "lightblue",
        Mark::Passed => "palegreen",
        Mark::Failed => "lightpink",
        Mark::Skipped => "khaki",
    }
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
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
    fn what_is_not_reached_is_dashed() {
        let drawing = draw(&undoing());
        assert!(drawing.contains("s0_0 -> s1_0 [style=solid];") && drawing.contains("s1_0 -> s2_0 [style=dashed];"));
        assert!(drawing.starts_with("digraph") && drawing.ends_with('}'));
    }
}
