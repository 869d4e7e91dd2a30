//! Lists that hold what their reader wrote.

use chassis::problem::Violations;
use chassis::projection::{Abreast, Wanted, token, written};
use eventstore::{Committed, Cursor};
use sqlx::postgres::PgPool;
use tonic::Status;

use crate::NAME;
use crate::projections::rows;
use crate::status::{DOMAIN, of_not_abreast};

/// Where the lists of one read model wait.
#[derive(Clone)]
pub struct Lists {
    /// For the read model.
    pub abreast: Abreast,
    /// The service's database.
    pub pool: PgPool,
}

impl Lists {
    /// Waits until the list holds what a request asks for, at most [`chassis::projection::WAIT_MAX`]; false when it does
    /// not by then.
    ///
    /// # Errors
    /// INVALID_ARGUMENT, FAILED_PRECONDITION, or UNAVAILABLE.
    pub async fn wait(&self, written_token: &str, as_of_now: bool) -> Result<bool, Status> {
        let mut violations = Violations::new();
        let wanted = Wanted::read(&mut violations, NAME, written_token, as_of_now);
        violations.finish(DOMAIN)?;
        self.abreast.with(wanted).await.map_err(|error| of_not_abreast(&error))
    }

    /// The token for a commit. What was there already was written at some time before now; empty where the database does
    /// not say when now is, for what is done is done.
    pub async fn token(&self, committed: Option<Committed>) -> String {
        if let Some(committed) = committed.filter(|committed| committed.last > Cursor::START) {
            return token(NAME, committed.last);
        }
        let now = rows(async { Ok(vec![written(&self.pool).await?]) }).await.unwrap_or_default();
        now.first().map(|now| token(NAME, *now)).unwrap_or_default()
    }
}
