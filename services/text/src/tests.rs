use super::*;

/// What was taken for a name: nobody sees it, or sees something else.
const LIES: [(&str, &str); 17] = [
    ("a zero width space alone", "\u{200b}"),
    ("a byte order mark alone", "\u{feff}"),
    ("an override", "Eggs \u{202e}sggE"),
    ("an isolate", "Eggs \u{2066}x\u{2069}"),
    ("a left-to-right mark", "Eggs\u{200e}"),
    ("a line separator", "Eggs\u{2028}Milk"),
    ("a paragraph separator", "Eggs\u{2029}Milk"),
    ("a soft hyphen", "Eg\u{ad}gs"),
    ("an escape", "Eggs\u{1b}[2J"),
    ("a line feed", "Eggs\nMilk"),
    ("a filler", "\u{3164}"),
    ("a braille blank", "\u{2800}"),
    ("a private character", "Eggs \u{e000}"),
    ("one that is none", "Eggs \u{ffff}"),
    ("a joiner in Latin", "Eg\u{200d}gs"),
    ("a tag", "Eggs\u{e0041}"),
    ("selectors that carry a message", "Eggs\u{fe00}\u{fe01}\u{fe02}"),
];

#[test]
fn what_nobody_sees_is_refused_and_shown_as_what_it_is() {
    for (what, text) in LIES {
        assert!(matches!(line(text, 1, 120), Err(Unfit::Hidden { .. })), "{what}: {:?}", line(text, 1, 120));
        let safe = shown(text);
        assert!(safe.contains('\\') && line(&safe, 1, 500).is_ok(), "{what}: {safe}");
        assert_eq!(shown(&safe), safe, "{what}");
    }
}

#[test]
fn what_people_write_is_taken_as_they_wrote_it() {
    let fine = [
        "Käse & Brot – 3 × 250 g",
        "Ферма «Солнце»",
        "農場 Sunny",
        "Tシャツ農園",
        "می‌خواهم",
        "क्‍ष",
        "👩‍🌾 Eggs ❤️",
        "👩🏽‍🌾",
        "1️⃣",
        "葛\u{e0100}城",
        "Phở Việt",
        "מזון",
        "β-carotene",
        "\u{0e17}\u{0e35}\u{0e48}",
    ];
    for text in fine {
        assert_eq!(name(text, 120).as_deref(), Ok(text), "{text}");
        assert_eq!(shown(text), text);
    }
}

#[test]
fn the_same_text_is_the_same_characters() {
    assert_eq!(line("Ka\u{308}se", 1, 4).unwrap(), "Käse");
    assert_eq!(line(" Twin\u{a0} pears\u{3000}", 1, 120).unwrap(), "Twin pears");
    assert_eq!(line("", 0, 10).unwrap(), "");
}

#[test]
fn length_is_counted_in_characters() {
    assert_eq!(line("ääää", 1, 4).unwrap(), "ääää");
    assert_eq!(line("ääääa", 1, 4), Err(Unfit::Length { length: 5, min: 1, max: 4 }));
    assert_eq!(line("   ", 1, 4), Err(Unfit::Length { length: 0, min: 1, max: 4 }));
    assert_eq!(line(&"x".repeat(1_000_000), 1, 4), Err(Unfit::Length { length: 17, min: 1, max: 4 }));
}

#[test]
fn marks_stand_on_letters_and_do_not_pile_up() {
    assert_eq!(line("\u{301}a", 1, 10), Err(Unfit::Marks { place: 1 }));
    let pile = format!("q{}", "\u{301}".repeat(5));
    assert_eq!(line(&pile, 1, 10), Err(Unfit::Marks { place: 6 }));
}

#[test]
fn a_name_looks_like_no_other() {
    for lie in ["Sunny F\u{430}rm", "\u{405}unny", "Farm \u{420}\u{430}\u{443}", "p\u{3b1}y"] {
        assert!(matches!(name(lie, 120), Err(Unfit::Mixed { .. })), "{lie}: {:?}", name(lie, 120));
        assert_eq!(line(lie, 1, 120).as_deref(), Ok(lie), "a reason may quote it");
    }
}

#[test]
fn json_stays_the_same_for_programs() {
    assert_eq!(
        shown_json("{\n  \"name\": \"a\u{202e}b\u{e0041}ä\"\n}"),
        "{\n  \"name\": \"a\\u202eb\\udb40\\udc41ä\"\n}"
    );
}

#[test]
fn lines_are_kept_where_there_are_lines() {
    assert_eq!(shown_lines("a\u{1b}[31mb\nc\u{9b}\n"), "a\\u{1b}[31mb\nc\\u{9b}\n");
    assert_eq!(shown("a\tb\n"), "a\\tb\\n");
}

#[test]
fn a_refusal_says_which_character_and_where() {
    let refused = line("Eggs \u{202e}", 1, 120).unwrap_err();
    assert_eq!(refused.to_string(), "has U+202E as character 6: what cannot be seen is not allowed");
}
