//! Dead letters by their cause.

use std::collections::{BTreeMap, BTreeSet};

use chassis::problem;
use chrono::{DateTime, Utc};
use eventstore::{EventStore, LetterState, ReadError, StoredDeadLetter};
use sha2::{Digest as _, Sha256};
use tonic::Status;
use uuid::Uuid;

use crate::status::DOMAIN;

/// Letters looked at for one answer at most.
const LOOKED_AT_MAX: usize = 100_000;
const PAGE: usize = 1_000;

/// Letters with one cause.
#[derive(Clone, Debug, PartialEq)]
pub struct LetterGroup {
    /// Names the group.
    pub name: String,
    /// The cause.
    pub cause: String,
    /// Who could not handle them.
    pub consumer: String,
    /// Their subject.
    pub subject: String,
    /// Their numbers.
    pub ids: Vec<i64>,
    /// The lines they stand in.
    pub lines: BTreeSet<String>,
    /// The sagas they are about.
    pub sagas: BTreeSet<Uuid>,
    /// When the first was parked.
    pub first: DateTime<Utc>,
    /// When the last was parked.
    pub last: DateTime<Utc>,
}

/// A reason without what is particular to one letter: ids and numbers.
#[must_use]
pub fn cause(reason: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let is_particular =
            bare.len() >= 32 && bare.chars().all(|c| c.is_ascii_hexdigit() || c == '-') || bare.parse::<f64>().is_ok();
        if is_particular { word.replace(bare, "…") } else { word.to_owned() }
    };
    let words: Vec<_> = reason.split_whitespace().map(word).collect();
    words.join(" ").chars().take(160).collect()
}

/// The name of a letter's group; follows from its cause, its consumer and its subject.
#[must_use]
pub fn group_name(letter: &StoredDeadLetter) -> String {
    let text = format!("{}\n{}\n{}", cause(&letter.letter.reason), letter.letter.consumer, letter.letter.subject);
    let digest = Sha256::digest(text.as_bytes());
    let hex: String = digest.iter().take(3).map(|byte| format!("{byte:02x}")).collect();
    format!("g-{hex}")
}

/// The saga a letter is about, as its headers tell.
#[must_use]
pub fn saga_of(letter: &StoredDeadLetter) -> Option<Uuid> {
    let headers: serde_json::Value = serde_json::from_str(&letter.letter.headers).ok()?;
    let told = headers.get("ce-correlationid")?;
    told.as_str().or_else(|| told.get(0)?.as_str())?.parse().ok()
}

/// Whether a letter still waits.
#[must_use]
pub fn waits(letter: &StoredDeadLetter) -> bool {
    match letter.state {
        LetterState::Waiting | LetterState::Redriving => true,
        LetterState::Redriven { .. } | LetterState::Discarded { .. } => false,
    }
}

/// The groups of those that wait, largest first.
#[must_use]
pub fn groups(letters: &[StoredDeadLetter]) -> Vec<LetterGroup> {
    let mut groups: BTreeMap<String, LetterGroup> = BTreeMap::new();
    for letter in letters.iter().filter(|letter| waits(letter)) {
        let name = group_name(letter);
        let group = groups.entry(name.clone()).or_insert_with(|| LetterGroup {
            name,
            cause: cause(&letter.letter.reason),
            consumer: letter.letter.consumer.clone(),
            subject: letter.letter.subject.clone(),
            ids: Vec::new(),
            lines: BTreeSet::new(),
            sagas: BTreeSet::new(),
            first: letter.parked_at,
            last: letter.parked_at,
        });
        group.ids.push(letter.id);
        group.lines.insert(letter.letter.key.clone().unwrap_or_else(|| format!("#{}", letter.id)));
        group.sagas.extend(saga_of(letter));
        group.first = group.first.min(letter.parked_at);
        group.last = group.last.max(letter.parked_at);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by(|one, other| other.ids.len().cmp(&one.ids.len()).then_with(|| one.name.cmp(&other.name)));
    groups
}

/// Dead letters after number `after` that `wanted` admits, at most `limit`.
///
/// # Errors
/// UNAVAILABLE.
pub async fn find(
    store: &dyn EventStore,
    mut after: i64,
    limit: usize,
    wanted: impl Fn(&StoredDeadLetter) -> bool,
) -> Result<Vec<StoredDeadLetter>, Status> {
    let (mut found, mut looked_at) = (Vec::new(), 0);
    while found.len() < limit && looked_at < LOOKED_AT_MAX {
        let read = store.dead_letters(after, PAGE).await.map_err(unreadable)?;
        let is_last = read.len() < PAGE;
        looked_at += read.len();
        after = read.last().map_or(after, |letter| letter.id);
        found.extend(read.into_iter().filter(|letter| wanted(letter)));
        if is_last {
            break;
        }
    }
    found.truncate(limit);
    Ok(found)
}

/// What a caller is told when the log cannot be read.
#[must_use]
pub fn unreadable(error: ReadError) -> Status {
    match error {
        ReadError::Corrupt(reason) => {
            tracing::error!(reason, "a stored row is corrupt");
            problem::internal(DOMAIN)
        }
        ReadError::Unavailable(_) => problem::unavailable(DOMAIN, "the event store does not answer; try again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventstore::DeadLetter;

    fn letter(id: i64, reason: &str, key: &str) -> StoredDeadLetter {
        let letter = DeadLetter {
            consumer: "orders-payment".to_owned(),
            message: id.to_string(),
            key: Some(key.to_owned()),
            sequence: 0,
            subject: "farmera.payment.payment_captured".to_owned(),
            headers: r#"{"ce-correlationid":["01990000-0000-7000-8000-000000000001"]}"#.to_owned(),
            body: Vec::new(),
            reason: reason.to_owned(),
        };
        let (parked_at, state) = (DateTime::UNIX_EPOCH, LetterState::Waiting);
        StoredDeadLetter { id, parked_at, letter, attempts: 0, last_error: None, state }
    }

    #[test]
    fn letters_that_differ_in_ids_and_numbers_have_one_cause() {
        let one = "order 01990000-0000-7000-8000-00000000000a has 3 lines";
        let other = "order 01990000-0000-7000-8000-00000000000b has 12 lines";
        let found =
            groups(&[letter(1, one, "payment/a"), letter(2, other, "payment/b"), letter(3, "damaged", "payment/b")]);
        assert_eq!(found.iter().map(|group| group.ids.len()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(found[0].cause, "order … has … lines");
        assert_eq!((found[0].lines.len(), found[0].sagas.len()), (2, 1));
    }
}
