//! The open sagas of the list, by definition: for whoever starts, and for whoever wants to know what a newer program makes
//! of them.

use eventstore::ReadError;
use saga::DefinitionRef;
use saga_runtime::BoundSagas;
use sqlx::postgres::{PgConnection, PgPool};
use uuid::Uuid;

/// Open sagas above `after`, at most `limit`, in the order of their ids.
///
/// # Errors
/// The database's own.
pub async fn open_sagas(
    connection: &mut PgConnection,
    after: Option<Uuid>,
    limit: u16,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar::<_, Uuid>(
        "select saga_id
         from saga_view
         where state in (1, 2, 3, 7)
           and ($1::uuid is null or saga_id > $1)
         order by saga_id
         limit $2",
    )
    .bind(after)
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await
}

/// Reads `saga_view`.
#[derive(Clone)]
pub struct BoundList(PgPool);

impl BoundList {
    /// Over the service's database.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self(pool)
    }
}

impl BoundSagas for BoundList {
    async fn bound(&self, definition: &DefinitionRef, limit: usize) -> Result<Vec<Uuid>, ReadError> {
        let found = sqlx::query_scalar::<_, Uuid>(
            "select saga_id
             from saga_view
             where definition = $1 and definition_version = $2 and state in (1, 2, 3, 7)
             order by saga_id
             limit $3",
        )
        .bind(definition.name.as_ref())
        .bind(i32::try_from(definition.version).unwrap_or(i32::MAX))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.0);
        match tokio::time::timeout(super::DEADLINE, found).await {
            Ok(found) => found.map_err(|error| ReadError::Unavailable(error.into())),
            Err(late) => Err(ReadError::Unavailable(late.into())),
        }
    }
}
