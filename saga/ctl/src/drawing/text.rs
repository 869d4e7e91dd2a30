//! For a terminal: a line per step, the way back beside it.

use super::{Mark, Picture, kind_name};

const LEGEND: &str = " OK done  >> at it  X refused or stuck  ~ left out  . not reached   ==> passed  --> not passed";

/// Draws it.
#[must_use]
pub fn draw(picture: &Picture) -> String {
    let width = picture.stages.iter().flatten().map(|node| node.name.chars().count()).max().unwrap_or(0);
    let mut lines = vec![picture.title.clone(), " (start)".to_owned()];
    for stage in &picture.stages {
        let is_passed = stage.iter().any(|node| node.forward != Mark::NotReached);
        for (index, node) in stage.iter().enumerate() {
            let arrow = match (index, is_passed) {
                (0, true) => "==>",
                (0, false) => "-->",
                (_, _) => " + ",
            };
            let sign = if picture.has_progress { node.forward.sign() } else { "" };
            let undo = node.undo.map(|mark| format!("<== undo {}", mark.sign())).unwrap_or_default();
            let kind = kind_name(node.kind);
            let kind = if kind.is_empty() { String::new() } else { format!("({kind})") };
            let line = format!("  {arrow} [{:<width$} {sign:<2}] {undo:<13} {kind}", node.name);
            lines.push(line.trim_end().to_owned());
        }
    }
    let arrow = if picture.end == Mark::Passed { "==>" } else { "-->" };
    lines.push(format!("  {arrow} ({})", picture.end_name));
    if picture.has_progress {
        lines.push(LEGEND.to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::tests::undoing;
    use super::*;

    #[test]
    fn the_way_back_stands_beside_the_way_forward() {
        let expected = "\
place-order@1 COMPENSATING
 (start)
  ==> [reserve   OK] <== undo >>
  ==> [authorize X ]
  --> [confirm   . ]               (no way back)
  --> [capture   . ]               (until done)
   +  [ship      . ]               (until done)
  --> (completed)
 OK done  >> at it  X refused or stuck  ~ left out  . not reached   ==> passed  --> not passed";
        assert_eq!(draw(&undoing()), expected);
    }
}
