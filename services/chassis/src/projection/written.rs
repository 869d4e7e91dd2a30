//! A writer reads what it wrote: the answer to a change carries a token for its place in the log, and a list that is given
//! one waits until its read model has come there.
//!
//! The log is the database's, so a token means the same at every replica, whichever of them applies the events.

use std::time::Duration;

use eventstore::{Category, Cursor, TxId};
use sqlx::postgres::PgPool;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::{Nudge, Projection};
use crate::coalesce::{Coalescer, Stopped};
use crate::page;
use crate::problem::Violations;
use crate::scan::{LogScan, NotReached};

/// So long a list waits for its read model, and then comes as it is.
pub const WAIT_MAX: Duration = Duration::from_secs(1);
/// Between two looks at how far it has come.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);
/// After so many looks the follower of this replica looks, too: that of the writer's may be gone. Not at once: both would
/// be at the same events, and one of them in vain.
const NUDGE_AT: u32 = 20;
/// Lists that share a look.
const SHARED_MAX: usize = 256;

/// What a list must hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// Whatever it holds.
    Anything,
    /// Everything up to this place.
    Written(Cursor),
    /// Everything that is written by now.
    Now,
}

impl Wanted {
    /// What a request asks for. A token that was made up, or another service's, is a violation of `written_token`.
    #[must_use]
    pub fn read(violations: &mut Violations, service: &str, token: &str, as_of_now: bool) -> Self {
        if token.is_empty() {
            return if as_of_now { Self::Now } else { Self::Anything };
        }
        match page::opened(&question(service), token, place) {
            Some(_) if as_of_now => Self::Now,
            Some(place) => Self::Written(place),
            None => {
                violations.add("written_token", format!("is no written_token of {service}"));
                Self::Anything
            }
        }
    }
}

/// Why it is not known whether a list holds what is wanted.
#[derive(Debug, thiserror::Error)]
pub enum NotAbreast {
    /// This database never came to the place: it is of another one, or of a past that was lost. Ask without the token.
    #[error("the log never came to the place that the token stands for")]
    Foreign,
    /// The database does not answer. Try again.
    #[error("how far the read model has come cannot be read")]
    Unavailable,
    /// The service is stopping. Ask another replica.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// The token of a place in the log of `service`. Not a secret and no authority.
#[must_use]
pub fn token(service: &str, place: Cursor) -> String {
    page::token(&question(service), &format!("{}/{}", place.tx.0, place.position))
}

fn question(service: &str) -> String {
    format!("written/{service}")
}

fn place(key: &str) -> Option<Cursor> {
    let (tx, position) = key.split_once('/')?;
    let position = position.parse().ok().filter(|position| i64::try_from(*position).is_ok())?;
    Some(Cursor { tx: TxId(tx.parse().ok()?), position })
}

/// A place at or after everything that is committed by now.
///
/// # Errors
/// The database does not answer.
pub async fn written(pool: &PgPool) -> Result<Cursor, sqlx::Error> {
    let next: String =
        sqlx::query_scalar("select pg_snapshot_xmax(pg_current_snapshot())::text").fetch_one(pool).await?;
    let last = next.parse::<u64>().unwrap_or(0).saturating_sub(1);
    Ok(Cursor { tx: TxId(last), position: u64::try_from(i64::MAX).unwrap_or(0) })
}

/// Where lists wait for one read model. Cheap to clone.
#[derive(Clone)]
pub struct Abreast {
    categories: &'static [Category],
    scan: LogScan,
    pool: PgPool,
    place: Coalescer<(), Option<Cursor>>,
    nudge: Nudge,
}

impl Abreast {
    /// For this read model; the future must run for it.
    pub fn new(
        projection: &dyn Projection,
        pool: PgPool,
        scan: LogScan,
        nudge: Nudge,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (name, shared) = (projection.name(), pool.clone());
        // Whoever waits at the same time is answered by one look.
        let (place, run) = Coalescer::new(SHARED_MAX, move |askers: Vec<()>| {
            let pool = shared.clone();
            async move { vec![come_to(name, &pool).await; askers.len()] }
        });
        (Self { categories: projection.categories(), scan, pool, place, nudge }, run)
    }

    /// Waits until the read model holds what is wanted, at most [`WAIT_MAX`]; false when it does not by then.
    ///
    /// # Errors
    /// [`NotAbreast`].
    pub async fn with(&self, wanted: Wanted) -> Result<bool, NotAbreast> {
        match timeout(WAIT_MAX, self.reached(wanted)).await {
            Ok(reached) => reached.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    async fn reached(&self, wanted: Wanted) -> Result<(), NotAbreast> {
        let until = match wanted {
            Wanted::Anything => return Ok(()),
            Wanted::Written(place) => place,
            Wanted::Now => written(&self.pool).await.map_err(|error| unread(&error))?,
        };
        let last = match self.scan.last_of_until(self.categories, until).await {
            Ok(Some(last)) => last,
            Ok(None) => return Ok(()),
            Err(NotReached::Beyond) => return Err(NotAbreast::Foreign),
            Err(NotReached::Log(error)) => return Err(unread(&error)),
        };
        let mut looks = 0_u32;
        while self.place.ask(()).await?.ok_or(NotAbreast::Unavailable)? < last {
            looks = looks.saturating_add(1);
            if looks == NUDGE_AT {
                self.nudge.look();
            }
            sleep(LOOK_AGAIN_AFTER).await;
        }
        Ok(())
    }
}

/// How far the read model has come; `None` when that cannot be read.
async fn come_to(name: &str, pool: &PgPool) -> Option<Cursor> {
    let query = sqlx::query_as::<_, (String, i64)>("select tx::text, position from projection where name = $1");
    // Whoever asked waits no longer than that.
    match timeout(WAIT_MAX, query.bind(name).fetch_optional(pool)).await {
        Ok(Ok(None)) => Some(Cursor::START),
        Ok(Ok(Some((tx, position)))) => {
            Some(Cursor { tx: TxId(tx.parse().unwrap_or(0)), position: u64::try_from(position).unwrap_or(0) })
        }
        Ok(Err(error)) => {
            unread(&error);
            None
        }
        Err(late) => {
            unread(&late);
            None
        }
    }
}

fn unread(error: &(dyn std::error::Error + 'static)) -> NotAbreast {
    warn!(error, "how far a read model has come cannot be read");
    NotAbreast::Unavailable
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(service: &str, token: &str) -> Result<Wanted, ()> {
        let mut violations = Violations::new();
        let wanted = Wanted::read(&mut violations, service, token, false);
        if violations.is_empty() { Ok(wanted) } else { Err(()) }
    }

    #[test]
    fn a_token_stands_for_its_place_at_its_service_and_nowhere_else() {
        let place = Cursor { tx: TxId(4_711), position: 12 };
        assert_eq!(read("orders", &token("orders", place)), Ok(Wanted::Written(place)));
        assert_eq!(read("payment", &token("orders", place)), Err(()));
        assert_eq!(read("orders", ""), Ok(Wanted::Anything));
        for made_up in ["x", "00", "4711/12"] {
            assert_eq!(read("orders", made_up), Err(()), "{made_up}");
        }
        for key in ["", "1", "1/", "/1", "-1/1", "1/-1", "1/9223372036854775808", "18446744073709551616/1", "1/1/1"] {
            assert_eq!(read("orders", &page::token("written/orders", key)), Err(()), "{key}");
        }
    }
}
