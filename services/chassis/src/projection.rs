//! Read models that follow the log.
//!
//! A projection reads events in commit order and keeps its rows and its place in the log in one transaction. It reads in
//! batches: when it lags behind, many events of one thing become one row change. Whoever needs to read its own write
//! waits until the projection has passed it ([`Followed::caught_up`]). What is in the tables can be made anew at any time,
//! while the service runs ([`Rebuild`]).
//!
//! An event that the program does not understand parks its stream, and nothing else; see `parked`.

mod aside;
mod current;
mod parked;
mod rebuild;
mod scratch;
mod standing;
mod written;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use eventstore::worker::CommitListener;
use eventstore::{Category, Clock, Committed, Cursor, DecodeError, EventStore, ReadError, Recorded, TxId};
use faults::Plant;
use sqlx::postgres::{PgConnection, PgPool};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, warn};

use self::parked::{Stops, TakenUp};
use crate::health::Component;
use crate::shutdown::Shutdown;

pub use self::current::{NotCurrent, until_current};
pub use self::parked::{ParkedStream, parked_streams};
pub use rebuild::{BATCH, Progress, Rebuild, RebuildError, Report};
pub use scratch::Difference;
pub use standing::{Standing, standing};
pub use written::{Abreast, NotAbreast, WAIT_MAX, Wanted, token, written};

/// Events in one transaction of a follower. Most of what happens to one thing under load falls into one of so many.
const FOLLOWED_MAX: usize = 8_000;
/// Events that are read at a time: more would keep others from a processor while they are decoded.
const READ_MAX: usize = 2_000;
/// Between two batches, unless a projection says otherwise, so that the events of one thing gather and become one row
/// change. None after a full batch: a read model may lag a moment, not the more the longer the load lasts.
const PAUSE: Duration = Duration::from_millis(250);
/// Without being told of a commit, look this often: another replica may have written.
const POLL: Duration = Duration::from_secs(1);
const BACKOFF: Duration = Duration::from_secs(1);
/// A read model that lags further behind while it works says so in `/readyz`.
const LAG_MAX: Duration = Duration::from_secs(60);
/// How often parked streams are looked after, beside once at the start: another replica may have parked what this
/// program understands, and what was damaged may have been mended.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// Pages of parked streams that are taken up before the projection goes on.
const LOOK_PAGES_MAX: usize = 200;
const DEADLINE: Duration = Duration::from_secs(10);

/// Why a batch could not be applied. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// The log cannot be read now.
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    /// The database refuses or does not answer.
    #[error("the read model cannot be written")]
    Write(#[from] sqlx::Error),
    /// An event is of a newer program, or damaged. Its stream is parked until a program comes that knows it.
    #[error("an event cannot be understood")]
    Decode(#[from] DecodeError),
    /// The database did not answer in time.
    #[error("the database did not answer within {} s", DEADLINE.as_secs())]
    Late,
    /// Another replica has applied the batch.
    #[error("another replica was faster")]
    Overtaken,
}

/// A read model: its `apply` writes its table, nothing else does. What it writes for one stream never depends on
/// another: a stream that was parked is applied later than its neighbours.
#[async_trait::async_trait]
pub trait Projection: Send + Sync + 'static {
    /// Its name in the database; never changes.
    fn name(&self) -> &'static str;

    /// The streams it is made from.
    fn categories(&self) -> &'static [Category];

    /// The tables it owns, in the schema `public`: it writes these and no other, each has a primary key, and all that is
    /// in them follows from the log. So they can be made anew ([`Rebuild`]).
    fn tables(&self) -> &'static [&'static str];

    /// How long events may gather before they are applied: how far the read model may lag behind under load.
    fn pause(&self) -> Duration {
        PAUSE
    }

    /// Applies events, in commit order, on a connection with an open transaction. Events of types that are of no
    /// interest are passed over, those of types that are not known are not ([`eventstore::DomainEvent::check`]).
    ///
    /// # Errors
    /// Nothing is kept then, and the same events come again.
    async fn apply(&self, connection: &mut PgConnection, events: &[Recorded]) -> Result<(), ProjectionError>;
}

/// Tells a projection that there is something new. Give it to the worker as a listener.
#[derive(Clone, Debug, Default)]
pub struct Nudge(Arc<Notify>);

impl Nudge {
    /// Has it look: somebody waits for what another replica may have left.
    pub fn look(&self) {
        self.0.notify_one();
    }
}

impl CommitListener for Nudge {
    fn committed(&self, _events: &Arc<[Recorded]>, _committed: Committed) {
        self.0.notify_one();
    }
}

/// How far a projection has come.
#[derive(Clone, Debug)]
pub struct Followed(watch::Receiver<Cursor>);

impl Followed {
    /// Waits until a transaction is applied that holds events for this projection, at most `limit`. False when it took
    /// longer. (The transaction, not its last event: that may be none of this projection's.)
    pub async fn caught_up(&mut self, tx: TxId, limit: Duration) -> bool {
        timeout(limit, self.0.wait_for(|applied| applied.tx >= tx)).await.is_ok_and(|applied| applied.is_ok())
    }
}

/// Where a follower is, and what it works with. Thrown away after any failure.
#[derive(Default)]
struct Place {
    cursor: Option<Cursor>,
    connection: Option<PgConnection>,
}

/// Keeps one projection up to date.
pub struct Follower<P> {
    projection: P,
    store: Arc<dyn EventStore>,
    pool: PgPool,
    clock: Arc<dyn Clock>,
    component: Component,
    nudge: Nudge,
    applied: watch::Sender<Cursor>,
}

impl<P: Projection> Follower<P> {
    /// A follower, what wakes it, and how far it has come.
    #[must_use]
    pub fn new(
        projection: P,
        store: Arc<dyn EventStore>,
        pool: PgPool,
        clock: Arc<dyn Clock>,
        component: Component,
    ) -> (Self, Nudge, Followed) {
        let (applied, followed) = watch::channel(Cursor::START);
        let nudge = Nudge::default();
        let follower = Self { projection, store, pool, clock, component, nudge: nudge.clone(), applied };
        (follower, nudge, Followed(followed))
    }

    /// Follows the log until `shutdown`.
    pub async fn run(self, mut shutdown: Shutdown) {
        let mut place = Place::default();
        let mut look_at = Instant::now();
        while !shutdown.is_triggered() {
            let mut idle = false;
            let mut followed = self.follow_once(&mut place).await;
            if followed.is_ok() && look_at <= Instant::now() {
                look_at = Instant::now() + LOOK_INTERVAL;
                followed = self.look_after_parked(&mut place).await.and(followed);
            }
            let pause = match followed {
                Ok(0) => {
                    idle = true;
                    POLL
                }
                Ok(FOLLOWED_MAX..) => Duration::ZERO,
                Ok(_) => self.projection.pause(),
                Err(ProjectionError::Overtaken) => {
                    place = Place::default();
                    self.projection.pause()
                }
                Err(failed) => {
                    self.failed(&failed);
                    place = Place::default();
                    BACKOFF
                }
            };
            tokio::select! {
                () = shutdown.triggered() => {}
                () = self.nudge.0.notified(), if idle => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Applies the next batch; says how many events it had. The cursor is read from the database when it is not known.
    async fn follow_once(&self, place: &mut Place) -> Result<usize, ProjectionError> {
        let from = match place.cursor {
            Some(known) => known,
            None => self.load_cursor().await?,
        };
        let events = self.gather(from).await?;
        let to = events.last().map_or(from, |event| event.cursor);
        if !events.is_empty() {
            self.apply(place, from, to, &events).await?;
        }
        place.cursor = Some(to);
        self.applied.send_replace(to);
        self.tell(&events);
        Ok(events.len())
    }

    /// What came after `from`: all of it, or a full batch.
    async fn gather(&self, from: Cursor) -> Result<Vec<Recorded>, ProjectionError> {
        let mut gathered = Vec::new();
        while gathered.len() < FOLLOWED_MAX {
            let after = gathered.last().map_or(from, |event: &Recorded| event.cursor);
            let page = self.store.read_log(after, self.projection.categories(), READ_MAX).await?;
            let full = page.len() == READ_MAX;
            gathered.extend(page);
            if !full {
                break;
            }
        }
        Ok(gathered)
    }

    /// A batch that is not full was all there was.
    fn tell(&self, events: &[Recorded]) {
        let full = events.last().filter(|_| events.len() == FOLLOWED_MAX);
        let lag = full.and_then(|last| (self.clock.now() - last.time).to_std().ok()).unwrap_or_default();
        if lag > LAG_MAX {
            self.component.down(format!("lags {} s behind", lag.as_secs()));
        } else {
            self.component.up();
        }
    }

    /// Applies a batch, but for streams with events that are not understood: these are parked.
    async fn apply(
        &self,
        place: &mut Place,
        from: Cursor,
        to: Cursor,
        events: &[Recorded],
    ) -> Result<(), ProjectionError> {
        let mut stops = Stops::default();
        // Every turn but the last learns of at least one more event that is not understood.
        loop {
            match self.apply_sieved(place, from, to, events, &stops).await {
                Err(ProjectionError::Decode(error)) if stops.learn(&error, events) => {}
                other => return other,
            }
        }
    }

    /// One transaction, spelled out: a transaction guard that is dropped on a timeout would hand a connection with an
    /// open transaction back to the pool (sqlx #4393). The connection is this follower's own while it works, kept when
    /// all went well, and closed on any failure.
    async fn apply_sieved(
        &self,
        place: &mut Place,
        from: Cursor,
        to: Cursor,
        events: &[Recorded],
        stops: &Stops,
    ) -> Result<(), ProjectionError> {
        let mut connection = self.connection(place).await?;
        let work = async {
            sqlx::query("begin").execute(&mut connection).await?;
            // First, so that its row lock keeps other replicas from applying the same events.
            if !move_cursor(&mut connection, self.projection.name(), from, to).await? {
                return Err(ProjectionError::Overtaken);
            }
            if faults::planted(Plant::CursorBeforeRows) {
                sqlx::query("commit").execute(&mut connection).await?;
                sqlx::query("begin").execute(&mut connection).await?;
            }
            let parked = parked::of(&mut connection, &self.projection).await?;
            let sieved = parked::sieve(events, &parked, stops);
            if !sieved.events.is_empty() {
                self.projection.apply(&mut connection, &sieved.events).await?;
            }
            parked::note(&mut connection, self.projection.name(), stops, &sieved).await?;
            sqlx::query("commit").execute(&mut connection).await?;
            Ok((parked.len(), sieved.stopped()))
        };
        let (parked, stopped) = timeout(DEADLINE, work).await.map_err(|_| ProjectionError::Late)??;
        place.connection = Some(connection);
        stops.tell(self.projection.name(), stopped);
        parked::measure(self.projection.name(), parked + stopped);
        Ok(())
    }

    /// Takes up what was parked and is understood by now.
    async fn look_after_parked(&self, place: &mut Place) -> Result<(), ProjectionError> {
        let mut connection = self.connection(place).await?;
        let found = timeout(DEADLINE, parked::waiting(&mut connection, &self.projection)).await;
        let mut waiting = VecDeque::from(found.map_err(|_| ProjectionError::Late)??);
        for _ in 0..LOOK_PAGES_MAX {
            let Some(next) = waiting.pop_front() else { break };
            let work = parked::take_up(&mut connection, &*self.store, &self.projection, next);
            if let TakenUp::Part(rest) = timeout(DEADLINE, work).await.map_err(|_| ProjectionError::Late)?? {
                waiting.push_back(rest);
            }
        }
        let count = timeout(DEADLINE, parked::count(&mut connection, self.projection.name())).await;
        parked::measure(self.projection.name(), count.map_err(|_| ProjectionError::Late)??);
        place.connection = Some(connection);
        Ok(())
    }

    /// This follower's own connection, taken out of its place while it works.
    ///
    /// Its commits do not wait for the disk: a server that dies takes a read model's last moments with it, rows and
    /// cursor together, and they are applied again from the log, whose own commits do wait.
    async fn connection(&self, place: &mut Place) -> Result<PgConnection, ProjectionError> {
        if let Some(connection) = place.connection.take() {
            return Ok(connection);
        }
        let connect = async {
            let mut connection = self.pool.acquire().await?.detach();
            sqlx::query("set synchronous_commit to off").execute(&mut connection).await?;
            Ok(connection)
        };
        timeout(DEADLINE, connect).await.map_err(|_| ProjectionError::Late)?
    }

    async fn load_cursor(&self) -> Result<Cursor, ProjectionError> {
        let load = sqlx::query_as::<_, (String, i64)>(
            "insert into projection (name, tx, position) values ($1, '0'::xid8, 0)
             on conflict (name) do update set name = excluded.name
             returning tx::text, position",
        )
        .bind(self.projection.name())
        .fetch_one(&self.pool);
        let (tx, position) = timeout(DEADLINE, load).await.map_err(|_| ProjectionError::Late)??;
        Ok(Cursor { tx: TxId(tx.parse().unwrap_or(0)), position: u64::try_from(position).unwrap_or(0) })
    }

    fn failed(&self, failed: &ProjectionError) {
        self.component.down(failed.to_string());
        let projection = self.projection.name();
        match failed {
            ProjectionError::Decode(_) => {
                error!(projection, error = failed as &dyn std::error::Error, "a read model stands still")
            }
            ProjectionError::Read(_)
            | ProjectionError::Write(_)
            | ProjectionError::Late
            | ProjectionError::Overtaken => {
                warn!(projection, error = failed as &dyn std::error::Error, "a read model waits");
            }
        }
    }
}

async fn move_cursor(connection: &mut PgConnection, name: &str, from: Cursor, to: Cursor) -> Result<bool, sqlx::Error> {
    let text = |cursor: Cursor| (cursor.tx.0.to_string(), i64::try_from(cursor.position).unwrap_or(i64::MAX));
    let ((from_tx, from_position), (to_tx, to_position)) = (text(from), text(to));
    let moved = sqlx::query(
        "update projection
         set tx = $4::text::xid8, position = $5, updated_at = now()
         where name = $1 and tx = $2::text::xid8 and position = $3",
    )
    .bind(name)
    .bind(from_tx)
    .bind(from_position)
    .bind(to_tx)
    .bind(to_position)
    .execute(connection)
    .await?;
    Ok(moved.rows_affected() == 1)
}
