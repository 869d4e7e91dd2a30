//! Making read models anew, as an operation ([`Rebuild`]): whoever dies on the way is followed by one who begins anew.

use std::error::Error;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use eventstore::Cursor;
use farmera_proto::saga::v1 as pb;
use pb::act::Kind;
use sqlx::postgres::PgPool;
use tonic::Status;

use super::{Acts, Became, Foreseen, Item, Job, Later, Mandate, only, rows, unreadable};
use crate::config::Secret;
use crate::problem::Violations;
use crate::projection::{BATCH, Progress, Projection, Rebuild, RebuildError, Report};
use crate::scan::LogScan;

/// Acts on read models: to make them anew from the log while the service runs.
pub struct ProjectionActs {
    /// The read models.
    pub projections: Arc<[Box<dyn Projection>]>,
    /// Where it is seen how long the log is.
    pub scan: LogScan,
    /// The service's database.
    pub pool: PgPool,
    /// The same as its owner, who alone may put one table in the place of another; `None` where it is not known.
    pub owner_url: Option<Secret>,
    /// Whose: `orders.farmera.dev`.
    pub domain: &'static str,
}

#[async_trait::async_trait]
impl Acts for ProjectionActs {
    fn include(&self, kind: Kind) -> bool {
        kind == Kind::RebuildProjection
    }

    async fn foresee(
        &self,
        _act: &pb::Act,
        selection: &pb::Selection,
        _mandate: &Mandate,
        _now: DateTime<Utc>,
    ) -> Result<Foreseen, Status> {
        let names = &selection.projection_names;
        let mut violations = Violations::new();
        let own = pb::Selection { projection_names: names.clone(), ..pb::Selection::default() };
        only(&mut violations, selection, &own, "read models");
        if names.is_empty() {
            violations.add("selection.projection_names", format!("names none: there is {}", self.known()));
        }
        for name in names.iter().filter(|name| self.find(name).is_none()) {
            let name: String = name.chars().take(64).collect();
            violations.add("selection.projection_names", format!("{name:?} is unknown: there is {}", self.known()));
        }
        violations.finish(self.domain)?;
        let mut items = Vec::new();
        for projection in names.iter().filter_map(|name| self.find(name)) {
            items.push(self.item(projection).await?);
        }
        Ok(Foreseen { items, repeated_requests: 0 })
    }

    fn select(&self, items: &[pb::PlanItem]) -> pb::Selection {
        let projection_names = items.iter().map(|item| item.id.clone()).collect();
        pb::Selection { projection_names, ..pb::Selection::default() }
    }

    async fn carry_out(&self, job: Job<'_>, items: &[Item]) -> Vec<Became> {
        let mut became = Vec::with_capacity(items.len());
        for item in items {
            became.push(self.one(&job, &item.item).await);
        }
        became
    }
}

impl ProjectionActs {
    fn find(&self, name: &str) -> Option<&dyn Projection> {
        self.projections.iter().find(|projection| projection.name() == name).map(|found| &**found)
    }

    fn known(&self) -> String {
        self.projections.iter().map(|projection| projection.name()).collect::<Vec<_>>().join(", ")
    }

    /// A plan rests on which tables are in place: whoever rebuilds puts others there.
    async fn item(&self, projection: &dyn Projection) -> Result<pb::PlanItem, Status> {
        let (name, tables) = (projection.name(), projection.tables());
        let found: Vec<(i64, i64)> = rows(
            self.domain,
            sqlx::query_as(
                "select
                     (select coalesce(sum(to_regclass(format('public.%I', wanted.name))::oid::bigint), 0)::bigint
                      from unnest($1::text[]) as wanted (name)),
                     (select count(*) from parked_stream where consumer = $2)",
            )
            .bind(tables)
            .bind(name)
            .fetch_all(&self.pool),
        )
        .await?;
        let (in_place, parked) = found.first().copied().unwrap_or_default();
        let behind = self.scan.behind(Cursor::START, projection.categories()).await;
        let affected = behind.map_err(|error| unreadable(self.domain, error))?.events;
        let item = pb::PlanItem {
            id: name.to_owned(),
            version: u64::try_from(in_place).unwrap_or(0),
            affected,
            ..pb::PlanItem::default()
        };
        if self.owner_url.is_none() {
            let refused = "this process does not know the database as its owner (MIGRATION_URL); \
                           `farmera projection rebuild` does it where that is known";
            return Ok(pb::PlanItem { refused: refused.to_owned(), ..item });
        }
        let put_off = match parked {
            0 => String::new(),
            parked => format!("; {parked} parked streams are put off again unless this program understands them"),
        };
        let event = format!("made anew from the log beside {}, then put in their place{put_off}", tables.join(", "));
        Ok(pb::PlanItem { events: vec![event], ..item })
    }

    async fn one(&self, job: &Job<'_>, name: &str) -> Became {
        let Some(projection) = self.find(name) else { return Ok(Some("there is no such read model".to_owned())) };
        let Some(url) = &self.owner_url else {
            return Ok(Some("this process does not know the database as its owner".to_owned()));
        };
        let tell = |Progress { events, total }: Progress| {
            job.progress.tell(format!("{name}: {events} of {total} events applied"));
        };
        let rebuild = Rebuild { projection, url: url.expose(), batch: BATCH, progress: &tell };
        match rebuild.switch().await {
            Ok(Report { events, rows, differences, parked, .. }) => {
                let put_off = if parked > 0 { format!(", {parked} streams put off") } else { String::new() };
                job.progress.tell(format!("{name}: {rows} rows from {events} events, {differences} differed{put_off}"));
                Ok(None)
            }
            // The connection of one who died may be there for a moment.
            Err(RebuildError::Busy) => Err(Later(RebuildError::Busy.to_string())),
            Err(error) => Ok(Some(chain(&error))),
        }
    }
}

/// With the causes: whoever reads it has to find out which.
pub(super) fn chain(error: &RebuildError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(&format!(": {source}"));
        cause = source.source();
    }
    text
}
