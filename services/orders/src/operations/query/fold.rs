//! One way of folding case, here and in what the database is asked.

/// `text` in lower case, letter by letter: as many letters as before, ASCII to ASCII and the others to others.
///
/// So a text of ASCII alone is found by folding ASCII alone, which a database does alike in every locale.
#[must_use]
pub fn folded(text: &str) -> String {
    text.chars().map(lower).collect()
}

fn lower(letter: char) -> char {
    if letter.is_ascii() {
        return letter.to_ascii_lowercase();
    }
    // At the end of a word it is written otherwise, which its capital does not know.
    if letter == 'ς' {
        return 'σ';
    }
    let mut lower = letter.to_lowercase();
    match (lower.next(), lower.next()) {
        // The Kelvin sign is no k.
        (Some(one), None) if !one.is_ascii() => one,
        (_, _) => letter,
    }
}

/// What a database that folds ASCII alone can look for beforehand: the longest part of `part` that is ASCII, and whether
/// that is all of it.
pub(super) fn ascii_part(part: &str) -> (String, bool) {
    let longest = part.split(|letter: char| !letter.is_ascii()).max_by_key(|ascii| ascii.len()).unwrap_or_default();
    (longest.to_ascii_lowercase(), part.is_ascii())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn letters_of_every_script_have_one_case() {
        assert_eq!(folded("ÄRGER bei MÜLLER, ΛΆΘΟΣ, ДОМ"), "ärger bei müller, λάθοσ, дом");
        assert_eq!(folded("λάθος"), folded("ΛΆΘΟΣ"));
        assert_eq!(folded("10\u{212a} İ ẞ"), "10\u{212a} İ ß");
    }

    proptest! {
        /// What is found among letters of all kinds is found by its ASCII part, too, by those who fold ASCII alone.
        #[test]
        fn the_ascii_part_leaves_nothing_out(before in "\\PC{0,8}", part in "\\PC{0,8}", after in "\\PC{0,8}") {
            let text = format!("{before}{}{after}", part.to_uppercase());
            let (ascii, is_all) = ascii_part(&part);
            let found = folded(&text).contains(&folded(&part));
            prop_assert!(!found || text.to_ascii_lowercase().contains(&ascii));
            prop_assert!(!is_all || found == text.to_ascii_lowercase().contains(&ascii));
        }
    }
}
