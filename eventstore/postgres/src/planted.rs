//! The longer ones of the bugs that can be planted for tests; see `faults::Plant`. No program that is released reaches
//! this.

use eventstore::{CommitError, Version};
use sqlx::Row;

use crate::PostgresStore;
use crate::batch::Batch;
use crate::codec::to_u64;
use crate::fault::commit_unavailable;
use crate::resolve::FIND_VERSIONS;

const NOTE_AS_HANDLED: &str = "
insert into inbox (consumer, message)
select *
from unnest($1::text[], $2::uuid[])";

impl PostgresStore {
    /// `Plant::ExpectedVersionIgnored`.
    pub(crate) async fn expect_what_is_there(&self, batch: &mut Batch) -> Result<(), CommitError> {
        let rows = self.connections.read(|| batch.bind_heads(sqlx::query(FIND_VERSIONS))).await;
        for (row, append) in rows.map_err(commit_unavailable)?.iter().zip(batch.appends_mut()) {
            append.expected = Version::new(to_u64(row.try_get("actual").map_err(commit_unavailable)?));
        }
        Ok(())
    }

    /// `Plant::InboxOutsideTransaction`.
    pub(crate) async fn note_as_handled(&self, batch: &mut Batch) -> Result<(), CommitError> {
        let handled = self.find_handled(batch).await.map_err(commit_unavailable)?.is_some();
        if !handled {
            let noted = self.connections.run(batch.bind_inbox(sqlx::query(NOTE_AS_HANDLED))).await;
            noted.map_err(|error| commit_unavailable(error.into_inner()))?;
            batch.forget_inbox();
        }
        Ok(())
    }
}
