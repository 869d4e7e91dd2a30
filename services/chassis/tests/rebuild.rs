//! A rebuild beside a read model: alone, complete, and without a trace when it is cut off.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/database.rs"]
mod database;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chassis::config::Secret;
use chassis::operations::book::{Begin, OperationBook};
use chassis::operations::check::ProjectionChecks;
use chassis::operations::plan::assemble;
use chassis::operations::plan_book::PlanBook;
use chassis::operations::rebuild::ProjectionActs;
use chassis::operations::runner::Runner;
use chassis::operations::{Acts as _, Mandate};
use chassis::projection::{Progress, Projection, ProjectionError, Rebuild, RebuildError, Report, standing};
use chassis::scan::LogScan;
use chassis::shutdown::{Shutdown, Trigger};
use database::database;
use eventstore::memory::CountingIds;
use eventstore::{
    Actor, Append, Category, Cause, Commit, Cursor, EventId, EventStore as _, NewEvent, Recorded, StreamId, Version,
};
use eventstore_postgres::{PostgresStore, StoreOptions};
use farmera_proto::saga::v1 as pb;
use futures::StreamExt as _;
use pb::operation::State;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::time::timeout;
use tonic::{Code, Status};

const APPLE: Category = Category::new("apple");
const PATIENCE: Duration = Duration::from_secs(30);

/// Counts the apples of each tree; `also` is what it does beside that.
struct Apples {
    also: Option<&'static str>,
}

#[async_trait::async_trait]
impl Projection for Apples {
    fn name(&self) -> &'static str {
        "apples"
    }

    fn categories(&self) -> &'static [Category] {
        &[APPLE]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["apple_view"]
    }

    async fn apply(&self, connection: &mut PgConnection, events: &[Recorded]) -> Result<(), ProjectionError> {
        for event in events {
            sqlx::query(
                "insert into apple_view (tree, apples) values ($1, 1)
                 on conflict (tree) do update set apples = apple_view.apples + 1",
            )
            .bind(event.stream.id)
            .execute(&mut *connection)
            .await?;
        }
        if let Some(also) = self.also {
            sqlx::query(also).execute(connection).await?;
        }
        Ok(())
    }
}

/// A database with a log of `events` apples on ten trees, none of which the read model has seen.
async fn orchard(events: u64) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("rebuild_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let url = database(&name).await;
    run(
        &url,
        "create table apple_view (tree uuid primary key, apples integer not null) with (fillfactor = 70);
         create index apple_view_most on apple_view (apples desc) where apples > 3;
         grant select on apple_view to public",
    )
    .await;
    let store = PostgresStore::connect(&StoreOptions::new(&url)).unwrap();
    for number in 0..events {
        store.commit(apple(number)).await.unwrap();
    }
    // Writers of other tests in this cluster may hold the log back for a moment.
    let whole = async {
        while store.read_log(Cursor::START, &[APPLE], 1_000).await.unwrap().len() < usize::try_from(events).unwrap() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), whole).await.unwrap();
    url
}

fn apple(number: u64) -> Commit {
    let id = CountingIds::id(1, number);
    let event = NewEvent {
        id: EventId(id),
        type_name: "Grown",
        schema_version: 1,
        payload: "{}".to_owned(),
        time: chrono::DateTime::UNIX_EPOCH,
        cause: Cause { correlation: id, causation: id, trace: None, actor: Actor::new("test") },
    };
    let stream = StreamId::new(APPLE, CountingIds::id(2, number % 10));
    Commit { appends: vec![Append::new(stream, Version::new(number / 10), None, vec![event])], ..Commit::default() }
}

async fn run(url: &str, statements: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await.unwrap();
}

async fn count(url: &str, question: &'static str) -> i64 {
    sqlx::query_scalar(question).fetch_one(&mut PgConnection::connect(url).await.unwrap()).await.unwrap()
}

async fn rebuild(url: &str, also: Option<&'static str>) -> Result<Report, RebuildError> {
    let projection = Apples { also };
    timeout(PATIENCE, Rebuild { projection: &projection, url, batch: 3, progress: &|_| () }.switch()).await.unwrap()
}

const SCRATCHES: &str = "select count(*) from pg_namespace where nspname like 'rebuild%'";

#[tokio::test(flavor = "multi_thread")]
async fn a_read_model_that_never_ran_is_made_and_says_where_it_stands() {
    let url = orchard(25).await;
    let before = standing(&Apples { also: None }, &url).await.unwrap();
    assert_eq!((before.cursor, before.lag_events, before.rows), (None, 25, 0));
    assert!(before.lag_seconds > 0.0);

    let report = rebuild(&url, None).await.unwrap();
    assert_eq!((report.events, report.rows, report.differences, report.switched), (25, 10, 0, true));
    let after = standing(&Apples { also: None }, &url).await.unwrap();
    assert!(after.cursor > Some(Cursor::START));
    assert_eq!((after.lag_events, after.lag_seconds, after.rows), (0, 0.0, 10));
    assert_eq!(count(&url, "select sum(apples) from apple_view").await, 25);
    let index = "select count(*) from pg_indexes where schemaname = 'public' and tablename = 'apple_view'
                 and indexname in ('apple_view_pkey', 'apple_view_most')";
    assert_eq!(count(&url, index).await, 2, "under the same names");
    let rest = "select count(*) from pg_class where relname = 'apple_view' and reloptions = '{fillfactor=70}'
                and has_table_privilege('public', oid, 'select')";
    assert_eq!(count(&url, rest).await, 1, "with the same settings and rights");
    assert_eq!(count(&url, SCRATCHES).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_projection_does_beside_its_tables_stays_off() {
    let url = orchard(5).await;
    for also in [
        "insert into inbox (consumer, message) values ('x', gen_random_uuid())",
        "delete from timer",
        "delete from outbox",
    ] {
        let before = count(&url, "select count(*) from outbox").await;
        let refused = rebuild(&url, Some(also)).await.unwrap_err();
        assert!(matches!(refused, RebuildError::Apply(ProjectionError::Write(_))), "{refused:?}");
        assert_eq!(count(&url, "select count(*) from outbox").await, before);
        assert_eq!(count(&url, "select count(*) from apple_view").await, 0, "the live one is as it was");
        assert_eq!(count(&url, SCRATCHES).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_dies_leaves_a_schema_that_the_next_one_drops_and_a_second_one_is_refused() {
    let url = orchard(400).await;
    let projection = Apples { also: None };
    let seen = AtomicU64::new(0);
    let (reached, mut half_way) = tokio::sync::watch::channel(false);
    let progress = |progress: Progress| {
        assert_eq!(progress.total, 400);
        seen.store(progress.events, Ordering::Relaxed);
        reached.send_replace(progress.events >= 3);
    };
    run(
        &url,
        "insert into projection (name, tx, position) select 'apples', tx, position from event
               order by tx desc, position desc limit 1",
    )
    .await;
    {
        let dying = Rebuild { projection: &projection, url: &url, batch: 1, progress: &progress }.check();
        let mut dying = std::pin::pin!(dying);
        tokio::select! {
            ended = &mut dying => panic!("it was over too soon: {ended:?}"),
            reached = half_way.wait_for(|reached| *reached) => drop(reached.unwrap()),
        }
        // Half way, it stands still: nobody polls it any more.
        let second = rebuild(&url, None).await;
        assert!(matches!(second, Err(RebuildError::Busy)), "{second:?}");
    }
    assert!(seen.load(Ordering::Relaxed) < 400);
    assert_eq!(count(&url, "select count(*) from apple_view").await, 0);
    let report = loop {
        // The server has yet to notice that the first one is gone.
        match rebuild(&url, None).await {
            Err(RebuildError::Busy) => tokio::task::yield_now().await,
            done => break done.unwrap(),
        }
    };
    assert_eq!((report.events, report.rows, report.differences), (400, 10, 10));
    assert_eq!(count(&url, SCRATCHES).await, 0);
}

/// Its connection may take a while to end; what kept others out must not.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_rebuilds_right_after_a_rebuild_is_let_in() {
    let url = orchard(3).await;
    let mut witness = PgConnection::connect(&url).await.unwrap();
    let held = "select count(*) from pg_locks join pg_database as d on d.oid = database
                where locktype = 'advisory' and d.datname = current_database()";
    for _ in 0..20 {
        rebuild(&url, None).await.unwrap();
        assert_eq!(sqlx::query_scalar::<_, i64>(held).fetch_one(&mut witness).await.unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_be_copied_whole_is_refused_with_the_reason() {
    let url = orchard(1).await;
    run(&url, "alter table apple_view drop constraint apple_view_pkey").await;
    let refused = rebuild(&url, None).await.unwrap_err().to_string();
    assert_eq!(refused, "the table apple_view cannot be rebuilt: it has no primary key");
    run(&url, "drop table apple_view").await;
    let refused = rebuild(&url, None).await.unwrap_err().to_string();
    assert!(refused.contains("farmera migrate"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_waits_for_a_reader_and_does_not_keep_others_waiting() {
    let url = orchard(30).await;
    let mut reader = PgConnection::connect(&url).await.unwrap();
    let reading = "set idle_in_transaction_session_timeout = 0; begin; select * from apple_view";
    sqlx::raw_sql(reading).execute(&mut reader).await.unwrap();
    let rebuilt = rebuild(&url, None);
    let reading = async {
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let asked = Instant::now();
            count(&url, "select count(*) from apple_view").await;
            longest = longest.max(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        sqlx::raw_sql("commit").execute(&mut reader).await.unwrap();
        longest
    };
    let (report, longest) = tokio::join!(rebuilt, reading);
    assert_eq!(report.unwrap().rows, 10);
    assert!(longest < Duration::from_secs(5), "a reader waited {longest:?} behind the switch");
}

/// What rebuilds as a process of the service would.
async fn acts(url: &str, owner_url: Option<&str>, also: Option<&'static str>) -> ProjectionActs {
    let pool = chassis::database::pool(2, PATIENCE).connect(url).await.unwrap();
    let store = Arc::new(PostgresStore::connect(&StoreOptions::new(url)).unwrap());
    ProjectionActs {
        projections: vec![Box::new(Apples { also }) as Box<dyn Projection>].into(),
        scan: LogScan::new(store),
        pool,
        owner_url: owner_url.map(Secret::new),
        domain: "orchard",
    }
}

fn mandate() -> Mandate {
    Mandate { actor: Actor::new("operator:ana"), reason: "rows are wrong".to_owned() }
}

const REBUILD: pb::Act = pb::Act {
    kind: pb::act::Kind::RebuildProjection as i32,
    step: String::new(),
    shift: None,
    definition_version: 0,
    until_time: None,
    pace: None,
    event_range: None,
};

fn apples() -> pb::Selection {
    pb::Selection { projection_names: vec!["apples".to_owned()], ..pb::Selection::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_to_rebuild_is_stale_once_somebody_has_rebuilt() {
    let url = orchard(25).await;
    let (known, unknown) = (acts(&url, Some(&url), None).await, acts(&url, None, None).await);
    let now = chrono::DateTime::UNIX_EPOCH;
    let foreseen = known.foresee(&REBUILD, &apples(), &mandate(), now).await.unwrap();
    assert_eq!((foreseen.items.len(), foreseen.items[0].affected), (1, 25));
    let plan = assemble("orchard", REBUILD, &mandate(), foreseen);
    assert!(known.moved(&plan, &mandate(), now).await.unwrap().is_empty());
    rebuild(&url, None).await.unwrap();
    assert_eq!(known.moved(&plan, &mandate(), now).await.unwrap(), ["apples"]);
    let refused = unknown.foresee(&REBUILD, &apples(), &mandate(), now).await.unwrap().items;
    assert!(refused[0].refused.contains("MIGRATION_URL"), "{refused:?}");
    let pears = pb::Selection { projection_names: vec!["pears".to_owned()], ..pb::Selection::default() };
    let nonsense = known.foresee(&REBUILD, &pears, &mandate(), now).await.unwrap_err();
    assert!(nonsense.message().contains("there is apples"), "{nonsense}");
}

/// The last word of a check.
async fn checked(checks: &ProjectionChecks, name: &str) -> Result<pb::CheckProjectionResponse, Status> {
    let mut words = pin!(checks.check(name)?);
    let mut last = Err(Status::unknown("nothing was said"));
    while let Some(word) = timeout(PATIENCE, words.next()).await.unwrap() {
        last = word;
    }
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_what_differs_and_changes_nothing() {
    let url = orchard(25).await;
    rebuild(&url, None).await.unwrap();
    let (trigger, shutdown) = Shutdown::new();
    let checks = |owner_url: Option<&str>| ProjectionChecks {
        projections: vec![Box::new(Apples { also: None }) as Box<dyn Projection>].into(),
        owner_url: owner_url.map(Secret::new),
        shutdown: shutdown.clone(),
        domain: "orchard",
    };
    let known = checks(Some(&url));
    let same = checked(&known, "apples").await.unwrap();
    assert_eq!((same.events, same.found.unwrap().differences), (25, 0));
    run(&url, "update apple_view set apples = 7 where tree = (select max(tree::text)::uuid from apple_view)").await;
    let found = checked(&known, "apples").await.unwrap().found.unwrap();
    assert_eq!((found.rows, found.differences, found.first.len()), (10, 1, 1), "{found:?}");
    let apples = |row: &str| serde_json::from_str::<serde_json::Value>(row).unwrap()["apples"].as_i64();
    let first = &found.first[0];
    assert_eq!((apples(&first.in_use_json), apples(&first.from_log_json)), (Some(7), Some(2)), "{found:?}");
    assert_eq!(count(&url, "select count(*) from apple_view where apples = 7").await, 1, "it is as it was");
    assert_eq!(count(&url, SCRATCHES).await, 0);

    assert_eq!(checked(&known, "pears").await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(checked(&checks(None), "apples").await.unwrap_err().code(), Code::FailedPrecondition);
    let mut other = PgConnection::connect(&url).await.unwrap();
    let alone = "select pg_advisory_lock(hashtextextended('farmera rebuild apples', 0))";
    sqlx::raw_sql(alone).execute(&mut other).await.unwrap();
    let busy = checked(&known, "apples").await.unwrap_err();
    assert!(busy.code() == Code::Unavailable && busy.message().contains("under way"), "{busy}");
    trigger.trigger();
    let stopping = checked(&known, "apples").await.unwrap_err();
    assert!(stopping.code() == Code::Unavailable && stopping.message().contains("stopping"), "{stopping}");
}

/// A process that carries operations out.
async fn process(url: &str, also: Option<&'static str>) -> (OperationBook, Trigger, tokio::task::JoinHandle<()>) {
    let acts = acts(url, Some(url), also).await;
    let book = OperationBook::new(acts.pool.clone(), "orchard", "orchard");
    let (trigger, shutdown) = Shutdown::new();
    let runner = Runner::new(book.clone(), vec![Arc::new(acts)]);
    #[expect(clippy::disallowed_methods, reason = "the test ends it")]
    let task = tokio::spawn(runner.run(shutdown));
    (book, trigger, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_died_with_its_process_is_done_by_the_next_one() {
    let url = orchard(25).await;
    let mut own = sqlx::migrate!("../../migrations/chassis");
    own.set_ignore_missing(true);
    own.run(&mut PgConnection::connect(&url).await.unwrap()).await.unwrap();
    let now = chrono::DateTime::UNIX_EPOCH;
    let dying = acts(&url, Some(&url), None).await;
    let foreseen = dying.foresee(&REBUILD, &apples(), &mandate(), now).await.unwrap();
    let plan = assemble("orchard", REBUILD, &mandate(), foreseen);
    PlanBook { pool: dying.pool.clone(), domain: "orchard" }.keep(&plan, now).await.unwrap();
    let (book, _first_trigger, first) = process(&url, Some("select pg_sleep(2)")).await;
    let id = CountingIds::id(7, 7);
    let begin = Begin { id, plan, actor: "operator:ana".to_owned(), rate: 50, canary: 0, failures_max: 0 };
    book.begin(&begin, now).await.unwrap();
    let half_way = async { while count(&url, SCRATCHES).await == 0 {} };
    timeout(PATIENCE, half_way).await.unwrap();
    first.abort();
    assert_eq!(count(&url, "select count(*) from apple_view").await, 0);
    run(&url, "update operation set claimed_until = now()").await;
    let (_, _second_trigger, second) = process(&url, None).await;
    let over = async {
        loop {
            let operation = book.get(id).await.unwrap();
            if operation.state() != State::Running {
                return operation;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let over = timeout(PATIENCE, over).await.unwrap();
    assert_eq!((over.state(), over.succeeded), (State::Done, 1), "{over:?}");
    assert_eq!(over.detail, "apples: 10 rows from 25 events, 0 differed");
    assert_eq!(count(&url, "select sum(apples) from apple_view").await, 25);
    second.abort();
}
