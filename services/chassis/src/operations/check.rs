//! Comparing a read model in use with what follows from the log: built beside it, compared, thrown away ([`Rebuild`]).

use std::sync::Arc;
use std::time::Duration;

use farmera_proto::saga::v1 as pb;
use futures::future::BoxFuture;
use futures::{FutureExt as _, Stream, stream};
use pb::check_projection_response::{Difference, Found};
use tokio::sync::watch;
use tonic::{Code, Status};

use super::rebuild::chain;
use crate::config::Secret;
use crate::problem::{self, Problem, Violations};
use crate::projection::{BATCH, Progress, Projection, Rebuild, RebuildError, Report};
use crate::shutdown::Shutdown;

/// How often it is told how far it is.
const TELL_INTERVAL: Duration = Duration::from_millis(500);

/// Compares read models for whoever asks; one at a time of each, whichever process it is in.
pub struct ProjectionChecks {
    /// The read models.
    pub projections: Arc<[Box<dyn Projection>]>,
    /// The service's database as its owner, who alone may make tables; `None` where it is not known.
    pub owner_url: Option<Secret>,
    /// Ends the checking.
    pub shutdown: Shutdown,
    /// Whose: `orders.farmera.dev`.
    pub domain: &'static str,
}

/// A check under way. When it is dropped, the database clears up what it built with the next one.
struct Check {
    work: BoxFuture<'static, Result<Found, Status>>,
    progress: watch::Receiver<Progress>,
    shutdown: Shutdown,
    domain: &'static str,
}

impl ProjectionChecks {
    /// Checks the read model of this name: how far it is, and at the end what was found.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for an unknown name, FAILED_PRECONDITION where the owner's way to the database is not known.
    /// The stream ends with UNAVAILABLE when it cannot be compared now, FAILED_PRECONDITION when it never can.
    pub fn check(
        &self,
        name: &str,
    ) -> Result<impl Stream<Item = Result<pb::CheckProjectionResponse, Status>> + Send + use<>, Status> {
        let mut violations = Violations::new();
        if !self.projections.iter().any(|projection| projection.name() == name) {
            let known: Vec<_> = self.projections.iter().map(|projection| projection.name()).collect();
            let name: String = name.chars().take(64).collect();
            violations.add("name", format!("{name:?} is unknown: there is {}", known.join(", ")));
        }
        violations.finish(self.domain)?;
        let Some(url) = self.owner_url.clone() else {
            let message = "this process does not know the database as its owner (MIGRATION_URL); \
                           `farmera projection rebuild --check` compares where that is known";
            return Err(Problem::new(Code::FailedPrecondition, "OWNER_UNKNOWN", message).into_status(self.domain));
        };
        let (told, progress) = watch::channel(Progress { events: 0, total: 0 });
        let work = compare(Arc::clone(&self.projections), name.to_owned(), url, told, self.domain).boxed();
        let check = Check { work, progress, shutdown: self.shutdown.clone(), domain: self.domain };
        Ok(stream::unfold(Some(check), |check| async { check?.next().await }))
    }
}

async fn compare(
    projections: Arc<[Box<dyn Projection>]>,
    name: String,
    url: Secret,
    told: watch::Sender<Progress>,
    domain: &'static str,
) -> Result<Found, Status> {
    let Some(projection) = projections.iter().find(|projection| projection.name() == name) else {
        return Err(problem::internal(domain));
    };
    let tell = |progress: Progress| {
        told.send_replace(progress);
    };
    let rebuild = Rebuild { projection: &**projection, url: url.expose(), batch: BATCH, progress: &tell };
    rebuild.check().await.map(found).map_err(|error| refused(domain, &error))
}

impl Check {
    /// What is told next, and what is left to be told.
    async fn next(mut self) -> Option<(Result<pb::CheckProjectionResponse, Status>, Option<Self>)> {
        let found = tokio::select! {
            found = &mut self.work => Some(found),
            () = self.shutdown.triggered() => {
                Some(Err(problem::unavailable(self.domain, "the service is stopping; check again")))
            }
            () = tokio::time::sleep(TELL_INTERVAL) => None,
        };
        let Progress { events, total } = *self.progress.borrow();
        let so_far = pb::CheckProjectionResponse { events, total, found: None };
        Some(match found {
            None => (Ok(so_far), Some(self)),
            Some(Ok(found)) => (Ok(pb::CheckProjectionResponse { found: Some(found), ..so_far }), None),
            Some(Err(status)) => (Err(status), None),
        })
    }
}

fn found(Report { rows, differences, first, parked, events: _, switched: _ }: Report) -> Found {
    let first = first.into_iter().map(|difference| Difference {
        table: difference.table,
        in_use_json: difference.live.unwrap_or_default(),
        from_log_json: difference.rebuilt.unwrap_or_default(),
    });
    Found { rows, differences, first: first.collect(), parked_streams: parked }
}

fn refused(domain: &'static str, error: &RebuildError) -> Status {
    match error {
        RebuildError::Connect(_)
        | RebuildError::Read(_)
        | RebuildError::Late
        | RebuildError::Busy
        | RebuildError::Restless
        | RebuildError::Locked => problem::unavailable(domain, chain(error)),
        RebuildError::Database(_) | RebuildError::Apply(_) | RebuildError::Unfit { .. } => {
            Problem::new(Code::FailedPrecondition, "CANNOT_COMPARE", chain(error)).into_status(domain)
        }
    }
}
