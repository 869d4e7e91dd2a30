//! The list of invariants that people read is the one that runs are judged by.

use std::collections::BTreeSet;

use chaos::checks::INVARIANTS;

const PAGE: &str = include_str!("../../../docs/chaos.md");

#[test]
fn the_page_lists_every_invariant_as_it_is_judged() {
    let rows: BTreeSet<&str> = PAGE.lines().filter(|line| line.starts_with("| I")).collect();
    let judged: Vec<String> =
        INVARIANTS.iter().map(|(id, claim, reads)| format!("| {id} | {claim} | {reads} |")).collect();
    assert_eq!(rows, judged.iter().map(String::as_str).collect());
}

#[test]
fn no_number_is_given_twice() {
    let numbers: BTreeSet<&str> = INVARIANTS.iter().map(|(id, ..)| *id).collect();
    assert_eq!(numbers.len(), INVARIANTS.len());
}
