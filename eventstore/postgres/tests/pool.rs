//! Pools hand nobody a transaction that another left open, and every connection has limits that the server enforces.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::str::FromStr as _;
use std::task::Poll;
use std::time::Duration;

use eventstore_postgres::{ServerLimits, session};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, Row as _};
use support::Database;
use tokio::time::timeout;

/// More await points than any `begin` has.
const POLLS_MAX: usize = 50;
const ROUNDS_MAX: usize = 40;
const PATIENCE: Duration = Duration::from_secs(20);

/// Polls `future` `times` times, each time when it asked to be polled; true when it ended before that.
async fn poll_times<F: Future>(mut future: Pin<&mut F>, times: usize) -> bool {
    for _ in 0..times {
        let mut first = true;
        let ended = poll_fn(|context| {
            if !std::mem::take(&mut first) {
                return Poll::Ready(false);
            }
            match future.as_mut().poll(context) {
                Poll::Ready(_) => Poll::Ready(true),
                Poll::Pending => Poll::Pending,
            }
        });
        if ended.await {
            return true;
        }
    }
    false
}

/// Cancels `begin` at each of its await points in turn, and lets the next user of the pool's only connection write a row.
/// How often a `begin` was cancelled while it waited, and how often nobody else saw the row.
async fn cancelled_and_lost(pool: &PgPool, witness: &mut PgConnection) -> (usize, usize) {
    let (mut cancelled, mut lost) = (0, 0);
    for times in 0..POLLS_MAX {
        let ended = {
            let begin = pin!(pool.begin());
            timeout(PATIENCE, poll_times(begin, times)).await.unwrap()
        };
        let insert =
            sqlx::query("insert into inbox (consumer, message) values ('next', gen_random_uuid()) returning message");
        let row = timeout(PATIENCE, insert.fetch_one(pool)).await.unwrap().unwrap();
        let seen = sqlx::query("select from inbox where message = $1").bind(row.get::<uuid::Uuid, _>(0));
        lost += usize::from(seen.fetch_optional(&mut *witness).await.unwrap().is_none());
        if ended {
            return (cancelled, lost);
        }
        cancelled += usize::from(times > 0);
    }
    panic!("begin has more than {POLLS_MAX} await points");
}

/// Again and again until it is `enough`: an answer may be there before it is waited for.
async fn cancelled_and_lost_in_all(
    pool: &PgPool,
    witness: &mut PgConnection,
    enough: impl Fn(usize, usize) -> bool,
) -> (usize, usize) {
    let mut all = (0, 0);
    for _ in 0..ROUNDS_MAX {
        let (cancelled, lost) = cancelled_and_lost(pool, witness).await;
        all = (all.0 + cancelled, all.1 + lost);
        if enough(all.0, all.1) {
            return all;
        }
    }
    panic!("{} cancelled, {} lost in {ROUNDS_MAX} rounds", all.0, all.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_begin_that_is_cancelled_anywhere_leaves_nobody_in_its_transaction() {
    let database = Database::new().await;
    let options = PgConnectOptions::from_str(&database.service_url).unwrap();
    let pool = eventstore_postgres::pool(1, PATIENCE).connect_with(options).await.unwrap();
    let (cancelled, lost) =
        cancelled_and_lost_in_all(&pool, &mut database.admin().await, |cancelled, _| cancelled >= 5).await;
    assert_eq!(lost, 0, "of {cancelled}");
}

/// When this fails, sqlx has mended its issue 4393, and [`eventstore_postgres::pool`] need not undo anything any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_undoes_nothing_loses_what_its_next_user_writes() {
    let database = Database::new().await;
    let options = PgConnectOptions::from_str(&database.service_url).unwrap();
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    cancelled_and_lost_in_all(&pool, &mut database.admin().await, |_, lost| lost > 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_was_left_open_or_broken_is_undone_too() {
    let database = Database::new().await;
    let options = PgConnectOptions::from_str(&database.service_url).unwrap();
    let pool = eventstore_postgres::pool(1, PATIENCE).connect_with(options).await.unwrap();
    for statement in ["begin", "begin; select 1/0"] {
        let mut connection = pool.acquire().await.unwrap();
        let failed = sqlx::raw_sql(statement).execute(&mut *connection).await.is_err();
        assert_eq!(failed, statement.contains('/'));
        drop(connection);
        let insert = "insert into inbox (consumer, message) values ('left open', gen_random_uuid())";
        timeout(PATIENCE, sqlx::query(insert).execute(&pool)).await.unwrap().unwrap();
    }
    let seen = sqlx::query("select count(*) from inbox").fetch_one(&mut database.admin().await).await.unwrap();
    assert_eq!(seen.get::<i64, _>(0), 2);
}

async fn limits_of(connection: &mut PgConnection) -> [String; 3] {
    let asked = "select current_setting('statement_timeout'), current_setting('lock_timeout'),
                     current_setting('idle_in_transaction_session_timeout')";
    let row = sqlx::query(asked).fetch_one(connection).await.unwrap();
    [row.get(0), row.get(1), row.get(2)]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_enforces_limits_on_every_connection() {
    let database = Database::new().await;
    let store = database.store();
    let mut pooled = store.pool().acquire().await.unwrap();
    assert_eq!(limits_of(&mut pooled).await, ["2500ms", "2s", "5s"]);
    let operator = session(&database.service_url, "operator", ServerLimits::OPERATOR).unwrap();
    let mut operator = PgConnection::connect_with(&operator).await.unwrap();
    assert_eq!(limits_of(&mut operator).await, ["10min", "5s", "5s"]);
}
