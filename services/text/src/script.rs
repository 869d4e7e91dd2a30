//! Words that look like others: Unicode's report 39 on security.

use unicode_script::{Script, UnicodeScript as _};
use unicode_security::confusable_detection::skeleton;
use unicode_security::mixed_script::AugmentedScriptSet;

use crate::letter::is_mark;

/// The first word of `name` that is written in two scripts, or looks Latin beside Latin words without being it.
pub fn disguised(name: &str) -> Option<&str> {
    if name.is_ascii() {
        return None;
    }
    let words =
        || name.split(|letter: char| !letter.is_alphanumeric() && !is_mark(letter)).filter(|word| !word.is_empty());
    let has_latin = words().any(|word| word.chars().any(is_latin));
    words().find(|word| is_mixed(word) || (has_latin && looks_latin(word)))
}

/// Scripts that are written together (Japanese, Korean, Chinese) are one, and take Latin letters in.
fn is_mixed(word: &str) -> bool {
    if !AugmentedScriptSet::for_str(word).is_empty() {
        return false;
    }
    let rest: String = word.chars().filter(|letter| !is_latin(*letter)).collect();
    let rest = AugmentedScriptSet::for_str(&rest);
    rest.is_empty() || !(rest.hanb || rest.jpan || rest.kore)
}

fn looks_latin(word: &str) -> bool {
    let has_letters = word.chars().any(char::is_alphabetic);
    has_letters && !word.chars().any(is_latin) && skeleton(word).all(|letter| letter.is_ascii_alphanumeric())
}

fn is_latin(letter: char) -> bool {
    letter.script() == Script::Latin
}
