//! What people and programs read.

use std::io::{IsTerminal, Write};

use chrono::{DateTime, FixedOffset, Local, Utc};
use clap::ValueEnum;
use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use serde::Serialize;

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: the contract's message as proto3 JSON.
    Json,
}

/// `time` in the zone of whoever looks: that of `TZ`, or else of this machine. Programs get UTC.
#[must_use]
pub fn local(time: DateTime<Utc>) -> DateTime<FixedOffset> {
    time.with_timezone(&Local).fixed_offset()
}

/// Says on stderr that a list is not as of now, where it is not.
pub fn tell_lag(lags: bool) {
    if lags {
        let line =
            "it lags: what was done in the last moments may be missing; ask again, or see: farmera projection list";
        drop(writeln!(std::io::stderr().lock(), "{line}"));
    }
}

/// Whether colours make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint(bool);

impl Paint {
    /// On a terminal, unless `NO_COLOR` is set or the terminal is dumb.
    #[must_use]
    pub fn of_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self(std::io::stdout().is_terminal() && !refused && !dumb)
    }

    /// No colours.
    #[must_use]
    pub fn plain() -> Self {
        Self(false)
    }

    /// Fine.
    #[must_use]
    pub fn good(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// Wrong.
    #[must_use]
    pub fn bad(self, text: &str) -> String {
        self.wrap("31", text)
    }

    /// A heading.
    #[must_use]
    pub fn strong(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// By the way.
    #[must_use]
    pub fn faint(self, text: &str) -> String {
        self.wrap("2", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// A table without lines under upper-case headings, the numbers of `right` aligned to the right.
    #[must_use]
    pub fn table(self, headings: &[&str], right: &[usize]) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if self.0 {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(headings.iter().map(|heading| Cell::new(heading.to_uppercase())));
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if right.contains(&index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    /// A cell with a colour, where colours make sense.
    #[must_use]
    pub fn cell(self, text: &str, color: Option<Color>) -> Cell {
        match color {
            Some(color) if self.0 => Cell::new(text).fg(color),
            Some(_) | None => Cell::new(text),
        }
    }
}

/// Writes a line. A reader that went away (`| head`) is no error of ours. Colours pass; everything else that would drive
/// a terminal, or that nobody sees, is written out.
pub fn line(text: impl AsRef<str>) {
    drop(writeln!(std::io::stdout().lock(), "{}", painted(text.as_ref())));
}

fn painted(text: &str) -> String {
    let mut pieces = text.split("\u{1b}[");
    let mut safe = text::shown_lines(pieces.next().unwrap_or_default());
    for piece in pieces {
        let paint = piece.find(|letter: char| !letter.is_ascii_digit() && letter != ';').unwrap_or(piece.len());
        let before = if piece.get(paint..).is_some_and(|rest| rest.starts_with('m')) { "\u{1b}[" } else { "\\u{1b}[" };
        safe.push_str(before);
        safe.push_str(&text::shown_lines(piece));
    }
    safe
}

/// Writes a table without trailing blanks.
pub fn table(table: &Table) {
    line(trimmed(&table.to_string()));
}

/// `text` without blanks at the ends of its lines.
#[must_use]
pub fn trimmed(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Writes a value as JSON, for people to read, too.
pub fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => line(text::shown_json(&text)),
        Err(error) => line(format!("{{\"error\":{:?}}}", error.to_string())),
    }
}

/// Writes a value as one line of JSON.
pub fn json_line(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => line(text::shown_json(&text)),
        Err(error) => line(format!("{{\"error\":{:?}}}", error.to_string())),
    }
}

/// `12,345`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An amount for people: `12.50 EUR`; `-` when there is none.
#[must_use]
pub fn amount(money: Option<&farmera_proto::common::v1::Money>) -> String {
    match money {
        None => "-".to_owned(),
        Some(money) => chassis::money::from_proto(money)
            .map_or_else(|| format!("{} {}", money.minor_units, money.currency_code), |money| money.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn colours_pass_and_nothing_else_that_drives_a_terminal() {
        let text = "\u{1b}[31mbad\u{1b}[0m\n\u{1b}[2Jä\u{202e}b\u{1b}]0;x";
        assert_eq!(painted(text), "\u{1b}[31mbad\u{1b}[0m\n\\u{1b}[2Jä\\u{202e}b\\u{1b}]0;x");
    }

    #[test]
    fn a_plain_table_has_no_escapes() {
        let mut table = Paint::plain().table(&["name", "units"], &[1]);
        table.add_row(vec![Paint::plain().cell("kale", Some(Color::Green)), Cell::new(7)]);
        assert_eq!(trimmed(&table.to_string()), "NAME  UNITS\nkale      7");
    }
}
