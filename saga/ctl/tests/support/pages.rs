//! The runbooks, as somebody reads them who types what stands there.

use std::fs;
use std::path::Path;

/// Every `sagactl` command of the shell blocks of a runbook, as words.
pub fn commands(page: &str) -> Vec<Vec<String>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/runbooks").join(page);
    let page = fs::read_to_string(page).unwrap();
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let lines = blocks.flat_map(str::lines).map(|line| line.split("  #").next().unwrap().trim());
    lines.filter_map(|line| line.strip_prefix("sagactl ")).map(words).collect()
}

/// A line as a shell would take it apart: blanks, and single quotes.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate();
    let mut words = Vec::new();
    for (index, part) in parts {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// A command with what the names in it stand for.
pub fn filled(command: &[String], names: &[(&str, &str)]) -> Vec<String> {
    let stands_for = |word: &String| names.iter().find(|(name, _)| name == word).map(|(_, value)| (*value).to_owned());
    command.iter().map(|word| stands_for(word).unwrap_or_else(|| word.clone())).collect()
}
