//! A read model made anew from the log, beside the one that is in use, which it then replaces.
//!
//! # Theory of operation
//!
//! 1. **Beside.** Empty copies of the projection's tables ([`Projection::tables`]) are made in the schema
//!    `rebuild_<name>`. The projection's own `apply` fills them from the beginning of the log, on a connection that looks
//!    for tables in that schema only. So nothing else can be written: a projection that touches anything but its tables
//!    fails here. There is no worker, relay or nudge in this process either: nobody outside is told anything.
//! 2. **Catch up.** When the copies stand where the live read model stands, both are compared in one snapshot.
//! 3. **Switch.** One transaction locks the live cursor, which stops the follower, applies what came in the meantime,
//!    puts the copies in the tables' place and moves the cursor. Readers wait for that moment and never see half of it;
//!    the follower finds its cursor moved, reads it again and goes on.
//!
//! Whoever dies on the way leaves that schema behind and nothing else; the next rebuild drops it. Two at once: the second
//! is refused.

use std::time::Duration;

use eventstore::{Cursor, EventStore as _, ReadError, Recorded, TxId};
use eventstore_postgres::{PostgresStore, StoreOptions};
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnection;
use tokio::time::{sleep, timeout};

use super::aside::Aside;
use super::scratch::{Difference, Scratch};
use super::{Projection, ProjectionError};
use crate::database::{ConnectError, ServerLimits, connect, session};

/// Events in one transaction, unless the caller knows better.
pub const BATCH: usize = 5_000;
/// Rows that differ, shown at most per table.
const DIFFERENCES_MAX: i64 = 10;
/// How often to look for a moment in which the live read model stands where ours does.
const COMPARE_TRIES: usize = 200;
/// How often to try for the locks of the switch, each for at most a second: readers queue up behind us meanwhile.
const SWITCH_TRIES: usize = 30;
/// Batches applied while the follower waits, at most.
const LAST_BATCHES: usize = 10;
const PAUSE: Duration = Duration::from_millis(20);
pub(super) const DEADLINE: Duration = Duration::from_secs(60);
const COMPARE_LIMIT: Duration = Duration::from_secs(600);
/// Longer than this nobody waits for the switch.
const SWITCH_LIMIT: Duration = Duration::from_secs(10);

/// Why a read model was not rebuilt. The live one is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Correct the address of the database (as its owner), or start it.
    #[error("the database cannot be reached as its owner")]
    Connect(#[from] ConnectError),
    /// The database refuses: say, the role does not own the tables.
    #[error("the database refuses")]
    Database(#[from] sqlx::Error),
    /// The log cannot be read now. Try again.
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    /// The projection cannot take an event of the log that it says it understands: the projection is at fault.
    #[error("the projection cannot be applied to the log")]
    Apply(#[from] ProjectionError),
    /// Wait for the other one.
    #[error("another rebuild of this read model is under way")]
    Busy,
    /// A table cannot be copied.
    #[error("the table {table} cannot be rebuilt: {reason}")]
    Unfit {
        /// Which.
        table: String,
        /// Why not.
        reason: String,
    },
    /// The live read model moves too fast to be compared, or stands behind what was rebuilt. Try again.
    #[error("the live read model never stood where the rebuilt one did, in {COMPARE_TRIES} looks")]
    Restless,
    /// Others use the tables without a pause. Try again when long queries over them have ended.
    #[error("the tables were in use at each of {SWITCH_TRIES} tries to switch")]
    Locked,
    /// The database did not answer. Try again.
    #[error("the database did not answer in time")]
    Late,
}

/// How far a rebuild has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Events applied.
    pub events: u64,
    /// Events that were in the log at the beginning.
    pub total: u64,
}

/// What a rebuild found and did.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Events applied.
    pub events: u64,
    /// Rows built.
    pub rows: u64,
    /// Rows of the live read model that did not follow from the log: other, missing or too many.
    pub differences: u64,
    /// The first of them, ten per table.
    pub first: Vec<Difference>,
    /// Streams that hold an event that this program does not understand: nothing of them is applied from there on. They
    /// are parked when what was built is put to use.
    pub parked: u64,
    /// Whether what was built is in use now.
    pub switched: bool,
}

/// A rebuild that is to be.
pub struct Rebuild<'a> {
    /// Of what.
    pub projection: &'a dyn Projection,
    /// The service's database, as its owner.
    pub url: &'a str,
    /// Events in one transaction, 1 to 10,000.
    pub batch: usize,
    /// Told after each of them.
    pub progress: &'a (dyn Fn(Progress) + Send + Sync),
}

impl Rebuild<'_> {
    /// Builds beside the live read model and compares; changes nothing.
    ///
    /// # Errors
    /// [`RebuildError`].
    pub async fn check(self) -> Result<Report, RebuildError> {
        self.run(false).await
    }

    /// Builds, compares, and puts what was built in the place of the live read model.
    ///
    /// # Errors
    /// [`RebuildError`].
    pub async fn switch(self) -> Result<Report, RebuildError> {
        self.run(true).await
    }

    /// Says how many events there are to apply. Looks only.
    ///
    /// # Errors
    /// [`RebuildError`]: what [`Rebuild::check`] would fail of at its beginning.
    pub async fn look(self) -> Result<u64, RebuildError> {
        let mut builder = Builder::connect(self).await?;
        timeout(DEADLINE, builder.scratch.fit(&mut builder.connection)).await.map_err(|_| RebuildError::Late)??;
        Ok(builder.store.behind(Cursor::START, builder.asked.projection.categories()).await?.events)
    }

    async fn run(self, switch: bool) -> Result<Report, RebuildError> {
        let mut builder = Builder::connect(self).await?.ready().await?;
        let result = builder.run(switch).await;
        // Of no use to anybody; where even this fails, the next rebuild does it.
        let cleared = timeout(DEADLINE, builder.clear()).await;
        if !matches!(cleared, Ok(Ok(()))) {
            tracing::warn!(schema = builder.scratch.schema(), "the schema of a rebuild is left behind");
        }
        result
    }
}

struct Builder<'a> {
    asked: Rebuild<'a>,
    scratch: Scratch,
    store: PostgresStore,
    /// Looks for tables in the scratch schema only.
    connection: PgConnection,
    /// What is in the copies.
    place: Cursor,
    events: u64,
    total: u64,
    aside: Aside,
}

impl<'a> Builder<'a> {
    async fn connect(asked: Rebuild<'a>) -> Result<Self, RebuildError> {
        let scratch = Scratch::new(asked.projection.name(), asked.projection.tables());
        let options = StoreOptions {
            application_name: "farmera-rebuild".to_owned(),
            connections_max: 2,
            deadline: DEADLINE,
            ..StoreOptions::new(asked.url)
        };
        let store = PostgresStore::connect(&options).map_err(ConnectError::from)?;
        let limits = ServerLimits { lock: Duration::from_secs(1), ..ServerLimits::OPERATOR };
        // What a crash of the server takes from the copies is no loss; the switch commits for good.
        let session = session(asked.url, "farmera-rebuild", limits).map_err(ConnectError::from)?;
        let session = session.options([("search_path", scratch.schema()), ("synchronous_commit", "off")]);
        // A rollback on principle is nothing to tell an operator.
        let session = session.options([("client_min_messages", "error")]);
        let connected = timeout(DEADLINE, session.connect()).await.map_err(|_| RebuildError::Late)?;
        let connection = connected.map_err(ConnectError::from)?;
        let aside = Aside::default();
        Ok(Self { asked, scratch, store, connection, place: Cursor::START, events: 0, total: 0, aside })
    }

    /// Alone, with empty copies and a cursor to move.
    async fn ready(mut self) -> Result<Self, RebuildError> {
        let name = self.asked.projection.name();
        let prepare = async {
            let alone = "select pg_try_advisory_lock(hashtextextended('farmera rebuild ' || $1, 0))";
            if !sqlx::query_scalar(alone).bind(name).fetch_one(&mut self.connection).await? {
                return Err(RebuildError::Busy);
            }
            sqlx::query(
                "insert into public.projection (name, tx, position) values ($1, '0'::xid8, 0)
                 on conflict (name) do nothing",
            )
            .bind(name)
            .execute(&mut self.connection)
            .await?;
            self.scratch.create(&mut self.connection).await
        };
        timeout(DEADLINE, prepare).await.map_err(|_| RebuildError::Late)??;
        self.total = self.store.behind(Cursor::START, self.asked.projection.categories()).await?.events;
        Ok(self)
    }

    async fn run(&mut self, switch: bool) -> Result<Report, RebuildError> {
        self.follow_the_live_one().await?;
        self.scratch.analyze(&mut self.connection).await?;
        let (differences, first) = self.compare().await?;
        if switch {
            self.switch().await?;
        }
        let rows = if switch {
            super::scratch::rows(&mut self.connection, "public", self.asked.projection.tables()).await?
        } else {
            self.scratch.rows(&mut self.connection).await?
        };
        let parked = self.aside.streams();
        Ok(Report { events: self.events, rows, differences, first, parked, switched: switch })
    }

    /// Applies the log as far as the live read model has; while that is a long way, it goes on meanwhile.
    async fn follow_the_live_one(&mut self) -> Result<(), RebuildError> {
        loop {
            let before = self.events;
            let live = live_place(&mut self.connection, self.asked.projection.name()).await?;
            self.catch_up(live).await?;
            self.place = self.place.max(live);
            if self.events - before < self.asked.batch as u64 {
                return Ok(());
            }
        }
    }

    /// Applies what the log holds up to `until`. The next batch is read while one is applied.
    async fn catch_up(&mut self, until: Cursor) -> Result<(), RebuildError> {
        let mut events = self.read(self.place, until).await?;
        while let Some(to) = events.last().map(|event| event.cursor) {
            let Self { asked, connection, store, aside, .. } = self;
            let next = read(store, asked.projection, to, until, asked.batch);
            let (applied, next) = tokio::join!(aside.apply(connection, asked.projection, &events), next);
            applied?;
            self.applied(to, events.len());
            events = next?;
        }
        Ok(())
    }

    async fn read(&self, after: Cursor, until: Cursor) -> Result<Vec<Recorded>, RebuildError> {
        read(&self.store, self.asked.projection, after, until, self.asked.batch).await
    }

    fn applied(&mut self, to: Cursor, count: usize) {
        self.place = to;
        self.events += count as u64;
        (self.asked.progress)(Progress { events: self.events, total: self.total.max(self.events) });
    }

    /// Compares within one snapshot in which both stand at the same place of the log.
    async fn compare(&mut self) -> Result<(u64, Vec<Difference>), RebuildError> {
        let name = self.asked.projection.name();
        // With the planner as it comes: here, whole tables are read.
        let mut snapshot = connect(self.asked.url, "rebuild").await?;
        sqlx::raw_sql("set enable_seqscan = on; set enable_hashjoin = on; set enable_mergejoin = on")
            .execute(&mut snapshot)
            .await?;
        for _ in 0..COMPARE_TRIES {
            sqlx::raw_sql("begin isolation level repeatable read read only").execute(&mut snapshot).await?;
            if live_place(&mut snapshot, name).await? == self.place {
                let found = self.scratch.differences(&mut snapshot, DIFFERENCES_MAX);
                return Ok(timeout(COMPARE_LIMIT, found).await.map_err(|_| RebuildError::Late)??);
            }
            sqlx::raw_sql("rollback").execute(&mut snapshot).await?;
            sleep(PAUSE).await;
            self.follow_the_live_one().await?;
        }
        Err(RebuildError::Restless)
    }

    async fn switch(&mut self) -> Result<(), RebuildError> {
        for _ in 0..SWITCH_TRIES {
            // Most of it before anybody has to wait; the live one may be behind, or never have run.
            self.catch_up(LATEST).await?;
            let (place, events, counted) = (self.place, self.events, self.aside.counted());
            let switched = timeout(SWITCH_LIMIT, self.switch_once()).await;
            match switched.map_err(|_| RebuildError::Late)? {
                Ok(()) => return Ok(()),
                Err(error) if is_locked(&error) || is_new_to_us(&error) => {
                    sqlx::raw_sql("rollback").execute(&mut self.connection).await?;
                    (self.place, self.events) = (place, events);
                    self.aside.go_back(counted);
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
        Err(RebuildError::Locked)
    }

    /// One transaction. It has a number from its first lock on, so it reads only what was committed before: enough, for
    /// the live read model cannot have come further.
    async fn switch_once(&mut self) -> Result<(), RebuildError> {
        let projection = self.asked.projection;
        sqlx::raw_sql("begin; set local synchronous_commit = on").execute(&mut self.connection).await?;
        let live = sqlx::query_as("select tx::text, position from public.projection where name = $1 for update");
        let live = cursor(live.bind(projection.name()).fetch_one(&mut self.connection).await?);
        for _ in 0..LAST_BATCHES {
            let events = read(&self.store, projection, self.place, LATEST, self.asked.batch).await?;
            let Some(to) = events.last().map(|event| event.cursor) else { break };
            let sieved = self.aside.sieve(&events);
            projection.apply(&mut self.connection, &sieved.events).await?;
            self.aside.count(&sieved);
            self.applied(to, events.len());
        }
        if self.place < live {
            return Err(RebuildError::Restless);
        }
        self.scratch.switch(&mut self.connection).await?;
        sqlx::query(
            "update public.projection
             set tx = $2::text::xid8, position = $3, updated_at = now()
             where name = $1",
        )
        .bind(projection.name())
        .bind(self.place.tx.0.to_string())
        .bind(i64::try_from(self.place.position).unwrap_or(i64::MAX))
        .execute(&mut self.connection)
        .await?;
        self.aside.park(&mut self.connection, projection.name()).await?;
        sqlx::raw_sql("commit").execute(&mut self.connection).await?;
        Ok(())
    }

    async fn clear(&mut self) -> Result<(), sqlx::Error> {
        // Whatever failed may have left a transaction open; where none is, the server only says so.
        sqlx::raw_sql("rollback").execute(&mut self.connection).await?;
        self.scratch.drop(&mut self.connection).await?;
        // Said here, not left to the end of the connection, which the server notices later than whoever comes next.
        sqlx::raw_sql("select pg_advisory_unlock_all()").execute(&mut self.connection).await?;
        Ok(())
    }
}

/// Behind everything.
const LATEST: Cursor = Cursor { tx: TxId(u64::MAX), position: u64::MAX };

async fn read(
    store: &PostgresStore,
    projection: &dyn Projection,
    after: Cursor,
    until: Cursor,
    batch: usize,
) -> Result<Vec<Recorded>, RebuildError> {
    let mut events = store.read_log(after, projection.categories(), batch).await?;
    events.truncate(events.partition_point(|event| event.cursor <= until));
    Ok(events)
}

/// Where the live read model stands; at the start when it never moved.
async fn live_place(connection: &mut PgConnection, name: &str) -> Result<Cursor, RebuildError> {
    let asked = sqlx::query_as("select tx::text, position from public.projection where name = $1").bind(name);
    let found = timeout(DEADLINE, asked.fetch_optional(connection)).await.map_err(|_| RebuildError::Late)??;
    Ok(found.map_or(Cursor::START, cursor))
}

fn cursor((tx, position): (String, i64)) -> Cursor {
    Cursor { tx: TxId(tx.parse().unwrap_or(0)), position: u64::try_from(position).unwrap_or(0) }
}

/// A lock was not to be had in time, or two waited for each other.
fn is_locked(error: &RebuildError) -> bool {
    let RebuildError::Database(error) = error else { return false };
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    matches!(code.as_deref(), Some("55P03" | "40P01"))
}

/// An event that is not understood came in while the follower waited: it is put off with the next try.
fn is_new_to_us(error: &RebuildError) -> bool {
    matches!(error, RebuildError::Apply(ProjectionError::Decode(_)))
}
