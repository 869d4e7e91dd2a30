//! A terminal's screen: what is written to it besides text.

use std::io::Write as _;

/// A screen of our own, without a cursor, and with long lines cut off: a frame never scrolls it.
pub const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l";
/// The screen as it was before.
pub const LEAVE: &str = "\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l";

/// Lines that are gathered to be written at once.
#[derive(Debug, Default)]
pub struct Frame {
    text: String,
    width: Option<usize>,
}

impl Frame {
    /// One as wide as the terminal is now; `None`: as wide as its lines.
    #[must_use]
    pub fn new(width: Option<usize>) -> Self {
        Self { text: String::new(), width }
    }

    /// One more line; what stood behind it is wiped. A line that is too long ends with a mark: half a number is none.
    pub fn line(&mut self, text: &str) {
        for line in text.split('\n') {
            let line = match self.width {
                Some(width) => console::truncate_str(line, width, "…"),
                None => line.into(),
            };
            self.text.push_str(&line);
            self.text.push_str("\u{1b}[K\n");
        }
    }

    /// The whole frame, over whatever is on the screen. Terminals that can show it at once are told where it begins and
    /// ends.
    #[must_use]
    pub fn whole(self) -> String {
        format!("\u{1b}[?2026h\u{1b}[H{}\u{1b}[J\u{1b}[?2026l", self.text)
    }
}

/// How many characters a line of the terminal has, if it says so.
#[must_use]
pub fn width() -> Option<usize> {
    console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns)).filter(|columns| *columns > 0)
}

/// Tells the terminal something; when it is gone, nobody misses it.
pub fn to_terminal(what: &str) {
    let mut out = std::io::stdout().lock();
    drop(out.write_all(what.as_bytes()).and_then(|()| out.flush()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_covers_the_one_before_without_wiping_the_screen_first() {
        let mut frame = Frame::default();
        frame.line("3 sagas");
        frame.line("two\nlines");
        let frame = frame.whole();
        assert!(!frame.contains("\u{1b}[2J"), "{frame:?}");
        assert_eq!(frame, "\u{1b}[?2026h\u{1b}[H3 sagas\u{1b}[K\ntwo\u{1b}[K\nlines\u{1b}[K\n\u{1b}[J\u{1b}[?2026l");
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_with_a_mark_whatever_its_colours() {
        let mut frame = Frame::new(Some(10));
        frame.line("exactly 10");
        frame.line("\u{1b}[31mexposure 1234.00 EUR\u{1b}[0m");
        let frame = frame.whole();
        assert!(frame.contains("exactly 10\u{1b}[K\n"), "{frame:?}");
        assert!(frame.contains("exposure …") && frame.contains("\u{1b}[0m") && !frame.contains("123"), "{frame:?}");
    }

    #[test]
    fn whatever_is_switched_on_is_switched_off_again() {
        for (on, off) in [("?1049h", "?1049l"), ("?25l", "?25h"), ("?7l", "?7h")] {
            assert!(ENTER.contains(on) && LEAVE.contains(off), "{on}");
        }
    }
}
