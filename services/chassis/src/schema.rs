//! Whether a database has the tables that this program was made for.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use sqlx::migrate::Migrator;

/// The migrations a program knows for one service's database: the event store's and the service's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    service: &'static str,
    known: BTreeSet<i64>,
}

/// Why a program must not work on a database. The text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// A newer program migrated it: what this one would write or read may be wrong.
    #[error(
        "{service}: the database was migrated by a newer program (migration {} is not known here): run that program, or \
         restore the database from before it",
        list(unknown)
    )]
    Newer {
        /// Whose database.
        service: &'static str,
        /// The migrations this program does not know.
        unknown: Vec<i64>,
    },
    /// Migrations are missing.
    #[error(
        "{service}: migration {} has not been applied to the database: run `farmera migrate {service}`",
        list(missing)
    )]
    Older {
        /// Whose database.
        service: &'static str,
        /// The migrations the database has not had.
        missing: Vec<i64>,
    },
    /// From before services could see which migrations there were.
    #[error("{service}: the role may not see which migrations the database has had: run `farmera migrate {service}`")]
    Hidden {
        /// Whose database.
        service: &'static str,
    },
}

/// What became of a look at a database.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// This program must not work on it.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// It did not answer.
    #[error("Postgres does not answer: {0}")]
    Unavailable(#[source] sqlx::Error),
}

const LOOK: &str = "
select
    clock_timestamp(),
    array(select version from _sqlx_migrations where success)";

const UNDEFINED_TABLE: &str = "42P01";
const INSUFFICIENT_PRIVILEGE: &str = "42501";

impl Schema {
    /// What this program knows of `service`'s database, whose own migrations are those of `own`.
    #[must_use]
    pub fn new(service: &'static str, own: &Migrator) -> Self {
        let store = eventstore_postgres::MIGRATOR.iter();
        let known = store.chain(own.iter()).map(|migration| migration.version).collect();
        Self { service, known }
    }

    /// Whose database it is.
    #[must_use]
    pub fn service(&self) -> &'static str {
        self.service
    }

    /// Looks at a database: its clock, when it is as this program needs it. The caller sets a deadline.
    ///
    /// # Errors
    /// [`LookError`].
    pub async fn look<'c>(&self, database: impl PgExecutor<'c>) -> Result<DateTime<Utc>, LookError> {
        let asked: Result<(DateTime<Utc>, Vec<i64>), _> = sqlx::query_as(LOOK).fetch_one(database).await;
        let error = match asked {
            Ok((now, applied)) => return Ok(self.judge(&applied).map(|()| now)?),
            Err(error) => error,
        };
        match error.as_database_error().and_then(|error| error.code()).as_deref() {
            Some(UNDEFINED_TABLE) => self.judge(&[])?,
            Some(INSUFFICIENT_PRIVILEGE) => return Err(SchemaError::Hidden { service: self.service }.into()),
            Some(_) | None => {}
        }
        Err(LookError::Unavailable(error))
    }

    /// Compares with what has been applied to a database.
    ///
    /// # Errors
    /// [`SchemaError`]: what to tell the operator. A database that is both newer and older is newer.
    pub fn judge(&self, applied: &[i64]) -> Result<(), SchemaError> {
        let applied: BTreeSet<i64> = applied.iter().copied().collect();
        let unknown: Vec<i64> = applied.difference(&self.known).copied().collect();
        if !unknown.is_empty() {
            return Err(SchemaError::Newer { service: self.service, unknown });
        }
        let missing: Vec<i64> = self.known.difference(&applied).copied().collect();
        if !missing.is_empty() {
            return Err(SchemaError::Older { service: self.service, missing });
        }
        Ok(())
    }
}

fn list(versions: &[i64]) -> String {
    versions.iter().map(|version| format!("{version:04}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        Schema { service: "orders", known: BTreeSet::from([1, 2, 1001]) }
    }

    #[test]
    fn a_database_with_all_known_migrations_is_fine() {
        assert_eq!(schema().judge(&[1001, 1, 2]), Ok(()));
    }

    #[test]
    fn a_newer_database_is_told_from_an_older_one() {
        let newer = schema().judge(&[1, 3, 1001, 1002]).unwrap_err();
        assert_eq!(newer, SchemaError::Newer { service: "orders", unknown: vec![3, 1002] });
        assert!(newer.to_string().contains("migration 0003, 1002 is not known"), "{newer}");
        let older = schema().judge(&[1]).unwrap_err();
        assert_eq!(older, SchemaError::Older { service: "orders", missing: vec![2, 1001] });
        assert!(older.to_string().ends_with("run `farmera migrate orders`"), "{older}");
    }
}
