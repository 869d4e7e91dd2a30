//! Dead letters in memory: the same lines, by looking at all of them.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::later;
use crate::{Blocked, DeadLetter, LetterState, StoredDeadLetter};

/// A consumer and a line of letters.
type Line = (String, String);

#[derive(Debug, Default)]
pub(super) struct Letters {
    letters: Vec<StoredDeadLetter>,
    redriving: std::collections::BTreeMap<Line, Redrive>,
}

#[derive(Clone, Debug)]
struct Redrive {
    by: String,
    claimed_until: Option<DateTime<Utc>>,
}

/// The line a letter stands in: its key's, or one of its own.
fn line(letter: &DeadLetter) -> Line {
    let key = letter.key.clone().unwrap_or_else(|| format!("#{}", letter.message));
    (letter.consumer.clone(), key)
}

const fn waits(stored: &StoredDeadLetter) -> bool {
    match stored.state {
        LetterState::Waiting | LetterState::Redriving => true,
        LetterState::Redriven { .. } | LetterState::Discarded { .. } => false,
    }
}

impl Letters {
    pub(super) fn park(&mut self, letter: DeadLetter, now: DateTime<Utc>) {
        let state =
            if self.redriving.contains_key(&line(&letter)) { LetterState::Redriving } else { LetterState::Waiting };
        let next = self.letters.len() as i64 + 1;
        let same = |stored: &&mut StoredDeadLetter| {
            stored.letter.consumer == letter.consumer && stored.letter.message == letter.message
        };
        match self.letters.iter_mut().find(same) {
            Some(known) => {
                if matches!(known.state, LetterState::Redriven { .. }) {
                    known.state = state;
                    known.parked_at = now;
                    known.letter = letter;
                }
            }
            None => {
                let (attempts, last_error) = (0, None);
                self.letters.push(StoredDeadLetter { id: next, parked_at: now, letter, attempts, last_error, state });
            }
        }
    }

    pub(super) fn list(&self, after: i64, limit: usize) -> Vec<StoredDeadLetter> {
        let later = self.letters.iter().filter(|stored| stored.id > after);
        later.take(limit.clamp(1, 1_000)).cloned().collect()
    }

    pub(super) fn blocked(&self, consumer: &str, limit: usize) -> Blocked {
        let waiting = self.letters.iter().filter(|stored| waits(stored) && stored.letter.consumer == consumer);
        let lines: BTreeSet<Line> = waiting.map(|stored| line(&stored.letter)).collect();
        let count = lines.len() as u64;
        let keys = lines.into_iter().map(|(_, key)| key).filter(|key| !key.starts_with('#'));
        Blocked { keys: keys.take(limit.clamp(1, 100_000)).collect(), lines: count.min(10_000) }
    }

    pub(super) fn park_behind(&mut self, letter: DeadLetter, now: DateTime<Utc>) -> bool {
        let wanted = line(&letter);
        let blocked = self.letters.iter().any(|stored| waits(stored) && line(&stored.letter) == wanted);
        if blocked {
            self.park(letter, now);
        }
        blocked
    }

    pub(super) fn claim(&mut self, consumer: &str, lease: Duration, now: DateTime<Utc>) -> Option<StoredDeadLetter> {
        let free = |redrive: &Redrive| redrive.claimed_until.is_none_or(|until| until <= now);
        let mut lines = self.redriving.iter_mut();
        let (claimed, redrive) = lines.find(|((of, _), redrive)| of == consumer && free(redrive))?;
        redrive.claimed_until = Some(later(now, lease));
        let in_line = self.letters.iter().filter(|stored| waits(stored) && line(&stored.letter) == *claimed);
        in_line.min_by_key(|stored| (stored.letter.sequence, stored.id)).cloned()
    }

    pub(super) fn redriven(&mut self, id: i64, now: DateTime<Utc>) {
        let Some(line) = self.line_of(id) else { return };
        let by = self.redriving.get(&line).map(|redrive| redrive.by.clone()).unwrap_or_default();
        self.end(id, &line, LetterState::Redriven { at: now, by });
    }

    pub(super) fn failed_again(&mut self, id: i64, reason: &str) {
        let Some(stopped) = self.line_of(id) else { return };
        self.redriving.remove(&stopped);
        for stored in self.letters.iter_mut().filter(|stored| waits(stored) && line(&stored.letter) == stopped) {
            stored.state = LetterState::Waiting;
        }
        self.note(id, reason);
    }

    pub(super) fn redrive_later(&mut self, id: i64, delay: Duration, reason: &str, now: DateTime<Utc>) {
        let line = self.line_of(id);
        if let Some(redrive) = line.and_then(|line| self.redriving.get_mut(&line)) {
            redrive.claimed_until = Some(later(now, delay));
        }
        self.note(id, reason);
    }

    pub(super) fn ask_redrive(&mut self, id: i64, by: &str) -> bool {
        let Some(asked) = self.line_of(id) else { return false };
        for stored in self.letters.iter_mut().filter(|stored| waits(stored) && line(&stored.letter) == asked) {
            stored.state = LetterState::Redriving;
        }
        self.redriving.insert(asked, Redrive { by: by.to_owned(), claimed_until: None });
        true
    }

    pub(super) fn discard(&mut self, id: i64, by: &str, reason: &str, now: DateTime<Utc>) -> bool {
        let Some(line) = self.line_of(id) else { return false };
        let state = LetterState::Discarded { at: now, by: by.to_owned(), reason: reason.to_owned() };
        self.end(id, &line, state);
        true
    }

    fn end(&mut self, id: i64, ended: &Line, state: LetterState) {
        if let Some(stored) = self.letters.iter_mut().find(|stored| stored.id == id) {
            stored.state = state;
        }
        if !self.letters.iter().any(|stored| waits(stored) && line(&stored.letter) == *ended) {
            self.redriving.remove(ended);
        } else if let Some(redrive) = self.redriving.get_mut(ended) {
            redrive.claimed_until = None;
        }
    }

    fn note(&mut self, id: i64, reason: &str) {
        if let Some(stored) = self.letters.iter_mut().find(|stored| stored.id == id) {
            stored.attempts += 1;
            stored.last_error = Some(reason.to_owned());
        }
    }

    /// `None` when the letter does not wait.
    fn line_of(&self, id: i64) -> Option<Line> {
        self.letters.iter().find(|stored| stored.id == id && waits(stored)).map(|stored| line(&stored.letter))
    }
}
