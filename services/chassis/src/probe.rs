//! Looks at the database once a second: is it there, has it our tables, may we write them, is the log held back?

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use eventstore::Clock;
use sqlx::postgres::PgPool;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::health::Component;
use crate::held_back::HeldBack;
use crate::schema::Schema;
use crate::shutdown::Shutdown;

const INTERVAL: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(3);
/// Our own sessions are cut off by then: whoever holds the log back for longer is somebody else.
const HELD_BACK_MAX: Duration = Duration::from_secs(10);

const LOOK: &str = "
select
    clock_timestamp() as now,
    coalesce(
        has_table_privilege(to_regclass('event'), 'select') and has_table_privilege(to_regclass('event'), 'insert'),
        false
    ) as has_rights,
    pg_snapshot_xmin(pg_current_snapshot())::text as oldest,
    pg_snapshot_xmax(pg_current_snapshot())::text as next";

#[derive(sqlx::FromRow)]
struct Seen {
    now: DateTime<Utc>,
    has_rights: bool,
    oldest: String,
    next: String,
}

/// The parts that the probe tells about.
pub(crate) struct Probe {
    /// What the database has to look like, and whose it is.
    pub schema: Schema,
    /// Where it looks.
    pub pool: PgPool,
    /// Set by what the database says.
    pub clock: Arc<dyn Clock>,
    /// The database.
    pub postgres: Component,
    /// The log: up unless it is held back.
    pub log: Component,
}

impl Probe {
    /// Looks until the shutdown.
    pub(crate) async fn run(self, mut shutdown: Shutdown) {
        let mut was_up = None;
        let mut held_back = HeldBack::default();
        while !shutdown.is_triggered() {
            let state = self.look(&mut held_back).await;
            match &state {
                Ok(()) => self.postgres.up(),
                Err(reason) => self.postgres.down(reason.clone()),
            }
            if was_up != Some(state.is_ok()) {
                was_up = Some(state.is_ok());
                match state {
                    Ok(()) => info!("the database is there"),
                    Err(reason) => warn!(reason, "waiting for the database"),
                }
            }
            tokio::select! {
                () = shutdown.triggered() => {}
                () = sleep(INTERVAL) => {}
            }
        }
    }

    async fn look(&self, held_back: &mut HeldBack) -> Result<(), String> {
        match timeout(DEADLINE, self.schema.look(&self.pool)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("Postgres does not answer in time".to_owned()),
        }
        let asked = sqlx::query_as::<_, Seen>(LOOK).fetch_one(&self.pool);
        let seen = match timeout(DEADLINE, asked).await {
            Ok(Ok(seen)) => seen,
            Ok(Err(error)) => return Err(format!("Postgres does not answer: {error}")),
            Err(_) => return Err("Postgres does not answer in time".to_owned()),
        };
        self.clock.observe(seen.now);
        let number = |text: &str| text.parse().unwrap_or(0);
        self.tell(held_back.look(Instant::now(), number(&seen.oldest), number(&seen.next)));
        match seen {
            Seen { has_rights: false, .. } => {
                Err("the role may not read and write events: run `farmera migrate`, and connect as the service's role"
                    .to_owned())
            }
            Seen { .. } => Ok(()),
        }
    }

    fn tell(&self, held_back: Duration) {
        metrics::gauge!("farmera_log_held_back_seconds", "service" => self.schema.service())
            .set(held_back.as_secs_f64());
        if held_back <= HELD_BACK_MAX {
            self.log.up();
            return;
        }
        let seconds = held_back.as_secs();
        warn!(seconds, "an open transaction holds the log back, see docs/runbooks/read-models.md");
        self.log.down(format!("held back for {seconds} s by a transaction that somebody left open"));
    }
}
