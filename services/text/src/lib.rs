//! Text that people read: what is taken in has to be what it looks like, and what is shown drives no terminal and no mail.
//!
//! * [`line`] is the rule for everything that people write and others read: names, reasons, notes, messages;
//! * [`name`] is the rule for names that one takes for somebody else's: one script a word;
//! * [`email`] is the rule for addresses: what is taken can be sent to;
//! * [`clock`] and [`moment`] are a time as people read it: of some zone, which they say;
//! * [`shown`] makes visible what must not work, for everything that was taken in before, or by others.
//!
//! Pure. Which character is what, the tables of the Unicode Consortium say.

mod address;
mod letter;
mod script;
mod time;

use std::fmt::Write as _;

use unicode_normalization::UnicodeNormalization as _;

pub use address::email;
use letter::Place;
pub use time::{clock, moment};

/// A text may have this many times its characters before it is normalised: more is not even looked at.
const DECOMPOSED_MAX: usize = 4;
/// Marks on one letter: more of them leave their line.
const MARKS_MAX: usize = 4;

/// Why a text is not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unfit {
    /// It is too short or too long.
    #[error("has {length} characters: allowed are {min} to {max}")]
    Length {
        /// Characters found; of a text far too long, no more than were counted.
        length: usize,
        /// Characters at least.
        min: usize,
        /// Characters at most.
        max: usize,
    },
    /// It has a character that nobody sees, or that changes how others are seen.
    #[error("has U+{:04X} as character {place}: what cannot be seen is not allowed", u32::from(*.letter))]
    Hidden {
        /// The character.
        letter: char,
        /// Its place, from 1.
        place: usize,
    },
    /// A mark has no letter to stand on, or there are too many on one.
    #[error("has a mark as character {place} that is the first or one of more than {MARKS_MAX}: letters carry marks")]
    Marks {
        /// Its place, from 1.
        place: usize,
    },
    /// No mail can be sent there.
    #[error("is {found:?}: expected an e-mail address such as ana@example.org, in ASCII (a domain as xn--...)")]
    Address {
        /// What was found, shortened.
        found: String,
    },
    /// A word is written in two scripts, or looks like another script's beside it.
    #[error("has {word:?}, which looks like another word: a word is of one script")]
    Mixed {
        /// The word.
        word: String,
    },
}

/// One line of `min` to `max` characters: normalised (NFC), without blanks at its ends, with one space for any between.
///
/// # Errors
/// [`Unfit`]: the length, or the first character that cannot be seen.
pub fn line(text: &str, min: usize, max: usize) -> Result<String, Unfit> {
    let counted_max = max.saturating_mul(DECOMPOSED_MAX);
    let counted = text.trim().chars().take(counted_max.saturating_add(1)).count();
    if counted > counted_max {
        return Err(Unfit::Length { length: counted, min, max });
    }
    let text = spaced(text.trim().nfc());
    let length = text.chars().count();
    if !(min..=max).contains(&length) {
        return Err(Unfit::Length { length, min, max });
    }
    let unsound = letter::places(&text).find(|place| !place.is_sound());
    if let Some(Place { letter, place, .. }) = unsound {
        return Err(Unfit::Hidden { letter, place });
    }
    marked(&text)?;
    Ok(text)
}

/// A name of 1 to `max` characters: a [`line`] whose words are each of one script, and none of which is written in
/// another one to look like the script of its neighbours.
///
/// # Errors
/// [`Unfit`].
pub fn name(text: &str, max: usize) -> Result<String, Unfit> {
    let name = line(text, 1, max)?;
    match script::disguised(&name) {
        Some(word) => Err(Unfit::Mixed { word: word.to_owned() }),
        None => Ok(name),
    }
}

/// `text`, with everything that cannot be seen, moves a cursor or turns the line around written out: `\u{202e}`.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for place in letter::places(text) {
        if place.is_sound() {
            safe.push(place.letter);
        } else {
            written_out(&mut safe, place.letter);
        }
    }
    safe
}

/// The same, with lines kept.
#[must_use]
pub fn shown_lines(text: &str) -> String {
    text.split('\n').map(shown).collect::<Vec<_>>().join("\n")
}

/// `text` with a blank in the place of everything that [`shown`] writes out, so that places can be counted.
#[must_use]
pub fn blanked(text: &str) -> String {
    letter::places(text).map(|place| if place.is_sound() { place.letter } else { ' ' }).collect()
}

/// JSON that a terminal may see: what cannot be seen is escaped as JSON has it, so a program reads the same.
#[must_use]
pub fn shown_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for place in letter::places(json) {
        // Between its strings JSON is ASCII, and in them it has escaped what is control there.
        if place.letter.is_ascii() || place.is_sound() {
            safe.push(place.letter);
        } else {
            for unit in place.letter.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        }
    }
    safe
}

fn written_out(safe: &mut String, letter: char) {
    match letter {
        '\t' | '\n' | '\r' => safe.extend(letter.escape_default()),
        _ => safe.extend(letter.escape_unicode()),
    }
}

fn spaced(letters: impl Iterator<Item = char>) -> String {
    let mut text = String::new();
    for letter in letters {
        match letter {
            blank if letter::is_space(blank) => {
                if !text.ends_with(' ') {
                    text.push(' ');
                }
            }
            letter => text.push(letter),
        }
    }
    text
}

fn marked(text: &str) -> Result<(), Unfit> {
    // Nothing stands before the first: as if it had all its marks.
    let mut marks = MARKS_MAX;
    for (index, letter) in text.chars().enumerate() {
        marks = if letter::is_mark(letter) { marks + 1 } else { 0 };
        if marks > MARKS_MAX {
            return Err(Unfit::Marks { place: index + 1 });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
