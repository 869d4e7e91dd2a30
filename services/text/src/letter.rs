//! What a character is, and whether it may stand where it stands.

use std::iter::once;

use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory as _};
use unicode_script::{Script, UnicodeScript as _};

const JOINER: char = '\u{200d}';
const NON_JOINER: char = '\u{200c}';
/// Asks for the coloured form of a sign.
const EMOJI: char = '\u{fe0f}';

/// A character between its neighbours.
pub struct Place {
    /// The character.
    pub letter: char,
    /// Its place in the text, from 1.
    pub place: usize,
    previous: Option<char>,
    next: Option<char>,
}

/// Every character of `text` in its place.
pub fn places(text: &str) -> impl Iterator<Item = Place> + '_ {
    let previous = once(None).chain(text.chars().map(Some));
    let next = text.chars().skip(1).map(Some).chain(once(None));
    text.chars().zip(previous.zip(next)).enumerate().map(|(index, (letter, (previous, next)))| Place {
        letter,
        place: index + 1,
        previous,
        next,
    })
}

impl Place {
    /// True when a reader sees it, or sees what it does.
    pub fn is_sound(&self) -> bool {
        match self.letter {
            letter if letter.is_ascii() => !letter.is_ascii_control(),
            JOINER => self.both(is_shaped) || self.joins_signs(),
            NON_JOINER => self.both(is_shaped),
            // One of these behind what has another form is seen in it; more of them only carry what nobody sees.
            '\u{fe00}'..='\u{fe0f}' => {
                self.previous.is_some_and(|previous| !is_space(previous) && !is_selector(previous))
            }
            '\u{e0100}'..='\u{e01ef}' => self.previous.is_some_and(|previous| previous.script() == Script::Han),
            letter => !is_hidden(letter),
        }
    }

    fn both(&self, is: impl Fn(char) -> bool) -> bool {
        self.previous.is_some_and(&is) && self.next.is_some_and(&is)
    }

    fn joins_signs(&self) -> bool {
        let before = |letter: char| letter == EMOJI || is_sign(letter) || is_skin(letter);
        self.previous.is_some_and(before) && self.next.is_some_and(is_sign)
    }
}

/// True of every blank that stays within a line.
pub fn is_space(letter: char) -> bool {
    letter == ' ' || letter.general_category() == GeneralCategory::SpaceSeparator
}

/// True of what stands on the letter before it.
pub fn is_mark(letter: char) -> bool {
    !letter.is_ascii() && letter.general_category_group() == GeneralCategoryGroup::Mark && !is_selector(letter)
}

fn is_selector(letter: char) -> bool {
    matches!(letter, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

fn is_sign(letter: char) -> bool {
    letter.general_category() == GeneralCategory::OtherSymbol
}

fn is_skin(letter: char) -> bool {
    matches!(letter, '\u{1f3fb}'..='\u{1f3ff}')
}

fn is_hidden(letter: char) -> bool {
    is_blank(letter)
        || matches!(
            letter.general_category(),
            GeneralCategory::Control
                | GeneralCategory::Format
                | GeneralCategory::LineSeparator
                | GeneralCategory::ParagraphSeparator
                | GeneralCategory::Surrogate
                | GeneralCategory::PrivateUse
                | GeneralCategory::Unassigned
        )
}

/// Letters, marks and signs by their category, and nothing to see.
fn is_blank(letter: char) -> bool {
    matches!(
        letter,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'
            ..='\u{180f}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' | '\u{16fe4}' | '\u{1d159}'
    )
}

/// Of a script whose letters are drawn by their neighbours: there a joiner, or its opposite, is seen.
fn is_shaped(letter: char) -> bool {
    matches!(
        letter.script(),
        Script::Arabic
            | Script::Syriac
            | Script::Nko
            | Script::Mongolian
            | Script::Devanagari
            | Script::Bengali
            | Script::Gurmukhi
            | Script::Gujarati
            | Script::Oriya
            | Script::Tamil
            | Script::Telugu
            | Script::Kannada
            | Script::Malayalam
            | Script::Sinhala
            | Script::Khmer
            | Script::Myanmar
            | Script::Tibetan
    )
}
