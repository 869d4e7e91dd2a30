//! Tables without lines. Widths grow from page to page and never shrink, so that a long listing can be printed while it
//! arrives.

use super::paint::{Paint, Tone};
use super::words::harmless;

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Upper case, without blanks.
    pub heading: &'static str,
    /// Numbers end at the same place.
    pub right: bool,
    /// Only shown by `-o wide`.
    pub wide: bool,
}

impl Column {
    /// Text.
    #[must_use]
    pub const fn left(heading: &'static str) -> Self {
        Self { heading, right: false, wide: false }
    }

    /// Numbers.
    #[must_use]
    pub const fn right(heading: &'static str) -> Self {
        Self { heading, right: true, wide: false }
    }

    /// Only shown by `-o wide`.
    #[must_use]
    pub const fn wide(self) -> Self {
        Self { wide: true, ..self }
    }
}

/// What stands in a row under a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// `text` with what it means.
    #[must_use]
    pub fn toned(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { text: harmless(text.as_ref()), tone }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

/// The widths of a table's columns so far.
#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    widths: Vec<usize>,
    wide: bool,
    headed: bool,
}

impl Table {
    /// A table of these columns.
    #[must_use]
    pub fn new(columns: &[Column], wide: bool) -> Self {
        let widths = columns.iter().map(|column| column.heading.chars().count()).collect();
        Self { columns: columns.to_vec(), widths, wide, headed: false }
    }

    /// The lines of `rows`, under the headings when these are the first.
    pub fn lines(&mut self, rows: &[Vec<Cell>], paint: Paint) -> Vec<String> {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let mut lines = Vec::with_capacity(rows.len() + 1);
        if !self.headed {
            self.headed = true;
            let headings: Vec<Cell> =
                self.columns.iter().map(|column| Cell::toned(column.heading, Tone::Strong)).collect();
            lines.push(self.line(&headings, paint));
        }
        lines.extend(rows.iter().map(|row| self.line(row, paint)));
        lines
    }

    fn line(&self, cells: &[Cell], paint: Paint) -> String {
        let mut line = String::new();
        let mut owed = 0;
        for ((column, width), cell) in self.columns.iter().zip(&self.widths).zip(cells) {
            if column.wide && !self.wide {
                continue;
            }
            let missing = width.saturating_sub(cell.text.chars().count());
            let (before, behind) = if column.right { (missing, 0) } else { (0, missing) };
            if !cell.text.is_empty() {
                line.push_str(&" ".repeat(owed + before));
                line.push_str(&paint.tint(cell.tone, &cell.text));
                owed = behind + 2;
            } else {
                owed += width + 2;
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_blanks_at_their_ends() {
        let mut table = Table::new(&[Column::left("NAME"), Column::right("UNITS"), Column::left("NOTE")], false);
        let rows = [vec!["kale".into(), "7".into(), "".into()], vec!["".into(), "12".into(), "x".into()]];
        let expected = ["NAME  UNITS  NOTE", "kale      7", "         12  x"];
        assert_eq!(table.lines(&rows, Paint::plain()), expected);
    }

    #[test]
    fn a_second_page_has_no_headings_and_keeps_the_widths() {
        let mut table = Table::new(&[Column::left("A"), Column::left("B").wide(), Column::left("C")], false);
        let first = table.lines(&[vec!["long".into(), "hidden".into(), "1".into()]], Paint::plain());
        let second = table.lines(&[vec!["x".into(), "hidden".into(), "2".into()]], Paint::plain());
        assert_eq!((first, second), (vec!["A     C".to_owned(), "long  1".to_owned()], vec!["x     2".to_owned()]));
    }
}
