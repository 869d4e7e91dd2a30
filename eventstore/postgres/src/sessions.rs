//! How a connection is set up: the one place for all of them, the store's own, a service's pools, an operator's.
//!
//! Each says to the server how long it may take over a statement, wait for a lock and sit in a transaction, so that
//! whatever becomes of us (a stopped process, a cut wire) the server lets go by itself. An open transaction that has
//! written holds every reader of the log back, in all databases of the server: none of ours can for longer than
//! [`ServerLimits::idle_in_transaction`].

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, PgConnection};
use tokio::time::timeout;

use crate::options::OptionsError;

/// How long a pool waits for a connection that came back to be in order.
const UNDO_LIMIT: Duration = Duration::from_secs(2);

/// What the server enforces on a connection, whatever its client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// A statement that takes longer is cut off.
    pub statement: Duration,
    /// A statement that waits longer for a lock is cut off.
    pub lock: Duration,
    /// A transaction that nobody works on for longer is rolled back, and its connection closed.
    pub idle_in_transaction: Duration,
}

impl ServerLimits {
    /// For an operator's commands: statements may read whole tables and build indexes (10 min); locks are waited for
    /// 5 s, because services queue up behind whoever waits for one.
    pub const OPERATOR: Self = Self {
        statement: Duration::from_secs(600),
        lock: Duration::from_secs(5),
        idle_in_transaction: Duration::from_secs(5),
    };

    /// For calls that are given up after `deadline`. The server gives a statement up before we do: then the answer is
    /// known and the connection stays usable.
    #[must_use]
    pub fn within(deadline: Duration) -> Self {
        Self { statement: deadline.mul_f64(0.5), lock: deadline.mul_f64(0.4), idle_in_transaction: deadline }
    }
}

/// A connection to the database of `url` (`postgres://role:password@host:port/database`), under the name that the
/// server shows in `pg_stat_activity`, with its limits and the planner's settings.
///
/// # Errors
/// [`OptionsError::Url`]; the URL is not repeated.
pub fn session(url: &str, application_name: &str, limits: ServerLimits) -> Result<PgConnectOptions, OptionsError> {
    // The parser's own error is dropped: it may quote the password.
    let options = PgConnectOptions::from_str(url).map_err(|_| OptionsError::Url)?;
    let milliseconds = |duration: Duration| duration.as_millis().max(1).to_string();
    Ok(options.disable_statement_logging().application_name(application_name).options([
        ("statement_timeout", milliseconds(limits.statement)),
        ("lock_timeout", milliseconds(limits.lock)),
        ("idle_in_transaction_session_timeout", milliseconds(limits.idle_in_transaction)),
        // Compiling a plan takes longer than anything that is run here.
        ("jit", "off".to_owned()),
        // Every statement of a service finds its rows by an index. A plan that was made while the tables were empty,
        // and is kept, must not be one that reads whole tables.
        ("enable_seqscan", "off".to_owned()),
        ("enable_hashjoin", "off".to_owned()),
        ("enable_mergejoin", "off".to_owned()),
    ]))
}

/// For statements that are few, static, and each bound to an index: planning them anew for their values costs more than
/// it ever finds.
#[must_use]
pub fn with_fixed_plans(session: PgConnectOptions) -> PgConnectOptions {
    session.options([("plan_cache_mode", "force_generic_plan"), ("enable_bitmapscan", "off")])
}

/// A pool that hands nobody a transaction which another left open.
///
/// A `begin` that is cancelled while it waits for its answer comes back as a connection with an open transaction that
/// sqlx does not know of (issue 4393): what the next user writes is never committed, and the log stands still. So
/// whatever is open on a connection that comes back is undone, within a limit; where that fails, it is closed.
#[must_use]
pub fn pool(connections_max: u32, acquire_timeout: Duration) -> PgPoolOptions {
    pool_of_statements(connections_max, acquire_timeout)
        .after_release(|connection, _| Box::pin(undo_what_is_open(connection)))
}

/// A pool for single statements, each a transaction of its own: where nobody says `begin`, nothing can be left open, and
/// a connection comes back without the round trip of [`pool`].
#[must_use]
pub fn pool_of_statements(connections_max: u32, acquire_timeout: Duration) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(acquire_timeout)
        // A ping per checkout costs a fifth of the throughput, and proves nothing about the statement after it.
        .test_before_acquire(false)
}

/// Whatever transaction is open is undone. One in which a statement failed refuses even to begin: then the connection is
/// closed, as it is when it does not answer in time. (A lone `rollback` would do, but where nothing is open, which is
/// always, the server would complain of it in its log.)
async fn undo_what_is_open(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let undone = sqlx::raw_sql("begin; rollback").execute(connection);
    let late = |_| sqlx::Error::Io(std::io::Error::from(std::io::ErrorKind::TimedOut));
    timeout(UNDO_LIMIT, undone).await.map_err(late)?.map(|_| true)
}
