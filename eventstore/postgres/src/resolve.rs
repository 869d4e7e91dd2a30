use std::collections::HashSet;

use eventstore::{CommitError, Committed, InboxEntry, Version};
use sqlx::Row;

use crate::PostgresStore;
use crate::batch::Batch;
use crate::codec::{to_i64, to_u64};
use crate::commit::committed;
use crate::fault::{StoreFault, commit_unavailable};

/// A commit is all or nothing: where its first event stands, all of it stands.
const FIND_OWN: &str = "
select
    own.tx,
    (select max(position) from event where event.tx = own.tx) as position,
    now() as now
from event as own
where stream_id = $1
and version = $2
and category = $3
and event_id = $4";

const FIND_HANDLED: &str = "
select ordinal
from unnest($1::text[], $2::uuid[]) with ordinality as done (consumer, message, ordinal)
join inbox using (consumer, message)
order by ordinal
limit 1";

pub(crate) const FIND_VERSIONS: &str = "
select
    coalesce(
        (
            select version
            from event
            where event.stream_id = head.stream_id
            and event.category = head.category
            order by version desc
            limit 1
        ),
        0
    ) as actual
from unnest($1::uuid[], $2::text[], $3::int8[]) with ordinality as head (stream_id, category, expected, ordinal)
order by ordinal";

/// What became of a commit, and what stands in its way.
impl PostgresStore {
    /// The commit, if it took place although its answer was lost. `None` for certain when it has no events: then
    /// nothing of it tells whose it is, and storing it again changes nothing.
    ///
    /// "Not found" may still mean "under way": whoever sends the commit again is protected by the fence.
    pub(crate) async fn find_own(&self, batch: &Batch) -> Result<Option<Committed>, CommitError> {
        let Some((append, event)) = batch.first() else { return Ok(None) };
        let find = || {
            sqlx::query(FIND_OWN)
                .bind(append.stream.id)
                .bind(to_i64(append.expected.plus(1).get()))
                .bind(append.stream.category.as_str())
                .bind(event.id.0)
        };
        let rows = self.connections.read(find).await.map_err(commit_unavailable)?;
        rows.first().map(committed).transpose().map_err(commit_unavailable)
    }

    /// After a lost answer, what stands in a commit's way may be the commit itself.
    pub(crate) async fn own_or_obstacle(&self, batch: &Batch) -> Result<Committed, CommitError> {
        match self.find_own(batch).await? {
            Some(committed) => Ok(committed),
            None => Err(self.find_obstacle(batch).await),
        }
    }

    /// A handled message before a taken version: who hears "duplicate" drops it, who hears "conflict" decides again.
    pub(crate) async fn find_obstacle(&self, batch: &Batch) -> CommitError {
        let handled = match self.find_handled(batch).await {
            Ok(handled) => handled.or_else(|| repeated(batch.inbox())),
            Err(error) => return commit_unavailable(error),
        };
        if let Some(InboxEntry { consumer, message }) = handled {
            return CommitError::Duplicate { consumer: consumer.clone(), message: *message };
        }
        match self.find_conflict(batch).await {
            Ok(Some(conflict)) => conflict,
            Ok(None) => commit_unavailable(StoreFault::Vanished),
            Err(error) => commit_unavailable(error),
        }
    }

    pub(crate) async fn find_handled<'b>(&self, batch: &'b Batch) -> Result<Option<&'b InboxEntry>, sqlx::Error> {
        if batch.inbox().is_empty() {
            return Ok(None);
        }
        let rows = self.connections.read(|| batch.bind_inbox(sqlx::query(FIND_HANDLED))).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let ordinal = usize::try_from(row.try_get::<i64, _>("ordinal")?).unwrap_or(usize::MAX);
        Ok(batch.inbox().get(ordinal.saturating_sub(1)))
    }

    async fn find_conflict(&self, batch: &Batch) -> Result<Option<CommitError>, sqlx::Error> {
        let rows = self.connections.read(|| batch.bind_heads(sqlx::query(FIND_VERSIONS))).await?;
        for (row, append) in rows.iter().zip(batch.appends()) {
            let actual = Version::new(to_u64(row.try_get("actual")?));
            if actual != append.expected {
                return Ok(Some(CommitError::Conflict { stream: append.stream, expected: append.expected, actual }));
            }
        }
        Ok(None)
    }
}

/// A message that is named twice within one commit.
fn repeated(inbox: &[InboxEntry]) -> Option<&InboxEntry> {
    let mut seen = HashSet::new();
    inbox.iter().find(|entry| !seen.insert(*entry))
}
