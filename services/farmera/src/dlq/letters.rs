//! Dead letters of the services' databases.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use chassis::config::Env;
use eventstore::{EventStore as _, LetterState, ReadError, StoredDeadLetter};
use eventstore_postgres::{PostgresStore, StoreOptions};

use crate::failure::Failure;
use crate::schema;
use crate::services::Service;

/// Letters read of one service at most; more than that is a flood, to be looked at by `--consumer` in SQL.
const LETTERS_MAX: usize = 100_000;
const PAGE: usize = 1_000;

/// Where a letter is kept: `orders/12`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The service.
    pub service: String,
    /// The letter's number in its database.
    pub id: i64,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(service, id)| {
            let service = crate::services::find(service)?.name.to_owned();
            Some(Self { service, id: id.parse().ok()? })
        });
        parsed.ok_or_else(|| "expected a service and a number: orders/12".to_owned())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.id)
    }
}

/// A letter and the store that keeps it.
pub(super) struct Kept {
    pub(super) service: &'static str,
    pub(super) store: Arc<PostgresStore>,
    pub(super) stored: StoredDeadLetter,
}

impl Kept {
    pub(super) fn place(&self) -> Place {
        Place { service: self.service.to_owned(), id: self.stored.id }
    }

    /// Whose line it stands in, for people.
    pub(super) fn line(&self) -> String {
        let letter = &self.stored.letter;
        let key = letter.key.as_deref().unwrap_or("a message without a key");
        format!("{} of {}", key, letter.consumer)
    }

    pub(super) fn waits(&self) -> bool {
        match self.stored.state {
            LetterState::Waiting | LetterState::Redriving => true,
            LetterState::Redriven { .. } | LetterState::Discarded { .. } => false,
        }
    }
}

/// One letter of each line.
pub(super) fn heads<'a>(found: impl IntoIterator<Item = &'a Kept>) -> Vec<&'a Kept> {
    let mut seen = BTreeSet::new();
    let line = |kept: &Kept| {
        let letter = &kept.stored.letter;
        (kept.service, letter.consumer.clone(), letter.key.clone().ok_or(kept.stored.id))
    };
    found.into_iter().filter(|kept| seen.insert(line(kept))).collect()
}

/// All dead letters of a service, oldest first.
pub(super) async fn letters_of(env: &Env, of: &Service) -> Result<Vec<Kept>, Failure> {
    let service = of.name;
    let url = env.of_service(service).secret("DATABASE_URL", "the service's database (postgres://…)");
    let url = url.map_err(|error| Failure::Setup(error.to_string()))?;
    schema::refuse_newer(of, url.expose()).await?;
    let options = StoreOptions { connections_max: 1, pool_connections_max: 1, ..StoreOptions::new(url.expose()) };
    let store = PostgresStore::connect(&options).map_err(|error| Failure::Setup(format!("{service}: {error}")))?;
    let store = Arc::new(store);
    let mut found: Vec<Kept> = Vec::new();
    while found.len() < LETTERS_MAX {
        let after = found.last().map_or(0, |kept| kept.stored.id);
        let page = store.dead_letters(after, PAGE).await.map_err(unavailable)?;
        let full = page.len() >= PAGE;
        found.extend(page.into_iter().map(|stored| Kept { service, store: Arc::clone(&store), stored }));
        if !full {
            break;
        }
    }
    Ok(found)
}

pub(super) fn unavailable(error: ReadError) -> Failure {
    match &error {
        ReadError::Unavailable(source) => Failure::Unavailable(format!("{error}: {source}")),
        ReadError::Corrupt(_) => Failure::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_named_by_its_service_and_number() {
        let place: Place = "orders/12".parse().unwrap();
        assert_eq!(place.to_string(), "orders/12");
        for wrong in ["orders", "12", "orders/x", "nobody/1"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }
}
