//! A picture that any browser shows: stages from left to right, the way back below.

use super::{Mark, Node, Picture, kind_name};

const WIDTH: usize = 170;
const HEIGHT: usize = 44;
const GAP: usize = 40;
const TOP: usize = 50;

/// Draws it.
#[must_use]
pub fn draw(picture: &Picture) -> String {
    let rows = picture.stages.iter().map(Vec::len).max().unwrap_or(1).max(1);
    // A row is a step and, below it, its undoing.
    let row_height = 2 * HEIGHT + GAP;
    let columns = picture.stages.len() + 1;
    let (width, height) = (columns * (WIDTH + GAP) + GAP, TOP + rows * row_height);
    let mut drawing = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <title>{0}</title>\n<text x=\"{GAP}\" y=\"28\" font-size=\"16\">{0}</text>\n",
        escaped(&picture.title)
    );
    for (column, stage) in picture.stages.iter().enumerate() {
        for (row, node) in stage.iter().enumerate() {
            let (x, y) = (GAP + column * (WIDTH + GAP), TOP + row * row_height);
            arrow(&mut drawing, x, y, node.forward != Mark::NotReached);
            step(&mut drawing, node, x, y, picture.has_progress);
        }
    }
    let x = GAP + picture.stages.len() * (WIDTH + GAP);
    arrow(&mut drawing, x, TOP, picture.end == Mark::Passed);
    rectangle(&mut drawing, (x, TOP), picture.end, picture.end_name, HEIGHT / 2, false);
    drawing.push_str("</svg>");
    drawing
}

fn step(drawing: &mut String, node: &Node, x: usize, y: usize, has_progress: bool) {
    let sign = if has_progress { format!(" {}", node.forward.sign()) } else { String::new() };
    rectangle(drawing, (x, y), node.forward, &format!("{}{sign}", node.name), 4, false);
    let kind = kind_name(node.kind);
    if !kind.is_empty() {
        push(drawing, &format!("<text x=\"{x}\" y=\"{}\" font-size=\"10\">{kind}</text>", y - 4));
    }
    if let Some(mark) = node.undo {
        let below = y + HEIGHT + GAP / 2;
        let middle = x + WIDTH / 2;
        let line = format!("<line x1=\"{middle}\" y1=\"{}\" x2=\"{middle}\" y2=\"{below}\"", y + HEIGHT);
        push(drawing, &format!("{line} stroke=\"black\" stroke-dasharray=\"2 3\"/>"));
        rectangle(drawing, (x, below), mark, &format!("undo {}", mark.sign()), 4, true);
    }
}

fn arrow(drawing: &mut String, x: usize, y: usize, is_passed: bool) {
    let middle = y + HEIGHT / 2;
    let dashes = if is_passed { "" } else { " stroke-dasharray=\"5 4\"" };
    let line = format!("<line x1=\"{}\" y1=\"{middle}\" x2=\"{}\" y2=\"{middle}\"", x - GAP, x - 6);
    push(drawing, &format!("{line} stroke=\"black\"{dashes}/>"));
    let (left, up, down) = (x - 8, middle - 4, middle + 4);
    push(drawing, &format!("<path d=\"M{left} {up} L{x} {middle} L{left} {down} z\"/>"));
}

fn rectangle(drawing: &mut String, (x, y): (usize, usize), mark: Mark, label: &str, radius: usize, is_dashed: bool) {
    let fill = match mark {
        Mark::NotReached => "#ffffff",
        Mark::Now => "#cfe5ff",
        Mark::Passed => "#d3f2d3",
        Mark::Failed => "#ffd6d6",
        Mark::Skipped => "#fdf3c4",
    };
    let dashes = if is_dashed { " stroke-dasharray=\"4 3\"" } else { "" };
    let place = format!("<rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"{radius}\"");
    push(drawing, &format!("{place} fill=\"{fill}\" stroke=\"black\"{dashes}/>"));
    let (middle, line) = (x + WIDTH / 2, y + HEIGHT / 2 + 5);
    push(drawing, &format!("<text x=\"{middle}\" y=\"{line}\" text-anchor=\"middle\">{}</text>", escaped(label)));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn push(drawing: &mut String, text: &str) {
    drawing.push_str(text);
    drawing.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::tests::undoing;
    use super::*;

    #[test]
    fn a_name_never_becomes_a_part_of_the_picture() {
        let mut picture = undoing();
        picture.title = "<script>".to_owned();
        let drawing = draw(&picture);
        assert!(!drawing.contains("<script>") && drawing.contains("&lt;script&gt;"));
        assert!(drawing.contains("undo &gt;&gt;"), "{drawing}");
    }
}
