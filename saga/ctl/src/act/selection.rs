//! To whom: names, names from standard input, or a query.

use std::io::Read as _;

use clap::Args;
use farmera_proto::saga::v1 as pb;

use crate::failure::Failure;

/// The server takes at most so many names; more of them are a query.
const IDS_MAX: usize = 10_000;
/// More than this many bytes are no list of names.
const INPUT_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// Which sagas.
#[derive(Args, Clone, Debug, Default)]
pub struct Sagas {
    /// Sagas by id; `-` reads them from standard input, as `-o name` prints them.
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// Or every saga that this query admits; `sagactl cheat` shows how queries are written.
    #[arg(short, long, value_name = "QUERY", conflicts_with = "ids")]
    pub query: Option<String>,
}

impl Sagas {
    /// The same as the contract has it.
    ///
    /// # Errors
    /// [`Failure::Usage`] when nothing is selected, or far too much.
    pub fn selection(self) -> Result<pb::Selection, Failure> {
        if let Some(query) = self.query {
            if query.trim().is_empty() {
                return Err(Failure::Usage(
                    "the query is empty: it would be all sagas; say -q 'state = OPEN' for those that are not over"
                        .to_owned(),
                ));
            }
            return Ok(pb::Selection { query, ..pb::Selection::default() });
        }
        let saga_ids = names(self.ids, "saga/")?;
        if saga_ids.is_empty() {
            return Err(Failure::Usage("say which sagas: ids, - for standard input, or -q QUERY".to_owned()));
        }
        Ok(pb::Selection { saga_ids, ..pb::Selection::default() })
    }
}

/// The names that were given, with `-` replaced by what standard input has; `prefix` is not a part of them.
///
/// # Errors
/// [`Failure::Usage`] for more than 10,000, or an input that is no list of names.
pub fn names(given: Vec<String>, prefix: &str) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for name in given {
        if name == "-" {
            names.extend(from_input()?);
        } else {
            names.push(name);
        }
    }
    if names.len() > IDS_MAX {
        return Err(Failure::Usage(format!("{} names are given: at most {IDS_MAX} go at once; use -q", names.len())));
    }
    Ok(names.iter().map(|name| bare(name, prefix).to_owned()).collect())
}

/// A name without its kind: `saga/7` is `7`.
#[must_use]
pub fn bare<'a>(name: &'a str, prefix: &str) -> &'a str {
    name.strip_prefix(prefix).unwrap_or(name)
}

fn from_input() -> Result<Vec<String>, Failure> {
    let mut text = String::new();
    let unread = |why: String| Failure::Usage(format!("standard input is no list of names: {why}"));
    let size = std::io::stdin()
        .take(INPUT_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| unread(error.to_string()))?;
    if u64::try_from(size).unwrap_or(u64::MAX) > INPUT_BYTES_MAX {
        return Err(unread(format!("it has more than {INPUT_BYTES_MAX} bytes")));
    }
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_selected_and_everything_selected_are_refused() {
        assert!(matches!(Sagas::default().selection(), Err(Failure::Usage(_))));
        let all = Sagas { query: Some(" ".to_owned()), ..Sagas::default() };
        assert!(matches!(all.selection(), Err(Failure::Usage(_))));
    }

    #[test]
    fn names_are_taken_as_they_are_printed() {
        let sagas = Sagas { ids: vec!["saga/7".to_owned(), "8".to_owned()], query: None };
        assert_eq!(sagas.selection().unwrap().saga_ids, ["7", "8"]);
    }
}
