//! What people and programs read: data on standard output, messages on standard error.
//!
//! * [`table`]: tables for people;
//! * [`words`]: ages, amounts and the like;
//! * [`paint`]: colours, where they make sense;
//! * [`screen`]: a terminal's screen.

pub mod keys;
pub mod paint;
pub mod screen;
pub mod table;
pub mod words;

use std::io::{BufWriter, ErrorKind, IsTerminal, LineWriter, Write};

use chrono::{DateTime, Utc};
use clap::ValueEnum;
use serde::Serialize;

use crate::failure::Failure;
use paint::{Paint, Tone};
use screen::Frame;
use table::{Cell, Column, Table};

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For people with a wide screen.
    Wide,
    /// For programs: the contracts' messages as proto3 JSON.
    Json,
    /// The same, a line each: the form for what does not end.
    Jsonl,
    /// The same as YAML.
    Yaml,
    /// Only names, a line each, as other commands take them.
    Name,
}

/// Something with a name of its own that is listed, and printed whole for programs.
pub trait Listed: Serialize {
    /// Its columns; the first is NAME, the last of the default ones an age where there is one.
    const COLUMNS: &'static [Column];

    /// What other commands call it.
    fn name(&self) -> String;

    /// What stands in its row, a cell per column.
    fn cells(&self, now: DateTime<Utc>) -> Vec<Cell>;
}

/// Where answers go.
pub struct Out {
    /// Their form.
    pub format: Format,
    /// Their colours.
    pub paint: Paint,
    /// The moment from which ages are counted.
    pub now: DateTime<Utc>,
    /// Lines that are gathered to be shown at once.
    frame: Option<Frame>,
    sink: Box<dyn Write + Send>,
}

impl Out {
    /// Answers go to `sink`.
    pub fn new(format: Format, paint: Paint, now: DateTime<Utc>, sink: impl Write + Send + 'static) -> Self {
        Self { format, paint, now, frame: None, sink: Box::new(BufWriter::new(sink)) }
    }

    /// Answers go to standard output: at once where a person looks, in large pieces where a program reads.
    #[must_use]
    pub fn standard(format: Format, paint: Paint, now: DateTime<Utc>) -> Self {
        let out = std::io::stdout();
        let sink: Box<dyn Write + Send> =
            if out.is_terminal() { Box::new(LineWriter::new(out)) } else { Box::new(BufWriter::new(out)) };
        Self { format, paint, now, frame: None, sink }
    }

    /// True when a person reads tables.
    #[must_use]
    pub fn is_for_people(&self) -> bool {
        match self.format {
            Format::Table | Format::Wide => true,
            Format::Json | Format::Jsonl | Format::Yaml | Format::Name => false,
        }
    }

    /// Writes a line.
    ///
    /// # Errors
    /// [`Failure::ReaderGone`], or [`Failure::Failed`] when the output cannot be written.
    pub fn line(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        if let Some(frame) = &mut self.frame {
            frame.line(text.as_ref());
            return Ok(());
        }
        writeln!(self.sink, "{}", text.as_ref()).map_err(|error| unwritten(&error))
    }

    /// True when a person reads tables on a terminal.
    #[must_use]
    pub fn is_on_terminal(&self) -> bool {
        self.is_for_people() && std::io::stdout().is_terminal()
    }

    /// Gathers what is written from now on to one frame of a screen.
    pub fn begin_frame(&mut self) {
        self.frame = Some(Frame::new(screen::width()));
    }

    /// Writes the frame, if there is one, and everything else out.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn end_frame(&mut self) -> Result<(), Failure> {
        if let Some(frame) = self.frame.take() {
            write!(self.sink, "{}", frame.whole()).map_err(|error| unwritten(&error))?;
        }
        self.flush()
    }

    /// Writes everything out.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.sink.flush().map_err(|error| unwritten(&error))
    }

    /// Tells the person something that is no data, behind the data so far.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn tell(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        if self.frame.is_some() {
            return self.line(words::harmless_lines(text.as_ref()));
        }
        self.flush()?;
        tell(text);
        Ok(())
    }

    /// `text` in a colour.
    #[must_use]
    pub fn tint(&self, tone: Tone, text: &str) -> String {
        self.paint.tint(tone, text)
    }

    /// Writes one thing for programs, or says that `name` is for people: the caller draws it then.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn whole(&mut self, name: &str, thing: &impl Serialize) -> Result<bool, Failure> {
        let text = match self.format {
            Format::Table | Format::Wide => return Ok(false),
            Format::Json => json_lines(thing)?,
            Format::Jsonl => json_line(thing)?,
            Format::Yaml => yaml(thing)?,
            Format::Name => name.to_owned(),
        };
        self.line(text)?;
        Ok(true)
    }

    /// Writes a listing that is here as a whole.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn list<T: Listed>(&mut self, things: &[T]) -> Result<(), Failure> {
        let mut listing = Listing::begin::<T>(self);
        listing.page(self, things)?;
        listing.end(self)
    }
}

/// A listing that is printed page by page; only one page is in memory.
pub struct Listing {
    table: Table,
    count: usize,
}

impl Listing {
    /// Nothing is printed yet.
    #[must_use]
    pub fn begin<T: Listed>(out: &Out) -> Self {
        Self { table: Table::new(T::COLUMNS, out.format == Format::Wide), count: 0 }
    }

    /// How many were printed.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Prints what is next.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn page<T: Listed>(&mut self, out: &mut Out, things: &[T]) -> Result<(), Failure> {
        match out.format {
            Format::Table | Format::Wide => {
                let rows: Vec<_> = things.iter().map(|thing| thing.cells(out.now)).collect();
                if !rows.is_empty() {
                    for line in self.table.lines(&rows, out.paint) {
                        out.line(line)?;
                    }
                }
                self.count += things.len();
            }
            Format::Json | Format::Jsonl | Format::Yaml | Format::Name => {
                for thing in things {
                    self.one(out, thing)?;
                }
            }
        }
        Ok(())
    }

    fn one<T: Listed>(&mut self, out: &mut Out, thing: &T) -> Result<(), Failure> {
        let before = if self.count == 0 { "[" } else { "," };
        self.count += 1;
        match out.format {
            Format::Json => out.line(format!("{before}{}", json_line(thing)?)),
            Format::Jsonl => out.line(json_line(thing)?),
            Format::Yaml => out.line(yaml(&[thing])?),
            Format::Name | Format::Table | Format::Wide => out.line(thing.name()),
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn end(self, out: &mut Out) -> Result<(), Failure> {
        match (out.format, self.count) {
            (Format::Json, 0) | (Format::Yaml, 0) => out.line("[]")?,
            (Format::Json, _) => out.line("]")?,
            (Format::Table | Format::Wide | Format::Jsonl | Format::Yaml | Format::Name, _) => {}
        }
        out.flush()
    }
}

/// A thing as one line of JSON.
///
/// # Errors
/// [`Failure::Failed`] when it has no such form.
pub fn json_line(thing: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(thing).map(|json| text::shown_json(&json)).map_err(|error| unshowable(&error))
}

fn json_lines(thing: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(thing).map(|json| text::shown_json(&json)).map_err(|error| unshowable(&error))
}

fn yaml(thing: &impl Serialize) -> Result<String, Failure> {
    // By way of JSON, so that both have the same fields in the same form.
    let value = serde_json::to_value(thing).map_err(|error| unshowable(&error))?;
    let text = serde_saphyr::to_string(&value).map_err(|error| unshowable(&error))?;
    // What cannot be seen has an escape only between quotation marks; and all JSON is YAML.
    let has_hidden = text::shown_lines(&text) != text;
    if has_hidden { json_lines(&value) } else { Ok(text.trim_end().to_owned()) }
}

fn unshowable(error: &dyn std::error::Error) -> Failure {
    Failure::Failed(format!("the answer cannot be shown in this form: {error}; try -o table"))
}

/// What it means that something cannot be written.
#[must_use]
pub fn unwritten(error: &std::io::Error) -> Failure {
    if error.kind() == ErrorKind::BrokenPipe {
        return Failure::ReaderGone;
    }
    Failure::Failed(format!("cannot write the answer: {error}; nothing was changed by reading, ask again elsewhere"))
}

/// Tells the person something that is no data. Nobody may be there to read it.
pub fn tell(text: impl AsRef<str>) {
    drop(writeln!(std::io::stderr().lock(), "{}", words::harmless_lines(text.as_ref())));
}

/// True when a person looks at standard error.
#[must_use]
pub fn has_audience() -> bool {
    std::io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_reaches_no_terminal_in_any_form() {
        let name = "Eggs\u{202e}\u{200b}";
        let forms = [json_line(&[name]).unwrap(), json_lines(&[name]).unwrap(), yaml(&[name]).unwrap()];
        for form in forms {
            assert!(form.contains("\"Eggs\\u202e\\u200b\""), "{form}");
        }
        assert_eq!(yaml(&["Käse"]).unwrap(), "- Käse");
    }
}
