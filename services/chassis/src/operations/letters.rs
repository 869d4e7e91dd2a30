//! Dead letters: by their cause, and what operators may do to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use eventstore::{DeadLetters, EventStore, LetterState, ReadError, StoredDeadLetter};
use farmera_proto::saga::v1 as pb;
use pb::act::Kind;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;
use tonic::{Code, Status};
use uuid::Uuid;

use super::plan::SELECTED_MAX;
use super::{Acts, Became, Foreseen, Item, Job, Later, Mandate, only, unreadable};
use crate::problem::{Problem, Violations};
use crate::reactor;

/// Letters looked at for one answer at most.
const LOOKED_AT_MAX: usize = 100_000;
const PAGE: usize = 1_000;
/// A letter may take this long; what was done by then is found again.
const DEADLINE: Duration = Duration::from_secs(8);

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

/// The saga a letter is about, as it says itself.
#[must_use]
pub fn saga_of(letter: &StoredDeadLetter) -> Option<Uuid> {
    reactor::saga_of(&letter.letter)
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
/// [`ReadError`].
pub async fn find(
    store: &dyn EventStore,
    mut after: i64,
    limit: usize,
    wanted: impl Fn(&StoredDeadLetter) -> bool,
) -> Result<Vec<StoredDeadLetter>, ReadError> {
    let (mut found, mut looked_at) = (Vec::new(), 0);
    while found.len() < limit && looked_at < LOOKED_AT_MAX {
        let read = store.dead_letters(after, PAGE).await?;
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

/// Acts on dead letters: to have their lines handled again, or to end them unhandled.
pub struct LetterActs {
    /// Where they are read.
    pub store: Arc<dyn EventStore>,
    /// Where they are acted on.
    pub letters: Arc<dyn DeadLetters>,
    /// Whose: `orders.farmera.dev`.
    pub domain: &'static str,
}

#[async_trait::async_trait]
impl Acts for LetterActs {
    fn include(&self, kind: Kind) -> bool {
        matches!(kind, Kind::Redrive | Kind::Discard)
    }

    async fn foresee(
        &self,
        act: &pb::Act,
        selection: &pb::Selection,
        _mandate: &Mandate,
        _now: DateTime<Utc>,
    ) -> Result<Foreseen, Status> {
        let (ids, group) = (&selection.letter_ids, &selection.letter_group);
        let mut violations = Violations::new();
        if group.is_empty() == ids.is_empty() {
            violations.add("selection", "expected either letter_ids or a letter_group");
        }
        let own = pb::Selection { letter_ids: ids.clone(), letter_group: group.clone(), ..pb::Selection::default() };
        only(&mut violations, selection, &own, "dead letters");
        violations.finish(self.domain)?;
        let wanted =
            |letter: &StoredDeadLetter| ids.contains(&letter.id) || (waits(letter) && group_name(letter) == *group);
        let found = find(&*self.store, 0, SELECTED_MAX + 1, wanted).await;
        let found = found.map_err(|error| unreadable(self.domain, error))?;
        let missing = ids.iter().filter(|id| found.iter().all(|letter| letter.id != **id));
        let mut items: Vec<_> = missing.map(|id| refused(*id, "there is no such letter")).collect();
        items.extend(found.iter().map(|letter| foreseen(letter, act.kind())));
        if items.len() > SELECTED_MAX {
            let message = format!("more than {SELECTED_MAX} are selected: plan one part after another");
            let problem = Problem::new(Code::InvalidArgument, "SELECTION_TOO_LARGE", message);
            return Err(problem.with("limit", SELECTED_MAX).into_status(self.domain));
        }
        Ok(Foreseen { items, repeated_requests: 0 })
    }

    fn select(&self, items: &[pb::PlanItem]) -> pb::Selection {
        let letter_ids = items.iter().filter_map(|item| item.id.parse().ok()).collect();
        pb::Selection { letter_ids, ..pb::Selection::default() }
    }

    async fn carry_out(&self, job: Job<'_>, items: &[Item]) -> Vec<Became> {
        let kind = job.operation.act.as_ref().map_or(Kind::Unspecified, pb::Act::kind);
        let mandate = Mandate::of(job.operation);
        let mut became = Vec::with_capacity(items.len());
        for item in items {
            let done = timeout(DEADLINE, self.one(kind, &mandate, item)).await;
            became.push(done.unwrap_or_else(|_| Err(Later("no answer in time".to_owned()))));
        }
        became
    }
}

impl LetterActs {
    async fn one(&self, kind: Kind, mandate: &Mandate, item: &Item) -> Became {
        let Ok(id) = item.item.parse::<i64>() else { return Ok(Some("it is no letter".to_owned())) };
        let later = |error: ReadError| Later(error.to_string());
        let by = mandate.actor.as_str();
        let done = match kind == Kind::Discard {
            true => self.letters.discard(id, by, &mandate.reason).await,
            false => self.letters.ask_redrive(id, by).await,
        };
        if done.map_err(later)? {
            return Ok(None);
        }
        // It was done before: with another letter of its line, or just before a process died.
        let letter =
            self.store.dead_letters(id - 1, 1).await.map_err(later)?.into_iter().find(|letter| letter.id == id);
        let is_ours = letter.is_some_and(|letter| match letter.state {
            LetterState::Redriven { by: whose, .. } => kind == Kind::Redrive && whose == by,
            LetterState::Discarded { by: whose, reason, .. } => {
                kind == Kind::Discard && whose == by && reason == mandate.reason
            }
            LetterState::Waiting | LetterState::Redriving => false,
        });
        Ok((!is_ours).then(|| "it does not wait any more".to_owned()))
    }
}

fn foreseen(letter: &StoredDeadLetter, kind: Kind) -> pb::PlanItem {
    let stands = match letter.state {
        LetterState::Waiting => 0,
        LetterState::Redriving => 1,
        LetterState::Redriven { .. } | LetterState::Discarded { .. } => {
            return refused(letter.id, "it does not wait any more");
        }
    };
    let line = letter.letter.key.clone().unwrap_or_else(|| "a message without a line".to_owned());
    let event = match kind == Kind::Discard {
        true => format!("it is never handled; what waits behind it in {line} moves up"),
        false => format!("the line {line} of {} is handled again, in order", letter.letter.consumer),
    };
    pb::PlanItem {
        id: letter.id.to_string(),
        version: u64::from(letter.attempts) * 2 + stands,
        events: vec![event],
        ..pb::PlanItem::default()
    }
}

fn refused(id: i64, why: &str) -> pb::PlanItem {
    pb::PlanItem { id: id.to_string(), refused: why.to_owned(), ..pb::PlanItem::default() }
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
