//! Reading the catalogue, thousands of times a second.
//!
//! Callers that ask at the same time share one query, and what was read is good for a short while
//! ([`Catalogue::new`]'s `fresh_for`): so a hot product costs the database a few reads a second, not one per order. What
//! callers see is as old as that while plus the projection's lag, a few hundredths of a second. A reservation is decided
//! on the product's stream, never on this.
//!
//! A change made through this process is seen at once: [`Catalogue::forget`] drops what was read before it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chassis::coalesce::{Coalescer, Stopped};
use farmera_proto::products::v1 as pb;
use sqlx::postgres::PgPool;
use tokio::time::timeout;
use tracing::warn;
use uuid::Uuid;

use super::rows;

/// Questions answered with one query at most.
const QUESTIONS_MAX: usize = 512;
/// Products remembered at most; then all are forgotten.
const REMEMBERED_MAX: usize = 20_000;
const DEADLINE: Duration = Duration::from_secs(3);

/// The catalogue cannot be read now. Try again with backoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// The database does not answer.
    #[error("the database does not answer")]
    Unavailable,
    /// The service is stopping.
    #[error("the service is stopping")]
    Stopping,
}

impl From<Stopped> for CatalogueError {
    fn from(_: Stopped) -> Self {
        Self::Stopping
    }
}

/// Products by id.
pub type Found = HashMap<Uuid, Arc<pb::Product>>;

type Answer = Result<Arc<Found>, CatalogueError>;

/// The catalogue as clients and other services see it. Cheap to clone.
#[derive(Clone)]
pub struct Catalogue {
    pool: PgPool,
    memory: Arc<Memory>,
    questions: Coalescer<Vec<Uuid>, Answer>,
}

struct Memory {
    fresh_for: Duration,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    products: HashMap<Uuid, (Arc<pb::Product>, Instant)>,
    /// Grows with every forgetting: what was asked for before it is not remembered after it.
    epoch: u64,
}

impl Memory {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of `ids`, and which are to be asked for.
    fn recall(&self, ids: &[Uuid]) -> (Found, Vec<Uuid>) {
        let now = Instant::now();
        let known = self.known();
        let mut found = Found::with_capacity(ids.len());
        let mut missing = Vec::new();
        for id in ids {
            match known.products.get(id) {
                Some((product, until)) if now < *until => {
                    found.insert(*id, Arc::clone(product));
                }
                Some(_) | None => missing.push(*id),
            }
        }
        (found, missing)
    }

    fn remember(&self, epoch: u64, found: &Found) {
        let until = Instant::now() + self.fresh_for;
        let mut known = self.known();
        if known.epoch != epoch {
            return;
        }
        if known.products.len() + found.len() > REMEMBERED_MAX {
            known.products.clear();
        }
        known.products.extend(found.iter().map(|(id, product)| (*id, (Arc::clone(product), until))));
    }
}

impl Catalogue {
    /// A reader, and the loop that must run for it. What was read is good for `fresh_for`.
    pub fn new(pool: PgPool, fresh_for: Duration) -> (Self, impl Future<Output = ()> + Send) {
        let memory = Arc::new(Memory { fresh_for, known: Mutex::default() });
        let (of_loop, remembering) = (pool.clone(), Arc::clone(&memory));
        let (questions, run) = Coalescer::new(QUESTIONS_MAX, move |asked: Vec<Vec<Uuid>>| {
            let (pool, memory) = (of_loop.clone(), Arc::clone(&remembering));
            async move {
                let count = asked.len();
                let answer = read(&pool, &memory, asked).await;
                vec![answer; count]
            }
        });
        (Self { pool, memory, questions }, run)
    }

    /// Products by id; those that are unknown are left out.
    ///
    /// # Errors
    /// [`CatalogueError`].
    pub async fn find(&self, ids: &[Uuid]) -> Result<Found, CatalogueError> {
        let (mut found, missing) = self.memory.recall(ids);
        if missing.is_empty() {
            return Ok(found);
        }
        let read = self.questions.ask(missing.clone()).await??;
        found.extend(missing.into_iter().filter_map(|id| Some((id, Arc::clone(read.get(&id)?)))));
        Ok(found)
    }

    /// The products behind `after` in the order of their ids, at most `limit`; straight from the table.
    ///
    /// # Errors
    /// [`CatalogueError::Unavailable`].
    pub async fn page(&self, after: Uuid, limit: usize) -> Result<Vec<(Uuid, pb::Product)>, CatalogueError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        in_time(rows::select_page(&self.pool, after, limit)).await
    }

    /// Drops what was read of a product: it has changed.
    pub fn forget(&self, product_id: Uuid) {
        let mut known = self.memory.known();
        known.epoch += 1;
        known.products.remove(&product_id);
    }
}

async fn read(pool: &PgPool, memory: &Memory, asked: Vec<Vec<Uuid>>) -> Answer {
    let mut ids: Vec<Uuid> = asked.into_iter().flatten().collect();
    ids.sort_unstable();
    ids.dedup();
    let epoch = memory.known().epoch;
    let rows = in_time(rows::select(pool, &ids)).await?;
    let found: Found = rows.into_iter().map(|(id, product)| (id, Arc::new(product))).collect();
    memory.remember(epoch, &found);
    Ok(Arc::new(found))
}

async fn in_time<T>(query: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, CatalogueError> {
    match timeout(DEADLINE, query).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(failed)) => {
            warn!(error = &failed as &dyn std::error::Error, "the catalogue cannot be read");
            Err(CatalogueError::Unavailable)
        }
        Err(_) => {
            warn!("the catalogue cannot be read in time");
            Err(CatalogueError::Unavailable)
        }
    }
}
